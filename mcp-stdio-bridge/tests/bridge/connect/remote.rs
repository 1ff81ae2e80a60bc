//! A remote MCP server with its authorization server, or two, in one process.

#![allow(clippy::result_large_err, reason = "what refuses is the answer itself")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawForm, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How it misbehaves.
#[derive(Default)]
pub(super) struct Tricks {
    /// The `iss` of an answer.
    pub(super) iss: Option<String>,
    /// The issuer in the metadata.
    pub(super) issuer: Option<String>,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) no_pkce: bool,
    /// The server names another authorization server.
    pub(super) moved: bool,
    /// The errors with which a device's code is answered, before it is good.
    pub(super) device_errors: VecDeque<&'static str>,
}

/// What it has seen.
#[derive(Default, Clone, Debug)]
pub(super) struct Seen {
    pub(super) registrations: Vec<Value>,
    pub(super) authorizations: Vec<HashMap<String, String>>,
    /// How many codes were redeemed, or tried to be.
    pub(super) codes: usize,
    pub(super) refreshes: usize,
    /// Refresh tokens that came to where they were not from.
    pub(super) refreshes_refused: usize,
    pub(super) initialized: usize,
    pub(super) deleted: usize,
    pub(super) resumed_from: Option<String>,
    pub(super) modern_headers: Option<[String; 3]>,
    /// What was asked for a device, and when its code was presented.
    pub(super) devices: Vec<HashMap<String, String>>,
    pub(super) device_codes: Vec<tokio::time::Instant>,
}

#[derive(Default)]
struct Inner {
    base: String,
    tricks: Tricks,
    seen: Seen,
    /// By client id: what is registered, and the token to manage it.
    clients: HashMap<String, Value>,
    /// By code: the challenge and the scope.
    codes: HashMap<String, (String, String)>,
    /// By access token: its scope.
    access_tokens: HashMap<String, String>,
    /// By refresh token: its scope and who gave it. Each is good once.
    refresh_tokens: HashMap<String, (String, String)>,
    sessions: Vec<String>,
    secrets: Vec<String>,
    next: usize,
}

impl Inner {
    fn secret(&mut self, kind: &str) -> String {
        self.next += 1;
        let secret = format!("{kind}-secret-{}", self.next);
        self.secrets.push(secret.clone());
        secret
    }
}

type Shared = Arc<Mutex<Inner>>;

pub(super) struct Remote {
    inner: Shared,
    base: String,
}

impl Remote {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let inner: Shared = Arc::default();
        inner.lock().unwrap().base.clone_from(&base);
        let router = Router::new()
            .route("/.well-known/oauth-protected-resource/mcp", get(resource_metadata))
            .route("/.well-known/oauth-authorization-server/{who}", get(server_metadata))
            .route("/{who}/register", post(register))
            .route("/{who}/register/{id}", get(show).put(update).delete(end))
            .route("/{who}/authorize", get(authorize))
            .route("/{who}/token", post(token))
            .route("/{who}/device", post(device))
            .route("/{who}/revoke", post(revoke))
            .route("/mcp", post(mcp).get(stream).delete(delete))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, base }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn server(&self) -> String {
        format!("{}/mcp", self.base)
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Tricks)) {
        change(&mut self.inner().tricks);
    }

    pub(super) fn seen(&self) -> Seen {
        self.inner().seen.clone()
    }

    pub(super) fn end_access_tokens(&self) {
        self.inner().access_tokens.clear();
    }

    pub(super) fn revoke_all(&self) {
        let mut inner = self.inner();
        inner.access_tokens.clear();
        inner.refresh_tokens.clear();
    }

    pub(super) fn forget_clients(&self) {
        self.inner().clients.clear();
    }

    pub(super) fn lose_sessions(&self) {
        self.inner().sessions.clear();
    }

    pub(super) fn takes(&self, token: &str) -> bool {
        self.inner().access_tokens.contains_key(token)
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        self.inner().secrets.clone()
    }
}

fn json_answer(status: u16, value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(status).unwrap(), headers, value.to_string()).into_response()
}

