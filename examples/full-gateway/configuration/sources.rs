//! Where settings come from: the environment, a `.env` file and a TOML file, in this order of strength.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use config::{Config, Environment, File, FileFormat};
use serde_json::Value;

use super::{Configuration, predecessor};

/// The file that is read if nothing else is named.
const DEFAULT_FILE: &str = "gateway.toml";

const PREFIX: &str = "GATEWAY_";

/// The variable that names the file.
const FILE: &str = "GATEWAY_CONFIG";

/// Names without the prefix that people know from elsewhere, and what they mean here.
const WELL_KNOWN: [(&str, &str); 18] = [
    ("GITHUB_CLIENT_ID", "GATEWAY_GITHUB__CLIENT_ID"),
    ("GITHUB_CLIENT_SECRET", "GATEWAY_GITHUB__CLIENT_SECRET"),
    ("ALLOWED_GITHUB_USERS", "GATEWAY_ALLOWED_USERS"),
    ("ACCESS_TOKEN_LIFETIME", "GATEWAY_ACCESS_TOKEN_LIFETIME"),
    ("REFRESH_TOKEN_LIFETIME", "GATEWAY_REFRESH_TOKEN_LIFETIME"),
    ("CLIENT_LIFETIME", "GATEWAY_CLIENT_LIFETIME"),
    ("JWT_PRIVATE_KEY_B64", "GATEWAY_SIGNING_KEY"),
    ("JWT_ALGORITHM", "GATEWAY_SIGNING_ALGORITHM"),
    ("REDIS_URL", "GATEWAY_REDIS__URL"),
    ("REDIS_USERNAME", "GATEWAY_REDIS__USERNAME"),
    ("REDIS_PASSWORD", "GATEWAY_REDIS__PASSWORD"),
    ("REDIS_KEY_PREFIX", "GATEWAY_REDIS__KEY_PREFIX"),
    ("REDIS_CA_FILE", "GATEWAY_REDIS__CA_FILE"),
    ("BASE_DOMAIN", "GATEWAY_PUBLIC_URL"),
    ("LOG_LEVEL", "GATEWAY_LOG"),
    ("MCP_CORS_ORIGINS", "GATEWAY_CORS_ORIGINS"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "GATEWAY_TELEMETRY__OTLP_ENDPOINT"),
    ("OTEL_SERVICE_NAME", "GATEWAY_TELEMETRY__SERVICE_NAME"),
];

/// The settings with what is known of where they come from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What counts.
    pub(crate) configuration: Configuration,
    /// Where each setting comes from that is no default.
    pub(crate) sources: Sources,
    /// What is to be said about variables that do not do what people may expect.
    pub(crate) warnings: Vec<String>,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A variable of the environment, by its name.
    Environment(String),
    /// A variable of the `.env` file.
    Dotenv(String),
    /// The file.
    File(String),
    /// Nobody has said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::Dotenv(name) => write!(formatter, ".env {name}"),
            Self::File(file) => formatter.write_str(file),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// By the path of a setting, such as `redis.url`, in the order of strength.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    environment: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
    file: Option<(String, Value)>,
}

impl Sources {
    /// Where the setting at this path comes from.
    pub(crate) fn of(&self, path: &[&str]) -> Source {
        let joined = path.join(".");
        if let Some(name) = self.environment.get(&joined) {
            return Source::Environment(name.clone());
        }
        if let Some(name) = self.dotenv.get(&joined) {
            return Source::Dotenv(name.clone());
        }
        if let Some((file, content)) = &self.file {
            let found = path.iter().try_fold(content, |value, segment| match value {
                Value::Array(list) => segment.parse::<usize>().ok().and_then(|index| list.get(index)),
                other => other.get(segment),
            });
            if found.is_some() {
                return Source::File(file.clone());
            }
        }
        Source::Default
    }
}

impl Configuration {
    /// Reads the settings, and checks whether they fit together.
    pub(crate) fn load() -> anyhow::Result<Self> {
        Loaded::load().map(|loaded| loaded.configuration)
    }

