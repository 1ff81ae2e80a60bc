//! The request and the process, for finding out what is wrong between a client and a server.
//!
//! A tool sees the request as it is after all layers, and no response at all. So the answer to "which CORS headers do
//! I get?" is not here; what is here is what the request says of itself, and that is where such mistakes begin.

use std::fmt::Write as _;
use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, header};
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::JsonSchema;
use rmcp::{tool, tool_router};
use serde::Deserialize;

use super::identity::now;
use super::masking;
use super::report::{Report, duration, moment};
use super::{Call, EchoServer};

/// The variables that belong to the gateway. All others are not even counted.
const PREFIXES: [&str; 2] = ["MCP_", "GATEWAY_"];

/// Where the headers of a request come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// A reverse proxy, such as Traefik, adds them.
    Traefik,
    /// They say who somebody is.
    Auth,
    Regular,
}

fn group(name: &HeaderName) -> Group {
    match name.as_str() {
        // Identity before origin: a proxy's word on a person is about the person.
        name if name.starts_with("x-forwarded-user") => Group::Auth,
        name if name.starts_with("x-forwarded-") || name.starts_with("x-traefik-") => Group::Traefik,
        "forwarded" | "via" | "x-real-ip" => Group::Traefik,
        "authorization" | "proxy-authorization" | "cookie" | "remote-user" => Group::Auth,
        name if name.starts_with("x-user-") || name.starts_with("x-auth") || name.starts_with("x-api-") => Group::Auth,
        name if name.contains("token") => Group::Auth,
        _ => Group::Regular,
    }
}

fn print_headers(headers: &HeaderMap) -> String {
    let mut report = Report::new("HTTP Headers");
    for (title, wanted) in [
        ("Traefik (added on the way)", Group::Traefik),
        ("Auth (who somebody says they are)", Group::Auth),
        ("Regular", Group::Regular),
    ] {
        let mut lines: Vec<_> = headers
            .iter()
            .filter(|(name, _)| group(name) == wanted)
            .map(|(name, value)| (name.as_str(), masking::header(name.as_str(), value)))
            .collect();
        lines.sort_unstable();
        report = report.section(title);
        report = if lines.is_empty() {
            report.remark("none")
        } else {
            report.lines(lines)
        };
    }
    if !headers.contains_key(header::AUTHORIZATION) {
        report = report.section("Remark").remark(
            "There is no Authorization header: the token was verified and taken off before the request came here.",
        );
    }
    report.finish()
}

fn request_timing(call: &Call, calls: u64, now: u64) -> String {
    let report = Report::new("Request Timing")
        .section("This call")
        .line("server time", moment(now))
        .optional(
            "in the tool for",
            call.arrival.map(|arrival| duration(arrival.at.elapsed())),
        )
        .optional(
            "since the call before",
            call.arrival.and_then(|arrival| arrival.since_last).map(duration),
        )
        .line("calls in this session", calls)
        .optional("token good for", call.claims.as_ref().map(|claims| claims.left(now)));
    let marks = ["x-request-start", "date", "x-request-id", "traceparent"];
    let marks: Vec<_> = marks
        .into_iter()
        .filter_map(|name| Some((name, masking::header(name, call.headers.get(name)?))))
        .collect();
    let report = report.section("Marks that the request brought");
    let report = if marks.is_empty() {
        report.remark("none")
    } else {
        report.lines(marks)
    };
    Process::look().describe(report).finish()
}

fn cors_analysis(headers: &HeaderMap) -> String {
    let shown = |name: &HeaderName| headers.get(name).map(|value| masking::header(name.as_str(), value));
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let verdict = match (headers.contains_key(header::ORIGIN), site) {
        (false, None) => {
            "This request did not come from a script in a browser: it names no origin, and CORS does not concern it."
        }
        (false, Some(_)) => "A browser sent this request without an origin, as it does for its own pages.",
        (true, Some("same-origin")) => "A script of this very origin sent this request: CORS does not concern it.",
        (true, _) => "A script of another origin sent this request, and a preflight let it through.",
    };
    let mut report = Report::new("CORS Analysis")
        .section("The request")
        .optional("origin", shown(&header::ORIGIN))
        .optional("host", shown(&header::HOST))
        .optional("sec-fetch-site", site)
        .optional("sec-fetch-mode", shown(&HeaderName::from_static("sec-fetch-mode")))
        .section("What follows")
        .remark(verdict)
        .remark("The headers of the response are added outside this server and cannot be seen here.")
        .remark("Tokens travel in a header and not in cookies, so any origin may be allowed, without credentials.");
    if headers.contains_key(header::COOKIE) {
        report =
            report.remark("Cookies came with the request: the client asks with credentials, which is of no use here.");
    }
    if headers.get(header::ORIGIN).is_some_and(|origin| origin == "null") {
        report = report
            .remark("The origin is null: a sandboxed frame, a local file or a redirect. Do not allow it by name.");
    }
    report.finish()
}

