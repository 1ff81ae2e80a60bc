//! Registering with an authorization server (RFC 7591), and managing one's own registration (RFC 7592).

use http::{Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::address::{bounded, shown};
use super::client::{Authentication, Client, Registration};
use super::discovery::AuthorizationServer;
use super::fetch::{Answer, FetchError, Fetcher};
use super::secret::Secret;
use super::tokens::sensitive;

/// Why a registration could not be made, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// No answer that could be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The authorization server refused.
    #[error("the authorization server refused the registration with {status}: {code}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// The error code and what it says of it.
        code: String,
    },
    /// The registration is not this program's to manage.
    #[error(
        "there is no registration here that can be managed: none was made, or the authorization server keeps it to itself"
    )]
    NotManaged,
    /// The authorization server does not know the registration any more.
    #[error("the authorization server does not know this registration any more")]
    Gone,
}

/// What is registered.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) client_name: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) device: bool,
}

/// What the authorization server says of a registration, as far as this program needs it.
#[derive(Deserialize)]
struct Written {
    client_id: String,
    client_secret: Option<Secret>,
    client_secret_expires_at: Option<u64>,
    token_endpoint_auth_method: Option<String>,
    registration_access_token: Option<Secret>,
    registration_client_uri: Option<String>,
}

/// How this program would prove who it is: not at all if it may, for what it has it cannot keep secret.
fn wanted_method(methods: Option<&[String]>) -> &'static str {
    let lists = |wanted: &str| methods.is_none_or(|methods| methods.iter().any(|method| method == wanted));
    ["none", "client_secret_basic", "client_secret_post"]
        .into_iter()
        .find(|method| lists(method))
        .unwrap_or("none")
}

/// Registers this program.
pub(crate) async fn register(
    fetcher: &Fetcher,
    server: &AuthorizationServer,
    endpoint: &Url,
    wanted: &Wanted<'_>,
) -> Result<Client, RegistrationError> {
    let method = wanted_method(server.auth_methods.as_deref());
    let mut grants = vec!["authorization_code", "refresh_token"];
    if wanted.device {
        grants.push(super::device::GRANT);
    }
    let metadata = json!({
        "client_name": wanted.client_name,
        "redirect_uris": [wanted.redirect_uri],
        "grant_types": grants,
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native",
        "software_id": "mcp-stdio-bridge",
        "software_version": env!("CARGO_PKG_VERSION"),
    });
    let request = with_json(fetcher.request(Method::POST, endpoint), &metadata);
    let answer = fetcher.send(request).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer));
    }
    let written: Written = answer.json()?;
    Ok(client(written, server, wanted.redirect_uri))
}

fn client(written: Written, server: &AuthorizationServer, redirect_uri: &str) -> Client {
    let methods = server.auth_methods.as_deref();
    let authentication = match (written.token_endpoint_auth_method.as_deref(), written.client_secret) {
        (Some("none"), _) | (_, None) => Authentication::None,
        (Some("client_secret_post"), Some(secret)) => Authentication::ClientSecretPost { secret },
        (Some("client_secret_basic"), Some(secret)) => Authentication::ClientSecretBasic { secret },
        // It did not say. What was asked for was not to need one, if that is listed.
        (_, Some(_)) if methods.is_some_and(|_| wanted_method(methods) == "none") => Authentication::None,
        (_, Some(secret)) => Authentication::by_secret(secret, methods),
    };
    Client {
        client_id: written.client_id,
        authentication,
        registration: Some(Registration {
            uri: written.registration_client_uri,
            access_token: written.registration_access_token,
            redirect_uri: redirect_uri.to_owned(),
            secret_expires_at: written.client_secret_expires_at.filter(|end| *end > 0),
        }),
    }
}

/// What a registration is managed with: its address at the issuer's own host, and its token.
fn management(fetcher: &Fetcher, issuer: &str, client: &Client) -> Result<(Url, Secret), RegistrationError> {
    let registration = client.registration.as_ref().ok_or(RegistrationError::NotManaged)?;
    let (Some(uri), Some(token)) = (&registration.uri, &registration.access_token) else {
        return Err(RegistrationError::NotManaged);
    };
    let url = fetcher.reach.parse(uri).map_err(FetchError::from)?;
    // The token is the issuer's, and goes nowhere else.
    let ours = Url::parse(issuer).is_ok_and(|issuer| issuer.origin() == url.origin());
    if !ours {
        return Err(RegistrationError::NotManaged);
    }
    Ok((url, token.clone()))
}

