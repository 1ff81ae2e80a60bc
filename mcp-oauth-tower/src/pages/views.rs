//! What each page is about: values, without a word of how they are shown.

use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::identity::Identity;
use mcp_oauth_core::server::authorize::ConsentPrompt;

use super::brand::Brand;
use super::texts::Texts;

/// What every page needs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Frame<'a> {
    /// The nonce that a `<style>` element has to have, or the browser does not apply it.
    pub nonce: &'a str,
    /// Whether made-up people can sign in, which every page has to say.
    pub development: bool,
    /// The texts.
    pub texts: &'a Texts,
    /// How pages look.
    pub brand: &'a Brand,
    /// Where the logo is, if there is one.
    pub logo: Option<&'a str>,
}

impl Frame<'_> {
    /// The colours, as the declarations of two rules of CSS: for the light scheme and for the dark one.
    #[must_use]
    pub fn colours(&self) -> [String; 2] {
        [self.brand.light.css(), self.brand.dark.css()]
    }
}

/// A page, with what it is about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Page<'a> {
    /// Somebody decides whether a client may have what it asks for.
    Consent(ConsentPage<'a>),
    /// Somebody who has approved chooses where to sign in.
    SignIn(SignInPage<'a>),
    /// Somebody chooses a made-up person to be.
    DevelopmentSignIn(DevelopmentSignInPage<'a>),
    /// Somebody enters the code that a device shows.
    DeviceCode(DeviceCodePage<'a>),
    /// It is over for a device.
    DeviceEnd(DeviceEnd),
    /// Somebody carries a code to their app.
    Code(CodePage<'a>),
    /// Somebody is to sign in to see what they have let in.
    AccountSignIn(AccountSignInPage<'a>),
    /// Somebody sees what they have let in.
    Account(AccountPage<'a>),
    /// Something went wrong.
    Error(ErrorPage<'a>),
}

/// The form sends `transaction`, `decision` (`approve` or `deny`) and, if it is offered, `remember` (`yes`).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConsentPage<'a> {
    /// Where the form is sent.
    pub action: &'a str,
    /// What is asked for, and by whom.
    pub prompt: &'a ConsentPrompt,
    /// Whoever is signed in to their own pages in this browser.
    pub person: Option<SignedInPerson<'a>>,
}

/// Whoever is signed in to their own pages.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SignedInPerson<'a> {
    /// What they are called.
    pub name: &'a str,
    /// Where the form is sent that signs them out, so that somebody else can sign in. It sends `csrf` and `transaction`.
    pub action: &'a str,
    /// Has to be sent along: it shows that the form is of this browser's session.
    pub csrf: &'a str,
}

/// The form sends `transaction` and `provider`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SignInPage<'a> {
    /// Where the form is sent.
    pub action: &'a str,
    /// Has to be sent along.
    pub transaction: &'a str,
    /// The identity providers: the name of each in the form, and the name for people.
    pub providers: &'a [(String, String)],
}

/// The form sends `state` and `user`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DevelopmentSignInPage<'a> {
    /// Where the form is sent.
    pub action: &'a str,
    /// Has to be sent along.
    pub state: &'a str,
    /// Whom one can be.
    pub people: &'a [Identity],
}

/// The form sends `user_code`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DeviceCodePage<'a> {
    /// Where the form is sent.
    pub action: &'a str,
    /// What stands in the field already: a code, or nothing.
    pub user_code: &'a str,
    /// Whether the code was tried and is of no use.
    pub unusable: bool,
}

/// How it ended for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEnd {
    /// It was let in.
    LetIn,
    /// It was not.
    TurnedAway,
}

/// A code to carry.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CodePage<'a> {
    /// The authorization code.
    pub code: &'a str,
}

/// The form sends `provider`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccountSignInPage<'a> {
    /// Where the form is sent.
    pub action: &'a str,
    /// The identity providers: the name of each in the form, and the name for people.
    pub providers: &'a [(String, String)],
    /// What was done just now.
    pub notice: Option<AccountNotice>,
}

/// The forms send `csrf`; the one that ends access also `grant`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccountPage<'a> {
    /// Where the forms are sent that end access, end all of it, and sign out.
    pub actions: AccountActions<'a>,
    /// Has to be sent along: it shows that the form is of this browser's session.
    pub csrf: &'a str,
    /// What they are called.
    pub name: &'a str,
    /// What they have let in.
    pub access: &'a [Access],
    /// What was done just now.
    pub notice: Option<AccountNotice>,
}