fn environment_dump(variables: impl IntoIterator<Item = (String, String)>, show_secrets: bool) -> String {
    let mut lines: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| {
            let shown = masking::variable(&name, &value);
            (name, shown)
        })
        .collect();
    lines.sort_unstable();
    let mut report = Report::new("Environment")
        .section("Platform")
        .line("system", std::env::consts::OS)
        .line("architecture", std::env::consts::ARCH)
        .line("version", env!("CARGO_PKG_VERSION"))
        .section("Variables (MCP_* and GATEWAY_* only)");
    report = if lines.is_empty() {
        report.remark("none")
    } else {
        report.lines(lines)
    };
    if show_secrets {
        report = report.section("Remark").remark(
            "showSecrets: refused. A tool's result reaches models and logs, so secrets stay hidden whoever asks.",
        );
    }
    report.finish()
}

fn health_probe(process: &Process, now: u64) -> String {
    let report = Report::new("Service Health Check")
        .section("Status")
        .line("status", "healthy")
        .line("server time", moment(now))
        .line("version", env!("CARGO_PKG_VERSION"));
    process.describe(report).finish()
}

/// What the system tells of this process. Without `/proc` that is little.
#[derive(Debug, Default)]
struct Process {
    uptime: Option<Duration>,
    memory: Option<String>,
    peak_memory: Option<String>,
    threads: Option<String>,
    open_files: Option<usize>,
    load: Option<String>,
}

