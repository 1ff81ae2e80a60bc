//! What can be wrong, each with what to do about it and who is stopped by it. Output for people and for programs is made of
//! these alone.

use serde::Serialize;
use thiserror::Error;

use super::certificate::CertificateFault;
use super::client::Client;
use super::difference::Difference;

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

/// Nobody who is known.
const NOBODY: &[Client] = &[];
/// Whoever follows the challenge alone.
const BY_CHALLENGE: &[Client] = &[Client::Codex, Client::Gemini, Client::Chatgpt];
/// Whoever begins with the well-known path and does not look into the challenge.
const BY_PATH: &[Client] = &[Client::ClaudeCode, Client::Copilot, Client::Opencode, Client::Inspector];
/// Clients in a browser.
const BROWSERS: &[Client] = &[Client::Inspector];

impl Problem {
    /// The clients that are known to fail with it.
    #[allow(clippy::too_many_lines, reason = "a line for each problem, and none is forgotten")]
    pub(crate) fn stops(&self) -> &'static [Client] {
        use Client::{Chatgpt, ClaudeCode, Codex, Copilot, Cursor, Gemini, Inspector, Opencode, Vscode};
        match self {
            Self::NoChallenge | Self::NoBearerChallenge { .. } => BY_CHALLENGE,
            Self::MethodNotChallenged { method, .. } if method == "HEAD" => &[Gemini],
            Self::MethodNotChallenged { .. }
            | Self::MetadataLinkNotAbsolute { .. }
            | Self::MetadataLinkElsewhere { .. } => &[Codex],
            Self::Document {
                needed: true,
                fault: DocumentFault::Missing { .. },
                ..
            } => BY_PATH,
            Self::ResourceMismatch { difference, .. } => match difference {
                Difference::TrailingSlash => &[ClaudeCode, Codex, Opencode, Gemini, Inspector, Cursor],
                Difference::OriginOnly => &[Gemini, Inspector, Vscode],
                Difference::Spelling => &[Gemini],
                _ => Client::ALL,
            },
            Self::IssuerMismatch {
                difference: Difference::TrailingSlash | Difference::Spelling,
                ..
            } => &[ClaudeCode, Copilot, Cursor, Inspector, Codex],
            Self::Nulls { .. } => &[Cursor, Inspector],
            Self::NoS256 => &[Chatgpt],
            Self::NoPublicClients => &[ClaudeCode],
            Self::NoResourceMetadata => &[ClaudeCode, Opencode, Inspector, Cursor],
            Self::PreflightRefused { .. }
            | Self::NoAllowOrigin { .. }
            | Self::HeadersNotAllowed { .. }
            | Self::MethodNotAllowed { .. }
            | Self::HeadersNotExposed { .. } => BROWSERS,
            Self::UnknownHost { .. }
            | Self::ConnectionRefused { .. }
            | Self::Timeout { .. }
            | Self::NoTls { .. }
            | Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::PlainHttp { .. }
            | Self::Unprotected { .. }
            | Self::WebPage { .. }
            | Self::NotFound { .. }
            | Self::Forbidden { .. }
            | Self::HostRefused { .. }
            | Self::CheckedFirst { .. }
            | Self::Unavailable { .. }
            | Self::ServerError { .. }
            | Self::Redirected { .. }
            | Self::BadTokenNotRefused { .. }
            | Self::Document { needed: true, .. }
            | Self::NoResource { .. }
            | Self::NoAuthorizationServer { .. }
            | Self::NoServerMetadata { .. }
            | Self::IssuerMismatch { .. }
            | Self::Lacks { .. }
            | Self::InternalAddress { .. }
            | Self::MemberIsHttp { .. }
            | Self::MemberIsNoUrl { .. }
            | Self::NoRegistration
            | Self::EndpointAnswers { .. }
            | Self::TokenRefused { .. }
            | Self::AuthorizationStripped
            | Self::InitializeFails { .. }
            | Self::SessionIdStripped
            | Self::StreamBuffered { .. } => Client::ALL,
            Self::CertificateExpires { .. }
            | Self::ClockDiffers { .. }
            | Self::AnyTokenAccepted { .. }
            | Self::IdentityHeadersAccepted { .. }
            | Self::ChallengeWithoutMetadata
            | Self::TokenNotSeen
            | Self::TwinRedirects { .. }
            | Self::TwinMissing { .. }
            | Self::Document { needed: false, .. }
            | Self::ContentType { .. }
            | Self::RootOfAnother { .. }
            | Self::OfflineAccess { .. }
            | Self::NoHeaderMethod { .. }
            | Self::PlainPkce
            | Self::NoMetadataDocuments
            | Self::NoRefresh
            | Self::NoIssParameter
            | Self::NoScopes
            | Self::NoKeys { .. }
            | Self::PrivateKeyPublished { .. }
            | Self::RegistrationClosed { .. }
            | Self::OpenRedirect { .. }
            | Self::Credentials { .. }
            | Self::SessionIdNotSeen { .. }
            | Self::ProtocolVersionNotSeen { .. }
            | Self::StreamCompressed { .. } => NOBODY,
        }
    }

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

    /// What to do about it.
    #[allow(clippy::too_many_lines, reason = "a line for each problem, and none is forgotten")]
    pub(crate) fn advice(&self) -> String {
        let fixed = match self {
            Self::NotFound {
                instead: Some(instead), ..
            } => return format!("{instead} asks for a token: use that URL, or route this path to the same server"),
            Self::InternalAddress { member, .. } => {
                return format!(
                    "set the public URL of the authorization server (here: GATEWAY_PUBLIC_URL) instead of having {member} made from \
                 the request"
                );
            }
            Self::Redirected { to, .. } => {
                return format!(
                    "clients send POST and follow no redirect with it: give people {to}, or serve this spelling without a redirect"
                );
            }
            Self::IssuerMismatch { expected, .. } => {
                return format!(
                    "use one string everywhere: authorization_servers, the metadata's issuer and iss. One of them says {expected}"
                );
            }
            Self::ResourceMismatch { expected, .. } => {
                return format!("set resource to {expected}, byte for byte what people put into their client");
            }
            Self::Certificate { fault, .. } => advice_on_certificate(fault),
            Self::Document { fault, needed, .. } => advice_on_document(fault, *needed),
            Self::UnknownHost { .. } => "look for a spelling mistake, or add the name to the DNS",
            Self::ConnectionRefused { .. } => "start the server or the proxy on that port, and open it in the firewall",
            Self::Timeout { .. } => {
                "look for a firewall that drops packets, and for what the server waits for: clients give up after ten seconds"
            }
            Self::NoTls { .. } => "serve TLS on that port, or use http:// if it is meant to be without",
            Self::Unreachable { .. } => "look at the network in between, and at what answers on that port",
            Self::CertificateExpires { .. } => "see why it was not renewed",
            Self::PlainHttp { .. } => "serve https, and give people that URL; http is for loopback",
            Self::ClockDiffers { .. } => "set both clocks by NTP: tokens are good from a second to a second",
            Self::Unprotected { .. } => {
                "put the layer or the proxy's authentication in front of every path and method of the MCP server"
            }
            Self::AnyTokenAccepted { .. } => "verify signature, issuer, audience and expiry of each token",
            Self::IdentityHeadersAccepted { .. } => {
                "remove X-User-Id, X-User-Name and X-Forwarded-User from what comes from outside, in every spelling"
            }
            Self::WebPage { .. } => "send the MCP path to the MCP server in front of the rule that serves the web page",
            Self::NotFound { .. } => {
                "look for the path in the proxy's rules: the token is asked for in front of everything else"
            }
            Self::Forbidden { .. } => {
                "answer 401 with a challenge when there is no token; a firewall in front of it may also have refused the client"
            }
            Self::HostRefused { .. } => {
                "add this name to the hosts that the server accepts (here: GATEWAY_PUBLIC_URL), or have the proxy pass on Host"
            }
            Self::CheckedFirst { .. } => "ask for the token in front of every other check",
            Self::Unavailable { .. } => "start what the proxy sends to, and look at the address it has for it",
            Self::ServerError { .. } => "look into the server's log",
            Self::MethodNotChallenged { .. } => "ask for the token in front of the check of the method",
            Self::NoChallenge => {
                "send WWW-Authenticate: Bearer resource_metadata=\"…\" with every 401; where the server does, a proxy removes it"
            }
            Self::NoBearerChallenge { .. } => "send the challenge Bearer first",
            Self::ChallengeWithoutMetadata => "add resource_metadata=\"…\" (RFC 9728 §5.1)",
            Self::MetadataLinkNotAbsolute { .. } => "write the whole URL, beginning with https://",
            Self::MetadataLinkElsewhere { .. } => {
                "serve the document at the MCP server's own origin; set the public URL if a proxy stands in front"
            }
            Self::BadTokenNotRefused { .. } => "answer 401 with error=\"invalid_token\", so that clients get a new one",
            Self::TokenNotSeen => {
                "add error=\"invalid_token\" (RFC 6750 §3.1); where the server does, a proxy removes Authorization"
            }
            Self::TwinRedirects { .. } | Self::TwinMissing { .. } => "serve both spellings alike: people type either",
            Self::ContentType { .. } => "send application/json",
            Self::Nulls { .. } => "leave members out that have no value",
            Self::NoResourceMetadata => {
                "serve /.well-known/oauth-protected-resource with the MCP path behind it (RFC 9728 §3.1)"
            }
            Self::NoResource { .. } => "add resource, the MCP server's URL (RFC 9728 §2)",
            Self::RootOfAnother { .. } => {
                "answer 404 there: a host with several resources has a document for each, with the path in its URL"
            }
            Self::NoAuthorizationServer { .. } => "add authorization_servers with the issuer",
            Self::OfflineAccess { .. } => "leave it out: it belongs to the authorization server",
            Self::NoHeaderMethod { .. } => "add header, or leave the member out: clients send tokens in no other way",
            Self::NoServerMetadata { .. } => {
                "serve /.well-known/oauth-authorization-server with the issuer's path behind it, if it has one (RFC 8414 §3.1)"
            }
            Self::Lacks { .. } => "add it (RFC 8414 §2)",
            Self::MemberIsHttp { .. } => {
                "set the public URL with https://: the server takes the proxy's plain connection for the client's"
            }
            Self::MemberIsNoUrl { .. } => "write the whole URL",
            Self::NoS256 => "add it: clients that keep to MCP go no further without",
            Self::PlainPkce => "take it out, and refuse it (RFC 9700 §2.1.1)",
            Self::NoPublicClients => "add none, first: most clients have no secret",
            Self::NoRegistration => "turn on dynamic registration, client ID metadata documents, or both",
            Self::NoMetadataDocuments => "turn on client ID metadata documents, which many clients prefer",
            Self::NoRefresh => "add refresh_token: without it people sign in again every hour",
            Self::NoIssParameter => "send iss with every answer to the redirect URI, and say so (RFC 9207)",
            Self::NoScopes => "add scopes_supported: without it some clients register the empty scope",
            Self::NoKeys { .. } => "publish the public half of the signing key",
            Self::PrivateKeyPublished { .. } => {
                "take it down, make a new key, and withdraw this one: anybody can sign tokens"
            }
            Self::EndpointAnswers { .. } => {
                "send this path to the authorization server, past every other rule and without a token"
            }
            Self::RegistrationClosed { .. } => "let everybody register, or do not advertise the endpoint",
            Self::OpenRedirect { .. } => {
                "show an error page when client or redirect URI are unknown (RFC 6749 §4.1.2.1)"
            }
            Self::PreflightRefused { .. } => {
                "answer OPTIONS in front of authentication, as a preflight cannot carry a token"
            }
            Self::NoAllowOrigin { .. } => {
                "send Access-Control-Allow-Origin: * with this answer too; errors need it as well"
            }
            Self::HeadersNotAllowed { .. } => {
                "add them to Access-Control-Allow-Headers; * does not stand for Authorization"
            }
            Self::MethodNotAllowed { .. } => "add it to Access-Control-Allow-Methods",
            Self::HeadersNotExposed { .. } => "add them to Access-Control-Expose-Headers, or scripts cannot read them",
            Self::Credentials { .. } => "take out Access-Control-Allow-Credentials: tokens travel in a header",
            Self::TokenRefused { .. } => {
                "get a new token for this very URL, and look for another audience or another issuer"
            }
            Self::AuthorizationStripped => "have the proxy pass Authorization on",
            Self::InitializeFails { .. } => "look into the MCP server's log",
            Self::SessionIdStripped => "have the proxy pass on Mcp-Session-Id in answers and requests",
            Self::SessionIdNotSeen { .. } => {
                "a server with sessions answers 404: if this one has them, a proxy removes Mcp-Session-Id from requests"
            }
            Self::ProtocolVersionNotSeen { .. } => {
                "a server answers 400: if this one does by itself, a proxy removes MCP-Protocol-Version from requests"
            }
            Self::StreamBuffered { .. } => {
                "turn buffering off for this path (nginx: proxy_buffering off; or X-Accel-Buffering: no from the server)"
            }
            Self::StreamCompressed { .. } => "do not compress text/event-stream: a compressor keeps events back",
        };
        fixed.to_owned()
    }
}

