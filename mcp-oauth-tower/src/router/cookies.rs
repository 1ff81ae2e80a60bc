//! The two cookies of a sign-in, and those of a person at their own pages.
//!
//! One says which browser saw the consent page; the other exists only after consent and is what the callback asks
//! for. Each transaction has its own two, since several may be on their way in one browser at the same time. On
//! https both have the `__Host-` prefix, so that no other host can set them; on a developer's http they cannot.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::remembered_consent::{MAXIMUM_REMEMBERED, RememberedConsent};
use mcp_oauth_core::server::session::{SESSION_LIFETIME, SessionTicket};
use mcp_oauth_core::transaction::{BrowserSecret, SignInSecret, TransactionId};

const BROWSER: &str = "mcp-oauth-browser";
const SIGN_IN: &str = "mcp-oauth-sign-in";
const TICKET: &str = "mcp-oauth-session-ticket";
const SESSION: &str = "mcp-oauth-session";
const CONSENT: &str = "mcp-oauth-consent";

/// What stands in front of a cookie's name.
fn prefix(server: &AuthorizationServer) -> &'static str {
    if server.issuer().is_https() { "__Host-" } else { "" }
}

/// A part of the transaction's identifier is enough to keep cookies apart, and keeps the header short.
fn name(server: &AuthorizationServer, kind: &str, transaction: &TransactionId) -> String {
    let prefix = prefix(server);
    let part: String = transaction.as_str().chars().take(12).collect();
    format!("{prefix}{kind}-{part}")
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

fn write(server: &AuthorizationServer, name: String, value: &str, lifetime: Duration) -> Option<HeaderValue> {
    let mut cookie = Cookie::new(name, value.to_owned());
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(server.issuer().is_https());
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    cookie.set_max_age(cookie::time::Duration::seconds(seconds));
    HeaderValue::try_from(cookie.to_string()).ok()
}

pub(super) fn browser(
    server: &AuthorizationServer,
    headers: &HeaderMap,
    transaction: &TransactionId,
) -> Option<BrowserSecret> {
    read(headers, &name(server, BROWSER, transaction)).map(|value| BrowserSecret::from_cookie(&value))
}

pub(super) fn sign_in(
    server: &AuthorizationServer,
    headers: &HeaderMap,
    transaction: &TransactionId,
) -> Option<SignInSecret> {
    read(headers, &name(server, SIGN_IN, transaction)).map(|value| SignInSecret::from_cookie(&value))
}

/// The browser's cookie, for as long as the transaction lives from now on.
pub(super) fn set_browser(
    server: &AuthorizationServer,
    transaction: &TransactionId,
    secret: &BrowserSecret,
) -> Option<HeaderValue> {
    let name = name(server, BROWSER, transaction);
    write(server, name, secret.expose(), server.transaction_lifetime())
}

/// The cookie of an approved sign-in.
pub(super) fn set_sign_in(
    server: &AuthorizationServer,
    transaction: &TransactionId,
    secret: &SignInSecret,
) -> Option<HeaderValue> {
    let name = name(server, SIGN_IN, transaction);
    write(server, name, secret.expose(), server.transaction_lifetime())
}

/// Takes both cookies away, when the transaction is over.
pub(super) fn clear(server: &AuthorizationServer, transaction: &TransactionId) -> Vec<HeaderValue> {
    let clear = |kind| write(server, name(server, kind, transaction), "", Duration::ZERO);
    [BROWSER, SIGN_IN].into_iter().filter_map(clear).collect()
}

/// The ticket of somebody who went to sign in for themselves.
pub(super) fn ticket(
    server: &AuthorizationServer,
    headers: &HeaderMap,
    sign_in: &TransactionId,
) -> Option<SessionTicket> {
    read(headers, &name(server, TICKET, sign_in)).map(|value| SessionTicket::from_cookie(&value))
}

/// The same, on the way out.
pub(super) fn set_ticket(
    server: &AuthorizationServer,
    sign_in: &TransactionId,
    ticket: &SessionTicket,
) -> Option<HeaderValue> {
    let name = name(server, TICKET, sign_in);
    write(server, name, ticket.expose(), server.transaction_lifetime())
}

/// Takes the ticket away.
pub(super) fn clear_ticket(server: &AuthorizationServer, sign_in: &TransactionId) -> Option<HeaderValue> {
    write(server, name(server, TICKET, sign_in), "", Duration::ZERO)
}

fn session_name(server: &AuthorizationServer) -> String {
    format!("{}{SESSION}", prefix(server))
}

/// The session of a person at their own pages. Not `SameSite=Strict`: browsers would not send it along the way back from
/// the identity provider.
pub(super) fn session(server: &AuthorizationServer, headers: &HeaderMap) -> Option<Secret> {
    read(headers, &session_name(server)).map(Secret::from)
}

/// The same, when they have signed in.
pub(super) fn set_session(server: &AuthorizationServer, session: &Secret) -> Option<HeaderValue> {
    write(server, session_name(server), session.expose(), SESSION_LIFETIME)
}

/// Takes the session away.
pub(super) fn clear_session(server: &AuthorizationServer) -> Option<HeaderValue> {
    write(server, session_name(server), "", Duration::ZERO)
}

/// The cookies of remembered consents: names and values.
fn all_remembered(server: &AuthorizationServer, headers: &HeaderMap) -> Vec<(String, String)> {
    let prefix = format!("{}{CONSENT}-", prefix(server));
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = cookies.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies
        .filter(|cookie| cookie.name().starts_with(&prefix))
        .map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned()))
        .collect()
}

/// What this browser remembers.
pub(super) fn remembered(server: &AuthorizationServer, headers: &HeaderMap) -> Vec<Secret> {
    if server.remembers_consent().is_none() {
        return Vec::new();
    }
    let remembered = all_remembered(server, headers).into_iter();
    remembered.map(|(_, value)| Secret::from(value)).collect()
}

/// Has the browser remember a consent, in place of another one if it remembers as many as it may.
pub(super) fn remember(
    server: &AuthorizationServer,
    headers: &HeaderMap,
    consent: &RememberedConsent,
) -> Vec<HeaderValue> {
    let question: String = consent.question.chars().take(12).collect();
    let name = format!("{}{CONSENT}-{question}", prefix(server));
    let others: Vec<_> = all_remembered(server, headers)
        .into_iter()
        .filter(|(known, _)| *known != name)
        .collect();
    let too_many = (others.len() + 1).saturating_sub(MAXIMUM_REMEMBERED);
    let forgotten = others
        .into_iter()
        .take(too_many)
        .filter_map(|(name, _)| write(server, name, "", Duration::ZERO));
    let kept = write(server, name, consent.value.expose(), consent.lifetime);
    forgotten.chain(kept).collect()
}

/// Has the browser forget every consent that it remembers.
pub(super) fn forget_all(server: &AuthorizationServer, headers: &HeaderMap) -> Vec<HeaderValue> {
    let remembered = all_remembered(server, headers).into_iter();
    remembered
        .filter_map(|(name, _)| write(server, name, "", Duration::ZERO))
        .collect()
}
