//! The way back: a remote, protected MCP server behind stdio.
//!
//! Some clients can only start a program and talk to it over stdin and stdout. This is that program: it carries each
//! message to a server over streamable HTTP and what the server says back, and does what such a client cannot, it signs
//! in. Messages pass as they are, in either era of the protocol; the server has to speak the client's.
//!
//! ```no_run
//! use mcp_stdio_bridge::connect::{Connection, FileStorage};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::builder("https://mcp.example.com/mcp")
//!     .storage(FileStorage::of_user()?)
//!     .build()?;
//! // Until stdin ends. The browser opens when the server asks for a token and none is kept.
//! connection.serve(tokio::io::stdin(), tokio::io::stdout(), std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Or without a client, to look at a server:
//!
//! ```no_run
//! use mcp_stdio_bridge::connect::{Connection, Secret};
//!
//! # async fn list() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::builder("https://mcp.example.com/mcp")
//!     .access_token(Secret::new("from somewhere else"))
//!     .build()?;
//! let mut server = connection.call().await?;
//! let tools = server.request("tools/list", serde_json::json!({})).await?;
//! println!("{tools}");
//! # Ok(())
//! # }
//! ```
//!
//! # How it signs in
//!
//! As the MCP authorization specification has it for clients: the server's `401` leads to its protected resource metadata
//! ([RFC 9728]), that to the authorization server's ([RFC 8414] or OpenID Connect), whose issuer has to be the very one
//! that was named. There this program is a client by a metadata document of its own
//! ([`ConnectionBuilder::client_metadata_url`]), by hand ([`ConnectionBuilder::client`]), or by registering ([RFC 7591]). A person signs in in
//! a browser or on another device ([`Grant`]), always with PKCE S256, which the authorization server has to offer, with the
//! resource, a state, and a check of who answered ([RFC 9207]). A `403 insufficient_scope` asks for what is granted and
//! what is missing together, twice at most for one request.
//!
//! Tokens are renewed by one process at a time ([`Storage`]), and kept before they are used.
//!
//! # What it does not do
//!
//! - Credentials of one authorization server are not shown to another. What was configured by hand goes to the issuer that
//!   was named with it, or to the first that the server named.
//! - Addresses in metadata are https, or http on this machine if the server is on this machine; a server on the public
//!   network leads to public addresses only. A redirect is followed within its origin or not at all.
//! - No shell sees an address. No log has a token, a code or a secret.
//!
//! [RFC 7591]: https://www.rfc-editor.org/rfc/rfc7591
//! [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
//! [RFC 9207]: https://www.rfc-editor.org/rfc/rfc9207
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728

mod address;
mod authorization;
mod authorizer;
mod callback;
mod challenge;
mod client;
mod device;
mod discovery;
mod events;
mod fetch;
#[cfg(feature = "test-util")]
pub(crate) mod fuzzing;
mod parameters;
mod person;
mod registration;
mod relay;
mod remote_server;
mod secret;
mod stdio;
mod storage;
mod tokens;
mod transport;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use url::Url;

pub use self::address::AddressError;
pub use self::authorization::{IssuerError, RandomError};
pub use self::authorizer::{AuthorizationError, Enterprise, Grant, Status};
pub use self::client::{ClientCredentials, KeyError, SigningKey};
pub use self::discovery::DiscoveryError;
pub use self::fetch::{FetchError, HttpClientError};
pub use self::person::{Browser, DevicePrompt, Person, Terminal};
pub use self::registration::RegistrationError;
pub use self::remote_server::{CallError, RemoteServer};
pub use self::secret::Secret;
#[cfg(feature = "keyring")]
pub use self::storage::keyring::KeyringStorage;
pub use self::storage::{FileStorage, Key, MemoryStorage, Storage, StorageError};
pub use self::tokens::TokenError;
pub use self::transport::RequestError;

use self::authorizer::{Allowed, Authorizer, Management, Settings};
use self::challenge::Challenge;
use self::relay::Relay;
use self::transport::Transport;

/// Lines that wait to be carried or written.
const QUEUE: usize = 64;

