//! What a person sees.
//!
//! Pages are made on the server, run no script, load nothing, cannot be framed, and write every value that comes
//! from somebody else as text. They have no `form-action` directive: browsers apply it to every redirect that
//! follows a form, all the way through the identity provider to the client, whose addresses nobody can list
//! beforehand. Forms cannot be injected, since the templates escape everything.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};
use mcp_oauth_core::identity::Identity;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::authorize::{ConsentPrompt, PromptDestination};
use mcp_oauth_core::server::consent::ProviderChoice;

/// What every page needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Whether made-up people can sign in, which every page has to say.
    pub(crate) development: bool,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    nonce: &'a str,
    development: bool,
    action: &'a str,
    prompt: &'a ConsentPrompt,
}

#[derive(Template)]
#[template(path = "development_sign_in.html")]
struct DevelopmentSignInPage<'a> {
    nonce: &'a str,
    development: bool,
    action: &'a str,
    state: &'a str,
    people: &'a [Identity],
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    nonce: &'a str,
    development: bool,
    action: &'a str,
    choice: &'a ProviderChoice,
}

/// What an error page says.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) title: &'static str,
    pub(crate) explanation: String,
    /// The code, for the client's developer.
    pub(crate) code: &'static str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    nonce: &'a str,
    development: bool,
    problem: &'a Problem,
    way_out: WayOut<'a>,
}

/// What a person can do on an error page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WayOut<'a> {
    /// Nothing but go back.
    None,
    /// Try again.
    Retry(Retry<'a>),
    /// Tell the client.
    Link(Link<'a>),
}

/// A link to the client, at a redirect URI that it has registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) location: &'a str,
    pub(crate) destination: &'a str,
}

/// A way to try again: the form that approves the transaction once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry<'a> {
    pub(crate) action: &'a str,
    pub(crate) transaction: &'a str,
}

#[derive(Template)]
#[template(path = "success.html")]
struct SuccessPage<'a> {
    nonce: &'a str,
    development: bool,
    code: &'a str,
}

/// The page on which a person enters the code of a device.
#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage<'a> {
    nonce: &'a str,
    development: bool,
    entry: &'a CodeEntry<'a>,
}

/// What the form for the code of a device says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeEntry<'a> {
    pub(crate) action: &'a str,
    /// What stands in the field already.
    pub(crate) user_code: &'a str,
    /// Whether the code was tried and is of no use.
    pub(crate) unusable: bool,
}

/// How it ended for a device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DeviceEnd {
    LetIn,
    TurnedAway,
}

#[derive(Template)]
#[template(path = "device_end.html")]
struct DeviceEndPage<'a> {
    nonce: &'a str,
    development: bool,
    end: DeviceEnd,
}

impl Frame {
    pub(crate) fn device(self, status: StatusCode, entry: &CodeEntry<'_>) -> Response {
        page(status, |nonce| {
            DevicePage {
                nonce,
                development: self.development,
                entry,
            }
            .render()
        })
    }

    pub(crate) fn device_end(self, end: DeviceEnd) -> Response {
        page(StatusCode::OK, |nonce| {
            DeviceEndPage {
                nonce,
                development: self.development,
                end,
            }
            .render()
        })
    }

    pub(crate) fn consent(self, action: &str, prompt: &ConsentPrompt) -> Response {
        page(StatusCode::OK, |nonce| {
            ConsentPage {
                nonce,
                development: self.development,
                action,
                prompt,
            }
            .render()
        })
    }

    pub(crate) fn development_sign_in(self, action: &str, state: &str, people: &[Identity]) -> Response {
        page(StatusCode::OK, |nonce| {
            DevelopmentSignInPage {
                nonce,
                development: self.development,
                action,
                state,
                people,
            }
            .render()
        })
    }

    pub(crate) fn sign_in(self, action: &str, choice: &ProviderChoice) -> Response {
        page(StatusCode::OK, |nonce| {
            SignInPage {
                nonce,
                development: self.development,
                action,
                choice,
            }
            .render()
        })
    }

    pub(crate) fn error(self, status: StatusCode, problem: &Problem, way_out: WayOut<'_>) -> Response {
        page(status, |nonce| {
            ErrorPage {
                nonce,
                development: self.development,
                problem,
                way_out,
            }
            .render()
        })
    }

    pub(crate) fn success(self, code: &str) -> Response {
        page(StatusCode::OK, |nonce| {
            SuccessPage {
                nonce,
                development: self.development,
                code,
            }
            .render()
        })
    }
}

fn page(status: StatusCode, render: impl FnOnce(&str) -> askama::Result<String>) -> Response {
    let nonce = Secret::random();
    let html = match render(nonce.expose()) {
        Ok(html) => html,
        Err(error) => {
            // Rendering into a String fails only if a value's own formatting does, and none of ours can.
            tracing::error!(%error, "a page could not be rendered");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{}'; base-uri 'none'; frame-ancestors 'none'",
        nonce.expose()
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
