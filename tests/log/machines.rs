//! Clients of the configuration, clients with keys, and an enterprise that vouches for its people, right and wrong.

use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::identity::enterprise::EnterpriseIssuer;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Application, ISSUER, NOTES};
use mcp_oauth_tests::client::REDIRECT_URI;
use mcp_oauth_tests::signing::{Signer, now, post, post_with_basic};
use serde_json::{Value, json};

use crate::secrets::Secrets;

const IDP: &str = "https://acme.idp.example";

/// Adds the signature of a JWT: with it, what stands in front of it is a credential.
fn signature(secrets: &mut Secrets, what: &str, jwt: &str) {
    secrets.add(what, jwt.rsplit_once('.').unwrap().1);
}

/// Assertions and secrets, good ones, wrong ones, and ones that were used before.
pub(crate) async fn proving_themselves(secrets: &mut Secrets) {
    let (signer, stranger) = (Signer::new("a"), Signer::new("a"));
    let secret = secrets.made_up("configured secret");
    let application = Application::new(|builder| {
        builder
            .client(
                PreregisteredClient::with_secret("job", Secret::from(secret.as_str()))
                    .grant_type(GrantType::ClientCredentials)
                    .resource(NOTES),
            )
            .client(PreregisteredClient::with_keys("signer", signer.jwks()).introspects(NOTES))
    });
    let fields = [("grant_type", "client_credentials")];
    let answer = post_with_basic(&application, "/token", "job", &secret, &fields).await;
    assert_eq!(answer.status, 200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    signature(secrets, "access token", &token);
    let wrong = secrets.made_up("wrong secret");
    assert_eq!(
        post_with_basic(&application, "/token", "job", &wrong, &fields)
            .await
            .status,
        401
    );
    let fields = [("token", token.as_str())];
    for (signer, changes, status) in [
        (&signer, json!({}), 200),
        (&signer, json!({"aud": "https://other.example"}), 401),
        (&signer, json!({"exp": "soon"}), 401),
        (&stranger, json!({}), 401),
    ] {
        let assertion = signer.assertion(&application, "signer", &changes);
        signature(secrets, "client assertion", &assertion);
        for status in [status, 401] {
            let answer = post(&application, "/introspect", &assertion, &fields).await;
            assert_eq!(answer.status, status, "{changes}");
        }
    }
    let mut private = signer.jwks();
    private["keys"][0]["d"] = json!(secrets.made_up("private key"));
    let metadata =
        json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt", "jwks": private});
    assert_eq!(application.post_json("/register", &metadata).await.status, 400);
}

/// The word of a provider, good, wrong, used before, and without a store.
pub(crate) async fn vouched_for(secrets: &mut Secrets) {
    let provider = Signer::new("idp");
    let secret = secrets.made_up("configured secret");
    let application = Application::new(|builder| {
        builder
            .enterprise(EnterpriseIssuer::with_keys("acme", IDP, provider.jwks()))
            .client(
                PreregisteredClient::with_secret("assistant", Secret::from(secret.as_str()))
                    .grant_type(GrantType::JwtBearer),
            )
    });
    let word = |secrets: &mut Secrets, changes: &Value| {
        let now = now(&application);
        let mut claims = json!({"iss": IDP, "sub": "U019488227", "aud": ISSUER, "client_id": "assistant",
            "resource": NOTES, "iat": now, "exp": now + 300, "jti": Secret::random().expose()});
        mcp_oauth_tests::signing::change(&mut claims, changes);
        let header = json!({"alg": "EdDSA", "kid": "idp", "typ": "oauth-id-jag+jwt"});
        let word = provider.sign(&header, &claims);
        signature(secrets, "ID-JAG", &word);
        word
    };
    for (changes, status) in [
        (json!({}), 200),
        (json!({"aud": "https://other.example"}), 400),
        (json!({"sub": 1}), 400),
    ] {
        let word = word(secrets, &changes);
        let fields = [("grant_type", GrantType::JwtBearer.as_str()), ("assertion", &word)];
        for status in [status, 400] {
            let answer = post_with_basic(&application, "/token", "assistant", &secret, &fields).await;
            assert_eq!(answer.status, status, "{changes}");
            if let Some(token) = answer.json()["access_token"].as_str() {
                signature(secrets, "access token", token);
            }
        }
    }
    application.store.set_down(true);
    let word = word(secrets, &json!({}));
    let fields = [("grant_type", GrantType::JwtBearer.as_str()), ("assertion", &word)];
    let answer = post_with_basic(&application, "/token", "assistant", &secret, &fields).await;
    assert_eq!(answer.status, 503);
}
