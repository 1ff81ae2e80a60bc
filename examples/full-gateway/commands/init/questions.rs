//! Asking a person what the command line does not say.

use dialoguer::{Confirm, Input, Password, Select};
use mcp_oauth_core::secret::Secret;

use super::Place;
use crate::commands::exit::End;

/// Asks, if somebody is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Questions {
    attended: bool,
}

impl Questions {
    pub(crate) fn new(attended: bool) -> Self {
        Self { attended }
    }

    /// Asks whether to go on.
    pub(crate) fn confirm(self, question: &str) -> anyhow::Result<()> {
        if !self.attended {
            let refusal = format!("{question} There is nobody to ask: say --force if that is meant");
            return Err(End::Usage(refusal).into());
        }
        match Confirm::new().with_prompt(question).default(false).interact_opt()? {
            Some(true) => Ok(()),
            _ => Err(End::Declined.into()),
        }
    }

    /// A text that is there by default.
    pub(crate) fn text(
        self,
        question: &str,
        said: Option<String>,
        default: &str,
        good: impl Fn(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        match said {
            None if self.attended => Self::input(question, Some(default.to_owned()), false, good),
            said => Self::checked(said.unwrap_or_else(|| default.to_owned()), good),
        }
    }

    /// A text without which nothing works. `flag` says it on the command line.
    pub(crate) fn required(
        self,
        question: &str,
        flag: &str,
        said: Option<String>,
        before: Option<String>,
        good: impl Fn(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        match (said, before) {
            (None, before) if self.attended => Self::input(question, before, false, good),
            (Some(text), _) | (None, Some(text)) => Self::checked(text, good),
            (None, None) => Err(Self::missing(flag)),
        }
    }

    /// A text that may be left out.
    pub(crate) fn optional(
        self,
        question: &str,
        said: Option<String>,
        before: Option<String>,
        good: impl Fn(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<String>> {
        let text = match said {
            None if self.attended => {
                let good = |text: &str| if text.is_empty() { Ok(()) } else { good(text) };
                Some(Self::input(question, before, true, good)?)
            }
            said => said.or(before).map(|text| Self::checked(text, good)).transpose()?,
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A secret that may be left out. It is not shown while it is typed.
    pub(crate) fn secret(self, question: &str) -> anyhow::Result<Option<Secret>> {
        if !self.attended {
            return Ok(None);
        }
        let typed = Password::new()
            .with_prompt(question)
            .allow_empty_password(true)
            .interact()?;
        Ok(Some(typed).filter(|typed| !typed.is_empty()).map(Secret::from))
    }

    /// A secret without which nothing works.
    pub(crate) fn required_secret(
        self,
        question: &str,
        flag: &str,
        said: Option<Secret>,
        before: Option<String>,
    ) -> anyhow::Result<Secret> {
        match said.or(before.map(Secret::from)) {
            Some(secret) => Ok(secret),
            None if self.attended => Ok(Password::new().with_prompt(question).interact()?.into()),
            None => Err(Self::missing(flag)),
        }
    }

    /// Where people sign in.
    pub(crate) fn place(self, said: Option<Place>, before: Option<Place>) -> anyhow::Result<Place> {
        let places = [Place::Github, Place::Oidc, Place::Development];
        if let Some(place) = said {
            return Ok(place);
        }
        if !self.attended {
            return before.ok_or_else(|| Self::missing("--sign-in"));
        }
        let before = places.iter().position(|place| Some(*place) == before);
        let chosen = Select::new()
            .with_prompt("Where do people sign in?")
            .items([
                "GitHub",
                "an OpenID Connect provider",
                "nowhere: made-up people, on this machine alone",
            ])
            .default(before.unwrap_or(0))
            .interact()?;
        Ok(places[chosen])
    }

    fn input(
        question: &str,
        default: Option<String>,
        may_be_empty: bool,
        good: impl Fn(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let mut input = Input::<String>::new().with_prompt(question).allow_empty(may_be_empty);
        if let Some(default) = default {
            input = input.default(default);
        }
        let typed = input
            .validate_with(|text: &String| good(text.trim()).map_err(|error| format!("{error:#}")))
            .interact_text()?;
        Ok(typed.trim().to_owned())
    }

    fn checked(text: String, good: impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<String> {
        match good(&text) {
            Ok(()) => Ok(text),
            Err(error) => Err(End::Usage(format!("{text} cannot be used: {error:#}")).into()),
        }
    }

    fn missing(flag: &str) -> anyhow::Error {
        End::Usage(format!("there is nobody to ask: say {flag}")).into()
    }
}
