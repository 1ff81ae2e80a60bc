//! What is under load: the gateway as a user builds it, a real Redis, and servers of every kind behind it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::example;
use mcp_oauth_tests::gateway::{Gateway, free_port};
use mcp_oauth_tests::redis::RedisServer;
use mcp_oauth_tests::tools;
use reqwest::{Client, redirect};
use tempfile::TempDir;

use crate::begun::Begun;
use crate::upstream::Upstream;

/// How long an access token is good. Short, so that grants which have ended are forgotten while somebody watches.
pub(crate) const ACCESS_TOKEN: Duration = Duration::from_secs(90);

/// How long a refresh token is, from its last use.
pub(crate) const REFRESH_TOKEN: Duration = Duration::from_secs(90);

/// How long a client is kept, from its last use.
pub(crate) const CLIENT: Duration = Duration::from_secs(120);

/// How long one is that nobody has signed in with.
const UNUSED_CLIENT: Duration = Duration::from_secs(90);

/// After so long without a word a session ends.
pub(crate) const IDLE_SESSION: Duration = Duration::from_secs(30);

/// In seconds: how long a program may take to start. A machine that has other things to do is no program that hangs.
const PATIENCE: u64 = 180;

/// How many connections to the gateway are kept open while nobody needs them.
pub(crate) const IDLE_CONNECTIONS: usize = 16;

/// How many networks the requests come from. The quotas of a network are as shipped, and so are all others.
const NETWORKS: u64 = 200;

/// The client of the configuration, which has no record and may ask about tokens for the echo server.
pub(crate) const RESIDENT: &str = "resident";

/// Its secret.
pub(crate) const RESIDENT_SECRET: &str = "Zc4vN8qLw2XyT6sRb9KdP1mHf5GjU7aE";

/// What seals the signing keys in the store.
const SEALING_SECRET: &str = "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=";

/// Everything, running until it is dropped.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) redis: RedisServer,
    pub(crate) upstream: Upstream,
    /// Where the gateway's measurements are.
    pub(crate) metrics: String,
    /// Programs of this run that may outlive the gateway's own children.
    pub(crate) programs: Vec<PathBuf>,
    /// Whether there is a Python server behind the bridge.
    pub(crate) has_python: bool,
    pub(crate) begun: Begun,
    pub(crate) http: Client,
    /// How many requests were sent.
    pub(crate) sent: AtomicUsize,
    visitors: AtomicU64,
}

impl Site {
    /// Builds the gateway, in the release profile or as tests have it, and starts everything.
    pub(crate) async fn start(released: bool) -> Arc<Self> {
        let program = if released {
            example::released_program("full-gateway")
        } else {
            example::program("full-gateway")
        };
        let redis = RedisServer::start(&[]).await;
        let upstream = Upstream::start().await;
        let python = tools::python("a server from PyPI in the soak");
        // A machine that has other things to do must not look like a store that is away.
        let store = format!("{}?connection_timeout=10000&response_timeout=10000", redis.url());
        let (port, metrics) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let address = format!("127.0.0.1:{port}");
        let toml = configuration(&format!("http://{address}"), &program, &upstream.url, python.as_ref());
        let directory = TempDir::new().expect("a directory");
        std::fs::write(directory.path().join("gateway.toml"), toml).expect("the directory can be written to");
        let settings = [
            ("GATEWAY_LISTEN", address.as_str()),
            ("GATEWAY_KEY_SEALING_SECRET", SEALING_SECRET),
            ("GATEWAY_TELEMETRY__METRICS_LISTEN", &metrics),
            ("REDIS_URL", &store),
        ];
        let gateway = Gateway::start_program(&program, directory, &address, &settings).await;
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            // What is kept open for later is this program's, and not to be counted as the gateway's.
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .timeout(Duration::from_secs(60));
        Arc::new(Self {
            gateway,
            redis,
            upstream,
            metrics: format!("http://{metrics}/metrics"),
            programs: vec![
                env!("CARGO_BIN_EXE_unruly-server").into(),
                env!("CARGO_BIN_EXE_conformance-server").into(),
            ],
            has_python: python.is_some(),
            begun: Begun::default(),
            http: http.build().expect("a client of HTTP"),
            sent: AtomicUsize::new(0),
            visitors: AtomicU64::new(0),
        })
    }