fn advice_on_certificate(fault: &CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Expired => "renew it, and see why that did not happen by itself",
        CertificateFault::NotYetValid => "look at this machine's clock, then at who issued it",
        CertificateFault::OtherNames { .. } => {
            "have one issued for this name; a proxy shows its default where it has none"
        }
        CertificateFault::SelfSigned => {
            "have one issued by an authority that clients know, or give theirs with --ca-file: clients need it, too"
        }
        CertificateFault::IntermediateMissing => {
            "serve the whole chain (fullchain.pem), and give an authority of your own with --ca-file: clients need it, too"
        }
        CertificateFault::UnknownIssuer => {
            "use an authority that clients know, or give it with --ca-file: clients need it, too"
        }
        CertificateFault::Other { .. } => "have a new one issued",
    }
}

fn advice_on_document(fault: &DocumentFault, needed: bool) -> &'static str {
    match fault {
        _ if !needed => "answer 404 in JSON where there is nothing",
        DocumentFault::Missing { .. } => "serve it, and send /.well-known/ past the proxy's other rules",
        DocumentFault::BehindAuthentication { .. } => "take /.well-known/ out of what is protected",
        DocumentFault::Html { .. } => {
            "send /.well-known/ to the server in front of the rule that serves the web page (an SPA's fallback, a login page)"
        }
        DocumentFault::NotJson | DocumentFault::NoObject => "serve the JSON document",
        DocumentFault::Redirected { .. } => "serve it at this very URL: clients do not follow to elsewhere",
        DocumentFault::ServerError { .. } => "look into the log of the server, and at what the proxy sends to",
        DocumentFault::TooLarge { .. } => "make it smaller",
        DocumentFault::OtherStatus { .. } => "answer 200",
    }
}
