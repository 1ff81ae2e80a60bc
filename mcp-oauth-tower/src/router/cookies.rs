//! The two cookies of a sign-in.
//!
//! One names the browser, from the consent page on; the other belongs to a single transaction and exists only after
//! consent. On https both have the `__Host-` prefix, so that no other host can set them; on a developer's http they
//! cannot.

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::transaction::{BrowserSecret, SignInSecret, TransactionId};

const BROWSER: &str = "mcp-oauth-browser";
const SIGN_IN: &str = "mcp-oauth-sign-in";

fn name(server: &AuthorizationServer, name: &str) -> String {
    if server.issuer().is_https() {
        format!("__Host-{name}")
    } else {
        name.to_owned()
    }
}

/// Several sign-ins may be on their way in one browser, so each has a cookie of its own. A part of the identifier
/// is enough to keep them apart, and keeps the header short.
fn sign_in_name(server: &AuthorizationServer, transaction: &TransactionId) -> String {
    let part: String = transaction.as_str().chars().take(12).collect();
    name(server, &format!("{SIGN_IN}-{part}"))
}

fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

fn write(server: &AuthorizationServer, name: String, value: &str, seconds: u64) -> Option<HeaderValue> {
    let mut cookie = Cookie::new(name, value.to_owned());
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(server.issuer().is_https());
    cookie.set_max_age(cookie::time::Duration::seconds(i64::try_from(seconds).unwrap_or(0)));
    HeaderValue::try_from(cookie.to_string()).ok()
}

pub(super) fn browser(server: &AuthorizationServer, headers: &HeaderMap) -> Option<String> {
    read(headers, &name(server, BROWSER))
}

pub(super) fn set_browser(server: &AuthorizationServer, secret: &BrowserSecret) -> Option<HeaderValue> {
    let seconds = server.transaction_lifetime().as_secs();
    write(server, name(server, BROWSER), secret.expose(), seconds)
}

pub(super) fn sign_in(
    server: &AuthorizationServer,
    headers: &HeaderMap,
    transaction: &TransactionId,
) -> Option<SignInSecret> {
    read(headers, &sign_in_name(server, transaction)).map(|value| SignInSecret::from_cookie(&value))
}

pub(super) fn set_sign_in(
    server: &AuthorizationServer,
    transaction: &TransactionId,
    secret: &SignInSecret,
) -> Option<HeaderValue> {
    let seconds = server.transaction_lifetime().as_secs();
    write(server, sign_in_name(server, transaction), secret.expose(), seconds)
}

pub(super) fn clear_sign_in(server: &AuthorizationServer, transaction: &TransactionId) -> Option<HeaderValue> {
    write(server, sign_in_name(server, transaction), "", 0)
}
