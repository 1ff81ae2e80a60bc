//! Which clients each problem stops.

use super::{DocumentFault, Problem};
use crate::doctor::client::Client;
use crate::doctor::difference::Difference;

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
}
