//! `clients`: who asks for access.

use clap::{Args, Subcommand};
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::server::operator::{ClientSource, ClientView, MAXIMUM_PAGE, Operator};

use super::confirmation::Confirmation;
use super::exit::End;
use super::operating::Operating;
use super::output::{self, Paging, moment, or_dash};
use super::progress;

mod create;

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Clients {
    /// List them: those of the configuration, those that have registered, those with a metadata document
    List {
        #[command(flatten)]
        paging: Paging,
        #[command(flatten)]
        operating: Operating,
    },
    /// Show one
    Show {
        /// Its client_id
        client_id: ClientId,
        #[command(flatten)]
        operating: Operating,
    },
    /// Make one, for software that cannot register itself; its secret is printed once and kept nowhere
    Create(create::Create),
    /// Delete clients with all that they were granted
    Delete(Delete),
}

/// Which ones to delete.
#[derive(Debug, Args)]
pub(crate) struct Delete {
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
    /// Their client_ids
    #[arg(value_name = "CLIENT_ID")]
    client_ids: Vec<ClientId>,
    /// All whose name holds this, in any case
    #[arg(long, value_name = "TEXT")]
    name_contains: Option<String>,
    /// All whose name begins with this, letter by letter
    #[arg(long, value_name = "TEXT")]
    name_begins_with: Option<String>,
    /// All that are not part of the configuration
    #[arg(long)]
    all: bool,
}

impl Which {
    /// Whether a client that was found is meant.
    fn means(&self, client: &ClientView) -> bool {
        let name = client.name.as_deref().unwrap_or_default();
        if client.source == ClientSource::Configuration {
            return false;
        }
        match (&self.name_contains, &self.name_begins_with) {
            (Some(text), _) => name.to_lowercase().contains(&text.to_lowercase()),
            (None, Some(text)) => name.starts_with(text.as_str()),
            (None, None) => self.all,
        }
    }
}

pub(super) async fn run(command: Clients) -> anyhow::Result<()> {
    match command {
        Clients::List { paging, operating } => {
            let operator = operating.operator()?;
            let page = async |cursor: Option<&_>, limit| operator.clients(cursor, limit).await;
            let header = ["CLIENT ID", "NAME", "SOURCE", "AUTHENTICATION", "ISSUED", "EXPIRES"];
            operating
                .output
                .pages(&paging, page, |client| client, &header, row)
                .await
        }
        Clients::Show { client_id, operating } => {
            let client = operating.operator()?.client(&client_id).await?;
            let client = client.ok_or_else(|| not_there(&client_id))?;
            operating.output.one(&client, details(&client))
        }
        Clients::Create(create) => create.run().await,
        Clients::Delete(delete) => delete.run().await,
    }
}

fn not_there(client_id: &ClientId) -> End {
    End::NotFound(format!("there is no client {client_id}"))
}

/// The name of a value as JSON has it.
fn written(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn row(client: &ClientView) -> Vec<String> {
    vec![
        client.client_id.to_string(),
        or_dash(client.name.clone()),
        written(&client.source),
        written(&client.authentication),
        or_dash(client.issued_at.map(moment)),
        client.expires_at.map_or_else(|| "never".to_owned(), moment),
    ]
}

fn details(client: &ClientView) -> Vec<(&'static str, String)> {
    let grant_types: Vec<_> = client
        .grant_types
        .iter()
        .map(|grant_type| grant_type.as_str())
        .collect();
    let mut details = vec![
        ("client id", client.client_id.to_string()),
        ("name", or_dash(client.name.clone())),
        ("source", written(&client.source)),
        ("authentication", written(&client.authentication)),
        (
            "redirect URIs",
            or_dash(Some(client.redirect_uris.join("\n")).filter(|uris| !uris.is_empty())),
        ),
        ("grant types", grant_types.join("\n")),
        ("scope", or_dash(client.scope.as_ref().map(ToString::to_string))),
        ("issued", or_dash(client.issued_at.map(moment))),
        ("expires", client.expires_at.map_or_else(|| "never".to_owned(), moment)),
        (
            "manages itself",
            if client.manages_itself { "yes" } else { "no" }.to_owned(),
        ),
    ];
    let said = [
        ("home page", client.client_uri.clone()),
        ("software", client.software.clone()),
    ];
    details.extend(said.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if !client.contacts.is_empty() {
        details.push(("contacts", client.contacts.join("\n")));
    }
    if let Some(up_to) = client.ended_up_to {
        details.push(("all ended up to", moment(up_to)));
    }
    details
}

impl Delete {
    async fn run(self) -> anyhow::Result<()> {
        let operator = self.operating.operator()?;
        let (mut deleted, mut missing) = (0_u64, Vec::new());
        if self.which.client_ids.is_empty() {
            deleted = self.delete_found(&operator).await?;
        } else {
            let names: Vec<_> = self.which.client_ids.iter().map(ClientId::as_str).collect();
            self.confirmation.ask(&format!(
                "Delete {} with all that was granted to it? That cannot be undone.",
                names.join(", ")
            ))?;
            for client_id in &self.which.client_ids {
                if operator.delete_client(client_id).await? {
                    deleted += 1;
                } else {
                    missing.push(client_id.clone());
                }
            }
        }
        let value = serde_json::json!({"deleted": deleted, "missing": missing});
        let mut rows = vec![("deleted", deleted.to_string())];
        rows.extend(missing.iter().map(|client_id| ("not there", client_id.to_string())));
        self.operating.output.one(&value, rows)?;
        match missing.as_slice() {
            [] => Ok(()),
            [only] => Err(not_there(only).into()),
            several => Err(End::NotFound(format!("{} of these clients are not there", several.len())).into()),
        }
    }

    /// Counts those that are meant, asks, and deletes what of them is still there then.
    async fn delete_found(&self, operator: &Operator) -> anyhow::Result<u64> {
        let mut count = 0_u64;
        self.each_page(operator, async |found| {
            count += found.len() as u64;
            Ok(())
        })
        .await?;
        if count == 0 {
            return Err(End::NotFound("there is no such client".to_owned()).into());
        }
        self.confirmation.ask(&format!(
            "Delete {count} clients with all that was granted to them? That cannot be undone."
        ))?;
        let bar = progress::bar("deleting", count);
        let mut deleted = 0;
        self.each_page(operator, async |found| {
            for client_id in found {
                deleted += u64::from(operator.delete_client(&client_id).await?);
                bar.inc(1);
            }
            Ok(())
        })
        .await?;
        bar.finish_and_clear();
        Ok(deleted)
    }

    async fn each_page(
        &self,
        operator: &Operator,
        mut work: impl AsyncFnMut(Vec<ClientId>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut cursor = None;
        loop {
            let page = operator.clients(cursor.as_ref(), MAXIMUM_PAGE).await?;
            page.unreadable.iter().for_each(output::unreadable);
            let meant = page.items.into_iter().filter(|client| self.which.means(client));
            work(meant.map(|client| client.client_id).collect()).await?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }
}
