//! The token endpoint, and how this server proves itself there (OpenID Connect Core §3.1.3, §9, §12).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::discovery::{Metadata, SecretMethod};
use super::upstream::Upstream;
use crate::clock::UnixTime;
use crate::identity::IdentityError;
use crate::identity::tokens::UpstreamTokens;
use crate::randomness::{SystemRandomness, random_id};
use crate::secret::Secret;
use crate::token::keys::SigningKey;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// How this server proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub(super) enum Authentication {
    /// By nothing but PKCE.
    None,
    /// By a secret, in the way that the provider offers, or that the operator has chosen.
    Secret {
        secret: Secret,
        method: Option<SecretMethod>,
    },
    /// By a signature (`private_key_jwt`).
    Key(SigningKey),
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

/// A successful answer, as it is written.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
    scope: Option<String>,
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Tokens, and the ID token that came with them.
pub(super) struct TokenAnswer {
    pub(super) tokens: UpstreamTokens,
    pub(super) id_token: Option<Secret>,
}

/// Why there are no tokens.
pub(super) enum NoTokens {
    /// What was shown for them is no good: `invalid_grant`.
    Refused,
    Failed(IdentityError),
}

impl From<IdentityError> for NoTokens {
    fn from(error: IdentityError) -> Self {
        Self::Failed(error)
    }
}

/// A token endpoint, seen by one client.
pub(super) struct TokenEndpoint<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) metadata: &'a Metadata,
    pub(super) client_id: &'a str,
    pub(super) authentication: &'a Authentication,
}

impl TokenEndpoint<'_> {
    pub(super) async fn redeem(&self, code: &str, callback: &Url, verifier: &str) -> Result<TokenAnswer, NoTokens> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", verifier),
        ];
        self.ask(&form).await
    }

    pub(super) async fn refresh(&self, token: &Secret) -> Result<TokenAnswer, NoTokens> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        self.ask(&form).await
    }

    async fn ask(&self, grant: &[(&str, &str)]) -> Result<TokenAnswer, NoTokens> {
        let endpoint = &self.metadata.token_endpoint;
        let mut form = grant.to_vec();
        let assertion;
        let mut header = None;
        match self.authentication {
            Authentication::Secret { secret, method } => match method.unwrap_or(self.metadata.secret_method) {
                SecretMethod::Basic => header = Some(basic(self.client_id, secret)),
                SecretMethod::Post => {
                    form.extend([("client_id", self.client_id), ("client_secret", secret.expose())]);
                }
            },
            Authentication::Key(key) => {
                assertion = self.assertion(key)?;
                form.extend([
                    ("client_id", self.client_id),
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.expose()),
                ]);
            }
            Authentication::None => form.push(("client_id", self.client_id)),
        }
        let answer = self.upstream.post(endpoint, &form, header.as_ref()).await?;
        read(&answer, self.upstream.now())
    }

    /// For the address of the token endpoint, which is what every provider takes (RFC 7523 §3).
    fn assertion(&self, key: &SigningKey) -> Result<Secret, IdentityError> {
        let now = self.upstream.now();
        let claims = Assertion {
            iss: self.client_id,
            sub: self.client_id,
            aud: self.metadata.token_endpoint.as_str(),
            jti: random_id(&SystemRandomness),
            iat: now.as_seconds(),
            exp: (now + ASSERTION_LIFETIME).as_seconds(),
        };
        key.sign_jwt("JWT", &claims)
            .map_err(|error| IdentityError::Unusable(error.to_string()))
    }
}

/// Both parts are encoded as in a form before they are put together (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &Secret) -> Secret {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::from(format!("{}:{}", encode(client_id), encode(secret.expose())));
    Secret::from(format!("Basic {}", STANDARD.encode(pair.expose())))
}

/// What the provider wrote is looked at and left behind: it may hold anything, a token included.
fn read(answer: &Response<Bytes>, now: UnixTime) -> Result<TokenAnswer, NoTokens> {
    if answer.status() != StatusCode::OK {
        let refused: Option<Refused> = serde_json::from_slice(answer.body()).ok();
        return Err(match refused.as_ref().map(|refused| refused.error.as_str()) {
            Some("invalid_grant") => NoTokens::Refused,
            Some("temporarily_unavailable" | "slow_down") => NoTokens::Failed(IdentityError::Unavailable {
                retry_after: None,
                source: None,
            }),
            Some("invalid_client" | "unauthorized_client") => failed(
                "its token endpoint does not take this server's client ID and secret or key; compare them with the client that \
                 is registered there",
            ),
            Some("unsupported_grant_type" | "invalid_request" | "invalid_scope") => failed(
                "its token endpoint does not take the request; compare callback URL, grant types and scopes with the client that \
                 is registered there",
            ),
            Some(_) | None if answer.status().is_redirection() => {
                failed("its token endpoint redirects to another place, which is not followed")
            }
            Some(_) | None => failed("its token endpoint refused the code; sign in again"),
        });
    }
    let granted: Granted =
        serde_json::from_slice(answer.body()).map_err(|_| failed("its token endpoint answered what is no token"))?;
    if !granted.token_type.eq_ignore_ascii_case("bearer") || granted.access_token.is_empty() {
        return Err(failed("its token is not a bearer token"));
    }
    let present = |text: &String| !text.is_empty();
    let mut tokens = UpstreamTokens::new(granted.access_token);
    tokens.expires_at = granted.expires_in.map(|seconds| now + Duration::from_secs(seconds));
    tokens.refresh_token = granted.refresh_token.filter(present).map(Secret::from);
    tokens.scope = granted.scope.filter(present);
    Ok(TokenAnswer {
        tokens,
        id_token: granted.id_token.filter(present).map(Secret::from),
    })
}

fn failed(what: &str) -> NoTokens {
    NoTokens::Failed(IdentityError::Unusable(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_basic_are_encoded_before_they_are_put_together() {
        let header = basic("a client:1", &"p%ss wörd".into());
        let encoded = header.expose().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), b"a+client%3A1:p%25ss+w%C3%B6rd");
    }
}