    /// What a `.env` file and a TOML file with these texts come to, with nothing of this process's own environment.
    pub(crate) fn of_texts(dotenv: &str, toml: &str) -> anyhow::Result<Self> {
        let read = dotenvy::from_read_iter(dotenv.as_bytes()).collect::<Result<_, _>>();
        let dotenv: HashMap<String, String> = read.context("the .env file cannot be read")?;
        let configuration: Self = Config::builder()
            .add_source(File::from_str(toml, FileFormat::Toml))
            .add_source(variables(&dotenv).0)
            .build()
            .and_then(Config::try_deserialize)
            .context("the configuration cannot be read")?;
        configuration.check()?;
        Ok(configuration)
    }
}

impl Loaded {
    /// Reads the settings, and checks whether they fit together.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let loaded = Self::load_without_check()?;
        loaded.configuration.check()?;
        Ok(loaded)
    }

    /// Reads the settings.
    pub(crate) fn load_without_check() -> anyhow::Result<Self> {
        let environment: HashMap<String, String> = std::env::vars().collect();
        let file = dotenv(Path::new(".env"))?;
        let toml = environment.get(FILE).or_else(|| file.get(FILE)).cloned();
        Self::read(toml.as_deref(), &file, &environment)
    }

    pub(super) fn read(
        toml: Option<&str>,
        dotenv: &HashMap<String, String>,
        environment: &HashMap<String, String>,
    ) -> anyhow::Result<Self> {
        let path = toml.unwrap_or(DEFAULT_FILE);
        let file = File::new(path, FileFormat::Toml).required(toml.is_some());
        let unread = "the configuration cannot be read";
        let alone: Value = Config::builder()
            .add_source(file.clone())
            .build()
            .and_then(Config::try_deserialize)
            .context(unread)?;
        let (from_dotenv, dotenv_names) = variables(dotenv);
        let (from_environment, environment_names) = variables(environment);
        let configuration = Config::builder()
            .add_source(file)
            .add_source(from_dotenv)
            .add_source(from_environment)
            .build()
            .and_then(Config::try_deserialize)
            .context(unread)?;
        let mut all = dotenv.clone();
        all.extend(environment.clone());
        Ok(Self {
            configuration,
            sources: Sources {
                environment: environment_names,
                dotenv: dotenv_names,
                file: Some((path.to_owned(), alone)),
            },
            warnings: predecessor::warnings(&all),
        })
    }
}

/// The variables of a `.env` file; none if there is no such file.
fn dotenv(path: &Path) -> anyhow::Result<HashMap<String, String>> {
    match dotenvy::from_path_iter(path) {
        Ok(variables) => variables
            .collect::<Result<_, _>>()
            .context("the .env file cannot be read"),
        Err(error) if error.not_found() => Ok(HashMap::new()),
        Err(error) => Err(error).context("the .env file cannot be read"),
    }
}

/// Settings by the names that they have as variables: `GATEWAY_GITHUB__CLIENT_ID` is `client_id` in `[github]`. And the names
/// by the paths of the settings.
///
/// All of them are text, letter by letter: a secret may look like a number and is none. What a setting is decides how its
/// text is read, and lists have commas.
fn variables(variables: &HashMap<String, String>) -> (Environment, BTreeMap<String, String>) {
    let mut ours: HashMap<String, String> = HashMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let path = |name: &str| name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
    let set = |value: &&String| !value.is_empty();
    for (name, value) in variables.iter().filter(|(_, value)| set(value)) {
        if name.starts_with(PREFIX) && name != FILE && !predecessor::is_foreign(name) {
            ours.insert(name.clone(), value.clone());
            names.insert(path(name), name.clone());
        }
    }
    for (known, name) in WELL_KNOWN {
        if let Some(value) = variables.get(known).filter(set)
            && !ours.contains_key(name)
        {
            ours.insert(name.to_owned(), predecessor::translated(known, value));
            names.insert(path(name), known.to_owned());
        }
    }
    let environment = Environment::with_prefix("GATEWAY")
        .prefix_separator("_")
        .separator("__")
        .source(Some(ours));
    (environment, names)
}
