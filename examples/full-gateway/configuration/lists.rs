//! Settings that are several things: lists in the file, and text with commas in variables.

use anyhow::Context as _;
use mcp_oauth_core::policy::AllowList;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// A list, or text with commas.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Texts {
    /// One by one.
    List(Vec<String>),
    /// Set apart by commas.
    Text(String),
}

/// Reads a list, or text with commas.
pub(super) fn texts<'de, T: From<String>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let texts = match Texts::deserialize(deserializer)? {
        Texts::List(list) => list,
        Texts::Text(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).map(T::from).collect())
}

/// The same where it makes a difference whether anything was said.
pub(super) fn some_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    texts(deserializer).map(Some)
}

/// Who is let in, if that is said. `setting` is the name of where it was said.
pub(super) fn allow_list(setting: &str, text: Option<&str>) -> anyhow::Result<Option<AllowList>> {
    let list = text.map(AllowList::parse).transpose();
    list.with_context(|| format!("{setting} cannot be read"))
}
