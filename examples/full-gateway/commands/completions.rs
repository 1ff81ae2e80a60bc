//! `completions`: what makes a shell complete the commands.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(completions: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = crate::Arguments::command();
    clap_complete::generate(completions.shell, &mut command, "full-gateway", &mut script);
    super::output::line(String::from_utf8(script)?.trim_end())
}
