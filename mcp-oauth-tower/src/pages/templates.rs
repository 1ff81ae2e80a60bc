//! How a page becomes HTML.

use std::error::Error;
use std::fmt::Debug;

use askama::Template;
use mcp_oauth_core::client::ClientIdentity;
use mcp_oauth_core::scope::Scope;
use mcp_oauth_core::server::authorize::PromptDestination;

use super::texts::Texts;
use super::views::{
    AccountPage, AccountSignInPage, CodePage, ConsentPage, DevelopmentSignInPage, DeviceCodePage, DeviceEnd, ErrorPage,
    Frame, Page, SignInPage, WayOut,
};

/// Why a page could not be rendered. The person gets a `503` without a page; the log says why.
pub type RenderError = Box<dyn Error + Send + Sync>;

/// Makes HTML of pages. See the [module](super) for an example.
///
/// Every value is other people's text and has to be escaped, which is what template engines for HTML do unless told
/// otherwise. Forms have to send the fields that the type of the page names. Keep what the page says: that a name is
/// nobody's but the client's word, where the person will be sent, and both buttons, of the same weight.
pub trait Templates: Debug + Send + Sync + 'static {
    /// The page as a whole document.
    ///
    /// # Errors
    ///
    /// When it cannot be rendered.
    fn render(&self, page: &Page<'_>, frame: &Frame<'_>) -> Result<String, RenderError>;
}

/// The templates that pages have unless others are given.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultTemplates;

impl Templates for DefaultTemplates {
    fn render(&self, page: &Page<'_>, frame: &Frame<'_>) -> Result<String, RenderError> {
        let (frame, texts) = (*frame, frame.texts);
        let html = match *page {
            Page::Consent(page) => Consent { frame, texts, page }.render(),
            Page::SignIn(page) => SignIn { frame, texts, page }.render(),
            Page::DevelopmentSignIn(page) => DevelopmentSignIn { frame, texts, page }.render(),
            Page::DeviceCode(page) => DeviceCode { frame, texts, page }.render(),
            Page::DeviceEnd(end) => DeviceEnded { frame, texts, end }.render(),
            Page::Code(page) => Code { frame, texts, page }.render(),
            Page::AccountSignIn(page) => AccountSignIn { frame, texts, page }.render(),
            Page::Account(page) => Account { frame, texts, page }.render(),
            Page::Error(page) => Failure { frame, texts, page }.render(),
        };
        Ok(html?)
    }
}

macro_rules! template {
    ($name:ident, $path:literal, $field:ident: $page:ty) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            frame: Frame<'a>,
            texts: &'a Texts,
            $field: $page,
        }
    };
}

template!(Consent, "consent.html", page: ConsentPage<'a>);
template!(SignIn, "sign_in.html", page: SignInPage<'a>);
template!(DevelopmentSignIn, "development_sign_in.html", page: DevelopmentSignInPage<'a>);
template!(DeviceCode, "device.html", page: DeviceCodePage<'a>);
template!(DeviceEnded, "device_end.html", end: DeviceEnd);
template!(Code, "success.html", page: CodePage<'a>);
template!(AccountSignIn, "account_sign_in.html", page: AccountSignInPage<'a>);
template!(Account, "account.html", page: AccountPage<'a>);
template!(Failure, "error.html", page: ErrorPage<'a>);

/// Whole days, at least one.
fn days(lifetime: &std::time::Duration) -> String {
    lifetime.as_secs().div_ceil(24 * 60 * 60).max(1).to_string()
}
