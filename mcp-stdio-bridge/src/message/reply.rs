//! The JSON-RPC errors that the bridge itself answers with.

use serde_json::json;

/// The text is not JSON.
pub(crate) const PARSE_ERROR: i32 = -32700;
/// It is JSON, and not a message that can be taken here.
pub(crate) const INVALID_REQUEST: i32 = -32600;
/// The server could not be made to answer.
pub(crate) const INTERNAL_ERROR: i32 = -32603;
/// The session does not exist, or not any more.
pub(crate) const SESSION_NOT_FOUND: i32 = -32001;
/// No room now; later there may be.
pub(crate) const OVERLOADED: i32 = -32000;
/// The client took its request back.
pub(crate) const CANCELLED: i32 = -32800;
/// The protocol version is none that is spoken here.
pub(crate) const UNSUPPORTED_VERSION: i32 = -32022;

/// An error response to the request with this raw id; `None` where there was none to read.
pub(crate) fn error(id: Option<&str>, code: i32, message: &str) -> String {
    with_id(id, &json!({ "code": code, "message": message }))
}

/// The same with `data`.
pub(crate) fn error_with(id: Option<&str>, code: i32, message: &str, data: &serde_json::Value) -> String {
    with_id(id, &json!({ "code": code, "message": message, "data": data }))
}

/// The bridge tells a server that nobody waits for an answer any more.
pub(crate) fn cancelled(request: u64, reason: &str) -> String {
    let params = json!({ "requestId": request, "reason": reason });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
}

/// The id goes in as it was written.
fn with_id(id: Option<&str>, error: &serde_json::Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.unwrap_or("null"))
}
