//! `grants`: what people have let clients do.

use clap::{Args, Subcommand};
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::server::operator::{GrantView, MAXIMUM_PAGE, Operator, Whose};
use serde_json::json;

use super::confirmation::Confirmation;
use super::ending;
use super::exit::End;
use super::operating::Operating;
use super::output::{self, Paging, moment, or_dash};
use super::progress;

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Grants {
    /// List them
    List {
        #[command(flatten)]
        whose: Of,
        #[command(flatten)]
        paging: Paging,
        #[command(flatten)]
        operating: Operating,
    },
    /// Show one
    Show {
        /// Its identifier
        id: GrantId,
        #[command(flatten)]
        operating: Operating,
    },
    /// End grants with all tokens that came of them, everywhere within a second
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Of {
    /// Those of this client
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<ClientId>,
    /// Those of this person: the subject, such as github:583231
    #[arg(long, value_name = "SUBJECT")]
    user: Option<String>,
}

impl Of {
    fn whose(&self) -> Whose<'_> {
        match (&self.client, &self.user) {
            (Some(client), _) => Whose::Client(client),
            (None, Some(subject)) => Whose::User(subject),
            (None, None) => Whose::Everybody,
        }
    }
}

/// Which ones to end.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    operating: Operating,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their identifiers
    #[arg(value_name = "ID")]
    ids: Vec<GrantId>,
    /// All of this client
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<ClientId>,
    /// All of this person: the subject, such as github:583231
    #[arg(long, value_name = "SUBJECT")]
    user: Option<String>,
    /// Everybody's
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(command: Grants) -> anyhow::Result<()> {
    match command {
        Grants::List {
            whose,
            paging,
            operating,
        } => {
            let operator = operating.operator()?;
            let page = async |cursor: Option<&_>, limit| operator.grants(whose.whose(), cursor, limit).await;
            let header = [
                "GRANT",
                "SUBJECT",
                "LOGIN",
                "CLIENT",
                "SCOPES",
                "STATE",
                "APPROVED",
                "LAST USED",
            ];
            operating.output.pages(&paging, page, |grant| grant, &header, row).await
        }
        Grants::Show { id, operating } => {
            let grant = operating.operator()?.grant(&id).await?;
            let grant = grant.ok_or_else(|| not_there(&id))?;
            operating.output.one(&grant, details(&grant))
        }
        Grants::Revoke(revoke) => revoke.run().await,
    }
}

fn not_there(id: &GrantId) -> End {
    End::NotFound(format!("there is no grant {id} that has not ended"))
}

fn state(grant: &GrantView) -> String {
    let written = serde_json::to_value(grant.state).ok();
    or_dash(written.and_then(|state| Some(state.as_str()?.replace('_', " "))))
}

fn row(grant: &GrantView) -> Vec<String> {
    vec![
        grant.id.to_string(),
        grant.subject.clone(),
        or_dash(grant.login.clone()),
        grant.client_name.clone().unwrap_or_else(|| grant.client_id.to_string()),
        grant.scopes.to_string(),
        state(grant),
        moment(grant.approved_at),
        moment(grant.last_used_at),
    ]
}

fn details(grant: &GrantView) -> Vec<(&'static str, String)> {
    let resources: Vec<_> = grant.resources.iter().map(ToString::to_string).collect();
    vec![
        ("grant", grant.id.to_string()),
        ("subject", grant.subject.clone()),
        ("login", or_dash(grant.login.clone())),
        ("name", or_dash(grant.name.clone())),
        ("client id", grant.client_id.to_string()),
        ("client", or_dash(grant.client_name.clone())),
        ("resources", resources.join("\n")),
        ("scopes", grant.scopes.to_string()),
        ("state", state(grant)),
        ("approved", moment(grant.approved_at)),
        ("last used", moment(grant.last_used_at)),
    ]
}

impl Revoke {
    async fn run(self) -> anyhow::Result<()> {
        let operator = self.operating.operator()?;
        let output = self.operating.output;
        if let Some(client_id) = &self.which.client {
            let question = format!("End all that was granted to the client {client_id}? That cannot be undone.");
            self.confirmation.ask(&question)?;
            let ending = operator.end_grants_of_client(client_id).await?;
            return ending::report(output, ending).await;
        }
        if let Some(subject) = &self.which.user {
            let question = format!("End all that {subject} has granted? That cannot be undone.");
            self.confirmation.ask(&question)?;
            let ending = operator.end_grants_of_user(subject).await?;
            return ending::report(output, ending).await;
        }
        if self.which.all {
            self.confirmation
                .ask("End all that everybody has granted? Everybody has to sign in again. That cannot be undone.")?;
            let ended = end_everything(&operator).await?;
            return output.one(&json!({"ended": ended}), vec![("ended", ended.to_string())]);
        }
        let names: Vec<_> = self.which.ids.iter().map(ToString::to_string).collect();
        self.confirmation
            .ask(&format!("End the grant {}? That cannot be undone.", names.join(", ")))?;
        let (mut ended, mut missing) = (Vec::new(), Vec::new());
        for id in &self.which.ids {
            let was_live = operator.end_grant(id).await?;
            if was_live { &mut ended } else { &mut missing }.push(id);
        }
        let rows = ended.iter().map(|id| ("ended", id.to_string()));
        let missed = missing.iter().map(|id| ("not there", id.to_string()));
        output.one(
            &json!({"ended": ended, "missing": missing}),
            rows.chain(missed).collect(),
        )?;
        match missing.first() {
            None => Ok(()),
            Some(first) => Err(not_there(first).into()),
        }
    }
}

/// Ends every grant that has not ended, and counts them.
async fn end_everything(operator: &Operator) -> anyhow::Result<u64> {
    let (mut ended, mut cursor) = (0, None);
    let bar = progress::bar("ending", operator.statistics().await?.grants);
    loop {
        let page = operator.grants(Whose::Everybody, cursor.as_ref(), MAXIMUM_PAGE).await?;
        page.unreadable.iter().for_each(output::unreadable);
        for grant in page.items {
            ended += u64::from(grant.is_live() && operator.end_grant(&grant.id).await?);
            bar.inc(1);
        }
        cursor = page.next;
        if cursor.is_none() {
            bar.finish_and_clear();
            return Ok(ended);
        }
    }
}