/// Where the forms of the account page are sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccountActions<'a> {
    /// The one that ends access.
    pub end: &'a str,
    /// The one that ends all of it.
    pub end_all: &'a str,
    /// The one that signs out.
    pub sign_out: &'a str,
}

/// What was done at the account page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountNotice {
    /// Access has ended.
    Ended,
    /// All access has ended.
    EndedAll,
    /// The access that was to end had ended before.
    NothingEnded,
    /// The person has signed out.
    SignedOut,
    /// The session was over when the form came.
    Expired,
}

impl AccountNotice {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ended,
        Self::EndedAll,
        Self::NothingEnded,
        Self::SignedOut,
        Self::Expired,
    ];

    /// As it stands in the address of the page.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::EndedAll => "all-ended",
            Self::NothingEnded => "nothing-ended",
            Self::SignedOut => "signed-out",
            Self::Expired => "expired",
        }
    }

    /// What it says.
    #[must_use]
    pub fn text(self, texts: &Texts) -> &str {
        match self {
            Self::Ended => &texts.account_ended,
            Self::EndedAll => &texts.account_ended_all,
            Self::NothingEnded => &texts.account_nothing_ended,
            Self::SignedOut => &texts.account_signed_out,
            Self::Expired => &texts.account_expired,
        }
        .as_str()
    }
}

/// What somebody has let in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// Which grant it is, for the form.
    pub grant: String,
    /// What the client calls itself.
    pub client_name: String,
    /// Who is behind it.
    pub client_identity: mcp_oauth_core::client::ClientIdentity,
    /// The names of the resources.
    pub resources: Vec<String>,
    /// The scopes, in words if there are any.
    pub scopes: Vec<String>,
    /// Since when.
    pub since: Moment,
    /// When it was used last.
    pub last_used: Moment,
}

/// A moment, as people and as programs read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub(crate) UnixTime);

impl Moment {
    /// To the second, as HTML's `datetime` has it (RFC 3339).
    #[must_use]
    pub fn precise(&self) -> String {
        self.parts().map_or_else(String::new, |(date, [hour, minute, second])| {
            format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
        })
    }

    /// To the minute, for people of any language.
    #[must_use]
    pub fn shown(&self) -> String {
        self.parts().map_or_else(String::new, |(date, [hour, minute, _])| {
            format!("{date} {hour:02}:{minute:02} UTC")
        })
    }

    fn parts(self) -> Option<(String, [u8; 3])> {
        let seconds = i64::try_from(self.0.as_seconds()).ok()?;
        let time = cookie::time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let date = format!("{:04}-{:02}-{:02}", time.year(), u8::from(time.month()), time.day());
        Some((date, [time.hour(), time.minute(), time.second()]))
    }
}

/// What went wrong, and what can be done.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ErrorPage<'a> {
    /// What it is about.
    pub title: &'a str,
    /// What happened, and what to do.
    pub explanation: &'a str,
    /// The code, for the client's developer.
    pub code: &'a str,
    /// What to look for in the log.
    pub reference: &'a str,
    /// What the person can do here.
    pub way_out: WayOut<'a>,
}

/// What a person can do on an error page.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum WayOut<'a> {
    /// Nothing but go back.
    None,
    /// Try again.
    Retry(Retry<'a>),
    /// Tell the client.
    Link(Link<'a>),
    /// Go to the account page, at this path.
    Account(&'a str),
}

/// A link to the client, at a redirect URI that it has registered.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Link<'a> {
    /// Where it leads.
    pub location: &'a str,
    /// The host, or the scheme of an app.
    pub destination: &'a str,
}

/// A way to try again: the form that approves the transaction once more. It sends `transaction` and `decision`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Retry<'a> {
    /// Where the form is sent.
    pub action: &'a str,
    /// Has to be sent along.
    pub transaction: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_so_that_nobody_takes_the_day_for_the_month() {
        let moment = Moment(UnixTime::from_seconds(1_790_000_000));
        assert_eq!(moment.shown(), "2026-09-21 14:13 UTC");
        assert_eq!(moment.precise(), "2026-09-21T14:13:20Z");
        assert_eq!(Moment(UnixTime::from_seconds(u64::MAX)).shown(), "");
    }
}
