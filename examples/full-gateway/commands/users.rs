//! `users`: the people who have let clients in.

use clap::Subcommand;
use mcp_oauth_core::server::operator::{UserView, Whose};
use serde::Serialize;

use super::confirmation::Confirmation;
use super::ending;
use super::exit::End;
use super::operating::Operating;
use super::output::{Paging, moment, or_dash};

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// List them, with how much each has granted
    List {
        #[command(flatten)]
        paging: Paging,
        #[command(flatten)]
        operating: Operating,
    },
    /// End all of a person's access, everywhere within a second: for somebody who has left
    End {
        /// The subject, such as github:583231
        subject: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operating: Operating,
    },
}

/// A person, as the list has them.
#[derive(Debug, Serialize)]
struct User {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// At most a hundred are counted.
    grants: usize,
    live: usize,
    /// Whether there are more than were counted.
    has_more: bool,
    last_used_at: Option<mcp_oauth_core::clock::UnixTime>,
}

impl From<UserView> for User {
    fn from(user: UserView) -> Self {
        Self {
            grants: user.grants.len(),
            live: user.grants.iter().filter(|grant| grant.is_live()).count(),
            has_more: user.has_more,
            last_used_at: user.grants.iter().map(|grant| grant.last_used_at).max(),
            subject: user.subject,
            login: user.login,
            name: user.name,
        }
    }
}

fn row(user: &User) -> Vec<String> {
    let more = if user.has_more { "+" } else { "" };
    vec![
        user.subject.clone(),
        or_dash(user.login.clone()),
        or_dash(user.name.clone()),
        format!("{}{more}", user.grants),
        format!("{}{more}", user.live),
        or_dash(user.last_used_at.map(moment)),
    ]
}

pub(super) async fn run(command: Users) -> anyhow::Result<()> {
    match command {
        Users::List { paging, operating } => {
            let operator = operating.operator()?;
            let page = async |cursor: Option<&_>, limit| operator.users(cursor, limit).await;
            let header = ["SUBJECT", "LOGIN", "NAME", "GRANTS", "LIVE", "LAST USED"];
            operating.output.pages(&paging, page, User::from, &header, row).await
        }
        Users::End {
            subject,
            confirmation,
            operating,
        } => {
            let operator = operating.operator()?;
            if operator.grants(Whose::User(&subject), None, 1).await?.items.is_empty() {
                let hint = "subjects are the first column of `users list`";
                return Err(End::NotFound(format!("{subject} has granted nothing: {hint}")).into());
            }
            confirmation.ask(&format!(
                "End all access that {subject} has given? That cannot be undone."
            ))?;
            let ending = operator.end_grants_of_user(&subject).await?;
            ending::report(operating.output, ending).await
        }
    }
}
