//! What a person sees.
//!
//! Pages are made on the server, run no script, load nothing from elsewhere, cannot be framed, and write every value that
//! comes from somebody else as text. They have no `form-action` directive: browsers apply it to every redirect that
//! follows a form, all the way through the identity provider to the client, whose addresses nobody can list
//! beforehand. Forms cannot be injected, since the templates escape everything.
//!
//! # The account page
//!
//! At `/account`, below the issuer, people sign in for themselves and see what they have let in: which client, who is behind
//! it, for what, since when, and when it was used last. A button ends each, another one all of it, everywhere within a
//! second. It is there unless it is [left out](Pages::without_account). Link to it where people look for such a thing: from
//! an application's settings, or in the [footer](Brand::footer_link) of the pages.
//!
//! # References
//!
//! Whoever sees an error page and asks for help can name the reference on it. The log has a line with the same `reference`,
//! at the level `INFO`, with the status, the code and what the page said.
//!
//! # Making them one's own
//!
//! [`Pages`] says how they look and what they say: a [`Brand`] has a name, a logo, colours and a footer, and [`Texts`] are
//! all the words, so that a translation is a file. Whoever wants other HTML implements [`Templates`], for some pages or for
//! all: each [`Page`] comes as a type with its values, to be rendered by askama, maud, minijinja or whatever one likes, and
//! what is not rendered is left to [`DefaultTemplates`]. Whatever a template does, the page goes out with the same headers:
//! its scripts do not run, and what it names elsewhere is not loaded.
//!
//! ```
//! use mcp_oauth_tower::pages::{Brand, DefaultTemplates, Frame, Page, Pages, RenderError, Templates};
//! use mcp_oauth_tower::{AuthorizationServer, Routes};
//!
//! /// Our own page for the end of a sign-in, and the others as they are.
//! #[derive(Debug)]
//! struct OurPages;
//!
//! impl Templates for OurPages {
//!     fn render(&self, page: &Page<'_>, frame: &Frame<'_>) -> Result<String, RenderError> {
//!         match page {
//!             Page::DeviceEnd(_) => Ok("<!doctype html><title>Done</title><p>You can close this page.".to_owned()),
//!             page => DefaultTemplates.render(page, frame),
//!         }
//!     }
//! }
//!
//! fn routes(auth: &AuthorizationServer) -> axum::Router {
//!     let pages = Pages::default().brand(Brand::new("Acme").footer("Acme Inc.")).templates(OurPages);
//!     Routes::new(auth).pages(pages).into_router()
//! }
//! ```

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use axum::response::{Html, IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use mcp_oauth_core::issuer::Issuer;
use mcp_oauth_core::secret::Secret;

mod brand;
mod colours;
mod templates;
mod texts;
mod views;

use brand::Logo;
pub use brand::{Brand, FooterLink, InvalidBrand};
pub use colours::{Colour, InvalidColour, Palette};
pub use templates::{DefaultTemplates, RenderError, Templates};
pub use texts::{Direction, Filled, InvalidTexts, Text, Texts, shown};
pub use views::{
    Access, AccountActions, AccountNotice, AccountPage, AccountSignInPage, CodePage, ConsentPage,
    DevelopmentSignInPage, DeviceCodePage, DeviceEnd, ErrorPage, Frame, Link, Moment, Page, Retry, SignInPage,
    SignedInPerson, WayOut,
};

/// Where the logo is served that was handed in, below the issuer.
pub(crate) const LOGO: &str = "/pages/logo";

/// How pages look, what they say, and which there are.
#[must_use]
#[derive(Clone, Debug)]
pub struct Pages {
    brand: Brand,
    texts: Texts,
    templates: Arc<dyn Templates>,
    account: bool,
}

impl Default for Pages {
    /// In English, without a name, with an account page.
    fn default() -> Self {
        Self {
            brand: Brand::default(),
            texts: Texts::default(),
            templates: Arc::new(DefaultTemplates),
            account: true,
        }
    }
}

impl Pages {
    /// How they look.
    pub fn brand(mut self, brand: Brand) -> Self {
        self.brand = brand;
        self
    }

    /// What they say.
    ///
    /// # Errors
    ///
    /// When a text lacks a value that it has to show.
    pub fn texts(mut self, texts: Texts) -> Result<Self, InvalidTexts> {
        texts.check()?;
        self.texts = texts;
        Ok(self)
    }

    /// How they are made of that.
    pub fn templates(mut self, templates: impl Templates) -> Self {
        self.templates = Arc::new(templates);
        self
    }

    /// Leaves the account page out. Without it, people have no way of their own to see and end what they have let in.
    pub fn without_account(mut self) -> Self {
        self.account = false;
        self
    }

    /// Whether there is an account page.
    pub(crate) fn has_account(&self) -> bool {
        self.account
    }
}

/// What makes pages, as the handlers share it.
#[derive(Clone, Debug)]
pub(crate) struct Press(Arc<Plates>);

#[derive(Debug)]
struct Plates {
    pages: Pages,
    development: bool,
    /// Where the logo is, and the source that a policy has to allow for it.
    logo: Option<(String, String)>,
}

/// An error, before it is on a page.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) title: String,
    pub(crate) explanation: String,
    /// The code, for the client's developer.
    pub(crate) code: &'static str,
}

