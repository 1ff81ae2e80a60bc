//! A client that knows nothing but the URL of a server, and a person in front of a browser.

use std::collections::BTreeMap;

use http::Method;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Answer, encode};
use mcp_oauth_tests::browser::hidden_field;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use url::Url;

const REDIRECT_URI: &str = "http://127.0.0.1:49152/callback";

/// A browser on the network.
struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            http,
            cookies: BTreeMap::new(),
        }
    }

    async fn ask(&mut self, method: Method, url: &str, form: &[(&str, &str)]) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = self.http.request(method, url).header("accept", "text/html");
        request = request.header("cookie", cookies.join("; "));
        if !form.is_empty() {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(encode(form));
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let body = response.text().await.unwrap();
        Answer { status, headers, body }
    }
}

/// Where a challenge says that the metadata of the resource is (RFC 9728 §5.1).
pub(crate) fn metadata_in(challenge: &str) -> &str {
    let (_, metadata) = challenge.split_once("resource_metadata=\"").unwrap();
    metadata.split('"').next().unwrap()
}

/// Signs a made-up person in, from what the server at `url` says alone, and returns the access token.
pub(crate) async fn sign_in(url: &str, person: &str) -> String {
    let http = reqwest::Client::new();
    let refused = http
        .post(url)
        .header("accept", "application/json, text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 401);
    let challenges: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 1, "{challenges:?}");
    let challenge = challenges[0].to_str().unwrap();
    let metadata = metadata_in(challenge);
    let get = async |url: String| -> Value { http.get(url).send().await.unwrap().json().await.unwrap() };

    let resource = get(metadata.to_owned()).await;
    assert_eq!(resource["resource"], url);
    let issuer = resource["authorization_servers"][0].as_str().unwrap();
    let server = get(format!("{issuer}/.well-known/oauth-authorization-server")).await;
    assert_eq!(server["issuer"], issuer);
    let endpoint = |name: &str| server[name].as_str().unwrap().to_owned();

    let registration = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none"});
    let registered: Value = http
        .post(endpoint("registration_endpoint"))
        .json(&registration)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let client_id = registered["client_id"].as_str().unwrap();
    let verifier = Secret::random().expose().to_owned();
    let challenge = CodeChallenge::of(&verifier.parse::<CodeVerifier>().unwrap()).to_string();
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", REDIRECT_URI),
        ("state", "s"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", url),
    ]);

    let mut browser = Browser::new();
    let page = browser
        .ask(
            Method::GET,
            &format!("{}?{query}", endpoint("authorization_endpoint")),
            &[],
        )
        .await;
    assert_eq!(page.status, 200, "{page:?}");
    let transaction = hidden_field(&page, "transaction");
    let form = [("transaction", transaction.as_str()), ("decision", "approve")];
    let approved = browser.ask(Method::POST, &format!("{issuer}/consent"), &form).await;
    let choice = browser.ask(Method::GET, approved.header("location"), &[]).await;
    let state = hidden_field(&choice, "state");
    let form = [("state", state.as_str()), ("user", person)];
    let chosen = browser
        .ask(Method::POST, &format!("{issuer}/development/sign-in"), &form)
        .await;
    let returned = browser.ask(Method::GET, chosen.header("location"), &[]).await;
    let arrival: Url = returned.header("location").parse().unwrap();
    assert!(arrival.as_str().starts_with(REDIRECT_URI));
    let code = arrival
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1
        .into_owned();

    let form = encode(&[
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", &verifier),
        ("resource", url),
    ]);
    let tokens: Value = http
        .post(endpoint("token_endpoint"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    tokens["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{tokens}"))
        .to_owned()
}