fn fields(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

async fn resource_metadata(State(inner): State<Shared>) -> Response {
    let inner = inner.lock().unwrap();
    let who = if inner.tricks.moved { "other" } else { "as" };
    let base = &inner.base;
    json_answer(
        200,
        &json!({"resource": format!("{base}/mcp"), "authorization_servers": [format!("{base}/{who}")], "scopes_supported": ["read"]}),
    )
}

async fn server_metadata(State(inner): State<Shared>, Path(who): Path<String>) -> Response {
    let inner = inner.lock().unwrap();
    let issuer = format!("{}/{who}", inner.base);
    let authorize = inner.tricks.authorization_endpoint.clone();
    let mut metadata = json!({
        "issuer": inner.tricks.issuer.clone().unwrap_or_else(|| issuer.clone()),
        "authorization_endpoint": authorize.unwrap_or_else(|| format!("{issuer}/authorize")),
        "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "device_authorization_endpoint": format!("{issuer}/device"),
        "response_types_supported": ["code"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "authorization_response_iss_parameter_supported": true,
    });
    if !inner.tricks.no_pkce {
        metadata["code_challenge_methods_supported"] = json!(["S256"]);
    }
    json_answer(200, &metadata)
}

async fn register(State(inner): State<Shared>, Path(who): Path<String>, body: String) -> Response {
    let mut inner = inner.lock().unwrap();
    let mut client: Value = serde_json::from_str(&body).unwrap();
    inner.seen.registrations.push(client.clone());
    let id = format!("{who}-{}", inner.seen.registrations.len());
    client["client_id"] = id.clone().into();
    client["registration_access_token"] = inner.secret("registration").into();
    client["registration_client_uri"] = format!("{}/{who}/register/{id}", inner.base).into();
    inner.clients.insert(id, client.clone());
    json_answer(201, &client)
}

fn managed(inner: &Inner, id: &str, headers: &HeaderMap) -> Result<Value, Response> {
    let presented = headers[header::AUTHORIZATION]
        .to_str()
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    let client = inner
        .clients
        .get(id)
        .filter(|client| client["registration_access_token"] == presented);
    client
        .cloned()
        .ok_or_else(|| json_answer(401, &json!({"error": "invalid_token"})))
}

async fn show(State(inner): State<Shared>, Path((_, id)): Path<(String, String)>, headers: HeaderMap) -> Response {
    managed(&inner.lock().unwrap(), &id, &headers).map_or_else(|refused| refused, |client| json_answer(200, &client))
}

async fn update(
    State(inner): State<Shared>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut inner = inner.lock().unwrap();
    let before = match managed(&inner, &id, &headers) {
        Ok(client) => client,
        Err(refused) => return refused,
    };
    let mut wanted: Value = serde_json::from_str(&body).unwrap();
    if wanted["client_id"] != id.as_str() || wanted.get("registration_access_token").is_some() {
        return json_answer(400, &json!({"error": "invalid_client_metadata"}));
    }
    for member in ["registration_access_token", "registration_client_uri"] {
        wanted[member] = before[member].clone();
    }
    inner.clients.insert(id, wanted.clone());
    json_answer(200, &wanted)
}

async fn end(State(inner): State<Shared>, Path((_, id)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let mut inner = inner.lock().unwrap();
    if let Err(refused) = managed(&inner, &id, &headers) {
        return refused;
    }
    inner.clients.remove(&id);
    StatusCode::NO_CONTENT.into_response()
}

async fn authorize(State(inner): State<Shared>, Path(who): Path<String>, RawQuery(query): RawQuery) -> Response {
    let mut inner = inner.lock().unwrap();
    let asked = fields(query.unwrap().as_bytes());
    inner.seen.authorizations.push(asked.clone());
    let code = inner.secret("code");
    let kept = (asked["code_challenge"].clone(), asked["scope"].clone());
    inner.codes.insert(code.clone(), kept);
    let iss = inner
        .tricks
        .iss
        .clone()
        .unwrap_or_else(|| format!("{}/{who}", inner.base));
    let mut to = url::Url::parse(&asked["redirect_uri"]).unwrap();
    to.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &asked["state"])
        .append_pair("iss", &iss);
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_string())]).into_response()
}

async fn token(State(inner): State<Shared>, Path(who): Path<String>, RawForm(form): RawForm) -> Response {
    let mut inner = inner.lock().unwrap();
    let asked = fields(&form);
    assert_eq!(
        asked["resource"],
        format!("{}/mcp", inner.base),
        "the resource is always named"
    );
    let refused = || json_answer(400, &json!({"error": "invalid_grant"}));
    let scope = match asked["grant_type"].as_str() {
        "authorization_code" => {
            inner.seen.codes += 1;
            let Some((challenge, scope)) = inner.codes.remove(&asked["code"]) else {
                return refused();
            };
            let hash = digest::digest(&digest::SHA256, asked["code_verifier"].as_bytes());
            assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(hash), challenge);
            scope
        }
        "refresh_token" => match inner.refresh_tokens.remove(&asked["refresh_token"]) {
            Some((scope, given_by)) if given_by == who => {
                inner.seen.refreshes += 1;
                scope
            }
            Some(_) => {
                inner.seen.refreshes_refused += 1;
                return refused();
            }
            None => return refused(),
        },
        "urn:ietf:params:oauth:grant-type:device_code" => {
            inner.seen.device_codes.push(tokio::time::Instant::now());
            if let Some(error) = inner.tricks.device_errors.pop_front() {
                return json_answer(400, &json!({"error": error}));
            }
            let Some((_, scope)) = inner.codes.remove(&asked["device_code"]) else {
                return refused();
            };
            scope
        }
        other => panic!("nobody asks for {other} here"),
    };
    let (access, refresh) = (inner.secret("access"), inner.secret("refresh"));
    inner.access_tokens.insert(access.clone(), scope.clone());
    inner.refresh_tokens.insert(refresh.clone(), (scope.clone(), who));
    json_answer(
        200,
        &json!({"access_token": access, "token_type": "Bearer", "expires_in": 3600, "refresh_token": refresh, "scope": scope}),
    )
}