impl Process {
    fn look() -> Self {
        // Where the system does not know, this process is at least as old as its first question.
        static FIRST_ASKED: LazyLock<Instant> = LazyLock::new(Instant::now);
        let first_asked = *FIRST_ASKED;
        let read = |path: &str| fs::read_to_string(path).ok();
        let status = read("/proc/self/status").unwrap_or_default();
        let uptime = read("/proc/uptime")
            .zip(read("/proc/self/stat"))
            .and_then(|(system, own)| uptime(&system, &own));
        Self {
            uptime: Some(uptime.unwrap_or_else(|| first_asked.elapsed())),
            memory: field(&status, "VmRSS"),
            peak_memory: field(&status, "VmHWM"),
            threads: field(&status, "Threads"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            load: read("/proc/loadavg").map(|load| load.split(' ').take(3).fold(String::new(), join)),
        }
    }

    fn describe(&self, report: Report) -> Report {
        report
            .section("Process")
            .optional("uptime", self.uptime.map(duration))
            .optional("memory", self.memory.as_ref())
            .optional("peak memory", self.peak_memory.as_ref())
            .optional("threads", self.threads.as_ref())
            .optional("open files", self.open_files)
            .optional("load (1, 5, 15 min)", self.load.as_ref())
    }
}

fn join(mut joined: String, word: &str) -> String {
    let separator = if joined.is_empty() { "" } else { ", " };
    write!(joined, "{separator}{word}").expect("writing to a string does not fail");
    joined
}

/// A field of `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<String> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// How long a process has been running, from `/proc/uptime` and `/proc/self/stat`.
fn uptime(system: &str, own: &str) -> Option<Duration> {
    // The unit that Linux shows to programs, the same on every architecture that Rust's standard library supports well.
    const TICKS_A_SECOND: f64 = 100.0;
    let system: f64 = system.split(' ').next()?.parse().ok()?;
    // The second field is the program's name, which may hold anything, also parentheses. The start is the 22nd field.
    let after_name = own.rsplit_once(')')?.1;
    let started: f64 = after_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Duration::try_from_secs_f64(system - started / TICKS_A_SECOND).ok()
}

/// The arguments of `environmentDump`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(crate = "rmcp::schemars")]
struct EnvironmentDump {
    /// Ask for secrets as well. They stay hidden; the result says why.
    #[serde(default)]
    show_secrets: bool,
}

#[tool_router(router = diagnosis_tools, vis = "pub(super)")]
impl EchoServer {
    #[tool(
        name = "printHeader",
        description = "Shows the headers of this request in groups: from the proxy, about identity, and the rest. \
                       Credentials and cookies are never shown in full.",
        annotations(title = "HTTP headers", read_only_hint = true, open_world_hint = false)
    )]
    fn print_header(Extension(call): Extension<Call>) -> String {
        print_headers(&call.headers)
    }

    #[tool(
        name = "requestTiming",
        description = "Shows when this request came, how long it has been worked on, and how busy the process is.",
        annotations(title = "Request timing", read_only_hint = true, open_world_hint = false)
    )]
    fn request_timing(&self, Extension(call): Extension<Call>) -> String {
        let calls = self.conversation().calls();
        request_timing(&call, calls, now())
    }

    #[tool(
        name = "corsAnalysis",
        description = "Shows from where a browser would say this request came, and what that means for CORS.",
        annotations(title = "CORS analysis", read_only_hint = true, open_world_hint = false)
    )]
    fn cors_analysis(Extension(call): Extension<Call>) -> String {
        cors_analysis(&call.headers)
    }

    #[tool(
        name = "environmentDump",
        description = "Shows the environment variables that begin with MCP_ or GATEWAY_. Secrets are always hidden.",
        annotations(title = "Environment", read_only_hint = true, open_world_hint = false)
    )]
    fn environment_dump(Parameters(arguments): Parameters<EnvironmentDump>) -> String {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        environment_dump(
            std::env::vars_os().map(|(name, value)| (text(name), text(value))),
            arguments.show_secrets,
        )
    }

    #[tool(
        name = "healthProbe",
        description = "Shows that this server is alive, since when, and how much memory it uses.",
        annotations(title = "Service health check", read_only_hint = true, open_world_hint = false)
    )]
    fn health_probe() -> String {
        health_probe(&Process::look(), now())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::identity::tests::ada;
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn headers_are_grouped() {
        let text = print_headers(&headers(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-real-ip", "203.0.113.9"),
            ("x-user-name", "ada"),
            ("cookie", "id=hunter2"),
            ("accept", "text/event-stream"),
        ]));
        let place = |line: &str| {
            text.find(line)
                .unwrap_or_else(|| panic!("{line} is missing from {text}"))
        };
        assert_eq!(place("HTTP Headers"), 0);
        assert!(place("Traefik") < place("x-forwarded-for: 203") && place("x-real-ip: 203") < place("Auth ("));
        assert!(place("Auth (") < place("cookie: id (hidden)") && place("x-user-name: ada") < place("Regular"));
        assert!(place("Regular") < place("accept: text/event-stream"));
    }

    #[test]
    fn no_header_shows_credentials() {
        let text = print_headers(&headers(&[
            ("authorization", "Bearer hunter2"),
            ("x-auth-token", "hunter2"),
            ("x-api-key", "hunter2"),
            ("cookie", "a=hunter2; hunter2"),
            ("x-forwarded-uri", "/mcp?access_token=hunter2"),
        ]));
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("authorization: Bearer (hidden)"), "{text}");
    }

    #[test]
    fn an_empty_request_has_three_empty_groups() {
        assert_eq!(print_headers(&HeaderMap::new()).matches("  none\n").count(), 3);
    }

    #[test]
    fn timing_tells_what_is_left_of_the_token() {
        let mut call = Call {
            claims: Some(ada()),
            ..Call::default()
        };
        call.headers.insert("x-request-id", HeaderValue::from_static("7d9f2c"));
        let text = request_timing(&call, 3, 1_003_599);
        assert!(
            text.contains("calls in this session: 3") && text.contains("token good for: 1 s"),
            "{text}"
        );
        assert!(
            text.contains("x-request-id: 7d9f2c") && text.contains("server time: 1970-01-12 14:46:39 UTC"),
            "{text}"
        );
    }

    #[test]
    fn origins_are_told_apart() {
        for (request, verdict) in [
            (headers(&[]), "did not come from a script"),
            (
                headers(&[("origin", "https://a.example"), ("sec-fetch-site", "same-origin")]),
                "this very origin",
            ),
            (
                headers(&[("origin", "https://a.example"), ("sec-fetch-site", "cross-site")]),
                "another origin",
            ),
            (headers(&[("origin", "null")]), "Do not allow it by name"),
            (
                headers(&[("origin", "https://a.example"), ("cookie", "a=b")]),
                "of no use here",
            ),
        ] {
            let text = cors_analysis(&request);
            assert!(text.contains(verdict), "{verdict} is missing from {text}");
        }
    }

    #[test]
    fn only_the_gateways_variables_are_shown_and_no_secrets() {
        let variables = [
            ("MCP_ECHO_PORT", "3000"),
            ("GATEWAY_GITHUB_CLIENT_SECRET", "hunter2"),
            ("MCP_STORE", "redis://:hunter2@cache"),
            ("HOME", "/home/ada"),
            ("MY_MCP_THING", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        for show_secrets in [false, true] {
            let text = environment_dump(variables.clone(), show_secrets);
            assert!(
                text.contains("MCP_ECHO_PORT: 3000") && text.contains("MCP_STORE: (hidden)"),
                "{text}"
            );
            assert!(
                !text.contains("hunter2") && !text.contains("HOME") && !text.contains("MY_MCP"),
                "{text}"
            );
            assert_eq!(text.contains("showSecrets: refused"), show_secrets);
        }
    }

    #[test]
    fn uptime_is_read_past_any_program_name() {
        let own = "7 (a) b (c)) S 1 7 7 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 5000 1 1";
        assert_eq!(uptime("60.25 100.0\n", own), Some(Duration::from_millis(10_250)));
        assert_eq!(uptime("1.0 1.0", own), None);
        assert_eq!(uptime("", "nonsense"), None);
    }

    #[test]
    fn health_shows_what_there_is() {
        let status = "Name:\tgateway\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t3\n";
        let process = Process {
            memory: field(status, "VmRSS"),
            threads: field(status, "Threads"),
            ..Process::default()
        };
        let text = health_probe(&process, 0);
        assert!(text.starts_with("Service Health Check\n"));
        assert!(
            text.contains("memory: 1024 kB") && text.contains("threads: 3") && text.contains("uptime: none"),
            "{text}"
        );
        assert!(Process::look().uptime.is_some());
    }
}
