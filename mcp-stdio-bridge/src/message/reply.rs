//! The messages of the bridge's own making: errors to clients, and what it tells servers.

use serde_json::json;

/// The text is not JSON.
pub(crate) const PARSE_ERROR: i32 = -32700;
/// It is JSON, and not a message that can be taken here.
pub(crate) const INVALID_REQUEST: i32 = -32600;
/// There is no such method.
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
/// The parameters are not what the method asks for.
pub(crate) const INVALID_PARAMS: i32 = -32602;
/// The server could not be made to answer.
pub(crate) const INTERNAL_ERROR: i32 = -32603;
/// The session does not exist, or not any more.
pub(crate) const SESSION_NOT_FOUND: i32 = -32001;
/// A resource does not exist, as servers of the protocol with sessions say it.
pub(crate) const RESOURCE_NOT_FOUND: i32 = -32002;
/// No room now; later there may be.
pub(crate) const OVERLOADED: i32 = -32000;
/// The client took its request back.
pub(crate) const CANCELLED: i32 = -32800;
/// Headers and body say different things.
pub(crate) const HEADER_MISMATCH: i32 = -32020;
/// The request needs a capability that its client has not declared.
pub(crate) const MISSING_CAPABILITY: i32 = -32021;
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

/// A response with this raw result.
pub(crate) fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The bridge tells a server that nobody waits for an answer any more.
pub(crate) fn cancelled(request: u64, reason: &str) -> String {
    let params = json!({ "requestId": request, "reason": reason });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
}

/// The code of a raw error object.
pub(crate) fn code_of(error: &str) -> Option<i64> {
    let [code] = super::members(error, ["code"]).ok()?;
    code?.get().parse().ok()
}

/// The id goes in as it was written.
fn with_id(id: Option<&str>, error: &serde_json::Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.unwrap_or("null"))
}
