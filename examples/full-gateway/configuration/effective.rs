//! The settings that count, for people and for programs: each with its value, unless that is a secret, and with where it
//! comes from.

use serde::Serialize;
use serde_json::Value;

use super::Configuration;
use super::hidden::MASK;
use super::sources::Sources;

/// One setting.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    /// Its path, such as `redis.url`, or `servers.time.command.0`.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: Value,
    /// Where it comes from.
    pub(crate) source: String,
}

/// All that are set, or have a default.
pub(crate) fn settings(configuration: &Configuration, sources: &Sources) -> anyhow::Result<Vec<Setting>> {
    let mut found = Vec::new();
    collect(
        &serde_json::to_value(configuration)?,
        &mut Vec::new(),
        sources,
        &mut found,
    );
    Ok(found)
}

fn collect(value: &Value, path: &mut Vec<String>, sources: &Sources, found: &mut Vec<Setting>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                path.push(name.clone());
                collect(value, path, sources, found);
                path.pop();
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, value) in list.iter().enumerate() {
                path.push(index.to_string());
                collect(value, path, sources, found);
                path.pop();
            }
        }
        value => {
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            found.push(Setting {
                name: path.join("."),
                value: without_arguments(&segments, value),
                source: sources.of(&segments).to_string(),
            });
        }
    }
}

/// Of a command the program alone: its arguments may hold secrets.
fn without_arguments(path: &[&str], value: &Value) -> Value {
    match (path, value) {
        (["servers", _, "command"], Value::Array(command)) => {
            let mut command = command.clone();
            for argument in command.iter_mut().skip(1) {
                *argument = MASK.into();
            }
            Value::Array(command)
        }
        (_, value) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write as _;

    use super::super::sources::Loaded;
    use super::*;

    fn effective(
        toml: &str,
        dotenv: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> HashMap<String, (Value, String)> {
        let variables = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let loaded = Loaded::read(Some(path), &variables(dotenv), &variables(environment)).unwrap();
        let all = settings(&loaded.configuration, &loaded.sources).unwrap();
        all.into_iter()
            .map(|setting| (setting.name, (setting.value, setting.source.replace(path, "the file"))))
            .collect()
    }

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let toml = "log = \"debug\"\nclient_lifetime = 1\nlisten = \"127.0.0.1:1\"\n[servers.time]\ncommand = [\"uvx\", \"--token=x\"]";
        let dotenv = [("GATEWAY_LISTEN", "127.0.0.1:2"), ("REDIS_URL", "redis://:pass@cache")];
        let environment = [
            ("LOG_LEVEL", "ERROR"),
            ("GATEWAY_LIMITS__REGISTRATIONS_PER_MINUTE", "5"),
        ];
        let found = effective(toml, &dotenv, &environment);
        let expect = |name: &str, value: Value, source: &str| {
            assert_eq!(found.get(name), Some(&(value, source.to_owned())), "{name}");
        };
        expect("log", "error".into(), "environment LOG_LEVEL");
        expect("listen", "127.0.0.1:2".into(), ".env GATEWAY_LISTEN");
        expect("client_lifetime", 1.into(), "the file");
        expect("refresh_token_lifetime", 2_592_000.into(), "default");
        expect(
            "limits.registrations_per_minute",
            5.into(),
            "environment GATEWAY_LIMITS__REGISTRATIONS_PER_MINUTE",
        );
        expect("redis.url", MASK.into(), ".env REDIS_URL");
        expect("servers.time.command", serde_json::json!(["uvx", MASK]), "the file");
        expect("servers.time.share", "per-session".into(), "default");
    }

    #[test]
    fn no_secret_is_among_them() {
        let toml = r#"
            [[clients]]
            id = "job"
            secret = "hunter2-client"
            [[identity_providers]]
            id = "acme"
            issuer = "https://acme.example"
            client_id = "x"
            client_secret = "hunter2-provider"
            [registration]
            initial_access_tokens = ["hunter2-registration"]
            [servers.time]
            command = ["x", "--token", "hunter2-argument"]
            env = { TOKEN = "hunter2-variable" }
        "#;
        let environment = [
            ("GITHUB_CLIENT_SECRET", "hunter2-github"),
            ("GATEWAY_GITHUB__MEMBERSHIP_TOKEN", "hunter2-membership"),
            ("REDIS_PASSWORD", "hunter2-redis"),
            ("JWT_PRIVATE_KEY_B64", "hunter2-key"),
            ("GATEWAY_KEY_SEALING_SECRET", "hunter2-seal"),
            ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", "hunter2-a,hunter2-b"),
        ];
        let shown = format!("{:?}", effective(toml, &[], &environment));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("clients.0.secret"), "{shown}");
    }
}
