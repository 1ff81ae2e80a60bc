//! What may be shown of a header or an environment variable.
//!
//! There is no list of all secrets, so this errs on the side of silence: a value is hidden when its name sounds like a
//! secret, or when it looks like one whatever its name. A hidden value shows nothing of itself, no first letters and
//! no length.

use super::report::one_line;

/// In place of a value.
pub(super) const HIDDEN: &str = "(hidden)";

const LONGEST: usize = 200;

/// Anywhere in a name.
const TELLING: [&str; 17] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "key",
    "credential",
    "private",
    "signature",
    "assertion",
    "jwt",
    "csrf",
    "xsrf",
    "cookie",
    "authorization",
    "dsn",
    "cert",
];

/// A whole word of a name. They are too short to be looked for within words.
const TELLING_WORDS: [&str; 8] = ["pass", "pat", "pw", "otp", "pin", "salt", "seed", "sid"];

/// People are nobody else's business either.
const PERSONAL: [&str; 2] = ["user", "email"];

/// The schemes that may be named although what follows is hidden.
const SCHEMES: [&str; 5] = ["Basic", "Bearer", "Digest", "DPoP", "Negotiate"];

/// Begins what a well-known issuer of tokens hands out.
const PREFIXES: [&str; 9] = [
    "AKIA",
    "eyJ",
    "gho_",
    "ghp_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "sk-",
    "xox",
];

/// Shorter ones are something else, such as the language `sk-SK`.
const SHORTEST_TOKEN: usize = 10;

/// As many letters and digits in a row, of both kinds, are hardly a word.
const LONGEST_WORD: usize = 20;

fn name_is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['_', '-', '.']);
    TELLING.iter().any(|telling| name.contains(telling))
        || words.clone().any(|word| TELLING_WORDS.contains(&word))
        || words.next_back() == Some("auth")
}

fn value_is_telling(value: &str) -> bool {
    let issued = |part: &str| part.len() >= SHORTEST_TOKEN && PREFIXES.iter().any(|prefix| part.starts_with(prefix));
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
        || value.contains("-----BEGIN")
        || value.split([' ', ',', ';', '=', '"']).any(issued)
        || has_user_information(value)
        || value
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .any(is_random)
}

/// `scheme://user:password@host`.
fn has_user_information(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once("://") {
        let authority = after.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        if authority.contains('@') {
            return true;
        }
        rest = after;
    }
    false
}

