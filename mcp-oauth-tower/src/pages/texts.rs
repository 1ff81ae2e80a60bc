//! Every text that stands on a page, in one place.
//!
//! [`Texts::default`] is English. A translation names the texts that it has, in whatever format serde reads; what it leaves
//! out stays English, and a name that there is not is refused. Words in braces stand for values: `{client}` is the name of a
//! client wherever it comes in the sentence. A translation has to keep them, or a page would no longer say whom it is about:
//! [`Texts::check`] says which one is missing.
//!
//! Values are put in as text, never as HTML, each isolated from the direction of what stands around it. A text itself is
//! plain too: what looks like markup in it is shown as it is.
//!
//! ```
//! use mcp_oauth_tower::pages::Texts;
//!
//! let german = r#"{ "lang": "de", "consent_allow": "Erlauben", "consent_heading": "{client} bittet um Zugriff" }"#;
//! let texts: Texts = serde_json::from_str(german).unwrap();
//! assert!(texts.check().is_ok());
//! assert_eq!(texts.consent_deny.as_str(), "Do not allow");
//!
//! let careless: Texts = serde_json::from_str(r#"{ "consent_heading": "Zugriff erlauben?" }"#).unwrap();
//! assert!(careless.check().unwrap_err().to_string().contains("consent_heading"));
//! ```

use std::collections::BTreeSet;
use std::fmt;

use askama::filters::HtmlSafe;
use serde::Deserialize;

/// A text of a page, in which words in braces stand for values.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The text as it was written, for what has no values.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as HTML, for between tags.
    #[must_use]
    pub fn html(&self) -> Filled {
        Filled(escaped(&self.0))
    }

    /// The text as HTML, for between tags, with a value in place of `{name}`.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Filled {
        self.html().with(name, value)
    }

    /// The text as plain text, with a value in place of `{name}`, for where no markup can be, as in an attribute.
    #[must_use]
    pub fn plainly_with(&self, name: &str, value: &str) -> String {
        self.fill(&[(name, value)])
    }

    /// The same with several values.
    #[must_use]
    pub fn fill(&self, values: &[(&str, &str)]) -> String {
        // Found in the text alone, so that no value is taken for the place of another.
        let mut filled = String::new();
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let value = after.split_once('}').and_then(|(name, after)| {
                let (_, value) = values.iter().find(|(known, _)| *known == name)?;
                Some((value, after))
            });
            if let Some((value, after)) = value {
                filled.push_str(&shown(value));
                rest = after;
            } else {
                filled.push('{');
                rest = after;
            }
        }
        filled.push_str(rest);
        filled
    }

    /// The words in braces.
    fn placeholders(&self) -> BTreeSet<&str> {
        let parts = self.0.split('{').skip(1);
        let names = parts.filter_map(|part| part.split_once('}').map(|(name, _)| name));
        let is_name =
            |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        names.filter(is_name).collect()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text as HTML, its values escaped and isolated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled(String);

impl Filled {
    /// The same with another value.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        // A brace of a value must not be taken for one of the text when the next value is put in.
        let value = escaped(&shown(value)).replace('{', "&#123;");
        Self(self.0.replace(&format!("{{{name}}}"), &format!("<bdi>{value}</bdi>")))
    }
}

impl fmt::Display for Filled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl HtmlSafe for Filled {}

/// For what stands between tags, and never in an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&#38;"),
            '<' => html.push_str("&#60;"),
            '>' => html.push_str("&#62;"),
            '"' => html.push_str("&#34;"),
            character => html.push(character),
        }
    }
    html
}

/// A value of somebody else's as it may be shown: control characters, and those that change the direction of what follows,
/// are taken out, so that nothing is hidden and nothing stands in another order than it was written.
#[must_use]
pub fn shown(value: &str) -> String {
    let is_shown = |character: &char| {
        !character.is_control()
            && !matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    value.chars().filter(is_shown).collect()
}

/// A translation that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTexts {
    /// A value is missing that the page has to show, or there is one that nobody knows.
    #[error("the text {name} has to have exactly these words in braces: {expected:?}, and has {found:?}")]
    Placeholders {
        /// Which text.
        name: &'static str,
        /// The words that it has to have.
        expected: Vec<String>,
        /// Those that it has.
        found: Vec<String>,
    },
    /// The language is none.
    #[error("lang has to be a language tag, such as de or pt-BR, and is {0:?}")]
    Language(String),
}

/// How a language is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From left to right.
    #[default]
    Ltr,
    /// From right to left.
    Rtl,
}

impl Direction {
    /// The value of HTML's `dir`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ltr => "ltr",
            Self::Rtl => "rtl",
        }
    }
}

