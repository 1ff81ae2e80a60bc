//! The resources.

use serde_json::{Value, json};

use crate::content::PNG;

/// The resource whose updates can be watched.
pub(crate) const WATCHED: &str = "test://watched-resource";

pub(crate) fn list() -> Value {
    let resource = |uri: &str, name: &str, description: &str, mime_type: &str| json!({ "uri": uri, "name": name, "description": description, "mimeType": mime_type });
    json!({ "resources": [
        resource("test://static-text", "static-text", "A text that does not change", "text/plain"),
        resource("test://static-binary", "static-binary", "An image that does not change", "image/png"),
        resource(WATCHED, "watched-resource", "A resource whose updates can be watched", "text/plain"),
    ] })
}

pub(crate) fn templates() -> Value {
    json!({ "resourceTemplates": [{
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data for an id",
        "mimeType": "application/json",
    }] })
}

/// The contents of a resource; `None` where there is no such resource.
pub(crate) fn read(uri: &str) -> Option<Value> {
    let contents = match uri {
        "test://static-text" => json!({
            "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource.",
        }),
        "test://static-binary" => json!({ "uri": uri, "mimeType": "image/png", "blob": PNG }),
        WATCHED => json!({ "uri": uri, "mimeType": "text/plain", "text": "This resource can be watched." }),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
        }
    };
    Some(json!({ "contents": [contents] }))
}
