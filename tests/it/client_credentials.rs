//! Clients that act on their own behalf (MCP extension *OAuth client credentials*).

use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::identity::development::DevIdentity;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, SCOPE};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::signing::{Signer, post, post_with_basic};
use mcp_oauth_tower::{AllowList, AuthorizationServer, MemoryStore, Resource};
use serde_json::json;

const SECRET: &str = "a secret that somebody made up, 0123456789";

fn job() -> PreregisteredClient {
    PreregisteredClient::with_secret("job", Secret::from(SECRET))
        .name("Nightly job")
        .grant_type(GrantType::ClientCredentials)
        .resource(NOTES)
}

fn with(client: PreregisteredClient) -> Application {
    Application::new(|builder| builder.client(client))
}

async fn ask(application: &Application, fields: &[(&str, &str)]) -> Answer {
    let form = [
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "job"),
            ("client_secret", SECRET),
        ],
        fields,
    ]
    .concat();
    application.post_form("/token", &form).await
}

fn access_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_configured_client_gets_an_access_token_and_no_refresh_token() {
    let application = with(job());
    let answer = ask(&application, &[("resource", NOTES), ("scope", SCOPE)]).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!(SCOPE)));
    assert!(body.get("refresh_token").is_none());
    let called = application.call(NOTES, &access_token(&answer)).await.json();
    assert_eq!(
        (&called["subject"], &called["client_id"], &called["name"]),
        (&json!("client:job"), &json!("job"), &json!("Nightly job"))
    );
    assert_eq!(called["username"], json!(null));
    assert_eq!(
        application.call(FILES, &access_token(&answer)).await.status,
        401,
        "it is for one resource"
    );
}

/// The way that the extension recommends, with the client known from the assertion alone.
#[tokio::test]
async fn a_client_with_keys_gets_one_without_naming_itself() {
    let signer = Signer::new("a");
    let client = PreregisteredClient::with_keys("job", signer.jwks())
        .grant_type(GrantType::ClientCredentials)
        .resource(NOTES);
    let application = with(client);
    let fields = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let assertion = signer.assertion(&application, "job", &json!({}));
    let answer = post(&application, "/token", &assertion, &fields).await;
    assert_eq!(application.call(NOTES, &access_token(&answer)).await.status, 200);
    let again = post(&application, "/token", &assertion, &fields).await;
    assert_eq!(again.status, 401);
    let basic = post_with_basic(&application, "/token", "job", SECRET, &fields).await;
    assert_eq!(basic.status, 401);
    assert!(basic.header("www-authenticate").starts_with("Basic"));
}

#[tokio::test]
async fn nobody_else_gets_one() {
    let application = Application::new(|builder| {
        builder
            .client(job())
            .client(PreregisteredClient::with_secret("other", Secret::from(SECRET)))
    });
    let fields = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let other = post_with_basic(&application, "/token", "other", SECRET, &fields).await;
    assert_eq!(
        (other.status.as_u16(), other.error().as_str()),
        (400, "unauthorized_client")
    );
    let metadata = json!({"redirect_uris": ["http://127.0.0.1/cb"],
        "grant_types": ["authorization_code", "client_credentials"]});
    let registered = Client::register(&application, &metadata).await;
    let answer = registered.token(&application, &fields).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "unauthorized_client")
    );
    let public = Client::public(&application).await.token(&application, &fields).await;
    assert_eq!(
        (public.status.as_u16(), public.error().as_str()),
        (400, "unauthorized_client")
    );
    for secret in ["wrong", ""] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "job"),
            ("client_secret", secret),
        ];
        let wrong = application.post_form("/token", &form).await;
        assert_eq!((wrong.status.as_u16(), wrong.error().as_str()), (401, "invalid_client"));
    }
}