/// What keeps a connection from being made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's address is none to send a token to.
    #[error("the server: {0}")]
    Address(#[from] AddressError),
    /// The address of the client's metadata document is not what such an address has to be.
    #[error("a client ID metadata document is at an https address with a path and without a fragment")]
    ClientMetadataUrl,
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made: {0}")]
    Http(#[from] HttpClientError),
    /// stdin or stdout broke.
    #[error("stdio: {0}")]
    Stdio(#[from] io::Error),
}

/// How a connection is made. [`Connection::builder`] begins one.
#[derive(Debug)]
#[must_use]
pub struct ConnectionBuilder {
    server: String,
    settings: Settings,
    storage: Arc<dyn Storage>,
    person: Arc<dyn Person>,
    max_message: usize,
    drain_timeout: Duration,
}

/// A remote server, and what is known of how to sign in there.
#[derive(Debug)]
pub struct Connection {
    server: Url,
    authorizer: Arc<Authorizer>,
    max_message: usize,
    drain_timeout: Duration,
}

impl ConnectionBuilder {
    /// How a token is asked for. By default a person signs in in a browser.
    pub fn grant(mut self, grant: Grant) -> Self {
        self.settings.grant = grant;
        self
    }

    /// A client that was registered by hand. Name its issuer as well ([`Self::issuer`]): without, it is for the first
    /// authorization server that the server names.
    pub fn client(mut self, client: ClientCredentials) -> Self {
        self.settings.client = Some(client);
        self
    }

    /// The address of a document that describes this client (client ID metadata document), for authorization servers that
    /// read such documents. It names the redirect URI `http://127.0.0.1/callback`, with or without a port.
    pub fn client_metadata_url(mut self, url: Url) -> Self {
        self.settings.client_metadata_url = Some(url);
        self
    }

    /// The key with which that client proves who it is, if its document says so (`private_key_jwt`).
    pub fn client_key(mut self, key: SigningKey) -> Self {
        self.settings.client_key = Some(key);
        self
    }

    /// The name under which this program registers, for people to read. By default `mcp-stdio-bridge`.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.settings.client_name = name.into();
        self
    }

    /// The only authorization server to sign in at, by its issuer, letter by letter.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.settings.issuer = Some(issuer.into());
        self
    }

    /// The scopes to ask for at first, in place of those that the server names. What it asks for later comes on top.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.settings.scope = Some(scope.into());
        self
    }

    /// The port of 127.0.0.1 that the browser comes back to. By default the one that was registered, if it is free, else
    /// any that is.
    pub fn callback_port(mut self, port: u16) -> Self {
        self.settings.callback_port = Some(port);
        self
    }

    /// How long somebody has to sign in. By default ten minutes.
    pub fn sign_in_timeout(mut self, time: Duration) -> Self {
        self.settings.sign_in_timeout = time;
        self
    }

    /// A token from somewhere else. It is used as it is; when it is refused, that is the end.
    pub fn access_token(mut self, token: Secret) -> Self {
        self.settings.access_token = Some(token);
        self
    }

    /// Where credentials are kept. By default they end with the process.
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.storage = Arc::new(storage);
        self
    }

    /// How the person who signs in is reached. By default by stderr and the system's browser.
    pub fn person(mut self, person: impl Person + 'static) -> Self {
        self.person = Arc::new(person);
        self
    }

    /// The largest message in either direction, in bytes. By default 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How long requests in flight have when stdin ends. By default five seconds.
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain_timeout = time;
        self
    }

    /// Checks what was said. Nothing is sent yet.
    pub fn build(self) -> Result<Connection, ConnectError> {
        let server = Url::parse(&self.server).map_err(|_| AddressError::Malformed(address::bounded(&self.server)))?;
        address::check_server(&server)?;
        if let Some(url) = &self.settings.client_metadata_url {
            let good = url.scheme() == "https" && url.path() != "/" && url.fragment().is_none();
            if !good || !url.username().is_empty() || url.password().is_some() {
                return Err(ConnectError::ClientMetadataUrl);
            }
        }
        Ok(Connection {
            authorizer: Arc::new(Authorizer::new(
                server.clone(),
                self.settings,
                self.storage,
                self.person,
            )),
            server,
            max_message: self.max_message,
            drain_timeout: self.drain_timeout,
        })
    }
}

impl Connection {
    /// Begins a connection to a server by its address: https, or http on this machine.
    pub fn builder(server: impl Into<String>) -> ConnectionBuilder {
        ConnectionBuilder {
            server: server.into(),
            settings: Settings {
                grant: Grant::default(),
                client: None,
                client_metadata_url: None,
                client_key: None,
                client_name: "mcp-stdio-bridge".to_owned(),
                issuer: None,
                scope: None,
                callback_port: None,
                sign_in_timeout: Duration::from_secs(600),
                access_token: None,
            },
            storage: Arc::new(MemoryStorage::default()),
            person: Arc::new(Terminal::default()),
            max_message: 16 * 1024 * 1024,
            drain_timeout: Duration::from_secs(5),
        }
    }

    fn relay(&self, out: mpsc::Sender<String>, sign_in: bool) -> Result<Arc<Relay>, ConnectError> {
        let transport = Transport::new(self.server.clone(), Arc::clone(&self.authorizer), self.max_message)?;
        Ok(Relay::new(transport, out, sign_in))
    }

