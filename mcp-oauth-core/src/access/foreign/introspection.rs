//! Asking an authorization server about a token (RFC 7662).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::{Map, Value};
use url::Url;

use super::ForeignError;
use super::issuer::Introspection;
use crate::fetch::Fetcher;
use crate::members::Members;
use crate::secret::Secret;
use crate::token::verify::TokenRefused;

/// What the server says of a token that is active. Only the word `true` says so (RFC 7662 §2.2).
pub(super) async fn ask(
    fetcher: &Fetcher,
    endpoint: &Url,
    introspection: &Introspection,
    token: &Secret,
) -> Result<Map<String, Value>, ForeignError> {
    let (authorization, form) = request(introspection, token);
    let answer = fetcher
        .post_form(endpoint, authorization, form)
        .await
        .map_err(ForeignError::Introspection)?;
    let Ok(Members(said)) = serde_json::from_slice(&answer.body) else {
        return Err(TokenRefused::Malformed.into());
    };
    match said.get("active") {
        Some(Value::Bool(true)) => Ok(said),
        Some(Value::Bool(false)) => Err(TokenRefused::Revoked.into()),
        _ => Err(TokenRefused::Malformed.into()),
    }
}

/// The form, and the header in which the client proves itself unless it does so in the form.
fn request(introspection: &Introspection, token: &Secret) -> (Option<HeaderValue>, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", token.expose())
        .append_pair("token_type_hint", "access_token");
    let (client_id, client_secret) = (&introspection.client_id, introspection.client_secret.expose());
    let authorization = if introspection.in_body {
        form.append_pair("client_id", client_id)
            .append_pair("client_secret", client_secret);
        None
    } else {
        Some(basic(client_id, client_secret))
    };
    (authorization, form.finish())
}

/// Both parts are encoded as in a form before they are put together (RFC 6749 §2.3.1).
fn basic(client_id: &str, client_secret: &str) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let both = STANDARD.encode(format!("{}:{}", encode(client_id), encode(client_secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {both}")).expect("base64 is text that a header can have");
    value.set_sensitive(true);
    value
}
