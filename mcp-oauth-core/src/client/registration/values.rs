//! What a single text, name or link may be. Nothing for one that was not given.

use url::Url;

use super::{InvalidRegistration, MAXIMUM_NAME, MAXIMUM_TEXT, refuse};

pub(super) fn text(member: &str, value: Option<String>) -> Result<Option<String>, InvalidRegistration> {
    match value {
        Some(value) if value.len() > MAXIMUM_TEXT || value.chars().any(char::is_control) => refuse(format!(
            "{member} is longer than {MAXIMUM_TEXT} bytes or holds control characters"
        )),
        value => Ok(value),
    }
}

pub(super) fn name(member: &str, value: Option<String>) -> Result<Option<String>, InvalidRegistration> {
    match text(member, value)? {
        Some(name) if name.chars().count() > MAXIMUM_NAME => {
            refuse(format!("{member} is longer than {MAXIMUM_NAME} characters"))
        }
        name => Ok(name),
    }
}

pub(super) fn link(member: &str, value: Option<String>) -> Result<Option<String>, InvalidRegistration> {
    let Some(value) = text(member, value)? else {
        return Ok(None);
    };
    let good = Url::parse(&value)
        .is_ok_and(|url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none());
    if good {
        Ok(Some(value))
    } else {
        refuse(format!("{member} must be an https URL"))
    }
}
