//! A flood of requests by nobody in particular, and somebody who should not notice.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::MemoryStore;
use mcp_oauth_store::memory::Bounds;

use crate::application::{Answer, Application, ISSUER, NOTES, request};
use crate::client::{Client, Tokens, public_metadata};
use crate::failing_store::FailingStore;

/// How often each status was answered.
pub type Statuses = BTreeMap<u16, usize>;

/// A server with a client that was there before the flood, and that somebody has signed in with.
#[derive(Debug)]
pub struct Flooded {
    /// The server.
    pub application: Application,
    /// The bounds of its store.
    pub bounds: Bounds,
    /// Its client.
    pub client: Client,
    management: (String, String),
    tokens: Tokens,
}

impl Flooded {
    /// A server whose store has these bounds. Where its requests come from is not known, so that nothing but what
    /// counts for everybody keeps a flood out.
    pub async fn new(
        bounds: Bounds,
        limits: Limits,
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let clock = ManualClock::default();
        let store = FailingStore::new(MemoryStore::with_bounds(bounds).with_clock(clock.clone()));
        let application = Application::with(store, clock, |builder| configure(builder.limits(limits)));
        let mut metadata = public_metadata();
        metadata["token_endpoint_auth_method"] = "client_secret_basic".into();
        let registered = application.post_json("/register", &metadata).await.json();
        let text = |name: &str| registered[name].as_str().expect("a member").to_owned();
        let client = Client {
            client_id: text("client_id"),
            client_secret: Some(text("client_secret")),
            verifier: "v".repeat(43),
        };
        let tokens = client.sign_in(&application, "ada").await;
        let management = (text("registration_client_uri"), text("registration_access_token"));
        Self {
            application,
            bounds,
            client,
            management,
            tokens,
        }
    }

    /// Opens the authorization endpoint this often, in a browser that never comes back.
    pub async fn authorize(&self, times: usize) -> Statuses {
        let url = self.client.authorization_url(&[]);
        let mut statuses = Statuses::new();
        for _ in 0..times {
            let answer = self.application.get(&url).await;
            *statuses.entry(answer.status.as_u16()).or_default() += 1;
        }
        statuses
    }

    /// Registers the same client this often.
    pub async fn register(&self, times: usize) -> Statuses {
        let metadata = public_metadata();
        let mut statuses = Statuses::new();
        for _ in 0..times {
            let answer = self.application.post_json("/register", &metadata).await;
            *statuses.entry(answer.status.as_u16()).or_default() += 1;
        }
        statuses
    }

    /// How many records of a kind the store holds.
    #[must_use]
    pub fn records(&self, kind: Kind) -> usize {
        self.application.store.inner().count_of(kind)
    }

    /// The client and its grant are as they were: it reads its registration, its access token is good, it refreshes.
    pub async fn assert_untouched(&mut self) {
        let (uri, token) = &self.management;
        let path = uri.strip_prefix(ISSUER).expect("a URI of the issuer");
        let bearer = format!("Bearer {token}");
        let read = request(Method::GET, path, &[("authorization", &bearer)], "");
        assert_eq!(self.application.send(read).await.status, 200);
        let call = self.application.call(NOTES, &self.tokens.access_token).await;
        assert_eq!(call.status, 200);
        self.renew().await;
    }

    /// Gets new tokens, as a client does whose access token has run out.
    pub async fn renew(&mut self) {
        let refreshed = self
            .client
            .refresh(&self.application, &self.tokens.refresh_token, &[])
            .await;
        self.tokens = Tokens::of(&refreshed);
    }

    /// What somebody sees who wants to sign in now.
    pub async fn somebody_signs_in(&self) -> Answer {
        self.application.get(&self.client.authorization_url(&[])).await
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        self.application.clock.advance(time);
    }
}
