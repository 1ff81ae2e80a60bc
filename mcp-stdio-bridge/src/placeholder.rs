//! `${…}` in a configuration: a documented set, filled from where the operator has authority.
//!
//! | placeholder | stands for | where |
//! |---|---|---|
//! | `${NAME}`, `${env:NAME}` | a variable of the bridge's own environment; the bridge does not start where it is not set | a file of servers |
//! | `${NAME:-default}` | the same, or the default | a file of servers |
//! | `${userHome}` | the home directory | a file of servers |
//! | `${caller.subject}`, `${caller.NAME}` | what the layer in front knows of the caller | variables of the environment of a process that serves one caller |
//! | `$${` | `${` itself | everywhere |
//!
//! No placeholder stands for anything that a request says of itself, and none is filled in a command's arguments but
//! from the bridge's own environment.

use crate::caller::Caller;
use crate::config::ConfigError;

/// A text with placeholders for what is known of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Caller(String),
}

impl Template {
    /// Reads a text in which only `${caller.…}` may stand.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut parts = Vec::new();
        split(text, |piece| {
            parts.push(match piece {
                Piece::Text(text) => Part::Text(text.to_owned()),
                Piece::Placeholder(name) => match name.strip_prefix("caller.") {
                    Some(name) if !name.is_empty() => Part::Caller(name.to_owned()),
                    _ => return Err(ConfigError::Placeholder(name.to_owned())),
                },
            });
            Ok(())
        })?;
        Ok(Self(parts))
    }

    /// The text for a caller. A byte that could not stand in an environment is left out.
    pub(crate) fn fill(&self, caller: Option<&Caller>) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Caller(name) => caller.and_then(|caller| caller.attribute(name)).unwrap_or_default(),
        });
        parts.collect::<String>().replace('\0', "")
    }
}

/// Fills the placeholders of a file of servers, but for those of the caller.
pub(crate) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let mut expanded = String::with_capacity(text.len());
    split(text, |piece| {
        match piece {
            Piece::Text(text) => expanded.push_str(text),
            Piece::Placeholder("userHome") => {
                let home = variable("HOME").or_else(|| variable("USERPROFILE"));
                expanded.push_str(&home.ok_or_else(|| ConfigError::Unset("HOME".to_owned()))?);
            }
            Piece::Placeholder(name) => {
                let (name, default) = match name.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (name.strip_prefix("env:").unwrap_or(name), None),
                };
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err(ConfigError::Placeholder(name.to_owned()));
                }
                let value = variable(name).or_else(|| default.map(str::to_owned));
                expanded.push_str(&value.ok_or_else(|| ConfigError::Unset(name.to_owned()))?);
            }
        }
        Ok(())
    })?;
    Ok(expanded)
}

/// Whether a text names the caller.
pub(crate) fn names_caller(text: &str) -> bool {
    text.contains("${caller.")
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn split<'a>(text: &'a str, mut take: impl FnMut(Piece<'a>) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            take(Piece::Text(&rest[..start - 1]))?;
            take(Piece::Text("${"))?;
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else { break };
        take(Piece::Text(&rest[..start]))?;
        take(Piece::Placeholder(&rest[start + 2..start + length]))?;
        rest = &rest[start + length + 1..];
    }
    take(Piece::Text(rest))
}

#[cfg(test)]
mod tests {
    use super::{Template, expand};
    use crate::caller::Caller;
    use crate::config::ConfigError;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/ada".to_owned()),
            "TOKEN" => Some("t ${HOME}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_stand_for_themselves_once() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${TOKEN}", "t ${HOME}"),
            ("a-${env:TOKEN}-b", "a-t ${HOME}-b"),
            ("${userHome}/x", "/home/ada/x"),
            ("${NONE:-else}", "else"),
            ("${HOME:-else}", "/home/ada"),
            ("$${HOME}", "${HOME}"),
            ("$HOME ${", "$HOME ${"),
        ] {
            assert_eq!(expand(text, variable).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert_eq!(expand("${NONE}", variable), Err(ConfigError::Unset("NONE".into())));
        for text in ["${input:key}", "${workspaceFolder:x}", "${}", "${a b}"] {
            assert!(
                matches!(expand(text, variable), Err(ConfigError::Placeholder(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_template_is_filled_with_what_is_known_of_the_caller() {
        let template = Template::parse("${caller.subject}:${caller.email}:$${x").unwrap();
        let caller = Caller::new("ada").with("email", "a@\0example.com");
        assert_eq!(template.fill(Some(&caller)), "ada:a@example.com:${x");
        assert_eq!(template.fill(None), "::${x");
        for text in ["${HOME}", "${caller.}", "${header.x}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
