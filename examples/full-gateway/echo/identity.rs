//! Who calls, and how that is known.
//!
//! All of it comes from the access token, but no tool here has seen one. The layer in front verified the token, took
//! it off the request and left the claims; what it left is shown as verified, and identity that headers claim is shown
//! as hearsay.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use mcp_oauth_tower::Caller;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::JsonSchema;
use rmcp::{tool, tool_router};
use serde::Deserialize;

use super::masking;
use super::report::{Report, duration, moment, one_line};
use super::{Call, EchoServer};

/// The verified claims, as text. A [`Caller`] comes from a layer alone; these can be made up in tests.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) username: Option<String>,
    pub(super) name: Option<String>,
    pub(super) client_id: String,
    pub(super) scopes: String,
    pub(super) resource: String,
    pub(super) issuer: String,
    pub(super) grant: String,
    pub(super) issued_at: u64,
    pub(super) expires_at: u64,
}

impl From<&Caller> for Claims {
    fn from(caller: &Caller) -> Self {
        Self {
            subject: caller.subject().to_owned(),
            username: caller.username().map(str::to_owned),
            name: caller.name().map(str::to_owned),
            client_id: caller.client_id().to_owned(),
            scopes: caller.scopes().to_string(),
            resource: caller.resource().to_string(),
            issuer: caller.issuer().to_owned(),
            grant: caller.grant().unwrap_or_default().to_owned(),
            issued_at: caller.issued_at().unwrap_or(caller.expires_at()).as_seconds(),
            expires_at: caller.expires_at().as_seconds(),
        }
    }
}

impl Claims {
    /// What a proxy says that has asked the gateway about the request; nothing where it names nobody.
    pub(super) fn by_headers(headers: &HeaderMap) -> Option<Self> {
        let value = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let (value, None) = (values.next()?, values.next()) else {
                return None;
            };
            let value = percent_encoding::percent_decode(value.as_bytes())
                .decode_utf8_lossy()
                .into_owned();
            (!value.is_empty()).then_some(value)
        };
        let expires_at = value("x-token-expires")
            .and_then(|expires| expires.parse().ok())
            .unwrap_or(0);
        Some(Self {
            subject: value("x-user-id")?,
            username: value("x-user-name"),
            name: value("x-user-display-name"),
            client_id: value("x-client-id").unwrap_or_default(),
            scopes: value("x-scopes").unwrap_or_default(),
            resource: value("x-resource").unwrap_or_default(),
            issuer: value("x-issuer").unwrap_or_default(),
            grant: value("x-grant-id").unwrap_or_default(),
            // No header says when.
            issued_at: expires_at,
            expires_at,
        })
    }

    /// What to call the person.
    fn called(&self) -> &str {
        self.name
            .as_deref()
            .or(self.username.as_deref())
            .unwrap_or(&self.subject)
    }

    /// How much longer the token is good.
    pub(super) fn left(&self, now: u64) -> String {
        match self.expires_at.checked_sub(now) {
            // A request may be under way while its token expires.
            None | Some(0) => "none, it has expired".to_owned(),
            Some(left) => duration(Duration::from_secs(left)),
        }
    }

    fn person(&self, report: Report) -> Report {
        report
            .section("Person")
            .line("subject (sub)", &self.subject)
            .optional("user name", self.username.as_ref())
            .optional("name", self.name.as_ref())
    }

    fn reach(&self, report: Report) -> Report {
        report
            .section("Reach")
            .line("client (client_id)", &self.client_id)
            .line("scopes", &self.scopes)
            .line("resource (aud)", &self.resource)
            .line("issuer (iss)", &self.issuer)
            .line("grant", &self.grant)
    }
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn bearer_analysis(claims: &Claims, now: u64, include_raw: bool) -> String {
    let mut report = Report::new("Bearer Token Analysis")
        .section("Status")
        .remark("The token was verified (signature, issuer, resource, times, revocation) before the request came here.")
        .remark("It was then taken off the request: no tool sees it, so none can leak it or pass it on.");
    if include_raw {
        report =
            report.remark("includeRaw: refused, because there is no raw token here. These are the verified claims.");
    }
    let report = claims.reach(claims.person(report));
    report
        .section("Times")
        .line("issued (iat)", moment(claims.issued_at))
        .line("expires (exp)", moment(claims.expires_at))
        .line(
            "lifetime",
            duration(Duration::from_secs(claims.expires_at.saturating_sub(claims.issued_at))),
        )
        .line("left", claims.left(now))
        .finish()
}

