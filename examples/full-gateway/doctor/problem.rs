//! What can be wrong, each with what to do about it and who is stopped by it. Output for people and for programs is made of
//! these alone.

use serde::Serialize;
use thiserror::Error;

use super::certificate::CertificateFault;
use super::difference::Difference;

mod advice;
mod stops;

/// Something that is not as clients need it.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub(crate) enum Problem {
    // The connection.
    #[error("the name {host} cannot be resolved")]
    UnknownHost { host: String },
    #[error("{host} refuses the connection")]
    ConnectionRefused { host: String },
    #[error("no answer from {url} within {seconds} s")]
    Timeout { url: String, seconds: u64 },
    #[error("no TLS connection to {host}: {reason}")]
    NoTls { host: String, reason: String },
    #[error("{url} cannot be asked: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the certificate of {host} {}", certificate(fault))]
    Certificate { host: String, fault: CertificateFault },
    #[error("the certificate of {host} expires in {days} days")]
    CertificateExpires { host: String, days: i64 },
    #[error("{url} is http, and tokens would be sent in the clear")]
    PlainHttp { url: String },
    #[error("the clock of {host} is {seconds} s {}", if *behind { "behind this machine's" } else { "ahead of this machine's" })]
    ClockDiffers { host: String, seconds: u64, behind: bool },

    // The unauthenticated request.
    #[error("{method} {url} answers {status} without a token: nothing is protected there")]
    Unprotected { method: String, url: String, status: u16 },
    #[error("{url} answers {status} to a made-up token: tokens are not checked")]
    AnyTokenAccepted { url: String, status: u16 },
    #[error(
        "{url} answers {status} to a request that says in X-User-Id and the like who it is: anybody can be anybody"
    )]
    IdentityHeadersAccepted { url: String, status: u16 },
    #[error("{url} answers {status} with a web page")]
    WebPage { url: String, status: u16 },
    #[error("{url} answers {status} where it should answer 401")]
    NotFound {
        url: String,
        status: u16,
        instead: Option<String>,
    },
    #[error("{url} answers 403 where it should answer 401")]
    Forbidden { url: String },
    #[error("{url} answers 421: it does not know itself by this name")]
    HostRefused { url: String },
    #[error("{url} answers {status} before it asks for a token")]
    CheckedFirst { url: String, status: u16 },
    #[error("{url} answers {status}: what is behind the proxy is away")]
    Unavailable { url: String, status: u16 },
    #[error("{url} answers {status}")]
    ServerError { url: String, status: u16 },
    #[error("{url} redirects ({status}) to {to}")]
    Redirected { url: String, status: u16, to: String },
    #[error("{method} {url} answers {status} before it asks for a token")]
    MethodNotChallenged { method: String, url: String, status: u16 },
    #[error("the 401 has no WWW-Authenticate")]
    NoChallenge,
    #[error("the 401 has a WWW-Authenticate without the scheme Bearer: {header}")]
    NoBearerChallenge { header: String },
    #[error("the challenge has no resource_metadata")]
    ChallengeWithoutMetadata,
    #[error("the challenge's resource_metadata is no absolute URL: {value}")]
    MetadataLinkNotAbsolute { value: String },
    #[error("the challenge's resource_metadata points to another origin: {value}")]
    MetadataLinkElsewhere { value: String },
    #[error("{url} answers {status} to a token that is no good, where it should answer 401")]
    BadTokenNotRefused { url: String, status: u16 },
    #[error("the 401 to a token that is no good does not say error=\"invalid_token\"")]
    TokenNotSeen,
    #[error("{url}, the other spelling, redirects to {to}")]
    TwinRedirects { url: String, to: String },
    #[error("{url}, the other spelling, answers {status}")]
    TwinMissing { url: String, status: u16 },

    // Documents.
    #[error("{url}: {}", document(fault))]
    Document {
        url: String,
        fault: DocumentFault,
        needed: bool,
    },
    #[error("{url} is sent as {content_type}")]
    ContentType { url: String, content_type: String },
    #[error("{url} has members that are null: {members}")]
    Nulls { url: String, members: String },

    // The protected resource's metadata.
    #[error("no protected resource metadata is found anywhere")]
    NoResourceMetadata,
    #[error("{url} does not say resource")]
    NoResource { url: String },
    #[error("{url} says resource {found} instead of {expected}: they differ in {}", difference.words())]
    ResourceMismatch {
        url: String,
        expected: String,
        found: String,
        difference: Difference,
    },
    #[error("{url} describes another resource: {found}")]
    RootOfAnother { url: String, found: String },
    #[error("{url} names no authorization server")]
    NoAuthorizationServer { url: String },
    #[error("{url} lists the scope offline_access")]
    OfflineAccess { url: String },
    #[error("{url} does not list header in bearer_methods_supported")]
    NoHeaderMethod { url: String },

    // The authorization server's metadata.
    #[error("no metadata of the authorization server {issuer} is found anywhere")]
    NoServerMetadata { issuer: String },
    #[error("{url} says issuer {found} instead of {expected}: they differ in {}", difference.words())]
    IssuerMismatch {
        url: String,
        expected: String,
        found: String,
        difference: Difference,
    },
    #[error("{url} lacks {member}")]
    Lacks { url: String, member: String },
    #[error("{member} is at {found}, which only machines beside the server can reach")]
    InternalAddress { member: String, found: String },
    #[error("{member} is http: {found}")]
    MemberIsHttp { member: String, found: String },
    #[error("{member} is no absolute URL: {found}")]
    MemberIsNoUrl { member: String, found: String },
    #[error("S256 is not in code_challenge_methods_supported")]
    NoS256,
    #[error("plain is in code_challenge_methods_supported")]
    PlainPkce,
    #[error("none is not in token_endpoint_auth_methods_supported")]
    NoPublicClients,
    #[error(
        "clients cannot introduce themselves: neither registration_endpoint nor client_id_metadata_document_supported"
    )]
    NoRegistration,
    #[error("client_id_metadata_document_supported is not there, so every client has to register")]
    NoMetadataDocuments,
    #[error("refresh_token is not in grant_types_supported")]
    NoRefresh,
    #[error("authorization_response_iss_parameter_supported is not true")]
    NoIssParameter,
    #[error("scopes_supported is not there")]
    NoScopes,

    // Endpoints.
    #[error("{url} has no keys")]
    NoKeys { url: String },
    #[error("{url} publishes a private key")]
    PrivateKeyPublished { url: String },
    #[error("{what} ({url}) answers {status} to {request}, where an OAuth error in JSON is due")]
    EndpointAnswers {
        what: String,
        url: String,
        status: u16,
        request: String,
    },
    #[error("the registration endpoint ({url}) answers {status}: it is advertised and asks for authentication")]
    RegistrationClosed { url: String, status: u16 },
    #[error("the authorization endpoint ({url}) redirects to an address that no client has registered")]
    OpenRedirect { url: String },

    // Browsers.
    #[error("a preflight to {url} answers {status}")]
    PreflightRefused { url: String, status: u16 },
    #[error("{url} lacks Access-Control-Allow-Origin{}", if *preflight { " in the preflight" } else { "" })]
    NoAllowOrigin { url: String, preflight: bool },
    #[error("the preflight to {url} does not allow the headers {headers}")]
    HeadersNotAllowed { url: String, headers: String },
    #[error("the preflight to {url} does not allow the method {method}")]
    MethodNotAllowed { url: String, method: String },
    #[error("{url} does not expose the headers {headers}")]
    HeadersNotExposed { url: String, headers: String },
    #[error("{url} allows any origin together with credentials")]
    Credentials { url: String },

    // The session, with a token.
    #[error("the token is refused: {error}")]
    TokenRefused { error: String },
    #[error("the 401 to the token speaks of none: Authorization does not reach the server")]
    AuthorizationStripped,
    #[error("initialize answers {status}")]
    InitializeFails { status: u16 },
    #[error("initialize answers no Mcp-Session-Id, but the next request is refused for the lack of one")]
    SessionIdStripped,
    #[error("a request with an Mcp-Session-Id that nobody has given is answered {status}")]
    SessionIdNotSeen { status: u16 },
    #[error("a request with an MCP-Protocol-Version that does not exist is answered {status}")]
    ProtocolVersionNotSeen { status: u16 },
    #[error("a stream of events does not begin within {seconds} s")]
    StreamBuffered { seconds: u64 },
    #[error("a stream of events is sent with Content-Encoding: {encoding}")]
    StreamCompressed { encoding: String },
}