    /// Carries messages until the input ends or `shutdown` does. On the output there is nothing but messages of the
    /// protocol, one a line.
    ///
    /// # Errors
    ///
    /// Input or output broke. What goes wrong with a request is the answer to that request, and no error here.
    pub async fn serve(
        &self,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ConnectError> {
        let (out, lines) = mpsc::channel(QUEUE);
        let relay = self.relay(out.clone(), true)?;
        let mut writing = tokio::spawn(stdio::write(output, lines));
        let (sender, mut taken) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(stdio::read(input, sender, out, self.max_message));
        let carrying = async {
            while let Some(line) = taken.recv().await {
                relay.take(line).await;
            }
            relay.drain(self.drain_timeout).await;
        };
        // A client that is gone does not wait for what it has begun, somebody's sign-in least of all.
        let gone = async {
            let read = reading.await;
            tokio::time::sleep(self.drain_timeout).await;
            read
        };
        tokio::pin!(gone);
        let ended = tokio::select! {
            () = carrying => Ok(()),
            read = &mut gone => read.unwrap_or_else(|error| Err(io::Error::other(error))),
            written = &mut writing => written.unwrap_or_else(|error| Err(io::Error::other(error))),
            () = shutdown => Ok(()),
        };
        relay.close().await;
        drop(relay);
        if !writing.is_finished() {
            // All that could still say something is gone, or about to be.
            let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
        }
        Ok(ended?)
    }

    /// Begins to call the server, without a client behind stdio.
    pub async fn call(&self) -> Result<RemoteServer, CallError> {
        self.begin_to_call(true).await
    }

    /// The same, but for that nobody is asked to sign in: without a token that the server takes this fails.
    pub async fn call_without_sign_in(&self) -> Result<RemoteServer, CallError> {
        self.begin_to_call(false).await
    }

    async fn begin_to_call(&self, sign_in: bool) -> Result<RemoteServer, CallError> {
        let (out, lines) = mpsc::channel(QUEUE);
        let relay = self.relay(out, sign_in)?;
        RemoteServer::begin(relay, lines).await
    }

    /// What is kept of the tokens for this server. Nothing is sent.
    pub async fn status(&self) -> Result<Status, AuthorizationError> {
        self.authorizer.status().await
    }

    /// The access token to use: the one that is kept, renewed if it is about to end; a new one if there is none, for which
    /// somebody may have to sign in.
    pub async fn access_token(&self) -> Result<Secret, AuthorizationError> {
        if let Some(token) = self.authorizer.token().await? {
            return Ok(token);
        }
        let allowed = Allowed {
            sign_in: true,
            refresh: true,
        };
        self.authorizer.renew(None, &Challenge::default(), allowed).await
    }

    /// Gives the tokens back and forgets them; the registration stays. `false` where there were none.
    pub async fn log_out(&self) -> Result<bool, AuthorizationError> {
        self.authorizer.log_out().await
    }

    /// This program's own registration with the authorization server (RFC 7592 §2.1), as that has it. It may hold a
    /// secret.
    pub async fn registration(&self) -> Result<Map<String, Value>, AuthorizationError> {
        self.authorizer.manage(Management::Show).await
    }

    /// Changes members of the registration (RFC 7592 §2.2). The others stay as they are.
    pub async fn update_registration(
        &self,
        changes: Map<String, Value>,
    ) -> Result<Map<String, Value>, AuthorizationError> {
        self.authorizer.manage(Management::Update(changes)).await
    }

    /// Ends the registration (RFC 7592 §2.3), and with it all tokens.
    pub async fn delete_registration(&self) -> Result<(), AuthorizationError> {
        self.authorizer.manage(Management::Delete).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectError, Connection};

    #[test]
    fn a_server_is_https_or_on_this_machine() {
        for (server, wanted) in [
            ("https://mcp.example.com/mcp", true),
            ("http://127.0.0.1:3000/mcp", true),
            ("http://localhost:3000/mcp", true),
            ("https://10.0.0.1/mcp", true),
            ("http://mcp.example.com/mcp", false),
            ("http://10.0.0.1/mcp", false),
            ("https://user:secret@mcp.example.com/mcp", false),
            ("mcp.example.com", false),
            ("file:///tmp/x", false),
        ] {
            assert_eq!(Connection::builder(server).build().is_ok(), wanted, "{server}");
        }
    }

    #[test]
    fn a_metadata_document_is_at_an_https_address_with_a_path() {
        for (url, wanted) in [
            ("https://me.example/client.json", true),
            ("https://me.example/", false),
            ("http://me.example/client.json", false),
            ("https://me.example/client.json#x", false),
        ] {
            let builder = Connection::builder("https://mcp.example.com");
            let built = builder.client_metadata_url(url.parse().unwrap()).build();
            assert_eq!(!matches!(built, Err(ConnectError::ClientMetadataUrl)), wanted, "{url}");
        }
    }
}