/// Reads the registration (RFC 7592 §2.1).
pub(crate) async fn show(
    fetcher: &Fetcher,
    issuer: &str,
    client: &mut Client,
) -> Result<Map<String, Value>, RegistrationError> {
    let (url, token) = management(fetcher, issuer, client)?;
    let answer = fetcher.send(authorized(fetcher.get(&url), &token)).await?;
    let metadata = metadata(&answer)?;
    renew(client, &metadata);
    Ok(metadata)
}

/// Changes the registration (RFC 7592 §2.2): what is named is put in place, the rest stays.
pub(crate) async fn update(
    fetcher: &Fetcher,
    issuer: &str,
    client: &mut Client,
    changes: Map<String, Value>,
) -> Result<Map<String, Value>, RegistrationError> {
    let mut wanted = show(fetcher, issuer, client).await?;
    // What a request must not have, or what is not this client's to say.
    for member in [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ] {
        wanted.remove(member);
    }
    wanted.extend(changes);
    wanted.insert("client_id".to_owned(), client.client_id.clone().into());
    let (url, token) = management(fetcher, issuer, client)?;
    let request = with_json(fetcher.request(Method::PUT, &url), &Value::Object(wanted));
    let answer = fetcher.send(authorized(request, &token)).await?;
    let metadata = metadata(&answer)?;
    renew(client, &metadata);
    Ok(metadata)
}

/// Ends the registration (RFC 7592 §2.3). One that is gone already is no error.
pub(crate) async fn delete(fetcher: &Fetcher, issuer: &str, client: &Client) -> Result<(), RegistrationError> {
    let (url, token) = management(fetcher, issuer, client)?;
    let request = authorized(fetcher.request(Method::DELETE, &url), &token);
    let answer = fetcher.send(request).await?;
    match answer.status {
        status if status.is_success() || status == StatusCode::UNAUTHORIZED || status == StatusCode::NOT_FOUND => {
            Ok(())
        }
        _ => Err(refused(&answer)),
    }
}

fn authorized(request: reqwest::RequestBuilder, token: &Secret) -> reqwest::RequestBuilder {
    request.header(header::AUTHORIZATION, sensitive(&format!("Bearer {}", token.expose())))
}

fn with_json(request: reqwest::RequestBuilder, value: &Value) -> reqwest::RequestBuilder {
    request
        .header(header::CONTENT_TYPE, "application/json")
        .body(value.to_string())
}

fn metadata(answer: &Answer) -> Result<Map<String, Value>, RegistrationError> {
    match answer.status {
        StatusCode::OK => Ok(answer.json()?),
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Err(RegistrationError::Gone),
        _ => Err(refused(answer)),
    }
}

/// An answer may bring new secrets in place of the old.
fn renew(client: &mut Client, metadata: &Map<String, Value>) {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    if let Some(new) = text("client_secret") {
        match &mut client.authentication {
            Authentication::ClientSecretBasic { secret } | Authentication::ClientSecretPost { secret } => {
                *secret = Secret::new(new);
            }
            Authentication::None | Authentication::PrivateKeyJwt(_) => {}
        }
    }
    if let Some(registration) = &mut client.registration {
        if let Some(token) = text("registration_access_token") {
            registration.access_token = Some(Secret::new(token));
        }
        if let Some(uri) = text("registration_client_uri") {
            registration.uri = Some(uri.to_owned());
        }
    }
}

fn refused(answer: &Answer) -> RegistrationError {
    #[derive(Deserialize)]
    struct Written {
        error: Option<String>,
        error_description: Option<String>,
    }
    let code = match answer.json::<Written>() {
        Ok(Written {
            error: Some(error),
            error_description,
        }) => format!("{error} {}", error_description.unwrap_or_default()),
        _ => format!("no reason, at {}", shown(&answer.url)),
    };
    RegistrationError::Refused {
        status: answer.status.as_u16(),
        code: bounded(code.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::wanted_method;

    #[test]
    fn no_secret_is_asked_for_where_none_is_needed() {
        let list = |methods: &[&str]| -> Vec<String> { methods.iter().map(|&one| one.to_owned()).collect() };
        assert_eq!(wanted_method(None), "none");
        assert_eq!(wanted_method(Some(&list(&["client_secret_post", "none"]))), "none");
        assert_eq!(
            wanted_method(Some(&list(&["client_secret_post"]))),
            "client_secret_post"
        );
        assert_eq!(
            wanted_method(Some(&list(&["client_secret_post", "client_secret_basic"]))),
            "client_secret_basic"
        );
    }
}
