//! `init`: what is needed, asked and written down.
//!
//! The answers stand in a `.env` file, each with a line that explains it, beside secrets that are made here. Whatever is
//! written has been tried first: the gateway could be put together from it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use mcp_oauth_core::issuer::Issuer;
use mcp_oauth_core::secret::Secret;
use serde_json::json;

use super::confirmation::is_attended;
use super::output::{self, Output};
use super::private_file::{self, Taken};
use crate::configuration::Configuration;
use crate::{authorization, servers};
use answers::{Answers, OidcApp, SignIn};
use questions::Questions;

mod answers;
mod questions;

/// What is known without asking. Secrets come from files or from variables, since others see a command line.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = ".env")]
    file: PathBuf,
    /// Replace files that are there, and keep the secrets in them
    #[arg(long)]
    force: bool,
    /// Ask nothing: what is not said is left at its default
    #[arg(long)]
    no_input: bool,
    /// How clients reach the gateway, such as `https://mcp.example.com`
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Where people sign in
    #[arg(long, value_enum)]
    sign_in: Option<Place>,
    /// The client ID of the GitHub app
    #[arg(long, value_name = "ID")]
    github_client_id: Option<String>,
    /// A file with the client secret of the GitHub app
    #[arg(long, value_name = "FILE")]
    github_client_secret_file: Option<PathBuf>,
    /// The issuer of the OpenID Connect provider, to the letter
    #[arg(long, value_name = "URL")]
    oidc_issuer: Option<String>,
    /// The gateway's client_id there
    #[arg(long, value_name = "ID")]
    oidc_client_id: Option<String>,
    /// A file with the gateway's client secret there
    #[arg(long, value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// The claim there that tells the groups of people, if groups may sign in [groups]
    #[arg(long, value_name = "CLAIM")]
    oidc_groups_claim: Option<String>,
    /// Who may sign in: logins, org=acme, team=acme/ops, group=staff, domain=acme.example; * is everybody
    #[arg(long, value_name = "LIST")]
    allowed_users: Option<String>,
    /// Where records are kept; without one they are in memory
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// A file with the password of Redis
    #[arg(long, value_name = "FILE", conflicts_with = "make_redis_password")]
    redis_password_file: Option<PathBuf>,
    /// Make a password for a Redis that is yet to be set up, as with the compose files
    #[arg(long)]
    make_redis_password: bool,
    #[command(flatten)]
    output: Output,
}

/// Where people sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Place {
    /// At GitHub
    Github,
    /// At an OpenID Connect provider
    Oidc,
    /// Nowhere: made-up people, on this machine alone
    Development,
}

/// The TOML file that holds what no variable can: the provider.
const PROVIDERS: &str = "gateway.toml";

pub(super) fn run(init: &Init) -> anyhow::Result<()> {
    let questions = Questions::new(!init.no_input && is_attended());
    let known = known(&init.file)?;
    let replacing = init.file.symlink_metadata().is_ok();
    if replacing && !init.force {
        let question = format!(
            "{} is there already. Replace it, and keep the secrets in it?",
            init.file.display()
        );
        questions.confirm(&question)?;
    }
    let answers = init.ask(questions, &known)?;
    let (variables, providers) = (answers.variables(), answers.providers());
    let providers_file = init.file.with_file_name(PROVIDERS);
    let toml_is_there = providers_file.symlink_metadata().is_ok();
    if providers.is_some() && toml_is_there && !init.force {
        let question = format!(
            "{} is there already, and the provider has to stand in it. Replace it?",
            providers_file.display()
        );
        questions.confirm(&question)?;
    }
    let toml = match &providers {
        Some(providers) => providers.clone(),
        None => std::fs::read_to_string(&providers_file).unwrap_or_default(),
    };
    rehearse(&variables, &toml)?;
    if let Some(providers) = &providers {
        private_file::write(&providers_file, providers, Taken::Replaced)?;
    }
    private_file::write(&init.file, &variables, Taken::Replaced)?;
    tell(init, &answers, providers.map(|_| providers_file))
}

