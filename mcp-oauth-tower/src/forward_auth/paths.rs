//! Paths that everybody reads alike: a proxy, the server behind it, and this program.
//!
//! Nothing is normalised. What anybody could normalise is not clear, and what is not clear is refused.

/// What stands in a path as it is, beside letters and digits (`pchar` and the slash, RFC 3986 §3.3), save for the
/// semicolon, which some servers cut segments at.
const UNENCODED: &[u8] = b"/-._~!$&'()*+,=:@";

/// Whether everybody reads this path alike: a proxy, a server behind it, and this program.
pub(super) fn is_clear(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let clear = match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => means_itself_encoded(high * 16 + low),
                    _ => false,
                }
            }
            byte => byte.is_ascii_alphanumeric() || UNENCODED.contains(&byte),
        };
        if !clear {
            return false;
        }
    }
    // An empty segment at the end is a slash at the end, which is fine.
    let mut segments = segments.split('/').rev();
    let last = segments.next().unwrap_or_default();
    !matches!(last, "." | "..") && segments.all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Whether nobody takes the percent-encoded byte for part of the path's syntax, or writes it without encoding.
fn means_itself_encoded(byte: u32) -> bool {
    match u8::try_from(byte) {
        Ok(b'/' | b'\\' | b';' | b'#' | b'?' | b'%' | b'-' | b'.' | b'_' | b'~') | Err(_) => false,
        Ok(byte) => !byte.is_ascii_control() && !byte.is_ascii_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_that_somebody_could_normalise_is_not_clear() {
        for path in [
            "",
            "mcp",
            "*",
            "//",
            "//mcp",
            "/mcp//",
            "/mcp//x",
            "/.",
            "/..",
            "/mcp/.",
            "/mcp/..",
            "/mcp/./x",
            "/mcp/../admin",
            "/mcp/..;/admin",
            "/mcp;x=1",
            "/mcp\\admin",
            "/mcp#x",
            "/mcp%2f..%2fadmin",
            "/mcp%2F",
            "/mcp/%2e%2e/admin",
            "/mcp/%2E./admin",
            "/mcp%5cadmin",
            "/mcp%3bx",
            "/mcp%23",
            "/mcp%3f",
            "/mcp%00",
            "/mcp%0a",
            "/mcp%7f",
            "/mcp%252e",
            "/%6dcp",
            "/mcp%",
            "/mcp%2",
            "/mcp%zz",
            "/mcp/\u{e9}",
            "/mcp\t",
            "/m cp",
            "/mcp?",
            "/mcp\"",
            "/mcp|x",
            "/{mcp}",
            "http://a/mcp",
        ] {
            assert!(!is_clear(path), "{path}");
        }
        for path in [
            "/",
            "/mcp",
            "/mcp/",
            "/mcp/..x",
            "/mcp/...",
            "/a%20b",
            "/%C3%A9",
            "/a+b:c@d,e=f&g!$'()*~-_",
        ] {
            assert!(is_clear(path), "{path}");
        }
    }

    proptest! {
        /// What is let through means the same after each of the things that proxies and servers do to paths.
        #[test]
        fn a_clear_path_stays_the_same_whatever_normalises_it(path in "/[a-z./%;\\\\256ef_#?]{0,14}") {
            if is_clear(&path) {
                let whole: String = decoded(&path);
                prop_assert_eq!(segments(&whole), segments(&path).into_iter().map(|segment| decoded(&segment)).collect::<Vec<_>>());
                let url = url::Url::parse(&format!("http://a{path}")).unwrap();
                prop_assert_eq!(url.path(), path);
            }
        }
    }

    fn decoded(text: &str) -> String {
        String::from_utf8_lossy(&super::super::percent_decoded(text)).into_owned()
    }

    fn segments(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }
}
