//! The rules of routers: matchers, `&&`, `||`, `!` and parentheses.

use serde::{Deserialize, Deserializer};

use crate::doubles::Passing;

/// A rule, with how long it is as a text.
pub(super) struct Rule {
    expression: Expression,
    pub(super) length: usize,
}

enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Matcher(String, String),
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut rest = text.as_str();
        let expression = any(&mut rest);
        assert!(rest.trim().is_empty(), "{rest} is left of {text}");
        Ok(Self {
            expression,
            length: text.len(),
        })
    }
}

/// Takes a sign off the front.
fn sign(rest: &mut &str, sign: &str) -> bool {
    let found = rest.trim_start().strip_prefix(sign);
    *rest = found.unwrap_or(rest);
    found.is_some()
}

fn any(rest: &mut &str) -> Expression {
    let mut parts = vec![all(rest)];
    while sign(rest, "||") {
        parts.push(all(rest));
    }
    Expression::Any(parts)
}

fn all(rest: &mut &str) -> Expression {
    let mut parts = vec![one(rest)];
    while sign(rest, "&&") {
        parts.push(one(rest));
    }
    Expression::All(parts)
}

fn one(rest: &mut &str) -> Expression {
    if sign(rest, "!") {
        return Expression::Not(Box::new(one(rest)));
    }
    if sign(rest, "(") {
        let inner = any(rest);
        assert!(sign(rest, ")"), "a parenthesis is open before {rest}");
        return inner;
    }
    let (name, after) = rest.trim_start().split_once("(`").unwrap();
    let (argument, after) = after.split_once("`)").unwrap();
    *rest = after;
    Expression::Matcher(name.to_owned(), argument.to_owned())
}

impl Rule {
    pub(super) fn matches(&self, passing: &Passing) -> bool {
        self.expression.matches(passing)
    }
}

impl Expression {
    fn matches(&self, passing: &Passing) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(passing)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(passing)),
            Self::Not(part) => !part.matches(passing),
            Self::Matcher(name, argument) => match name.as_str() {
                "Host" => passing.host.split(':').next().unwrap().eq_ignore_ascii_case(argument),
                "PathPrefix" => passing.decoded_path().starts_with(argument),
                "Path" => passing.decoded_path() == *argument,
                "Method" => passing.method.as_str() == argument,
                other => panic!("the double knows no {other}"),
            },
        }
    }
}
