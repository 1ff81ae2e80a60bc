//! The authorization server and a protected resource, as a site that browsers reach, and the clients that people use there.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::routing::any;
use axum::{Extension, Router};
use http::Method;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_tests::application::{Answer, encode, request};
use mcp_oauth_tests::device::{DEVICE_GRANT, device_metadata};
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, Caller, DevIdentity, ForwardAuth, MemoryStore, OAuthLayer, Pages, Resource, Routes,
};
use serde_json::{Value, json};
use url::Url;

use crate::provider::Provider;
use crate::web::Place;

/// What clients have come back to them.
pub(crate) const STATE: &str = "state of the client";

/// What clients register to which nobody can be sent back: the person copies the code.
pub(crate) const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// The site.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The issuer.
    pub(crate) url: String,
    pub(crate) clock: ManualClock,
    router: Router,
}

impl Site {
    /// On a developer's machine, with made-up people.
    pub(crate) async fn on_this_machine() -> Self {
        Self::at(Place::here().await, |builder| builder.identity(DevIdentity::default()))
    }

    /// On https, where people sign in with this provider.
    pub(crate) async fn on_the_web(provider: &Provider) -> Self {
        Self::configured(|builder| builder.identity(provider.clone())).await
    }

    /// On https, with what the test says.
    pub(crate) async fn configured(
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        Self::at(Place::on_the_web("auth.acme.example").await, configure)
    }

    /// On a developer's machine, with an operator's own pages.
    pub(crate) async fn with_pages(pages: Pages) -> Self {
        let configure = |builder: AuthorizationServerBuilder| builder.identity(DevIdentity::default());
        Self::serving(Place::here().await, configure, |_, routes| routes.pages(pages))
    }

    /// On a developer's machine, where a proxy asks about each request to a server.
    pub(crate) async fn behind_a_proxy() -> Self {
        let configure = |builder: AuthorizationServerBuilder| builder.identity(DevIdentity::default());
        Self::serving(Place::here().await, configure, |server, routes| {
            let routes = routes.behind("127.0.0.1".parse().unwrap());
            routes.forward_auth(ForwardAuth::of(server))
        })
    }

    fn at(place: Place, configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder) -> Self {
        Self::serving(place, configure, |_, routes| routes)
    }

    fn serving(
        place: Place,
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
        arrange: impl FnOnce(&AuthorizationServer, Routes) -> Routes,
    ) -> Self {
        let (url, clock) = (place.url.clone(), ManualClock::default());
        // Others serve what this server protects, so that it need not be at the same host.
        let resource = if place.is_secure() {
            "https://notes.acme.example/mcp".to_owned()
        } else {
            format!("{url}/notes/mcp")
        };
        let notes = Resource::new(&resource).unwrap().name("Notes");
        let builder = AuthorizationServer::builder(&url)
            .resource(notes.scope("notes:use", "use your notes").unwrap())
            .default_resource(&resource)
            .allow(AllowList::everybody())
            .store(MemoryStore::default().with_clock(clock.clone()))
            .clock(clock.clone())
            .device_authorization();
        let server = configure(builder).build().unwrap();
        let protected = Router::new()
            .route("/notes/mcp", any(async |caller: Caller| caller.subject().to_owned()))
            .route_layer(OAuthLayer::new(&server, &resource).unwrap().with_json_bodies());
        let endpoints = arrange(&server, Routes::new(&server));
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4711)));
        let router = endpoints.into_router().merge(protected).layer(Extension(peer));
        place.serve(router.clone());
        Self { url, clock, router }
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        Answer::from(&self.router, request(Method::POST, path, &headers, &encode(fields))).await
    }

    /// Registers a client, and says how it is called from now on.
    async fn register(&self, metadata: &Value) -> String {
        let headers = [("content-type", "application/json")];
        let request = request(Method::POST, "/register", &headers, &metadata.to_string());
        let answer = Answer::from(&self.router, request).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// Whose token these are.
    async fn subject(&self, tokens: &Answer) -> String {
        assert_eq!(tokens.status, 200, "{tokens:?}");
        let authorization = format!("Bearer {}", tokens.json()["access_token"].as_str().unwrap());
        let headers = [("authorization", authorization.as_str())];
        Answer::from(&self.router, request(Method::POST, "/notes/mcp", &headers, ""))
            .await
            .body
    }
}

/// A client that has people come back to it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    id: String,
    pub(crate) redirect_uri: String,
    verifier: String,
}

impl Client {
    pub(crate) async fn register(site: &Site, name: &str, redirect_uri: &str) -> Self {
        let metadata = json!({
            "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none", "client_name": name,
        });
        Self {
            id: site.register(&metadata).await,
            redirect_uri: redirect_uri.to_owned(),
            verifier: Secret::random().expose().to_owned(),
        }
    }

    /// Where it sends people.
    pub(crate) fn authorization_url(&self, site: &Site) -> String {
        let verifier: CodeVerifier = self.verifier.parse().unwrap();
        let parameters = encode(&[
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("state", STATE),
            ("code_challenge", &CodeChallenge::of(&verifier).to_string()),
            ("code_challenge_method", "S256"),
        ]);
        format!("{}/authorize?{parameters}", site.url)
    }

    /// Whom the code lets in with which somebody has come back.
    pub(crate) async fn lets_in(&self, site: &Site, arrival: &Url) -> String {
        site.subject(&self.redeem(site, &parameter(arrival, "code").unwrap()).await)
            .await
    }

    /// The refresh token of somebody who has come back.
    pub(crate) async fn refresh_token(&self, site: &Site, arrival: &Url) -> String {
        let tokens = self.redeem(site, &parameter(arrival, "code").unwrap()).await;
        tokens.json()["refresh_token"].as_str().unwrap().to_owned()
    }

    /// Uses a refresh token.
    pub(crate) async fn refresh(&self, site: &Site, refresh_token: &str) -> Answer {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", self.id.as_str()),
            ("refresh_token", refresh_token),
        ];
        site.form("/token", &fields).await
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, site: &Site, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", self.id.as_str()),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &self.verifier),
        ];
        site.form("/token", &fields).await
    }
}

/// A parameter of an address.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned())
}

/// A device without a browser, which shows a code.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    client: String,
    /// What it polls with.
    secret: String,
    pub(crate) user_code: String,
}

impl Device {
    pub(crate) async fn begin(site: &Site) -> Self {
        let client = site.register(&device_metadata()).await;
        let answer = site.form("/device_authorization", &[("client_id", &client)]).await;
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        Self {
            secret: text("device_code"),
            user_code: text("user_code"),
            client,
        }
    }

    /// Asks whether somebody has let it in.
    pub(crate) async fn poll(&self, site: &Site) -> Answer {
        let fields = [
            ("grant_type", DEVICE_GRANT),
            ("client_id", &self.client),
            ("device_code", &self.secret),
        ];
        site.form("/token", &fields).await
    }

    /// Who has let it in.
    pub(crate) async fn is_let_in_by(&self, site: &Site) -> String {
        site.subject(&self.poll(site).await).await
    }
}
