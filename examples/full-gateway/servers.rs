//! What is protected: each server with its place, its name, who may use it, and what serves it.

use std::time::Duration;

use mcp_oauth_tower::{AllowList, Resource};
use url::Url;

use crate::configuration::{AccessSettings, Configuration, Embedded, ServedBy, ServerSettings, UpstreamSettings};

pub(crate) use program::Program;

mod program;

/// One protected server: where it is, what it is called, who may use it, and what serves it.
pub(crate) struct Server {
    /// What it is called in the file; no two have the same.
    pub(crate) key: String,
    pub(crate) name: String,
    /// The host of its own, if it has one.
    pub(crate) host: Option<String>,
    /// Where it is there, or below the issuer.
    pub(crate) path: String,
    /// Of those who may sign in; `None` means all of them.
    pub(crate) allow: Option<AllowList>,
    pub(crate) access: AccessSettings,
    /// The identity provider whose tokens it is handed.
    pub(crate) upstream_tokens_of: Option<String>,
    pub(crate) kind: Kind,
}

/// What serves it.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    /// Code in this process.
    Embedded(Embedded),
    /// A program behind the bridge.
    Program(Box<Program>),
    /// Another server.
    Upstream(Box<Upstream>),
}

/// Another server with all that decides how requests are passed on to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) url: Url,
    pub(crate) settings: UpstreamSettings,
}

impl Server {
    /// Its resource identifier.
    pub(crate) fn uri(&self, issuer: &str) -> String {
        let at_its_own = self.host.as_ref().and_then(|host| {
            let issuer = Url::parse(issuer).ok()?;
            let port = issuer.port().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}://{host}{port}", issuer.scheme()))
        });
        format!("{}{}", at_its_own.as_deref().unwrap_or(issuer), self.path)
    }

    /// What it is called where requests are counted: its host if it has one of its own, and its path.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}{}", self.host.as_deref().unwrap_or_default(), self.path)
    }

    /// What is to be looked at before it is started, if anything is.
    pub(crate) fn warning(&self) -> Option<String> {
        let Kind::Program(program) = &self.kind else {
            return None;
        };
        let told = program.not_found()?;
        Some(format!("[servers.{}] {told}", self.key))
    }

    /// The protected resource that it is.
    pub(crate) fn resource(&self, issuer: &str) -> anyhow::Result<Resource> {
        let mut resource = Resource::new(&self.uri(issuer))?.name(&self.name);
        if let Some(allow) = &self.allow {
            resource = resource.allow(allow.clone());
        }
        if let Some(provider) = &self.upstream_tokens_of {
            resource = resource.hand_on_tokens_of(provider);
        }
        self.access.apply(resource)
    }
}

/// The servers that `configuration` names, and those that come with the example.
pub(crate) fn of(configuration: &Configuration) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    let drain_timeout = configuration.shutdown_timeout();
    if configuration.built_in_servers {
        let allow = configuration.built_in_allowed_users()?;
        let built_in = |key: &str, name: &str, kind| Server {
            key: key.to_owned(),
            name: name.to_owned(),
            host: None,
            path: format!("/{key}/mcp"),
            allow: allow.clone(),
            access: AccessSettings::default(),
            upstream_tokens_of: None,
            kind,
        };
        servers.push(built_in("echo", "Echo", Kind::Embedded(Embedded::Echo)));
        // The notebook is a program of its own that knows nothing of HTTP: here it is this very program in another
        // role.
        let notes = Program::itself("notes", drain_timeout)?;
        servers.push(built_in("notes", "Notes", Kind::Program(Box::new(notes))));
    }
    for (key, settings) in &configuration.servers {
        if servers.iter().any(|other| other.key == *key) {
            anyhow::bail!(
                "[servers.{key}] has the name of a built-in server: rename it, or set built_in_servers = false"
            );
        }
        servers.push(server(key, settings, drain_timeout)?);
    }
    check_places(configuration, &servers)?;
    Ok(servers)
}

fn server(key: &str, settings: &ServerSettings, drain_timeout: Duration) -> anyhow::Result<Server> {
    let path = match (&settings.path, &settings.host) {
        (Some(path), _) => path.clone(),
        (None, Some(_)) => "/mcp".to_owned(),
        (None, None) => format!("/{key}/mcp"),
    };
    Ok(Server {
        key: key.to_owned(),
        name: settings.name.clone().unwrap_or_else(|| key.to_owned()),
        host: settings.host.clone(),
        path,
        allow: settings.allowed_users(key)?,
        access: settings.access.clone(),
        upstream_tokens_of: settings.upstream_tokens_of.clone(),
        kind: match settings.served_by()? {
            ServedBy::Embedded(embedded) => Kind::Embedded(embedded),
            ServedBy::Program(path, arguments) => {
                Kind::Program(Box::new(Program::of(path, arguments, settings, drain_timeout)))
            }
            ServedBy::Upstream(url) => Kind::Upstream(Box::new(Upstream {
                url: url.clone(),
                settings: settings.upstream.clone(),
            })),
        },
    })
}

