//! The member of `_meta` that tells the server who calls.

use crate::caller::Caller;
use crate::message::{self, Member, Message};

/// Its name, where servers are told at all.
#[derive(Debug)]
pub(super) struct CallerMeta(pub(super) Option<String>);

impl CallerMeta {
    /// What is put into a request to tell the server who calls.
    #[inline]
    pub(super) fn edit(&self, request: &Message, caller: Option<&Caller>) -> Option<(Member, String)> {
        let name = self.0.as_deref()?;
        let value = caller.map_or_else(|| "null".to_owned(), Caller::json);
        let entry = format!("{}:{value}", serde_json::Value::from(name));
        let Some(params) = request.params() else {
            let params = format!(r#"{{"_meta":{{{entry}}}}}"#);
            return Some(match request.params_member() {
                Some(at) => (at, params),
                None => (request.start(), format!(r#""params":{params},"#)),
            });
        };
        let [about] = request.members(params, ["_meta"]);
        let comma = |object: &str| if message::is_empty(object) { "" } else { "," };
        let Some(about) = about else {
            return Some((
                request.start_of(params),
                format!(r#""_meta":{{{entry}}}{}"#, comma(params)),
            ));
        };
        let inside = request.text(&about);
        if !inside.starts_with('{') {
            return None;
        }
        // What a client says here of its caller is not what the layer in front knows.
        let claims = message::entries(inside);
        let claimed = claims.iter().find(|(claimed, _)| claimed == name);
        match claimed {
            Some((_, value)) => Some((
                request.place_of(value),
                caller.map_or_else(|| "null".to_owned(), Caller::json),
            )),
            None => Some((request.start_of(inside), format!("{entry}{}", comma(inside)))),
        }
    }
}
