//! People who sign in at a server over a Redis, and the clients that they use.

use std::sync::Arc;

use mcp_oauth_core::clock::{Clock as _, SystemClock};
use mcp_oauth_core::identity::development::DevIdentity;
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::access::{ConfirmError, VerifiedToken};
use mcp_oauth_core::server::callback::CallbackOutcome;
use mcp_oauth_core::server::consent::ConsentOutcome;
use mcp_oauth_core::server::token::{TokenError, TokenResponse};
use mcp_oauth_core::store::Store;
use mcp_oauth_core::token::keys::{KeyRotation, KeySealing};
use mcp_oauth_core::transaction::Decision;

pub(crate) const RESOURCE: &str = "http://127.0.0.1:8080/mcp";
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:9999/callback";

/// A server whose keys are in its store, sealed with a secret that no other has.
pub(crate) fn server(store: Arc<dyn Store>) -> AuthorizationServer {
    let sealing = KeySealing::new(&Secret::random()).unwrap();
    AuthorizationServer::builder("http://127.0.0.1:8080")
        .resource(Resource::new(RESOURCE).unwrap())
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .limits(Limits::unlimited())
        .stored_keys(sealing, KeyRotation::default())
        .shared_store(store)
        .build()
        .unwrap()
}

fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parameters {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.into_iter().map(owned).collect()
}

/// A client with a secret.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    verifier: CodeVerifier,
}

impl Client {
    pub(crate) fn known(id: &str, secret: Secret) -> Self {
        Self {
            id: id.to_owned(),
            secret,
            verifier: Secret::random().expose().parse().unwrap(),
        }
    }

    pub(crate) async fn register(server: &AuthorizationServer) -> Self {
        let origin = Origin::unknown();
        let registration = serde_json::json!({
            "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_post",
        });
        let admitted = server.admit_registration(None, &origin).await.unwrap();
        let registered = server
            .register(registration.to_string().as_bytes(), admitted, &origin)
            .await;
        let registered = registered.unwrap();
        let shown = serde_json::to_value(&registered).unwrap();
        let secret = shown["client_secret"].as_str().expect("it is shown");
        Self::known(registered.client_id.as_str(), Secret::from(secret))
    }

    /// Signs somebody in.
    pub(crate) async fn sign_in(
        &self,
        server: &AuthorizationServer,
        person: &str,
        redirect_uri: &str,
    ) -> Result<TokenResponse, TokenError> {
        let (origin, challenge) = (Origin::unknown(), CodeChallenge::of(&self.verifier).to_string());
        let request = form([
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", redirect_uri),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let prompt = server.authorize(&request, &origin).await.unwrap();
        let consent = server.consent(&prompt.transaction, Decision::Approve, Some(&prompt.browser), &origin);
        let ConsentOutcome::SignIn { location, sign_in } = consent.await.unwrap() else {
            panic!("approving leads to the identity provider");
        };
        let state = query(location.as_str(), "state").parse().unwrap();
        let returned = form([("code", person)]);
        let returned = server.callback(&state, &returned, Some(&sign_in), &origin).await;
        let CallbackOutcome::Client(redirect) = returned.unwrap() else {
            panic!("whoever is identified goes back to the client");
        };
        let code = query(redirect.location(), "code");
        let redemption = form([
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_id", &self.id),
            ("client_secret", self.secret.expose()),
            ("code_verifier", self.verifier.expose()),
        ]);
        server.token(&redemption, None, &origin).await
    }

    pub(crate) async fn refresh(
        &self,
        server: &AuthorizationServer,
        token: &Secret,
    ) -> Result<TokenResponse, TokenError> {
        let refreshment = form([
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
            ("client_id", &self.id),
            ("client_secret", self.secret.expose()),
        ]);
        server.token(&refreshment, None, &Origin::unknown()).await
    }
}

fn query(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').expect("a query");
    let pairs = Parameters::parse(query.as_bytes()).unwrap();
    pairs.get(name).unwrap().expect("the parameter").to_owned()
}

/// Whether a server takes an access token.
pub(crate) async fn accepts(server: &AuthorizationServer, token: &Secret) -> Result<bool, ConfirmError> {
    match server.verify_access_token(token.expose(), &RESOURCE.parse().unwrap()) {
        Ok(VerifiedToken::Good(_)) => Ok(true),
        Ok(VerifiedToken::Unconfirmed(token)) => match server.confirm_access_token(token).await {
            Ok(_) => Ok(true),
            Err(ConfirmError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        },
        Err(_) => Ok(false),
    }
}

/// Lets the clock get to another second.
pub(crate) async fn another_second() {
    let now = SystemClock.now();
    super::servers::eventually("time passes", async || (SystemClock.now() > now).then_some(())).await;
}
