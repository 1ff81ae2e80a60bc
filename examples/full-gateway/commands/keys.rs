//! `keys`: what signs access tokens, where the store has it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::{KeyState, KeyStatus, SigningKey};
use serde::Serialize;
use serde_json::json;

use super::confirmation::Confirmation;
use super::exit::End;
use super::operating::Operating;
use super::output::moment;
use crate::configuration::Configuration;

/// A file with a key is never larger.
const MAXIMUM_FILE: u64 = 256 * 1024;

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List them, in the order in which they sign
    List {
        #[command(flatten)]
        operating: Operating,
    },
    /// Announce a new key, which signs as soon as everybody can know it; to say it twice does no harm
    Rotate {
        #[command(flatten)]
        operating: Operating,
    },
    /// Take in a private key that was made elsewhere, as the next one to sign
    Import {
        /// Its PEM, or the base64 of that as in JWT_PRIVATE_KEY_B64; - reads stdin
        file: PathBuf,
        #[command(flatten)]
        operating: Operating,
    },
    /// Withdraw a key at once, because somebody else may have it: what it has signed is refused
    Withdraw {
        /// Its name, the first column of the list
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operating: Operating,
    },
    /// Seal the keys with the newest secret, so that an older one can be taken away
    Reseal {
        #[command(flatten)]
        operating: Operating,
    },
}

/// A key as it is printed.
#[derive(Debug, Serialize)]
struct Printed {
    kid: String,
    algorithm: &'static str,
    created_at: u64,
    /// `announced`, `signing` or `retired`.
    state: &'static str,
    /// Announced: from when on it signs. Signing: since when. Retired: until when it is published.
    at: u64,
    #[serde(skip)]
    rows: [String; 5],
}

impl From<KeyStatus> for Printed {
    fn from(key: KeyStatus) -> Self {
        let (state, says, at) = match key.state {
            KeyState::Announced { signs_from } => ("announced", "signs from", signs_from),
            KeyState::Signing { since } => ("signing", "since", since),
            KeyState::Retired { published_until } => ("retired", "published until", published_until),
            // One that this program does not know yet.
            _ => ("other", "made", key.created_at),
        };
        Self {
            rows: [
                key.kid.clone(),
                key.algorithm.as_str().to_owned(),
                moment(key.created_at),
                state.to_owned(),
                format!("{says} {}", moment(at)),
            ],
            kid: key.kid,
            algorithm: key.algorithm.as_str(),
            created_at: key.created_at.as_seconds(),
            state,
            at: at.as_seconds(),
        }
    }
}

impl Printed {
    fn details(&self) -> Vec<(&'static str, String)> {
        let names = ["kid", "algorithm", "made", "state", "when"];
        names.into_iter().zip(self.rows.clone()).collect()
    }
}

pub(super) async fn run(command: Keys) -> anyhow::Result<()> {
    match command {
        Keys::List { operating } => {
            let keys = stored(operating)?.key_ring().await?;
            let keys: Vec<_> = keys.into_iter().map(Printed::from).collect();
            let header = ["KID", "ALGORITHM", "MADE", "STATE", "WHEN"];
            operating.output.several(&keys, &header, |key| key.rows.to_vec())
        }
        Keys::Rotate { operating } => {
            let key = Printed::from(stored(operating)?.rotate_keys().await?);
            operating.output.one(&key, key.details())
        }
        Keys::Import { file, operating } => {
            let key = read(&file)?;
            let key = Printed::from(stored(operating)?.import_key(&key).await?);
            operating.output.one(&key, key.details())
        }
        Keys::Withdraw {
            kid,
            confirmation,
            operating,
        } => {
            let server = stored(operating)?;
            if !server.key_ring().await?.iter().any(|key| key.kid == kid) {
                return Err(End::NotFound(format!("there is no key {kid}")).into());
            }
            confirmation.ask(&format!(
                "Withdraw the key {kid}? What it has signed is refused from then on. That cannot be undone."
            ))?;
            server.withdraw_key(&kid).await?;
            operating
                .output
                .one(&json!({"withdrawn": kid}), vec![("withdrawn", kid.clone())])
        }
        Keys::Reseal { operating } => {
            let needed = stored(operating)?.reseal_keys().await?;
            let says = if needed { "done" } else { "was not needed" };
            operating
                .output
                .one(&json!({"resealed": needed}), vec![("resealing", says.to_owned())])
        }
    }
}

/// The server, if its keys are in the store.
fn stored(operating: Operating) -> anyhow::Result<mcp_oauth_tower::AuthorizationServer> {
    let own = matches!(Configuration::load()?.keys()?, crate::configuration::Keys::Stored(..));
    anyhow::ensure!(
        own,
        "the signing keys are not in the store: set GATEWAY_KEY_SEALING_SECRET (and leave JWT_PRIVATE_KEY_B64 out) to have \
         them there; a key of your own is exchanged by setting another JWT_PRIVATE_KEY_B64"
    );
    operating.server()
}

fn read(file: &Path) -> anyhow::Result<SigningKey> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MAXIMUM_FILE).read_to_string(&mut text)?;
    } else {
        let read = std::fs::File::open(file).and_then(|open| open.take(MAXIMUM_FILE).read_to_string(&mut text));
        read.with_context(|| format!("cannot read {}", file.display()))?;
    }
    let is_pem = text.contains("-----BEGIN");
    let text = Secret::from(text);
    let key = if is_pem {
        SigningKey::from_pem(&text)
    } else {
        SigningKey::from_base64_pem(&text)
    };
    key.with_context(|| format!("the key in {} cannot be used", file.display()))
}