macro_rules! texts {
    ($($name:ident = $english:literal;)*) => {
        /// The texts of all pages, each named for the page that it stands on. See [`Texts::check`] for how they are
        /// translated, and [`Default`] for what each says in English.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct Texts {
            /// The language, as HTML and RFC 5646 name it.
            pub lang: String,
            /// How it is written.
            pub dir: Direction,
            $(
                #[doc = concat!("`", $english, "`")]
                pub $name: Text,
            )*
        }

        impl Default for Texts {
            /// English.
            fn default() -> Self {
                Self {
                    lang: "en".to_owned(),
                    dir: Direction::Ltr,
                    $($name: Text::from($english),)*
                }
            }
        }

        impl Texts {
            /// Checks that every text has the values that it has to show.
            ///
            /// # Errors
            ///
            /// The first text that has not.
            pub fn check(&self) -> Result<(), InvalidTexts> {
                let is_part = |part: &str| {
                    (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
                };
                if !self.lang.split('-').all(is_part) {
                    return Err(InvalidTexts::Language(self.lang.clone()));
                }
                let english = Self::default();
                $(
                    let (expected, found) = (english.$name.placeholders(), self.$name.placeholders());
                    if expected != found {
                        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
                        return Err(InvalidTexts::Placeholders {
                            name: stringify!($name),
                            expected: owned(expected),
                            found: owned(found),
                        });
                    }
                )*
                Ok(())
            }
        }
    };
}