async fn device(State(inner): State<Shared>, Path(who): Path<String>, RawForm(form): RawForm) -> Response {
    let mut inner = inner.lock().unwrap();
    let asked = fields(&form);
    inner.seen.devices.push(asked.clone());
    let code = inner.secret("device");
    inner
        .codes
        .insert(code.clone(), (String::new(), asked["scope"].clone()));
    let uri = format!("{}/{who}/enter", inner.base);
    json_answer(
        200,
        &json!({"device_code": code, "user_code": "BCDF-GHJK", "verification_uri": uri, "expires_in": 60, "interval": 2}),
    )
}

async fn revoke(State(inner): State<Shared>, RawForm(form): RawForm) -> Response {
    let mut inner = inner.lock().unwrap();
    let token = &fields(&form)["token"];
    inner.access_tokens.remove(token);
    inner.refresh_tokens.remove(token);
    StatusCode::OK.into_response()
}

fn challenge(inner: &Inner, status: u16, more: &str) -> Response {
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", inner.base);
    let value = format!("Bearer resource_metadata=\"{metadata}\"{more}");
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::WWW_AUTHENTICATE, value)],
    )
        .into_response()
}

fn authorized(inner: &Inner, headers: &HeaderMap, wanted: &str) -> Result<(), Response> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(scope) = token.and_then(|token| inner.access_tokens.get(token)) else {
        return Err(challenge(inner, 401, ""));
    };
    if wanted == "never" || !scope.split(' ').any(|scope| scope == wanted) {
        let more = format!(", error=\"insufficient_scope\", scope=\"{wanted}\"");
        return Err(challenge(inner, 403, &more));
    }
    Ok(())
}

fn events(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from(text)).into_response()
}

async fn mcp(State(inner): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let mut inner = inner.lock().unwrap();
    let message: Value = serde_json::from_str(&body).unwrap();
    let method = message["method"].as_str().unwrap_or_default();
    let tool = message["params"]["name"].as_str().unwrap_or_default();
    let wanted = if ["write", "never"].contains(&tool) {
        tool
    } else {
        "read"
    };
    if let Err(refused) = authorized(&inner, &headers, wanted) {
        return refused;
    }
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let result = |result: Value| json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
    if method == "initialize" {
        inner.seen.initialized += 1;
        let session = format!("session-{}", inner.seen.initialized);
        inner.sessions.push(session.clone());
        let found = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "remote", "version": "1"}});
        let mut response = json_answer(200, &result(found));
        response
            .headers_mut()
            .insert("mcp-session-id", session.parse().unwrap());
        return response;
    }
    if header("mcp-method").is_some() {
        inner.seen.modern_headers = ["mcp-protocol-version", "mcp-method", "mcp-name"]
            .map(header)
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.try_into().ok());
    } else if !header("mcp-session-id").is_some_and(|session| inner.sessions.contains(&session)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    match (method, tool) {
        ("tools/list", _) => json_answer(200, &result(json!({"tools": [{"name": "read", "description": "Reads", "inputSchema": {"type": "object"}}]}))),
        ("tools/call", "mirror") => {
            // The bytes as they came, with another name for what they are.
            let answer = body.replace(r#""method":"tools/call","params":"#, r#""result":"#);
            ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
        }
        ("tools/call", "breaks") => events(
            "id: event-1\nretry: 10\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n".to_owned(),
        ),
        ("tools/call", "broken") => {
            let mut failed = text("broken");
            failed["isError"] = true.into();
            json_answer(200, &result(failed))
        }
        ("tools/call", tool) => json_answer(200, &result(text(tool))),
        _ => StatusCode::ACCEPTED.into_response(),
    }
}

async fn stream(State(inner): State<Shared>, headers: HeaderMap) -> Response {
    let Some(last) = headers.get("last-event-id") else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    inner.lock().unwrap().seen.resumed_from = Some(last.to_str().unwrap().to_owned());
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "resumed"}]}});
    events(format!("id: event-2\ndata: {answer}\n\n"))
}

async fn delete(State(inner): State<Shared>) -> Response {
    inner.lock().unwrap().seen.deleted += 1;
    StatusCode::NO_CONTENT.into_response()
}
