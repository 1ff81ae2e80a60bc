//! `clients create`: a client for software that cannot register itself, or must not.

use clap::{Args, ValueEnum};
use mcp_oauth_core::client::registration::GrantType;
use serde_json::{Map, Value, json};

use crate::commands::operating::Operating;
use crate::commands::output::{self, moment};

/// What it is.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What people read on the consent page
    #[arg(long)]
    name: Option<String>,
    /// Where codes for it may be sent; may be said several times
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A device without a browser: people enter its code elsewhere
    #[arg(long)]
    device: bool,
    /// How it proves itself
    #[arg(long, value_enum, default_value_t = Proof::SecretInHeader)]
    proof: Proof,
    /// With --proof keys: the https URL where its public keys are
    #[arg(long, value_name = "URL", required_if_eq("proof", "keys"))]
    jwks_uri: Option<String>,
    /// The scopes that it expects to ask for, set apart by spaces
    #[arg(long)]
    scope: Option<String>,
    #[command(flatten)]
    operating: Operating,
}

/// How a client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Proof {
    /// By a secret in the header (client_secret_basic)
    SecretInHeader,
    /// By a secret in the form (client_secret_post)
    SecretInForm,
    /// Not at all: a public client, such as a program on people's machines
    None,
    /// By assertions that it signs (private_key_jwt)
    Keys,
}

impl Create {
    /// What it would register.
    fn metadata(&self) -> Value {
        let mut metadata = Map::new();
        let mut say = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
        let mut grant_types = Vec::new();
        if !self.redirect_uris.is_empty() {
            say("redirect_uris", json!(self.redirect_uris));
            grant_types.push(GrantType::AuthorizationCode);
        }
        if self.device {
            grant_types.push(GrantType::DeviceCode);
        }
        grant_types.push(GrantType::RefreshToken);
        say("grant_types", json!(grant_types));
        let method = match self.proof {
            Proof::SecretInHeader => "client_secret_basic",
            Proof::SecretInForm => "client_secret_post",
            Proof::None => "none",
            Proof::Keys => "private_key_jwt",
        };
        say("token_endpoint_auth_method", json!(method));
        for (name, value) in [
            ("client_name", &self.name),
            ("jwks_uri", &self.jwks_uri),
            ("scope", &self.scope),
        ] {
            if let Some(value) = value {
                say(name, json!(value));
            }
        }
        Value::Object(metadata)
    }

    pub(super) async fn run(self) -> anyhow::Result<()> {
        let operator = self.operating.operator()?;
        let made = operator.create_client(self.metadata().to_string().as_bytes()).await?;
        let mut rows = vec![
            ("client id", made.client_id.to_string()),
            ("issued", moment(made.client_id_issued_at)),
        ];
        if let Some(secret) = made.client_secret() {
            rows.push(("client secret", secret.expose().to_owned()));
        }
        self.operating.output.one(&made, rows)?;
        if made.client_secret().is_some() {
            output::note("The secret is shown this once: only its digest is kept.");
        }
        Ok(())
    }
}