texts! {
    logo = "Logo";
    development_strong = "For development.";
    development = "People on this server are made up, and anybody can be any of them.";
    development_title = "Development sign-in";
    development_heading = "Who do you want to be?";

    consent_title = "Allow access?";
    consent_heading = "{client} asks for access";
    consent_intention = "Go on only if you have just started this from that app yourself.";
    consent_device_code = "Your device has to show this code now:";
    consent_device_strong = "Only go on if you have just started this yourself and the code is on your own device's screen.";
    consent_device_warning = "If somebody else sent you the link or the code, they would get in as you.";
    consent_resources = "It wants to use";
    consent_scopes = "It may";
    consent_scope_offline = "stay signed in while you are away";
    consent_copy = "You will be shown a code to copy";
    consent_copy_warning = "Give it to nobody but the app that you have started this from.";
    consent_redirect = "You will be sent back to";
    consent_loopback = "Access goes to a program on this computer. Any program that runs here could ask in this app's name.";
    consent_published = "The app is published by";
    consent_published_note = "verified";
    consent_configured = "The app was set up by the operator of this server";
    consent_self_asserted = "Nobody has checked who is behind this app";
    consent_self_asserted_note = "Its name is its own word.";
    consent_home = "It says its home page is at {host}, which nobody has checked.";
    consent_no_home = "It names no home page.";
    consent_person = "Signed in here as {person}";
    consent_switch = "Not you?";
    consent_next = "If you allow it, you will sign in with {provider} next.";
    consent_remember = "Do not ask me again for this app in this browser";
    consent_remember_note = "For {days} days at most, and only as long as it has this access. You still sign in each time.";
    consent_allow = "Allow";
    consent_deny = "Do not allow";

    sign_in_title = "Sign in";
    sign_in_heading = "Where do you want to sign in?";
    sign_in_with = "Sign in with {provider}";

    device_title = "Connect a device";
    device_heading = "Connect a device";
    device_enter = "Enter the code that your device shows.";
    device_compare = "Compare this code with the one on your device. Go on only if they are the same.";
    device_sent_strong = "Only go on if you have just started this yourself, on a device of your own.";
    device_sent_warning = "If somebody sent you this link, close the page: they would get in as you.";
    device_warning = "Go on only if you have just started this yourself, on a device of your own. If somebody sent you here with a code, close this page: they would get in as you.";
    device_unusable_strong = "This code does not work.";
    device_unusable = "It was mistyped, has expired, or was already used. Compare it with your device; if it is the same, have the device show a new one.";
    device_label = "Code on your device";
    device_continue = "Continue";
    device_let_in_title = "Signed in";
    device_let_in_heading = "You are signed in";
    device_let_in = "Go back to your device: it goes on by itself in a few seconds. You can close this page.";
    device_turned_away_title = "Not allowed";
    device_turned_away_heading = "You did not allow it";
    device_turned_away = "The device gets no access, and is told so. You can close this page.";

    code_title = "Signed in";
    code_heading = "You are signed in";
    code_copy = "Copy this code into the app that asked for it. It is good once, and not for long.";
    code_label = "Authorization code";
    code_warning = "Give it to nobody else: whoever has it may get in as you.";

    account_title = "What you have let in";
    account_heading = "What you have let in";
    account_explanation = "Apps and devices that can act for you on this server. Ending one takes effect within a second; it can ask you again.";
    account_sign_in_title = "Your account";
    account_sign_in_heading = "What have I let in?";
    account_sign_in = "Sign in to see the apps and devices that can act for you on this server, and to end their access.";
    account_person = "Signed in as {person}";
    account_sign_out = "Sign out";
    account_empty_heading = "Nothing has access";
    account_empty = "No app or device can act for you on this server.";
    account_published = "Published by {host}, verified";
    account_configured = "Set up by the operator of this server";
    account_self_asserted = "Nobody has checked who is behind it";
    account_self_asserted_home = "Says its home page is at {host}, unchecked";
    account_resources = "Uses";
    account_scopes = "May";
    account_since = "Since";
    account_last_used = "Last used";
    account_end = "End access";
    account_end_of = "End access of {client}";
    account_end_all = "End all access";
    account_end_all_explanation = "All of the above loses its access at once, everywhere, and any consent that was remembered is forgotten.";
    account_ended = "Its access has ended.";
    account_ended_all = "All access has ended.";
    account_nothing_ended = "That access had ended before.";
    account_signed_out = "You are signed out here.";
    account_expired = "You were signed out, since this page was open for too long. Nothing was changed: sign in and do it again.";

    error_code = "Error: {code}";
    error_reference = "Reference: {reference}";
    error_reference_note = "If you ask for help, name this reference: with it the operator finds this moment in the log.";
    error_try_again = "Try again";
    error_cancel = "Cancel and return to the app";
    error_back_to = "Go back to {destination}";
    error_to_account = "Go to your account page";
    error_request_title = "This request cannot be answered";
    error_request_advice = "If the app keeps failing, remove the connection there and add it again.";
    error_form_title = "This form cannot be read";
    error_sign_in_title = "This sign-in does not go on";
    error_sign_in_unknown = "This sign-in has expired or was never begun. Go back to where you began, and start again.";
    error_sign_in_other_browser = "This sign-in was begun in another browser, or cookies are blocked: allow cookies and start again from your app.";
    error_sign_in_finished = "This sign-in is already finished. Go back to where you began, and start again if you are still asked.";
    error_sign_in_provider = "There is no such place to sign in. Go back to where you began, and start again.";
    error_sign_in_not_approved = "This sign-in was not approved yet. Go back to where you began, and start again.";
    error_account_sign_in = "You did not get signed in: the sign-in has expired, was begun in another browser, or cookies are blocked. Allow cookies and start again from your account page.";
    error_account_declined = "You did not get signed in: the sign-in was declined.";
    error_forged_title = "This page was not sent from here";
    error_forged = "Another site has sent this form, or it is too old. Nothing was changed. Open your account page and do it there.";
    error_device_closed_title = "This code does not work any more";
    error_device_closed = "The device was let in or turned away already, or the code has expired. If you did not do that and the device still asks, have it show a new code.";
    error_device_refused_title = "The device was not let in";
    error_device_refused = "The device is told so.";
    error_busy_title = "The server is busy";
    error_busy = "It cannot go on at this moment. Wait a little and try again; if that does not help, start again from your app.";
    error_busy_code = "It cannot look your code up at this moment. Wait a little and enter it again.";
    error_busy_account = "It cannot reach what it has stored at this moment. Wait a little and load your account page again, to see what was done.";
    error_tries_title = "Too many tries";
    error_tries = "There were too many tries from your network, or from all together. Try again in {minutes} min.";
    error_provider_title = "Signing in did not work";
    error_provider_wait = "{provider} asks to wait {seconds} seconds before trying again.";
    error_provider_silent = "{provider} does not answer at the moment. Wait a little and try again.";
    error_provider_unusable = "{provider} could not say who you are: {reason}. Try again; if that does not help, tell the operator of this server.";
    error_protected_title = "Sign in with an app";
    error_protected_scope_title = "The app may not do this";
    error_protected_busy_title = "Try again in a moment";
    error_protected = "{resource} is for apps that speak the Model Context Protocol: add this address to one of them, and it will ask you to sign in.";
    error_no_code_title = "There is no code";
    error_no_code = "The sign-in was not finished. Go back to where you began, and start again.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_complete() {
        Texts::default().check().unwrap();
    }

    #[test]
    fn a_value_is_text_that_is_isolated_and_shows_all_that_it_is() {
        let text = Text::from("{client} & {host}");
        let filled = text
            .with("client", "<b>{host}\u{202e}\n</b>")
            .with("host", "a'b")
            .to_string();
        assert_eq!(
            filled,
            "<bdi>&#60;b&#62;&#123;host}&#60;/b&#62;</bdi> &#38; <bdi>a'b</bdi>"
        );
    }

    #[test]
    fn a_text_that_lost_a_value_or_has_another_is_refused() {
        for wrong in ["asks for access", "{klient} asks", "{client} of {host} asks"] {
            let texts = Texts {
                consent_heading: Text::from(wrong),
                ..Texts::default()
            };
            let refused = texts.check().unwrap_err().to_string();
            assert!(
                refused.contains("consent_heading") && refused.contains("client"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_language_is_a_tag() {
        for lang in ["", "de_DE", "d\"e", "a-"] {
            let texts = Texts {
                lang: lang.to_owned(),
                ..Texts::default()
            };
            assert_eq!(texts.check(), Err(InvalidTexts::Language(lang.to_owned())));
        }
    }
}
