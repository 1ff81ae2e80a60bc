//! Asking before what cannot be undone.

use std::io::{IsTerminal as _, stderr, stdin};

use clap::Args;
use dialoguer::Confirm;

use super::exit::End;
use super::output::shown;

/// Whether the answer is given beforehand.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Confirmation {
    /// Do not ask whether it is really meant
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Confirmation {
    /// Asks a person, unless the command line has answered. Where there is nobody to ask, the answer is no.
    pub(crate) fn ask(self, question: &str) -> anyhow::Result<()> {
        let question = shown(question);
        if self.yes {
            return Ok(());
        }
        if !is_attended() {
            let refusal = format!("{question} There is no terminal to ask at: say --yes if that is meant");
            return Err(End::Usage(refusal).into());
        }
        match Confirm::new().with_prompt(question).default(false).interact_opt()? {
            Some(true) => Ok(()),
            _ => Err(End::Declined.into()),
        }
    }
}

/// Whether somebody can be asked, and sees the question.
pub(crate) fn is_attended() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}
