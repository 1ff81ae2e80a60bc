//! The steps of the protocol, one by one, as the core takes them: no HTTP in between.

use std::net::Ipv4Addr;

use mcp_oauth_core::identity::development::DevIdentity;
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::callback::CallbackOutcome;
use mcp_oauth_core::server::consent::ConsentOutcome;
use mcp_oauth_core::server::introspect::Introspection;
use mcp_oauth_core::store::Store;
use mcp_oauth_core::token::keys::KeySet;
use mcp_oauth_core::transaction::{BrowserSecret, Decision, SignInSecret, SignInState, TransactionId};
use url::Url;

const ISSUER: &str = "http://127.0.0.1:8080";
const RESOURCE: &str = "http://127.0.0.1:8080/mcp";
const REDIRECT_URI: &str = "http://127.0.0.1:49152/callback";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a client registers that does all of it.
const METADATA: &str = r#"{"client_name":"A client like others","redirect_uris":["http://127.0.0.1:49152/callback"],
    "token_endpoint_auth_method":"client_secret_post","response_types":["code"],
    "grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"]}"#;

/// A server that counts nothing: all of this comes from one network, and each count would be another command.
pub(crate) fn server(store: impl Store, keys: &KeySet) -> AuthorizationServer {
    server_with(&Limits::unlimited(), store, keys)
}

pub(crate) fn server_with(limits: &Limits, store: impl Store, keys: &KeySet) -> AuthorizationServer {
    let resource = Resource::new(RESOURCE)
        .unwrap()
        .scope("mcp:tools", "use tools")
        .unwrap();
    AuthorizationServer::builder(ISSUER)
        .resource(resource)
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .keys(keys.clone())
        .device_authorization()
        .limits(*limits)
        .store(store)
        .build()
        .unwrap()
}

fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

fn origin() -> Origin {
    Origin::address(Ipv4Addr::new(192, 0, 2, 1).into())
}

#[derive(Clone)]
pub(crate) struct Client {
    id: String,
    secret: String,
    registration_access_token: Secret,
    verifier: CodeVerifier,
}

impl Client {
    fn form(&self, pairs: &[(&str, &str)]) -> Parameters {
        let proof = [("client_id", &*self.id), ("client_secret", &*self.secret)];
        parameters(&[pairs, &proof].concat())
    }
}

pub(crate) struct Asked {
    client: Client,
    transaction: TransactionId,
    browser: BrowserSecret,
    device: Option<String>,
}

pub(crate) struct Approved {
    client: Client,
    state: SignInState,
    sign_in: SignInSecret,
    device: Option<String>,
}

pub(crate) struct WithCode {
    client: Client,
    code: String,
}

pub(crate) struct SignedIn {
    client: Client,
    access_token: String,
    refresh_token: String,
}

pub(crate) struct Waiting {
    client: Client,
    device_code: String,
    user_code: String,
}

pub(crate) async fn register(server: AuthorizationServer, (): ()) -> Client {
    let admitted = server.admit_registration(None, &origin()).await.unwrap();
    let information = server.register(METADATA.as_bytes(), admitted, &origin()).await.unwrap();
    let secret = information.client_secret().unwrap().expose().to_owned();
    Client {
        id: information.client_id.to_string(),
        secret,
        registration_access_token: information.registration_access_token.unwrap(),
        verifier: Secret::random().expose().parse().unwrap(),
    }
}

pub(crate) async fn authorize(server: AuthorizationServer, client: Client) -> Asked {
    let request = parameters(&[
        ("response_type", "code"),
        ("client_id", &client.id),
        ("redirect_uri", REDIRECT_URI),
        ("state", "0123456789abcdef0123456789abcdef"),
        ("code_challenge", &CodeChallenge::of(&client.verifier).to_string()),
        ("code_challenge_method", "S256"),
        ("resource", RESOURCE),
    ]);
    let prompt = server.authorize(&request, &origin()).await.unwrap();
    Asked {
        client,
        transaction: prompt.transaction,
        browser: prompt.browser,
        device: None,
    }
}

