//! What every outbound call of this crate shares: how it names itself, and that it reads no more than it wants to.

use reqwest::Response;

/// Who asks. Some servers refuse requests that do not say.
pub(crate) const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is, or says that it is, longer than the bound.
    TooLong,
    /// The connection broke, or the time was over.
    Broken(reqwest::Error),
}

/// Reads a body of at most `maximum` bytes. One that announces more is not read at all.
pub(crate) async fn read(mut response: Response, maximum: usize) -> Result<Vec<u8>, ReadError> {
    let fits = |length: u64| usize::try_from(length).is_ok_and(|length| length <= maximum);
    if !response.content_length().is_none_or(fits) {
        return Err(ReadError::TooLong);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Broken)? {
        if chunk.len() > maximum - body.len() {
            return Err(ReadError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
