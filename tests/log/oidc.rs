//! Signing in with OpenID Connect, well and badly, and a vault that keeps what came of it, against a stand-in that repeats
//! every secret in its failures.

use std::time::Duration;

use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Answer, Application};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tests::signing::Signer;
use mcp_oauth_tower::{KeySealing, MemoryStore, OpenIdConnect};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::capture::Log;
use crate::journey;
use crate::secrets::Secrets;

/// What one sign-in has of the provider's.
struct Upstream {
    provider: MockServer,
    signer: Signer,
    application: Application,
    client: Client,
    browser: Browser,
    state: String,
    nonce: String,
    code: String,
    tokens: [String; 2],
}

impl Upstream {
    /// Somebody has consented and stands at the provider's door.
    async fn begin(secrets: &mut Secrets) -> Self {
        let (provider, signer) = (MockServer::start().await, Signer::new("k1"));
        let issuer = provider.uri();
        let document = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "jwks_uri": format!("{issuer}/jwks"),
            "token_endpoint": format!("{issuer}/token"), "userinfo_endpoint": format!("{issuer}/me"),
        });
        for (at, body) in [
            ("/.well-known/openid-configuration", document),
            ("/jwks", signer.jwks()),
        ] {
            answers(&provider, at, ResponseTemplate::new(200).set_body_json(body)).await;
        }
        let acme = OpenIdConnect::new("acme", issuer, "gateway").unwrap();
        let clock = ManualClock::default();
        let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
        let acme = acme
            .client_secret(secrets.made_up("secret of the gateway"))
            .ask_for_refresh_token()
            .clock(clock.clone());
        let sealing = KeySealing::new(&Secret::from(secrets.made_up("secret of the vault"))).unwrap();
        let application = Application::with(store, clock, |builder| {
            let builder = builder.audit(Log::of_this_process().clone());
            builder.identity(acme).vault(sealing)
        });
        let client = Client::confidential(&application).await;
        let mut browser = Browser::default();
        let consent = journey::open(secrets, &application, &client, &mut browser).await;
        let approved = browser.decide(&application, &consent, "approve").await;
        secrets.cookies(&browser);
        let away: Url = approved.header("location").parse().unwrap();
        let parameter = |name: &str| {
            let found = away.query_pairs().find(|(known, _)| known == name);
            found.unwrap().1.into_owned()
        };
        let (state, nonce) = (parameter("state"), parameter("nonce"));
        secrets.add("upstream state", &state);
        secrets.add("upstream nonce", &nonce);
        Self {
            provider,
            signer,
            application,
            client,
            browser,
            state,
            nonce,
            code: secrets.made_up("upstream code"),
            tokens: ["access", "refresh"].map(|kind| secrets.made_up(&format!("upstream {kind} token"))),
        }
    }

    /// Tokens, and an ID token with some claims changed.
    async fn gives(&self, secrets: &mut Secrets, changes: &Value) {
        let now = self.application.clock.now().as_seconds();
        let mut claims = json!({
            "iss": self.provider.uri(), "aud": "gateway", "sub": "U1", "iat": now, "exp": now + 300, "nonce": self.nonce,
        });
        mcp_oauth_tests::signing::change(&mut claims, changes);
        let id_token = self.signer.sign(&json!({"alg": "EdDSA", "kid": "k1"}), &claims);
        secrets.add("ID token", &id_token);
        let [access, refresh] = &self.tokens;
        let tokens = json!({
            "access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": 60, "id_token": id_token,
        });
        answers(
            &self.provider,
            "/token",
            ResponseTemplate::new(200).set_body_json(tokens),
        )
        .await;
    }

    fn echo(&self) -> String {
        format!("{} {} {} {}", self.code, self.state, self.nonce, self.tokens.join(" "))
    }

    async fn comes_back(&mut self) -> Answer {
        let callback = format!("/callback?state={}&code={}", self.state, self.code);
        self.browser.open(&self.application, &callback).await
    }
}

async fn answers(provider: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(path(at)).respond_with(answer).mount(provider).await;
}

/// As it should go; and then the provider is asked again with what the vault keeps, and fails, and refuses.
pub(crate) async fn signing_in(secrets: &mut Secrets) {
    let mut upstream = Upstream::begin(secrets).await;
    upstream.gives(secrets, &json!({})).await;
    let code = arrival(&upstream.comes_back().await).code();
    secrets.behind_the_dot("code", &code);
    let redeemed = upstream.client.redeem(&upstream.application, &code, &[]).await;
    let mut tokens = secrets.tokens(&redeemed);
    for (status, error) in [
        (503, "temporarily_unavailable"),
        (400, "something"),
        (400, "invalid_grant"),
    ] {
        upstream.application.clock.advance(Duration::from_secs(16 * 60));
        upstream.provider.reset().await;
        let body = json!({"error": error, "error_description": upstream.echo()});
        answers(
            &upstream.provider,
            "/token",
            ResponseTemplate::new(status).set_body_json(body),
        )
        .await;
        let answer = upstream
            .client
            .refresh(&upstream.application, &tokens.refresh_token, &[])
            .await;
        if error == "invalid_grant" {
            assert_eq!(answer.error(), "invalid_grant");
        } else {
            tokens = secrets.tokens(&answer);
        }
    }
}

/// A provider that fails, and that says every secret it was told while it does.
pub(crate) async fn failures(secrets: &mut Secrets) {
    for status in [200, 302, 400, 401, 403, 429, 500, 503] {
        let mut upstream = Upstream::begin(secrets).await;
        let echo = upstream.echo();
        let answer = ResponseTemplate::new(status)
            .insert_header("location", format!("http://127.0.0.1:9/{}", upstream.code))
            .set_body_json(json!({"error": "invalid_client", "error_description": echo}));
        answers(&upstream.provider, "/token", answer).await;
        assert!(upstream.comes_back().await.status.as_u16() >= 500, "{status}");
    }
    for wrong in [
        json!({"nonce": "of somebody else"}),
        json!({"aud": "other"}),
        json!({"exp": 1}),
        json!({"iss": "x"}),
    ] {
        let mut upstream = Upstream::begin(secrets).await;
        upstream.gives(secrets, &wrong).await;
        assert!(upstream.comes_back().await.status.as_u16() >= 500, "{wrong}");
    }
}