impl Press {
    pub(crate) fn new(pages: Pages, issuer: &Issuer, development: bool) -> Self {
        let path = match &pages.brand.logo {
            None => None,
            Some(Logo::Path(path)) => Some(path.clone()),
            Some(Logo::Data { .. }) => Some(format!("{}{LOGO}", issuer.path())),
        };
        let logo = path.map(|path| {
            let source = format!("{}{path}", issuer.origin());
            (path, source)
        });
        Self(Arc::new(Plates {
            pages,
            development,
            logo,
        }))
    }

    pub(crate) fn development(&self) -> bool {
        self.0.development
    }

    pub(crate) fn texts(&self) -> &Texts {
        &self.0.pages.texts
    }

    /// A page, and the headers that every page has.
    pub(crate) fn page(&self, status: StatusCode, page: &Page<'_>) -> Response {
        let plates = &self.0;
        let nonce = Secret::random();
        let logo = plates.logo.as_ref();
        let frame = Frame {
            nonce: nonce.expose(),
            development: plates.development,
            texts: &plates.pages.texts,
            brand: &plates.pages.brand,
            logo: logo.map(|(path, _)| path.as_str()),
        };
        let html = match plates.pages.templates.render(page, &frame) {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(error = error.as_ref() as &dyn Error, "a page could not be rendered");
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
        };
        let images = logo.map_or_else(String::new, |(_, source)| format!(" img-src {source};"));
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{}';{images} base-uri 'none'; frame-ancestors 'none'",
            nonce.expose()
        );
        let mut response = (status, Html(html)).into_response();
        protect(response.headers_mut(), &policy);
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The page for something that went wrong. What it says stands in the log under the same reference.
    pub(crate) fn error(&self, status: StatusCode, problem: &Problem, way_out: WayOut<'_>) -> Response {
        let reference = reference();
        tracing::info!(
            reference,
            status = status.as_u16(),
            code = problem.code,
            title = problem.title,
            explanation = problem.explanation,
            "a page says that something went wrong"
        );
        let error = ErrorPage {
            title: &problem.title,
            explanation: &problem.explanation,
            code: problem.code,
            reference: &reference,
            way_out,
        };
        self.page(status, &Page::Error(error))
    }

    /// The logo that was handed in. It is a picture and nothing else: what an SVG could do by itself is forbidden too.
    pub(crate) fn logo(&self) -> Option<Response> {
        let Some(Logo::Data { media_type, bytes }) = &self.0.pages.brand.logo else {
            return None;
        };
        let mut response = bytes.clone().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        protect(
            headers,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
        );
        Some(response)
    }
}

fn protect(headers: &mut HeaderMap, policy: &str) {
    // Paths and nonces are visible ASCII, without a semicolon.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// Short enough to read out, long enough that no two in a log are the same: 40 random bits, without letters that are taken
/// for digits.
fn reference() -> String {
    const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let random = Secret::random();
    let letters = random.expose().bytes().zip(0..8_usize).map(|(byte, position)| {
        let letter = char::from(LETTERS[usize::from(byte) % LETTERS.len()]);
        if position == 4 {
            format!("-{letter}")
        } else {
            letter.to_string()
        }
    });
    letters.collect()
}
