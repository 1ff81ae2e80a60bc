//! The answers, and the files that they make.

use std::fmt::Write as _;

use mcp_oauth_core::secret::Secret;

/// What the gateway has to know.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) listen: String,
    pub(crate) public_url: String,
    pub(crate) sign_in: SignIn,
    pub(crate) allowed_users: Option<String>,
    pub(crate) redis_url: Option<String>,
    pub(crate) redis_password: Option<Secret>,
    pub(crate) sealing_secret: Option<Secret>,
}

/// Where people sign in.
#[derive(Debug)]
pub(crate) enum SignIn {
    GitHub { client_id: String, client_secret: Secret },
    Oidc(OidcApp),
    Development,
}

/// The gateway, as a client of an OpenID Connect provider.
#[derive(Debug)]
pub(crate) struct OidcApp {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    /// The claim with the groups of its people, if the list names groups.
    pub(crate) groups_claim: Option<String>,
}

impl Answers {
    /// The `.env` file.
    pub(crate) fn variables(&self) -> String {
        let mut text = String::from(
            "# Settings of the MCP gateway, as `full-gateway init` has written them. There are secrets in here: keep it to yourself.\n\
             # What else there is to set stands in the README beside the example.\n",
        );
        let mut say = |why: &str, name: &str, value: Option<&str>| {
            // Writing into a string does not fail.
            let _ = match value {
                Some(value) => write!(text, "\n# {why}\n{name}={}\n", quoted(value)),
                None => write!(text, "\n# {why}\n# {name}=\n"),
            };
        };
        say("Address and port to listen on.", "GATEWAY_LISTEN", Some(&self.listen));
        say(
            "How clients reach the gateway. It is the issuer of all tokens: to change it is to begin anew.",
            "GATEWAY_PUBLIC_URL",
            Some(&self.public_url),
        );
        if let SignIn::GitHub {
            client_id,
            client_secret,
        } = &self.sign_in
        {
            let why = format!(
                "The GitHub app that people sign in with. Its callback is {}/callback.",
                self.public_url
            );
            say(&why, "GITHUB_CLIENT_ID", Some(client_id));
            say(
                "Its client secret.",
                "GITHUB_CLIENT_SECRET",
                Some(client_secret.expose()),
            );
        }
        match &self.sign_in {
            SignIn::GitHub { .. } | SignIn::Development => say(
                "Who may sign in: logins, org=acme or team=acme/ops, set apart by commas, or * for everybody.",
                "ALLOWED_GITHUB_USERS",
                self.allowed_users.as_deref(),
            ),
            SignIn::Oidc(_) => {}
        }
        say(
            "Where records are kept. Without it they are in memory, and end with the process.",
            "REDIS_URL",
            self.redis_url.as_deref(),
        );
        if self.redis_url.is_some() {
            say(
                "The password of Redis.",
                "REDIS_PASSWORD",
                self.redis_password.as_ref().map(Secret::expose),
            );
        }
        if let Some(secret) = &self.sealing_secret {
            say(
                "Seals the signing keys in the store. Made at random; without it nobody can read them, so keep a copy.",
                "GATEWAY_KEY_SEALING_SECRET",
                Some(secret.expose()),
            );
        }
        text
    }

    /// The TOML file, if one is needed.
    pub(crate) fn providers(&self) -> Option<String> {
        let SignIn::Oidc(app) = &self.sign_in else { return None };
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let mut block = format!(
            "# The provider that people sign in with, as `full-gateway init` has written it. There is a secret in here: keep it to\n\
             # yourself. The callback to register there is {}/callback.\n\n[[identity_providers]]\n",
            self.public_url
        );
        let allowed_users = self.allowed_users.as_deref().unwrap_or_default();
        for (why, name, value) in [
            (
                "Stands in front of the subjects of its people, and must never change.",
                "id",
                "oidc",
            ),
            (
                "To the letter as its /.well-known/openid-configuration has it.",
                "issuer",
                &app.issuer,
            ),
            ("The gateway, as it is registered there.", "client_id", &app.client_id),
            ("Its secret.", "client_secret", app.client_secret.expose()),
            ("Who of its people may sign in.", "allowed_users", allowed_users),
        ] {
            let _ = writeln!(block, "# {why}\n{name} = {}", text(value));
        }
        if let Some(claim) = &app.groups_claim {
            let _ = writeln!(
                block,
                "# The claim that tells their groups.\ngroups_claim = {}",
                text(claim)
            );
        }
        Some(block)
    }
}

/// A value as it stands in a `.env` file, which shells and compose read as well.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,=+%".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' | '$' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written() {
        for value in [
            "plain",
            "a secret with spaces",
            "quotes \" and ' and $HOME and ${HOME} and \\ and #",
            "*",
            "ada, org=acme",
            "redis://:p%40ss@cache:6379/0",
            "two\nlines",
            "",
            "a=b==",
        ] {
            let file = format!("NAME={}\n", quoted(value));
            let read: Vec<_> = dotenvy::from_read_iter(file.as_bytes()).map(Result::unwrap).collect();
            assert_eq!(read, [("NAME".to_owned(), value.to_owned())], "{file}");
        }
    }

    #[test]
    fn answers_show_no_secret_where_they_are_printed() {
        let answers = Answers {
            listen: "127.0.0.1:8080".to_owned(),
            public_url: "https://mcp.example".to_owned(),
            sign_in: SignIn::GitHub {
                client_id: "id".to_owned(),
                client_secret: "very secret".into(),
            },
            allowed_users: Some("*".to_owned()),
            redis_url: None,
            redis_password: None,
            sealing_secret: Some("also secret".into()),
        };
        let shown = format!("{answers:?}");
        assert!(
            !shown.contains("very secret") && !shown.contains("also secret"),
            "{shown}"
        );
        assert!(answers.variables().contains("\nGITHUB_CLIENT_SECRET=\"very secret\"\n"));
    }
}
