//! Not asking again what somebody has just been asked.
//!
//! A person may have this server remember a consent, where the operator lets them
//! ([`remember_consent`](super::builder::AuthorizationServerBuilder::remember_consent)). What is remembered is one answer to
//! one question: this person, this client, this redirect URI, these scopes, these resources. It is kept in a cookie that
//! this server has signed, in the browser that the consent was given in, and nowhere else. It saves a page and nothing more:
//! the person signs in as always, and if it turns out to be somebody else, they are asked.
//!
//! A consent is remembered for as long as the grant that came of it can be used. It is the *name* of that grant that the
//! cookie holds; each use looks the grant up and hands out a cookie for the new one, whose time does not begin anew. So
//! whatever ends the grant makes this server ask again, wherever the cookie is: the person at the account page, the client by
//! giving its token back, the operator, a token that was used twice, a mark that all of a person's or a client's is over. A
//! cookie cannot outlive a revocation, and no list of forgotten consents has to be kept.
//!
//! It is never offered
//!
//! * for a client that nobody answers for, unless its code goes to a host on the web: what comes back to a loopback address,
//!   or to a scheme of an app, comes to whichever program is there, and any program can say that it is the client;
//! * for a code that a person carries, and for devices: there, the page is what protects them.
//!
//! A client that wants the page shown sends `prompt=consent`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AuthorizationServer;
use crate::client::Client;
use crate::client::redirect_uri::{OUT_OF_BAND, RedirectUri};
use crate::clock::UnixTime;
use crate::grant::{Grant, GrantId};
use crate::jwt::verify::ExpectedType;
use crate::parameters::Parameters;
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::secret::{Secret, digest_name};
use crate::transaction::{AuthorizationRequest, Destination};

const COOKIE_TYPE: &str = "mcp-remembered-consent+jwt";

/// At most this many cookies of one browser are looked at, and should be kept: together they have to fit into a header.
pub const MAXIMUM_REMEMBERED: usize = 8;

/// A consent that a browser is to remember.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RememberedConsent {
    /// Names the question, and so the cookie: 43 characters of base64url. It is not secret.
    pub question: String,
    /// The value of the cookie.
    pub value: Secret,
    /// For how long.
    pub lifetime: Duration,
}

/// What a cookie says that is good.
#[derive(Clone, Debug)]
pub(super) struct Recalled {
    pub(super) subject: String,
    pub(super) provider: String,
    pub(super) until: UnixTime,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    grant: GrantId,
    question: String,
}

/// The name of what is asked: who asks, where the answer goes, how far and for what. The order of scopes and resources is no
/// part of it.
fn question(request: &AuthorizationRequest) -> Option<String> {
    let Destination::Client { redirect_uri, .. } = &request.destination else {
        return None;
    };
    let mut resources: Vec<&str> = request.resources.iter().map(ResourceUri::as_str).collect();
    let mut scopes: Vec<&str> = request.scopes.iter().map(Scope::as_str).collect();
    resources.sort_unstable();
    scopes.sort_unstable();
    // As JSON, so that no two questions are written the same.
    let parts = (request.client_id.as_str(), redirect_uri.as_str(), resources, scopes);
    serde_json::to_string(&parts).ok().map(|text| digest_name(&text))
}

impl AuthorizationServer {
    /// For how long a consent for this client, with the code sent there, may be remembered; `None` if not at all.
    pub(super) fn may_remember(&self, client: &Client, redirect_uri: &RedirectUri) -> Option<Duration> {
        let is_one_place = redirect_uri.is_on_the_web();
        let is_known = self.client_identity(client).is_verified() && redirect_uri.as_str() != OUT_OF_BAND;
        self.0.remember_consent.filter(|_| is_one_place || is_known)
    }

    /// Looks for a remembered consent among the cookies of a browser. Whatever is wrong with them, or with the store, the
    /// person is asked.
    pub(super) async fn recall(
        &self,
        request: &AuthorizationRequest,
        parameters: &Parameters,
        cookies: &[Secret],
    ) -> Option<Recalled> {
        if asks_for_a_page(parameters) {
            return None;
        }
        let question = question(request)?;
        for cookie in cookies.iter().take(MAXIMUM_REMEMBERED) {
            let read = self.verify_own_jwt::<Claims>(cookie.expose(), ExpectedType::REMEMBERED_CONSENT);
            let Ok(Some((claims, until))) = read.await else {
                continue;
            };
            if claims.question != question {
                continue;
            }
            let grant = self.load_grant(&claims.grant).await.ok().flatten()?.record;
            let is_theirs = grant.identity.subject() == claims.sub && grant.client_id == request.client_id;
            if !is_theirs || grant.has_ended() || self.is_over(&grant).await.unwrap_or(true) {
                return None;
            }
            return Some(Recalled {
                subject: claims.sub,
                provider: grant.identity.provider,
                until,
            });
        }
        None
    }

    /// What a browser is to keep of a consent that led to this grant.
    pub(super) async fn remember(
        &self,
        request: &AuthorizationRequest,
        grant: &Grant,
        until: UnixTime,
    ) -> Option<RememberedConsent> {
        let question = question(request)?;
        let lifetime = until.since(self.now());
        if lifetime.is_zero() {
            return None;
        }
        let claims = Claims {
            sub: grant.identity.subject(),
            grant: grant.id.clone(),
            question: question.clone(),
        };
        // Without the cookie the person is asked again, which is no reason to fail.
        let value = self.sign_own(COOKIE_TYPE, claims, until).await.ok()?;
        Some(RememberedConsent {
            question,
            value,
            lifetime,
        })
    }

    /// The authorization request again, with a page in any case.
    pub(super) fn ask_again(&self, request: &AuthorizationRequest) -> Option<String> {
        let Destination::Client {
            redirect_uri,
            state,
            code_challenge,
        } = &request.destination
        else {
            return None;
        };
        let mut url = self.issuer().endpoint("/authorize");
        {
            let mut pairs = url.query_pairs_mut();
            pairs
                .append_pair("response_type", "code")
                .append_pair("client_id", request.client_id.as_str())
                .append_pair("redirect_uri", redirect_uri.as_str())
                .append_pair("code_challenge", &code_challenge.to_string())
                .append_pair("code_challenge_method", "S256")
                .append_pair("scope", &request.scopes.to_string())
                .append_pair("prompt", "consent");
            for resource in &request.resources {
                pairs.append_pair("resource", resource.as_str());
            }
            if let Some(state) = state {
                pairs.append_pair("state", &state.0);
            }
        }
        Some(url.into())
    }
}

/// Whether the client wants the person to see something (OpenID Connect Core §3.1.2.1).
fn asks_for_a_page(parameters: &Parameters) -> bool {
    let wanted = parameters.get("prompt").ok().flatten().unwrap_or_default();
    wanted
        .split(' ')
        .any(|word| matches!(word, "consent" | "login" | "select_account"))
}