/// What a file that is to be replaced holds.
fn known(file: &Path) -> anyhow::Result<HashMap<String, String>> {
    match dotenvy::from_path_iter(file) {
        Ok(variables) => {
            let read = variables.collect::<Result<_, _>>();
            // The error of the parser shows the line, in which there may be a secret.
            read.map_err(|_| anyhow::anyhow!("{} cannot be read: take it away, or mend it", file.display()))
        }
        Err(error) if error.not_found() => Ok(HashMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Puts the gateway together from what is to be written, and throws it away.
fn rehearse(variables: &str, toml: &str) -> anyhow::Result<()> {
    let rehearsed = Configuration::of_texts(variables, toml).and_then(|configuration| {
        let servers = servers::of(&configuration)?;
        authorization::server(&configuration, &servers)
    });
    rehearsed
        .map(drop)
        .context("the gateway could not start with these answers, so nothing was written")
}

fn tell(init: &Init, answers: &Answers, providers: Option<PathBuf>) -> anyhow::Result<()> {
    let issuer = &answers.public_url;
    let callback = format!("{issuer}/callback");
    let value = json!({
        "file": init.file, "providers_file": providers, "issuer": issuer, "callback": callback,
        "durable": answers.redis_url.is_some(),
    });
    let mut rows = vec![("written", init.file.display().to_string())];
    rows.extend(providers.map(|file| ("and", file.display().to_string())));
    rows.push(("issuer", issuer.clone()));
    match &answers.sign_in {
        SignIn::GitHub { .. } | SignIn::Oidc(_) => rows.push(("callback to register", callback)),
        SignIn::Development => {}
    }
    init.output.one(&value, rows)?;
    if answers.redis_url.is_none() {
        output::note(
            "Without Redis everything is forgotten when the gateway ends, and commands have nothing to look into.",
        );
    }
    output::note("Servers of yours go into gateway.toml beside it: [servers.NAME] with command or url.");
    output::note("Start it with `full-gateway serve`, in the folder of the file.");
    Ok(())
}

impl Init {
    /// All that has to be known, from the command line, from what was there before, from a person, or as it is by default.
    fn ask(&self, questions: Questions, known: &HashMap<String, String>) -> anyhow::Result<Answers> {
        let before = |name: &str| known.get(name).filter(|value| !value.is_empty()).cloned();
        let listen = match self.listen {
            Some(listen) => listen.to_string(),
            None => before("GATEWAY_LISTEN").unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
        };
        // What listens everywhere is reached on this machine, if nothing else is said.
        let reached = listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
        let public_url = before("GATEWAY_PUBLIC_URL").unwrap_or_else(|| format!("http://{reached}"));
        let public_url = questions.text(
            "How do clients reach the gateway (its public URL)?",
            self.public_url.clone(),
            &public_url,
            |text| Ok(text.trim_end_matches('/').parse::<Issuer>().map(drop)?),
        )?;
        let mut sign_in = self.sign_in(questions, &before)?;
        let allowed_users = match &sign_in {
            SignIn::Development => self.allowed_users.clone(),
            SignIn::GitHub { .. } | SignIn::Oidc(_) => Some(questions.required(
                "Who may sign in? Logins, org=acme, team=acme/ops, group=staff, domain=acme.example, or * for everybody",
                "--allowed-users",
                self.allowed_users.clone(),
                before("ALLOWED_GITHUB_USERS"),
                |text| Ok(mcp_oauth_tower::AllowList::parse(text).map(drop)?),
            )?),
        };
        if let SignIn::Oidc(app) = &mut sign_in
            && allowed_users.as_ref().is_some_and(|list| list.contains("group="))
        {
            let question = "Which claim of the provider tells the groups of its people?";
            let said = self.oidc_groups_claim.clone();
            app.groups_claim = Some(questions.text(question, said, "groups", |_| Ok(()))?);
        }
        let redis_url = questions.optional(
            "Where is Redis, to keep records in (such as redis://127.0.0.1:6379)? Nothing: in memory",
            self.redis_url.clone(),
            before("REDIS_URL"),
            |text| Ok(text.parse::<mcp_oauth_tower::RedisConfiguration>().map(drop)?),
        )?;
        let redis_password = match (&redis_url, &self.redis_password_file, before("REDIS_PASSWORD")) {
            (None, ..) => None,
            (Some(_), Some(file), _) => Some(private_file::secret(file)?),
            (Some(_), None, Some(before)) => Some(before.into()),
            (Some(_), None, None) if self.make_redis_password => Some(Secret::random()),
            (Some(url), None, None) if url.contains('@') => None,
            (Some(_), None, None) => questions.secret("The password of Redis? Nothing: none")?,
        };
        // What seals the keys that are in the store already has to stay, or nobody could open them.
        let sealing_secret = redis_url.as_ref().map(|_| {
            let kept = before("GATEWAY_KEY_SEALING_SECRET").map(Secret::from);
            kept.unwrap_or_else(Secret::random)
        });
        Ok(Answers {
            listen,
            public_url: public_url.trim_end_matches('/').to_owned(),
            sign_in,
            allowed_users,
            redis_url,
            redis_password,
            sealing_secret,
        })
    }

    fn sign_in(&self, questions: Questions, before: &impl Fn(&str) -> Option<String>) -> anyhow::Result<SignIn> {
        let said = self.sign_in.or(match (&self.github_client_id, &self.oidc_issuer) {
            (Some(_), None) => Some(Place::Github),
            (None, Some(_)) => Some(Place::Oidc),
            _ => None,
        });
        let known = before("GITHUB_CLIENT_ID").map(|_| Place::Github);
        let secret_in = |file: &Option<PathBuf>| file.as_deref().map(private_file::secret).transpose();
        let anything = |_: &str| Ok(());
        match questions.place(said, known)? {
            Place::Development => Ok(SignIn::Development),
            Place::Github => Ok(SignIn::GitHub {
                client_id: questions.required(
                    "The client ID of the GitHub app?",
                    "--github-client-id",
                    self.github_client_id.clone(),
                    before("GITHUB_CLIENT_ID"),
                    anything,
                )?,
                client_secret: questions.required_secret(
                    "The client secret of the GitHub app?",
                    "--github-client-secret-file",
                    secret_in(&self.github_client_secret_file)?,
                    before("GITHUB_CLIENT_SECRET"),
                )?,
            }),
            Place::Oidc => Ok(SignIn::Oidc(OidcApp {
                issuer: questions.required(
                    "The issuer of the OpenID Connect provider, to the letter?",
                    "--oidc-issuer",
                    self.oidc_issuer.clone(),
                    None,
                    anything,
                )?,
                client_id: questions.required(
                    "The gateway's client_id there?",
                    "--oidc-client-id",
                    self.oidc_client_id.clone(),
                    None,
                    anything,
                )?,
                client_secret: questions.required_secret(
                    "The gateway's client secret there?",
                    "--oidc-client-secret-file",
                    secret_in(&self.oidc_client_secret_file)?,
                    None,
                )?,
                groups_claim: None,
            })),
        }
    }
}
