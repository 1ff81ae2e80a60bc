//! The example `resource-server`, whose tokens come from another process: an authorization server of this project, which it
//! knows by its issuer alone, over real HTTP.

use axum::Router;
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::example::Example;
use mcp_oauth_tests::gateway::free_port;
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, AuthorizationServerExt as _, DevIdentity, MemoryStore, Resource,
};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const SECRET: &str = "a secret that somebody made up, 0123456789";

/// An authorization server that serves, the URL of the resource that it issues tokens for, and that of another.
struct Foreign {
    issuer: String,
    resource: String,
    other: String,
    http: Client,
}

impl Foreign {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let resource = format!("http://127.0.0.1:{}/mcp", free_port());
        let other = "https://other.example/mcp".to_owned();
        let mcp = Resource::new(&resource).unwrap().scope("mcp:read", "read").unwrap();
        let job = PreregisteredClient::with_secret("job", Secret::from(SECRET))
            .grant_type(GrantType::ClientCredentials)
            .resource(&resource)
            .resource(&other);
        let asking = PreregisteredClient::with_secret("mcp-server", Secret::from(SECRET)).introspects(&resource);
        let server = AuthorizationServer::builder(&issuer)
            .resource(mcp)
            .resource(Resource::new(&other).unwrap().scope("mcp:read", "read").unwrap())
            .identity(DevIdentity::default())
            .allow(AllowList::everybody())
            .store(MemoryStore::default())
            .client(job)
            .client(asking)
            .build()
            .unwrap();
        let app: Router = server.router();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let http = Client::builder().no_proxy().build().unwrap();
        Self {
            issuer,
            resource,
            other,
            http,
        }
    }

    async fn post(&self, path: &str, client: &str, form: &[(&str, &str)]) -> Value {
        let body = mcp_oauth_tests::application::encode(form);
        let request = self
            .http
            .post(format!("{}{path}", self.issuer))
            .basic_auth(client, Some(SECRET))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn token(&self, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource)];
        let answer = self.post("/token", "job", &form).await;
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// Starts the example as a server that trusts this one.
    async fn trusted_by_the_example(&self, environment: &[(&str, &str)]) -> Example {
        let listen = self
            .resource
            .strip_prefix("http://")
            .unwrap()
            .strip_suffix("/mcp")
            .unwrap();
        let fixed = [
            ("MCP_URL", self.resource.as_str()),
            ("LISTEN", listen),
            ("SCOPE", "mcp:read"),
        ];
        let environment = [fixed.as_slice(), environment].concat();
        Example::start("resource-server", &[&self.issuer], &environment).await
    }

    /// Calls `whoami` as a client of MCP 2026-07-28 does.
    async fn whoami(&self, token: &str) -> Response {
        let version = "2026-07-28";
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }}});
        let request = self
            .http
            .post(&self.resource)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", version)
            .header("mcp-method", "tools/call")
            .header("mcp-name", "whoami")
            .bearer_auth(token)
            .body(call.to_string());
        request.send().await.unwrap()
    }

    async fn assert_served(&self) {
        let good = self.token(&self.resource).await;
        for _ in 0..2 {
            let answer = self.whoami(&good).await;
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            let expected = format!("client:job by way of job, says {}", self.issuer);
            assert!(status == 200 && text.contains(&expected), "{status} {text}");
        }
        for wrong in [
            self.token(&self.other).await,
            "not.a.token".to_owned(),
            good[..good.len() - 2].to_owned(),
        ] {
            let answer = self.whoami(&wrong).await;
            assert_eq!(answer.status(), 401);
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
            assert!(
                challenge.contains("invalid_token") && challenge.contains(r#"scope="mcp:read""#),
                "{challenge}"
            );
        }
        let place = self
            .resource
            .replace("/mcp", "/.well-known/oauth-protected-resource/mcp");
        let metadata = self.http.get(place).send().await.unwrap().text().await.unwrap();
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        assert_eq!(metadata["authorization_servers"], json!([self.issuer]));
    }
}

#[tokio::test]
async fn it_verifies_tokens_with_the_keys_that_the_other_server_publishes() {
    let foreign = Foreign::start().await;
    let _example = foreign.trusted_by_the_example(&[]).await;
    foreign.assert_served().await;
}

#[tokio::test]
async fn it_asks_the_other_server_about_tokens() {
    let foreign = Foreign::start().await;
    let credentials = [("CLIENT_ID", "mcp-server"), ("CLIENT_SECRET", SECRET)];
    let _example = foreign.trusted_by_the_example(&credentials).await;
    foreign.assert_served().await;
    let revoked = foreign.token(&foreign.resource).await;
    foreign.post("/revoke", "job", &[("token", &revoked)]).await;
    assert_eq!(foreign.whoami(&revoked).await.status(), 401);
}