    /// The resource that a server of the gateway is.
    pub(crate) fn resource(&self, server: &str) -> String {
        format!("{}/{server}/mcp", self.gateway.url)
    }

    /// An address that the proxy of this site names, of another network than the last one.
    pub(crate) fn next_network(&self) -> String {
        let number = self.visitors.fetch_add(1, Ordering::Relaxed) % NETWORKS;
        format!("198.51.{}.{}", 100 + number / 100, number % 100)
    }

    /// One of two people.
    pub(crate) fn next_person(&self) -> &'static str {
        ["ada", "grace"][usize::from(self.visitors.fetch_add(1, Ordering::Relaxed) % 2 == 1)]
    }
}

/// What the gateway is told. Lifetimes are short, so that what ends can be seen to end; all quotas are as shipped.
fn configuration(issuer: &str, program: &Path, upstream: &str, python: Option<&PathBuf>) -> String {
    let (conformance, unruly) = (
        env!("CARGO_BIN_EXE_conformance-server"),
        env!("CARGO_BIN_EXE_unruly-server"),
    );
    let mut toml = format!(
        r#"
        trusted_proxies = "127.0.0.1"
        access_token_lifetime = {access_token}
        refresh_token_lifetime = {refresh_token}
        client_lifetime = {client}

        [registration]
        unused_lifetime = {unused}
        unused_lifetime_in_a_flood = {unused}

        [[clients]]
        id = "{RESIDENT}"
        secret = "{RESIDENT_SECRET}"
        redirect_uris = ["{redirect_uri}"]
        introspects = ["echo"]

        [servers.pad]
        command = ['{program}', "notes"]
        process = {{ spares = 1, idle_timeout = {idle}, handshake_timeout = {PATIENCE} }}

        [servers.person]
        command = ['{program}', "notes"]
        share = "per-user"
        process = {{ idle_timeout = {idle}, handshake_timeout = {PATIENCE} }}

        [servers.legacy]
        command = ['{conformance}', "--era", "2025-11-25"]
        process = {{ idle_timeout = {idle}, handshake_timeout = {PATIENCE} }}

        [servers.modern]
        command = ['{conformance}', "--era", "2026-07-28"]
        share = "shared"
        process = {{ idle_timeout = {idle}, handshake_timeout = {PATIENCE} }}

        [servers.unruly]
        command = ['{unruly}', "--era", "2025-11-25"]
        process = {{ idle_timeout = {idle}, handshake_timeout = {PATIENCE} }}

        [servers.elsewhere]
        url = "{upstream}"

        [backends.behind]
        url = "{issuer}/behind/mcp"

        [forward_auth]
        identity_tokens = true
        "#,
        access_token = ACCESS_TOKEN.as_secs(),
        refresh_token = REFRESH_TOKEN.as_secs(),
        client = CLIENT.as_secs(),
        unused = UNUSED_CLIENT.as_secs(),
        redirect_uri = mcp_oauth_tests::client::REDIRECT_URI,
        program = program.display(),
        idle = IDLE_SESSION.as_secs(),
    );
    if let Some(python) = python {
        let command = serde_json::json!([python, "-m", "mcp_server_time", "--local-timezone", "UTC"]);
        let idle = IDLE_SESSION.as_secs();
        writeln!(
            toml,
            "[servers.time]\ncommand = {command}\nprocess = {{ idle_timeout = {idle}, handshake_timeout = {PATIENCE} }}"
        )
        .expect("writing to a string does not fail");
    }
    toml
}

/// The longest that something is left behind which does not have to be waited for elsewhere: a client that was used once,
/// and what a flow that takes long adds to that.
pub(crate) fn settled_after() -> Duration {
    CLIENT + Duration::from_secs(60)
}

/// Something that nobody has seen before, as long as a token or a verifier.
pub(crate) fn random() -> String {
    Secret::random().expose().to_owned()
}