/// What the authorization server has at the gateway's own address.
const TAKEN: [&str; 18] = [
    ".well-known",
    "account",
    "authorize",
    "callback",
    "consent",
    "development",
    "device",
    "device_authorization",
    "health",
    "introspect",
    "jwks",
    "metrics",
    "ready",
    "register",
    "revoke",
    "sign-in",
    "token",
    "verify",
];

/// Whether each server has a place of its own.
fn check_places(configuration: &Configuration, servers: &[Server]) -> anyhow::Result<()> {
    let issuer = configuration.issuer();
    let own = Url::parse(&issuer)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    for (index, server) in servers.iter().enumerate() {
        let key = &server.key;
        let uri = server.uri(&issuer);
        if let Some(other) = servers[..index].iter().find(|other| other.uri(&issuer) == uri) {
            anyhow::bail!(
                "[servers.{key}] is at {uri}, where {} is: give it another path or host",
                other.key
            );
        }
        if server.host.is_some() && server.host == own {
            anyhow::bail!("[servers.{key}] has the host of the gateway itself: leave host out, or use another one");
        }
        let first = server.path.split('/').nth(1).unwrap_or_default();
        let taken = match server.host {
            None => TAKEN.contains(&first),
            Some(_) => first == ".well-known",
        };
        anyhow::ensure!(
            !taken,
            "[servers.{key}] has the path {}, below which the gateway has endpoints of its own: use another one",
            server.path
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::tests::read;

    fn places(toml: &str, environment: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
        let configuration = read(&format!("built_in_servers = false\n{toml}"), &[], environment)?;
        let issuer = configuration.issuer();
        Ok(of(&configuration)?.iter().map(|server| server.uri(&issuer)).collect())
    }

    #[test]
    fn a_server_has_a_path_below_the_gateway_or_a_host_of_its_own() {
        let toml = r#"
            [servers.a]
            command = ["x"]
            [servers.b]
            command = ["x"]
            path = "/tools/b"
            [servers.c]
            command = ["x"]
            host = "c.example.com"
            [servers.d]
            command = ["x"]
            host = "c.example.com"
            path = "/d"
        "#;
        let github = [
            ("GATEWAY_PUBLIC_URL", "https://mcp.example.com:8443"),
            ("GITHUB_CLIENT_ID", "x"),
            ("GITHUB_CLIENT_SECRET", "y"),
            ("ALLOWED_GITHUB_USERS", "*"),
        ];
        let expected = [
            "https://mcp.example.com:8443/a/mcp",
            "https://mcp.example.com:8443/tools/b",
            "https://c.example.com:8443/mcp",
            "https://c.example.com:8443/d",
        ];
        assert_eq!(places(toml, &github).unwrap(), expected);
    }

    #[test]
    fn no_two_servers_are_at_one_place_and_none_is_where_the_gateway_is() {
        for (settings, says) in [
            ("path = \"/a/mcp\"", "where a is"),
            ("path = \"/token\"", "endpoints of its own"),
            ("path = \"/.well-known/x\"", "endpoints of its own"),
            ("host = \"127.0.0.1\"", "the gateway itself"),
        ] {
            let toml = format!("[servers.a]\ncommand = [\"x\"]\n[servers.b]\ncommand = [\"x\"]\n{settings}");
            let told = places(&toml, &[]).unwrap_err().to_string();
            assert!(
                told.contains("[servers.b]") && told.contains(says),
                "{settings}: {told}"
            );
        }
    }

    #[test]
    fn what_decides_how_a_program_runs_makes_it_another_one_and_nothing_else_does() {
        let program = |settings: &str| {
            let toml = format!("built_in_servers = false\n[servers.a]\ncommand = [\"x\", \"y\"]\n{settings}");
            of(&read(&toml, &[], &[]).unwrap()).unwrap().remove(0).kind
        };
        let plain = program("");
        assert!(plain == program("name = \"Another\"\nallowed_users = \"ada\""));
        for settings in [
            "env = { A = \"b\" }",
            "share = \"shared\"",
            "process = { spares = 1 }",
            "directory = \"/\"",
        ] {
            assert!(plain != program(settings), "{settings}");
        }
    }
}