/// Headers that say who somebody is.
fn claims_identity(name: &str) -> bool {
    name.starts_with("x-user-")
        || name.starts_with("x-auth-")
        || name.starts_with("x-forwarded-user")
        || name == "remote-user"
}

fn auth_context(call: &Call, now: u64) -> String {
    let headers = &call.headers;
    let mut report = Report::new("Authentication Context Analysis").section("Bearer token");
    report = match &call.claims {
        Some(claims) => {
            let report = report.line("verified", "yes").line("left", claims.left(now));
            claims.reach(claims.person(report))
        }
        None if call.behind_a_proxy => report.line("verified", "no: the proxy in front names nobody"),
        None => report.line("verified", "no: no OAuthLayer is in front of this server"),
    };
    let hearsay: Vec<_> = headers
        .iter()
        .filter(|(name, _)| claims_identity(name.as_str()))
        .map(|(name, value)| (name.as_str(), masking::header(name.as_str(), value)))
        .collect();
    report = report.section("Identity headers");
    report = if hearsay.is_empty() {
        report.remark("none")
    } else {
        let who = if call.behind_a_proxy {
            "The proxy in front wrote these, from what the gateway has told it."
        } else {
            "Whoever sent the request wrote these. The person above is who the token was issued to."
        };
        report.remark(who).lines(hearsay)
    };
    let cookies = text(headers, &header::COOKIE).map(masking::cookie_names);
    let origin = text(headers, &header::ORIGIN);
    let warnings = warnings(call);
    report = report
        .section("Session")
        .optional("session", call.session().map(masking::session))
        .optional(
            "client",
            call.client.as_ref().map(|(name, version)| format!("{name} {version}")),
        )
        .optional("protocol version", call.protocol.as_ref())
        .section("Browser")
        .optional("cookies", cookies)
        .optional("origin", origin)
        .section("Security status");
    if warnings.is_empty() {
        return report
            .remark("ok: the caller is verified, and the request carries nothing that it should not.")
            .finish();
    }
    warnings
        .into_iter()
        .fold(report, |report, warning| report.line("warning", warning))
        .finish()
}

fn warnings(call: &Call) -> Vec<&'static str> {
    let headers = &call.headers;
    let found = [
        (call.claims.is_none(), "nobody was verified"),
        (
            headers.contains_key(header::AUTHORIZATION),
            "the request still carries its Authorization header",
        ),
        (
            !call.behind_a_proxy && headers.keys().any(|name| claims_identity(name.as_str())),
            "identity headers came in that nothing vouches for",
        ),
        (
            headers.contains_key(header::COOKIE),
            "cookies came in, and MCP has no use for them",
        ),
    ];
    found
        .into_iter()
        .filter(|(found, _)| *found)
        .map(|(_, warning)| warning)
        .collect()
}

/// A header's text.
fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn greatest_of_all_time(claims: &Claims) -> String {
    let name = one_line(claims.called(), 64);
    format!(
        "Who is the GOAT?\n\n\
         A committee of one server deliberated for several microseconds. Its minutes, in full:\n\
         1. {name} came all the way through discovery, registration, consent and a code exchange, just to ask.\n\
         2. Nobody else is in this session, which narrowed the field.\n\
         3. The signature checked out. The committee was impressed.\n\n\
         Decision: it is {name}. Unanimously. The title is good until the token expires.\n"
    )
}

/// The arguments of `bearerDecode`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(crate = "rmcp::schemars")]
struct BearerDecode {
    /// Ask for the token itself. There is none to show; the result says why.
    #[serde(default)]
    include_raw: bool,
}