#[tokio::test]
async fn a_client_gets_what_its_configuration_allows_and_never_more() {
    let several = |builder: AuthorizationServerBuilder| {
        builder
            .resource(
                Resource::new("http://127.0.0.1:8080/wide/mcp")
                    .unwrap()
                    .scope("wide:read", "read")
                    .unwrap()
                    .scope("wide:write", "write")
                    .unwrap(),
            )
            .client(
                job()
                    .resource("http://127.0.0.1:8080/wide/mcp")
                    .scope("wide:read")
                    .scope(SCOPE),
            )
    };
    let application = Application::new(several);
    let wide = ("resource", "http://127.0.0.1:8080/wide/mcp");
    let scope = |fields: Vec<(&'static str, &'static str)>| {
        let application = application.clone();
        async move {
            let answer = ask(&application, &fields).await;
            match answer.status.as_u16() {
                200 => answer.json()["scope"].as_str().unwrap().to_owned(),
                _ => answer.error(),
            }
        }
    };
    assert_eq!(scope(vec![wide]).await, "wide:read");
    assert_eq!(
        scope(vec![wide, ("scope", "wide:read wide:write offline_access")]).await,
        "wide:read"
    );
    assert_eq!(scope(vec![wide, ("scope", "wide:write")]).await, "invalid_scope");
    assert_eq!(scope(vec![wide, ("scope", SCOPE)]).await, "invalid_scope");
    assert_eq!(scope(vec![]).await, SCOPE, "the default resource");
    assert_eq!(scope(vec![("resource", FILES)]).await, "invalid_target");
    assert_eq!(
        scope(vec![("resource", NOTES), ("resource", FILES)]).await,
        "invalid_target"
    );
    assert_eq!(
        scope(vec![("resource", "https://other.example/")]).await,
        "invalid_target"
    );
    assert_eq!(
        scope(vec![wide, ("resource", NOTES)]).await,
        format!("wide:read {SCOPE}")
    );
}

#[tokio::test]
async fn such_a_token_is_revoked_and_asked_about_like_any_other() {
    let application = with(job());
    let token = access_token(&ask(&application, &[]).await);
    let fields = [("token", token.as_str())];
    let looked_at = post_with_basic(&application, "/introspect", "job", SECRET, &fields)
        .await
        .json();
    assert_eq!(
        (&looked_at["active"], &looked_at["sub"]),
        (&json!(true), &json!("client:job"))
    );
    assert_eq!(
        post_with_basic(&application, "/revoke", "job", SECRET, &fields)
            .await
            .status,
        200
    );
    let looked_at = post_with_basic(&application, "/introspect", "job", SECRET, &fields).await;
    assert_eq!(looked_at.json(), json!({"active": false}));
    assert_eq!(application.call(NOTES, &token).await.status, 401);
}

/// The allow-list is about people.
#[tokio::test]
async fn nobody_has_to_be_on_the_allow_list() {
    let application = Application::new(|builder| builder.allow(AllowList::parse("").unwrap()).client(job()));
    let token = access_token(&ask(&application, &[]).await);
    assert_eq!(application.call(NOTES, &token).await.status, 200);
}

/// Row 131: `client:job` is nobody's subject.
#[tokio::test]
async fn no_identity_provider_is_called_like_clients() {
    for name in ["client", "client:job"] {
        let refused = AuthorizationServer::builder(ISSUER)
            .resource(Resource::new(NOTES).unwrap())
            .identity(Named(name))
            .allow(AllowList::everybody())
            .store(MemoryStore::default())
            .build()
            .unwrap_err();
        assert!(refused.to_string().contains("must not be called client"), "{refused}");
    }
}

/// A provider with a name of the test's own.
#[derive(Debug)]
struct Named(&'static str);

#[async_trait::async_trait]
impl mcp_oauth_core::identity::IdentityProvider for Named {
    fn id(&self) -> &str {
        self.0
    }

    fn display_name(&self) -> &'static str {
        "A provider"
    }

    async fn sign_in_url(
        &self,
        sign_in: &mcp_oauth_core::identity::SignIn<'_>,
    ) -> Result<url::Url, mcp_oauth_core::identity::IdentityError> {
        DevIdentity::default().sign_in_url(sign_in).await
    }

    async fn identify(
        &self,
        returned: &mcp_oauth_core::identity::SignInReturn<'_>,
    ) -> Result<mcp_oauth_core::identity::Identity, mcp_oauth_core::identity::IdentityError> {
        DevIdentity::default().identify(returned).await
    }
}

#[tokio::test]
async fn it_is_advertised_when_somebody_may_and_done_then_only() {
    let path = "/.well-known/oauth-authorization-server";
    let on = with(job()).get(path).await.json();
    assert_eq!(
        on["grant_types_supported"],
        json!(["authorization_code", "refresh_token", "client_credentials"])
    );
    let application = Application::default();
    assert_eq!(
        application.get(path).await.json()["grant_types_supported"],
        json!(["authorization_code", "refresh_token"])
    );
    let answer = ask(&application, &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "unsupported_grant_type")
    );
}

#[tokio::test]
async fn without_its_store_the_server_says_so() {
    let application = with(job());
    application.store.set_down(true);
    let answer = ask(&application, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
}