/// What is wrong with a document, before it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub(crate) enum DocumentFault {
    Missing { status: u16 },
    BehindAuthentication { status: u16 },
    Html { status: u16 },
    NotJson,
    NoObject,
    Redirected { status: u16, to: String },
    ServerError { status: u16 },
    TooLarge { bytes: usize },
    OtherStatus { status: u16 },
}

fn document(fault: &DocumentFault) -> String {
    match fault {
        DocumentFault::Missing { status } => format!("{status}, the document is not there"),
        DocumentFault::BehindAuthentication { status } => {
            format!("{status}, a document that everybody has to be able to read is behind authentication")
        }
        DocumentFault::Html { status } => format!("{status} with HTML where JSON should be"),
        DocumentFault::NotJson => "what is there is not JSON".to_owned(),
        DocumentFault::NoObject => "the JSON there is no object".to_owned(),
        DocumentFault::Redirected { status, to } => format!("{status}, a redirect to {to}"),
        DocumentFault::ServerError { status } => format!("{status}"),
        DocumentFault::TooLarge { bytes } => format!("the document is larger than {bytes} bytes"),
        DocumentFault::OtherStatus { status } => format!("{status} where 200 is due"),
    }
}

fn certificate(fault: &CertificateFault) -> String {
    match fault {
        CertificateFault::Expired => "has expired".to_owned(),
        CertificateFault::NotYetValid => "is not valid yet".to_owned(),
        CertificateFault::OtherNames { names } if names.is_empty() => "names no host".to_owned(),
        CertificateFault::OtherNames { names } => format!("is for other names: {}", names.join(", ")),
        CertificateFault::SelfSigned => "is self-signed".to_owned(),
        CertificateFault::IntermediateMissing => {
            "is not trusted, and is sent without the certificate of who issued it".to_owned()
        }
        CertificateFault::UnknownIssuer => "is issued by nobody who is known here".to_owned(),
        CertificateFault::Other { what } => format!("is not trusted: {what}"),
    }
}

impl Problem {
    /// Whether it is wrong whoever comes: it endangers people, or it will stop everybody sooner or later.
    pub(crate) fn is_wrong_for_all(&self) -> bool {
        matches!(
            self,
            Self::Unprotected { .. }
                | Self::AnyTokenAccepted { .. }
                | Self::IdentityHeadersAccepted { .. }
                | Self::PrivateKeyPublished { .. }
                | Self::OpenRedirect { .. }
                | Self::Credentials { .. }
                | Self::PlainPkce
                | Self::NoKeys { .. }
                | Self::ClockDiffers { .. }
        )
    }

    /// Whether nothing more can be said, since nobody answers.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost { .. }
                | Self::ConnectionRefused { .. }
                | Self::Timeout { .. }
                | Self::NoTls { .. }
                | Self::Unreachable { .. }
        )
    }
}