#[tool_router(router = identity_tools, vis = "pub(super)")]
impl EchoServer {
    #[tool(
        name = "bearerDecode",
        description = "Shows the verified claims of the access token that came with this request: person, client, \
                       scopes, resource, issuer, grant and times. The token itself is never shown.",
        annotations(title = "Bearer token analysis", read_only_hint = true, open_world_hint = false)
    )]
    fn bearer_decode(
        Extension(call): Extension<Call>,
        Parameters(arguments): Parameters<BearerDecode>,
    ) -> Result<String, String> {
        Ok(bearer_analysis(call.claims()?, now(), arguments.include_raw))
    }

    #[tool(
        name = "authContext",
        description = "Shows how this request is authenticated: the verified caller, identity headers, session, \
                       cookies and origin, with a security status.",
        annotations(title = "Authentication context", read_only_hint = true, open_world_hint = false)
    )]
    fn auth_context(Extension(call): Extension<Call>) -> String {
        auth_context(&call, now())
    }

    #[tool(
        name = "whoIStheGOAT",
        description = "Settles who the greatest of all time is.",
        annotations(title = "Who is the GOAT", read_only_hint = true, open_world_hint = false)
    )]
    fn who_is_the_goat(Extension(call): Extension<Call>) -> Result<String, String> {
        Ok(greatest_of_all_time(call.claims()?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use http::HeaderValue;

    use super::*;

    pub(in crate::echo) fn ada() -> Claims {
        Claims {
            subject: "development:ada".to_owned(),
            username: Some("ada".to_owned()),
            name: Some("Ada Lovelace".to_owned()),
            client_id: "client-1".to_owned(),
            scopes: "mcp notes".to_owned(),
            resource: "https://mcp.example.com/echo/mcp".to_owned(),
            issuer: "https://auth.example.com".to_owned(),
            grant: "grant-1".to_owned(),
            issued_at: 1_000_000,
            expires_at: 1_003_600,
        }
    }

    #[test]
    fn every_claim_is_shown() {
        let text = bearer_analysis(&ada(), 1_003_000, false);
        assert!(text.starts_with("Bearer Token Analysis\n"));
        for line in [
            "subject (sub): development:ada",
            "client (client_id): client-1",
            "scopes: mcp notes",
            "resource (aud): https://mcp.example.com/echo/mcp",
            "issuer (iss): https://auth.example.com",
            "grant: grant-1",
            "issued (iat): 1970-01-12 13:46:40 UTC",
            "lifetime: 1 h 0 min",
            "left: 10 min 0 s",
        ] {
            assert!(text.contains(line), "{line} is missing from {text}");
        }
        assert!(!text.contains("includeRaw"));
    }

    #[test]
    fn a_raw_token_is_refused() {
        assert!(bearer_analysis(&ada(), 0, true).contains("includeRaw: refused"));
    }

    #[test]
    fn an_expired_token_has_nothing_left() {
        assert_eq!(ada().left(1_003_600), "none, it has expired");
        assert_eq!(ada().left(u64::MAX), "none, it has expired");
    }

    #[test]
    fn a_clean_request_is_ok() {
        let call = Call {
            claims: Some(ada()),
            ..Call::default()
        };
        let text = auth_context(&call, 1_003_000);
        assert!(text.starts_with("Authentication Context Analysis\n"));
        assert!(
            text.contains("verified: yes") && text.contains("ok: the caller is verified"),
            "{text}"
        );
    }

    #[test]
    fn identity_headers_are_hearsay() {
        let mut call = Call {
            claims: Some(ada()),
            ..Call::default()
        };
        call.headers.insert("x-user-id", HeaderValue::from_static("grace"));
        call.headers.insert("x-auth-token", HeaderValue::from_static("hunter2"));
        call.headers.insert("cookie", HeaderValue::from_static("id=hunter2"));
        let text = auth_context(&call, 1_003_000);
        assert!(
            text.contains("x-user-id: grace") && text.contains("nothing vouches for"),
            "{text}"
        );
        assert!(
            text.contains("subject (sub): development:ada") && text.contains("cookies: id\n"),
            "{text}"
        );
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn a_missing_layer_is_noticed() {
        let call = Call::default();
        assert!(auth_context(&call, 0).contains("warning: nobody was verified"));
        assert!(call.claims().unwrap_err().contains("OAuthLayer"));
    }

    #[test]
    fn the_greatest_is_whoever_asks() {
        assert!(greatest_of_all_time(&ada()).contains("it is Ada Lovelace."));
        let nameless = Claims {
            name: None,
            username: None,
            ..ada()
        };
        assert!(greatest_of_all_time(&nameless).contains("it is development:ada."));
    }
}
