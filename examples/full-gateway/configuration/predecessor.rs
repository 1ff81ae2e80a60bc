//! The variables of the Python gateway, whose `.env` people bring along: what they mean here, and which mean nothing any more.
//!
//! `VARIABLES.md` beside the example lists all of them. A variable that would make the gateway weaker than whoever has set it
//! believes is a warning that says what to do instead.

use std::collections::HashMap;

/// What to log, as Python names it and as filters here do.
const LEVELS: [(&str, &str); 6] = [
    ("debug", "debug"),
    ("info", "info"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("error", "error"),
    ("critical", "error"),
];

/// The value that a variable of the Python gateway has here.
pub(super) fn translated(name: &str, value: &str) -> String {
    match name {
        "BASE_DOMAIN" => format!("https://auth.{}", value.trim()),
        "LOG_LEVEL" => {
            let known = LEVELS
                .iter()
                .find(|(python, _)| value.trim().eq_ignore_ascii_case(python));
            known.map_or_else(|| value.to_owned(), |(_, ours)| (*ours).to_owned())
        }
        _ => value.to_owned(),
    }
}

/// Variables that begin like the gateway's own and are none of its settings.
pub(super) fn is_foreign(name: &str) -> bool {
    name == "GATEWAY_JWT_SECRET" || name.starts_with("GATEWAY_OAUTH_")
}

/// What is to be said about variables that are set and that do not do what whoever has set them expects.
pub(super) fn warnings(variables: &HashMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = variables
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names.into_iter().filter_map(|name| warning(name)).collect()
}

fn warning(name: &str) -> Option<String> {
    let what = match name {
        "JWT_SECRET" | "GATEWAY_JWT_SECRET" => {
            "signs nothing here: with a shared secret, everybody who can verify a token could issue one. Remove it, and use \
             JWT_PRIVATE_KEY_B64 or GATEWAY_KEY_SEALING_SECRET"
        }
        "LOG_FILE" => "is not written to: the log goes to stderr, where systemd or the container keeps it",
        "REDIS_HOST" | "REDIS_PORT" | "REDIS_DB" | "REDIS_PWD" | "REDIS_SSL" => {
            "is not read: say it in REDIS_URL, such as rediss://redis.example.com:6379/0, and REDIS_PASSWORD"
        }
        "ACME_EMAIL" => {
            "is for a proxy in front: the gateway fetches no certificates, it reads those that tls.certificate_file names"
        }
        name if name.starts_with("GATEWAY_OAUTH_") || name == "GITHUB_PAT" || name.starts_with("MCP_CLIENT_") => {
            "is a client's: it has no business in the environment of the gateway, so remove it here"
        }
        _ => return None,
    };
    Some(format!("{name} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::tests::{read, refusal};

    #[test]
    fn the_domain_and_the_level_of_the_log_are_read_as_they_were() {
        let environment = [
            ("BASE_DOMAIN", "example.com"),
            ("LOG_LEVEL", "WARNING"),
            ("GITHUB_CLIENT_ID", "x"),
            ("GITHUB_CLIENT_SECRET", "y"),
            ("ALLOWED_GITHUB_USERS", "ada"),
            ("MCP_CORS_ORIGINS", "https://a.example, https://b.example"),
        ];
        let configuration = read("", &[], &environment).unwrap();
        assert_eq!(configuration.issuer(), "https://auth.example.com");
        assert_eq!(configuration.log, "warn");
        assert_eq!(configuration.cors_origins, ["https://a.example", "https://b.example"]);
        let stronger = [&environment[..], &[("GATEWAY_PUBLIC_URL", "https://mcp.example.com")]].concat();
        assert_eq!(read("", &[], &stronger).unwrap().issuer(), "https://mcp.example.com");
    }

    #[test]
    fn what_means_nothing_any_more_does_not_stop_the_gateway_and_is_told() {
        let environment = [
            ("GATEWAY_JWT_SECRET", "s3cret"),
            ("GATEWAY_OAUTH_ACCESS_TOKEN", "t0ken"),
            ("REDIS_HOST", "redis"),
            ("SESSION_TIMEOUT", "3600"),
            ("MCP_PROTOCOL_VERSION", "2025-06-18"),
            ("LOG_FILE", ""),
        ];
        read("", &[], &environment).unwrap();
        let all = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let told = warnings(&all);
        assert_eq!(told.len(), 3, "{told:?}");
        let told = told.join("\n");
        assert!(
            told.contains("GATEWAY_JWT_SECRET") && told.contains("REDIS_URL"),
            "{told}"
        );
        assert!(!told.contains("s3cret") && !told.contains("t0ken"), "{told}");
    }

    #[test]
    fn what_would_weaken_the_gateway_is_refused() {
        assert!(refusal("", &[("JWT_ALGORITHM", "HS256")]).contains("use ES256, RS256 or EdDSA"));
    }
}
