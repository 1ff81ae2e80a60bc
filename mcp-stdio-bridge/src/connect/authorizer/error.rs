//! Why there is no token.

use std::io;
use std::path::PathBuf;

use super::super::authorization::{IssuerError, RandomError};
use super::super::discovery::DiscoveryError;
use super::super::fetch::{FetchError, HttpClientError};
use super::super::registration::RegistrationError;
use super::super::storage::StorageError;
use super::super::tokens::TokenError;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizationError {
    /// It is not known who gives tokens for the server.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// A request came to nothing.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Credentials could not be read or kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The authorization server gave no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The authorization server did not register this program.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The answer that the browser brought is not the authorization server's.
    #[error("the sign-in is not used: {0}")]
    Issuer(#[from] IssuerError),
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Nothing could listen for the browser.
    #[error("nothing can listen for the browser to come back: {0}")]
    Callback(io::Error),
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made: {0}")]
    Http(#[from] HttpClientError),
    /// A file with an assertion could not be read.
    #[error("{}: {error}", path.display())]
    Assertion {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The sign-in ended with an error.
    #[error("the sign-in was refused: {0}")]
    Denied(String),
    /// Nobody signed in.
    #[error("nobody signed in in time")]
    TimedOut,
    /// The authorization server does not say that it has PKCE with S256, without which a code can be stolen.
    #[error("the authorization server {0} does not offer PKCE with S256; it is not safe to sign in there")]
    NoPkce(String),
    /// The authorization server lacks an endpoint.
    #[error("the authorization server {1} has no {0}")]
    NoEndpoint(&'static str, String),
    /// There is no way to become a client.
    #[error(
        "the authorization server {0} registers nobody by itself: get a client id from whoever runs it, and name it"
    )]
    NoRegistration(String),
    /// What was configured is for another authorization server.
    #[error("the server names {found} as its authorization server; the client that was configured is for {expected}")]
    OtherIssuer {
        /// Whom the server names.
        found: String,
        /// Whom the client is for.
        expected: String,
    },
    /// The token that was given is not taken, and cannot be renewed.
    #[error("the server refuses the access token that was given")]
    TokenRefused,
    /// The server refuses a token although it was granted all that the server asks for.
    #[error("the server asks for the scope `{0}`, and refuses a token that has it")]
    ScopeNotEnough(String),
    /// Somebody has to sign in, and nobody can be asked now.
    #[error("somebody has to sign in first")]
    SignInNeeded,
}