fn is_random(word: &str) -> bool {
    word.len() >= LONGEST_WORD
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Addresses may be shown, their parameters not: codes and tokens travel in them.
fn without_parameters(value: &str) -> String {
    match value.split_once('?') {
        Some((before, after)) if after.contains('=') => format!("{}?{HIDDEN}", one_line(before, LONGEST)),
        _ => one_line(value, LONGEST),
    }
}

/// What may be shown of a header.
pub(super) fn header(name: &str, value: &http::HeaderValue) -> String {
    let Ok(text) = value.to_str() else {
        return format!("({} bytes that are not text)", value.len());
    };
    match name {
        "authorization" | "proxy-authorization" => credentials(text),
        "cookie" => format!("{} {HIDDEN}", cookie_names(text)),
        "mcp-session-id" => session(text),
        // These are made of random letters and open nothing.
        "traceparent" | "x-request-id" | "x-correlation-id" => one_line(text, LONGEST),
        _ if name_is_telling(name) || value_is_telling(text) => HIDDEN.to_owned(),
        _ => without_parameters(text),
    }
}

/// What may be shown of an environment variable.
pub(super) fn variable(name: &str, value: &str) -> String {
    let lowercase = name.to_ascii_lowercase();
    let personal = PERSONAL.iter().any(|personal| lowercase.contains(personal));
    match value {
        "" => "(empty)".to_owned(),
        _ if personal || name_is_telling(name) || value_is_telling(value) => HIDDEN.to_owned(),
        _ => without_parameters(value),
    }
}

/// The beginning of a session's identifier: enough to tell two apart, too little to use one.
pub(super) fn session(id: &str) -> String {
    let start: String = id.chars().take(8.min(id.chars().count() / 2)).collect();
    format!("{start}...")
}

/// The names of the cookies.
pub(super) fn cookie_names(header: &str) -> String {
    let names: Vec<String> = header
        .split(';')
        .map(|cookie| match cookie.trim().split_once('=') {
            Some((name, _)) if !value_is_telling(name) => one_line(name, 40),
            // Without a name, what there is is the value.
            _ => "(unnamed)".to_owned(),
        })
        .collect();
    names.join(", ")
}

fn credentials(value: &str) -> String {
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    match SCHEMES
        .iter()
        .find(|known| scheme.is_some_and(|scheme| known.eq_ignore_ascii_case(scheme)))
    {
        Some(scheme) => format!("{scheme} {HIDDEN}"),
        None => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(name: &str, value: &'static str) -> String {
        header(name, &HeaderValue::from_static(value))
    }

    #[test]
    fn ordinary_headers_are_shown() {
        for (name, value) in [
            ("accept", "application/json, text/event-stream"),
            ("host", "127.0.0.1:8080"),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            ("x-forwarded-for", "203.0.113.9, 10.0.0.1"),
            ("sec-ch-ua-mobile", "?0"),
            ("accept-language", "sk-SK,sk;q=0.9"),
            ("mcp-protocol-version", "2025-11-25"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ] {
            assert_eq!(shown(name, value), value);
        }
    }

    #[test]
    fn credentials_keep_their_scheme_only() {
        assert_eq!(shown("authorization", "bearer abc.def.ghi"), "Bearer (hidden)");
        assert_eq!(shown("authorization", "hunter2"), HIDDEN);
        assert_eq!(shown("authorization", "hunter2 hunter3"), HIDDEN);
        assert_eq!(shown("proxy-authorization", "Basic YTpi"), "Basic (hidden)");
    }

    #[test]
    fn cookies_keep_their_names_only() {
        assert_eq!(
            shown("cookie", "theme=dark; id=hunter2; hunter3"),
            "theme, id, (unnamed) (hidden)"
        );
    }

    #[test]
    fn secrets_are_hidden_by_their_name() {
        for name in [
            "x-auth-token",
            "x-api-key",
            "x-csrf",
            "x-forwarded-tls-client-cert",
            "x-auth",
            "x-goog-iap-jwt-assertion",
        ] {
            assert_eq!(shown(name, "short"), HIDDEN, "{name}");
        }
    }

    #[test]
    fn secrets_are_hidden_by_their_looks() {
        for value in [
            "Bearer abc",
            "eyJhbGciOiJub25lIn0.e30.",
            "ghp_abcdef",
            "postgres://me:hunter2@db/notes",
            "a9f3Kd72mQpX81LzWb5T",
            "id=a9f3Kd72mQpX81LzWb5T",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            assert_eq!(shown("x-note", value), HIDDEN, "{value}");
        }
    }

    #[test]
    fn parameters_of_addresses_are_hidden() {
        assert_eq!(
            shown("referer", "https://app.example.com/cb?code=x"),
            "https://app.example.com/cb?(hidden)"
        );
    }

    #[test]
    fn no_session_is_shown_whole() {
        assert_eq!(shown("mcp-session-id", "0c1d2e3f-aaaa-bbbb"), "0c1d2e3f...");
        assert_eq!(session("abc"), "a...");
    }

    #[test]
    fn variables_are_judged_by_name_and_looks() {
        assert_eq!(variable("MCP_ECHO_PORT", "3000"), "3000");
        assert_eq!(variable("GATEWAY_PATH", "bin"), "bin");
        assert_eq!(variable("GATEWAY_GITHUB_CLIENT_SECRET", "x"), HIDDEN);
        assert_eq!(variable("GATEWAY_GITHUB_PAT", "x"), HIDDEN);
        assert_eq!(variable("GATEWAY_ALLOWED_USERS", "ada"), HIDDEN);
        assert_eq!(variable("GATEWAY_STORE", "redis://:hunter2@cache:6379"), HIDDEN);
        assert_eq!(variable("GATEWAY_DEBUG", ""), "(empty)");
    }
}