pub(crate) async fn consent(server: AuthorizationServer, asked: Asked) -> Approved {
    let browser = Some(&asked.browser);
    let origin = origin();
    let outcome = server.consent(&asked.transaction, Decision::Approve, browser, &origin);
    let ConsentOutcome::SignIn { location, sign_in } = outcome.await.unwrap() else {
        panic!("it was approved");
    };
    let location: Url = location.as_str().parse().unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    Approved {
        client: asked.client,
        state: state.parse().unwrap(),
        sign_in,
        device: asked.device,
    }
}

pub(crate) async fn deny(server: AuthorizationServer, asked: Asked) {
    let browser = Some(&asked.browser);
    let origin = origin();
    let outcome = server.consent(&asked.transaction, Decision::Deny, browser, &origin);
    assert!(matches!(outcome.await.unwrap(), ConsentOutcome::DeviceTurnedAway));
}

pub(crate) async fn callback(server: AuthorizationServer, approved: Approved) -> WithCode {
    let returned = parameters(&[("code", "ada")]);
    let origin = origin();
    let outcome = server.callback(&approved.state, &returned, Some(&approved.sign_in), &origin);
    let code = match (outcome.await.unwrap(), approved.device) {
        (CallbackOutcome::Client(redirect), None) => {
            let location: Url = redirect.location().parse().unwrap();
            let code = location.query_pairs().find(|(name, _)| name == "code").unwrap();
            code.1.into_owned()
        }
        (CallbackOutcome::DeviceLetIn, Some(device_code)) => device_code,
        (other, _) => panic!("{other:?}"),
    };
    WithCode {
        client: approved.client,
        code,
    }
}

async fn token(server: &AuthorizationServer, client: Client, pairs: &[(&str, &str)]) -> SignedIn {
    let answer = server.token(&client.form(pairs), None, &origin()).await.unwrap();
    SignedIn {
        client,
        access_token: answer.access_token.expose().to_owned(),
        refresh_token: answer.refresh_token.unwrap().expose().to_owned(),
    }
}

pub(crate) async fn redeem(server: AuthorizationServer, WithCode { client, code }: WithCode) -> SignedIn {
    let verifier = client.verifier.clone();
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", verifier.expose()),
    ];
    token(&server, client, &pairs).await
}

pub(crate) async fn refresh(server: AuthorizationServer, before: SignedIn) -> SignedIn {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*before.refresh_token),
    ];
    token(&server, before.client, &pairs).await
}

pub(crate) async fn introspect(server: AuthorizationServer, signed_in: SignedIn) -> SignedIn {
    let form = signed_in.client.form(&[("token", &signed_in.access_token)]);
    let said = server.introspect(&form, None, &origin()).await.unwrap();
    assert!(matches!(said, Introspection::Active(_)));
    signed_in
}

pub(crate) async fn revoke(server: AuthorizationServer, signed_in: SignedIn) -> Client {
    let form = signed_in.client.form(&[("token", &signed_in.refresh_token)]);
    server.revoke(&form, None, &origin()).await.unwrap();
    signed_in.client
}

pub(crate) async fn authorize_device(server: AuthorizationServer, client: Client) -> Waiting {
    let answer = server
        .authorize_device(&client.form(&[]), None, &origin())
        .await
        .unwrap();
    Waiting {
        device_code: answer.device_code.expose().to_owned(),
        user_code: answer.user_code.expose(),
        client,
    }
}

pub(crate) async fn enter_user_code(server: AuthorizationServer, waiting: Waiting) -> Asked {
    let entered = server.enter_user_code(&waiting.user_code, &origin()).await.unwrap();
    Asked {
        client: waiting.client,
        transaction: entered.transaction,
        browser: entered.browser,
        device: Some(waiting.device_code),
    }
}

pub(crate) async fn poll(server: AuthorizationServer, WithCode { client, code }: WithCode) -> SignedIn {
    let pairs = [("grant_type", DEVICE_GRANT), ("device_code", &*code)];
    token(&server, client, &pairs).await
}

pub(crate) async fn delete(server: AuthorizationServer, client: Client) {
    let token = Some(client.registration_access_token);
    server.delete_client(&client.id, token, &origin()).await.unwrap();
}
