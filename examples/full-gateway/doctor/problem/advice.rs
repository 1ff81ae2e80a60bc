//! What to do about each problem.

use super::{DocumentFault, Problem};
use crate::doctor::certificate::CertificateFault;

impl Problem {
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
