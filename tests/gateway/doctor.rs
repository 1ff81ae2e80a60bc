//! `doctor` at a gateway that is well, and at one behind a proxy that does one thing wrong: it names that thing.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mcp_oauth_tests::gateway::{self, Gateway, free_port};
use mcp_oauth_tests::redis::eventually;
use mcp_oauth_tests::tools;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::fault::{Fault, Site};
use crate::node::Http;

const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";
const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource/echo/mcp";

/// What it found.
struct Found {
    code: i32,
    report: Value,
}

/// Runs it.
async fn examine(url: &str, more: &[&str]) -> Found {
    let arguments = [&["doctor", url, "--json"], more].concat();
    let output = gateway::run(&arguments, "").await;
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{output:?}"));
    Found {
        code: output.status.code().unwrap(),
        report,
    }
}

impl Found {
    fn lines(&self) -> &[Value] {
        self.report["lines"].as_array().unwrap()
    }

    /// The line that names this problem.
    fn problem(&self, name: &str) -> &Value {
        let found = self.lines().iter().find(|line| line["problem"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}", self.report))
    }

    /// That it is wrong, that nothing else is, and what to do.
    fn only(&self, name: &str) -> &Value {
        let wrong: Vec<_> = self.lines().iter().filter(|line| line["verdict"] == "wrong").collect();
        let names: Vec<_> = wrong.iter().map(|line| &line["problem"]).collect();
        assert!(
            names.iter().all(|found| *found == name) && !names.is_empty(),
            "{:#}",
            self.report
        );
        assert!(wrong[0]["advice"].as_str().is_some_and(|advice| advice.len() > 10));
        assert_eq!(self.code, 1);
        wrong[0]
    }
}

/// Examines the gateway behind a proxy with this fault.
async fn with(fault: Fault) -> Found {
    let site = Site::with(fault).await;
    examine(&site.mcp(), &[]).await
}

#[tokio::test]
async fn a_good_gateway_is_said_to_be_good() {
    let gateway = Gateway::start("").await;
    for path in ["/echo/mcp", "/notes/mcp"] {
        let url = format!("{}{path}", gateway.url);
        let found = examine(&url, &[]).await;
        assert!(
            found.lines().iter().all(|line| line["verdict"] == "good") && found.code == 0,
            "{:#}",
            found.report
        );
        let output = gateway::run(&["doctor", &url], "").await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("All is well.\n"), "{text}");
        assert!(!text.contains('✗') && !text.contains("  ! "), "{text}");
    }
}

#[tokio::test]
async fn a_finding_is_a_line_for_people_with_what_to_do_and_whom_it_stops() {
    let site = Site::with(Fault::at(SERVER_METADATA, |reply| {
        reply.json(|metadata| metadata["issuer"] = json!(format!("{}/", metadata["issuer"].as_str().unwrap())));
    }))
    .await;
    let output = gateway::run(&["doctor", &site.mcp()], "").await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = format!(
        "✗ {}{SERVER_METADATA} says issuer {}/ instead of {}",
        site.url, site.url, site.url
    );
    for expected in [
        &*line,
        "a slash at the end",
        "→ use one string everywhere",
        "stops Claude Code",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[tokio::test]
async fn a_wrong_command_is_told_from_a_wrong_server() {
    for arguments in [
        &["doctor"][..],
        &["doctor", "mcp.example.com"],
        &["doctor", "ftp://mcp.example.com"],
        &["doctor", "https://user:password@mcp.example.com/mcp"],
        &["doctor", "https://mcp.example.com/mcp", "--client", "nobody"],
    ] {
        let output = gateway::run(arguments, "").await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[tokio::test]
async fn where_nobody_answers_it_says_why() {
    let refused = format!("http://127.0.0.1:{}/mcp", free_port());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = format!("http://{}/mcp", silent.local_addr().unwrap());
    let gateway = Gateway::start("").await;
    let plain = format!("{}/echo/mcp", gateway.url.replace("http://", "https://"));
    for (url, problem) in [
        (&*refused, "connection_refused"),
        ("https://no-such-host.invalid/mcp", "unknown_host"),
        (&late, "timeout"),
        (&plain, "no_tls"),
    ] {
        let found = examine(url, &["--timeout", "2"]).await;
        found.problem(problem);
        assert_eq!((found.code, &found.report["reached"]), (4, &json!(false)), "{url}");
    }
}

#[tokio::test]
async fn the_way_to_the_mcp_server_is_looked_at() {
    // The rule for the path is missing, and a web page answers for everything.
    let page = "<!doctype html><title>Shop</title>";
    let found = with(Fault::in_answers(move |request, reply| {
        if request.uri.path().starts_with("/echo") {
            reply.replace(200, "text/html", page);
        }
    }));
    assert_eq!(found.await.problem("web_page")["verdict"], "wrong");

    let gateway = Gateway::start("").await;
    let found = examine(&format!("{}/echo", gateway.url), &[]).await;
    let problem = found.problem("not_found");
    assert_eq!(problem["instead"], format!("{}/echo/mcp", gateway.url));
    assert_eq!(found.code, 1);

    let found = with(Fault::in_answers(|request, reply| {
        let path = request.uri.path();
        if path == "/echo/mcp" {
            reply.replace(308, "text/plain", "");
            reply.header("location", "/echo/mcp/");
        }
    }));
    let found = found.await;
    let to = found.problem("redirected")["to"].as_str().unwrap();
    assert!(to.ends_with("/echo/mcp/"), "{to}");

    for (status, problem) in [
        (403, "forbidden"),
        (421, "host_refused"),
        (502, "unavailable"),
        (406, "checked_first"),
    ] {
        let found = with(Fault::in_answers(move |request, reply| {
            if request.uri.path().starts_with("/echo") && request.method == Method::POST {
                reply.replace(status, "text/plain", "no");
            }
        }));
        let found = found.await;
        assert_eq!(found.problem(problem)["verdict"], "wrong", "{status}");
        assert_eq!(found.code, 1);
    }
}

#[tokio::test]
async fn a_server_that_lets_people_in_is_called_unprotected() {
    let open = |request: &http::request::Parts| request.uri.path().starts_with("/echo");
    let found = with(Fault::in_answers(move |request, reply| {
        if open(request) {
            reply.replace(200, "application/json", "{}");
        }
    }));
    found.await.problem("unprotected");
    // Only the other spelling, only by another method, only with any token, only by a header.
    let found = with(Fault::in_answers(|request, reply| {
        if request.uri.path() == "/echo/mcp/" {
            reply.replace(200, "application/json", "{}");
        }
    }));
    let found = found.await;
    assert!(found.only("unprotected")["url"].as_str().unwrap().ends_with("/mcp/"));
    let found = with(Fault::in_answers(move |request, reply| {
        if open(request) && request.method == Method::GET {
            reply.replace(200, "application/json", "{}");
        }
    }));
    assert_eq!(found.await.only("unprotected")["method"], "GET");
    let found = with(Fault::in_answers(move |request, reply| {
        if open(request) && request.headers.contains_key("authorization") {
            reply.replace(200, "application/json", "{}");
        }
    }));
    found.await.only("any_token_accepted");
    let found = with(Fault::in_answers(move |request, reply| {
        if open(request) && request.headers.contains_key("x-user-id") {
            reply.replace(200, "application/json", "{}");
        }
    }));
    found.await.only("identity_headers_accepted");
}

#[tokio::test]
async fn the_challenge_is_looked_at() {
    let found = with(Fault::in_answers(|_, reply| reply.header("www-authenticate", "")));
    found.await.only("no_challenge");
    let found = with(Fault::in_answers(|_, reply| {
        if reply.status == 401 {
            reply.header("www-authenticate", "Basic realm=\"nginx\"");
        }
    }));
    found.await.only("no_bearer_challenge");
    let found = with(Fault::in_answers(|_, reply| {
        if reply.status == 401 {
            reply.header(
                "www-authenticate",
                "Bearer resource_metadata=\"http://gateway:8080/.well-known/oauth-protected-resource/echo/mcp\", \
                 error=\"invalid_token\"",
            );
        }
    }));
    let found = found.await;
    found.problem("metadata_link_elsewhere");
    let found = with(Fault::in_answers(|request, reply| {
        if request.method == Method::HEAD {
            reply.replace(405, "text/plain", "");
        }
    }));
    let found = found.await;
    let problem = found.only("method_not_challenged");
    assert_eq!(
        (&problem["method"], &problem["stops"]),
        (&json!("HEAD"), &json!(["gemini"]))
    );
    let found = with(Fault::in_requests(|request| {
        request.headers.remove("authorization");
    }));
    assert_eq!(found.await.problem("token_not_seen")["verdict"], "warning");
}

#[tokio::test]
async fn the_protected_resources_metadata_is_looked_at() {
    let found = with(Fault::at(RESOURCE_METADATA, |reply| {
        reply.replace(200, "text/html", "<!DOCTYPE html><html></html>");
    }));
    assert_eq!(
        found.await.only("document")["fault"],
        json!({"fault": "html", "status": 200})
    );
    let found = with(Fault::at(RESOURCE_METADATA, |reply| {
        reply.replace(401, "text/plain", "");
    }));
    let found = found.await;
    assert_eq!(found.only("document")["fault"]["fault"], "behind_authentication");
    let found = with(Fault::at(RESOURCE_METADATA, |reply| {
        reply.replace(404, "text/plain", "");
    }));
    found.await.only("no_resource_metadata");
    for (change, difference) in [
        ("/echo/mcp/", "trailing_slash"),
        ("", "origin_only"),
        ("/notes/mcp", "path"),
    ] {
        let found = with(Fault::at(RESOURCE_METADATA, move |reply| {
            reply.json(|document| {
                let resource = document["resource"].as_str().unwrap().replace("/echo/mcp", change);
                document["resource"] = json!(resource);
            });
        }));
        assert_eq!(found.await.only("resource_mismatch")["difference"], difference);
    }
    let found = with(Fault::at(RESOURCE_METADATA, |reply| {
        reply.json(|document| document["authorization_servers"] = json!([]));
    }));
    found.await.only("no_authorization_server");
}

#[tokio::test]
async fn the_authorization_servers_metadata_is_looked_at() {
    let metadata = |change: fn(&mut Value)| {
        with(Fault::in_answers(move |request, reply| {
            if request.uri.path().starts_with("/.well-known/o") && !request.uri.path().contains("resource") {
                reply.json(change);
            }
        }))
    };
    for (change, difference) in [
        (
            (|document| document["issuer"] = json!(format!("{}/", document["issuer"].as_str().unwrap())))
                as fn(&mut Value),
            "trailing_slash",
        ),
        (
            |document| document["issuer"] = json!(document["issuer"].as_str().unwrap().replace("http:", "https:")),
            "scheme",
        ),
        (|document| document["issuer"] = json!("https://auth.internal"), "host"),
    ] {
        assert_eq!(metadata(change).await.only("issuer_mismatch")["difference"], difference);
    }
    let without = |member: &'static str| {
        with(Fault::in_answers(move |_, reply| {
            if serde_json::from_slice::<Value>(&reply.body).is_ok_and(|document| document.get(member).is_some()) {
                reply.json(|document| drop(document.as_object_mut().unwrap().remove(member)));
            }
        }))
    };
    without("code_challenge_methods_supported").await.only("no_s256");
    assert_eq!(
        without("token_endpoint").await.only("lacks")["member"],
        "token_endpoint"
    );
    without("token_endpoint_auth_methods_supported")
        .await
        .only("no_public_clients");
    metadata(|document| document["service_documentation"] = Value::Null)
        .await
        .only("nulls");
    metadata(|document| {
        document["client_id_metadata_document_supported"] = json!(false);
        document.as_object_mut().unwrap().remove("registration_endpoint");
    })
    .await
    .only("no_registration");
    // The first place answers with a page, the second is well: some would find their way, others not.
    let found = with(Fault::in_answers(|request, reply| {
        if request.uri.path().starts_with("/.well-known/o") && !request.uri.path().contains("resource") {
            reply.replace(200, "text/html", "<html></html>");
        }
    }));
    assert_eq!(found.await.only("document")["fault"]["fault"], "html");
}

#[tokio::test]
async fn the_endpoints_are_looked_at() {
    let found = with(Fault::at("/token", |reply| {
        reply.replace(404, "text/html", "<html>nginx</html>");
    }));
    assert_eq!(found.await.problem("endpoint_answers")["what"], "the token endpoint");
    let found = with(Fault::at("/register", |reply| reply.replace(401, "text/plain", "")));
    assert_eq!(found.await.problem("registration_closed")["verdict"], "warning");
    let found = with(Fault::at("/authorize", |reply| {
        reply.replace(302, "text/plain", "");
        reply.header("location", "https://doctor.invalid/callback?error=unauthorized_client");
    }));
    found.await.only("open_redirect");
    let found = with(Fault::at("/jwks", |reply| {
        reply.json(|document| document["keys"][0]["d"] = json!("c2VjcmV0"));
    }));
    found.await.only("private_key_published");
}

#[tokio::test]
async fn what_browsers_need_is_looked_at_and_counts_for_their_clients_only() {
    let no_cors = || {
        Fault::in_answers(|_, reply| {
            let names: Vec<_> = reply.headers.keys().cloned().collect();
            for name in names.iter().filter(|name| name.as_str().starts_with("access-control-")) {
                reply.headers.remove(name);
            }
        })
    };
    let site = Site::with(no_cors()).await;
    examine(&site.mcp(), &[]).await.only("no_allow_origin");
    assert_eq!(examine(&site.mcp(), &["--client", "inspector"]).await.code, 1);
    let found = examine(&site.mcp(), &["--client", "claude"]).await;
    assert_eq!(
        (found.code, &found.problem("no_allow_origin")["verdict"]),
        (0, &json!("warning"))
    );

    let found = with(Fault::in_answers(|request, reply| {
        if request.method == Method::OPTIONS {
            reply.replace(401, "text/plain", "");
        }
    }));
    found.await.only("preflight_refused");
    let found = with(Fault::in_answers(|_, reply| {
        reply.header("access-control-expose-headers", "");
    }));
    assert_eq!(
        found.await.only("headers_not_exposed")["headers"],
        "www-authenticate, mcp-session-id"
    );
    let found = with(Fault::in_answers(|request, reply| {
        if request.method == Method::OPTIONS {
            reply.header("access-control-allow-headers", "*");
        }
    }));
    assert_eq!(found.await.only("headers_not_allowed")["headers"], "authorization");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_noticed() {
    let found = with(Fault::in_answers(|_, reply| {
        reply.header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    }));
    assert_eq!(found.await.only("clock_differs")["behind"], true);
}

/// A token for the site's MCP server, and a file with it.
async fn token_of(site: &Site) -> (String, NamedTempFile) {
    let http = Http::at(&site.url, &site.url);
    let client = http.register().await;
    let tokens = http.sign_in(&client).await;
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{}", tokens.access_token).unwrap();
    (tokens.access_token, file)
}

#[tokio::test]
async fn with_a_token_it_sees_which_headers_and_streams_get_lost() {
    let is_mcp = |request: &http::request::Parts| request.uri.path().starts_with("/echo");
    for (fault, problem) in [
        (Fault::none(), None),
        (
            Fault::in_answers(|_, reply| reply.header("mcp-session-id", "")),
            Some("session_id_stripped"),
        ),
        (
            Fault::in_requests(move |request| {
                if is_mcp(request) {
                    request.headers.remove("authorization");
                }
            }),
            Some("authorization_stripped"),
        ),
        (
            Fault::in_requests(|request| drop(request.headers.remove("mcp-protocol-version"))),
            Some("protocol_version_not_seen"),
        ),
        (Fault::holds_streams(), Some("stream_buffered")),
        (
            Fault::in_answers(|_, reply| {
                if reply
                    .headers
                    .get("content-type")
                    .is_some_and(|value| value == "text/event-stream")
                {
                    reply.header("content-encoding", "gzip");
                }
            }),
            Some("stream_compressed"),
        ),
    ] {
        let site = Site::with(fault).await;
        let (token, file) = token_of(&site).await;
        let found = examine(
            &site.mcp(),
            &["--timeout", "3", "--token-file", file.path().to_str().unwrap()],
        )
        .await;
        match problem {
            Some(problem) => drop(found.problem(problem)),
            None => assert!(
                found.lines().iter().all(|line| line["verdict"] == "good"),
                "{:#}",
                found.report
            ),
        }
        let session = found.lines().iter().filter(|line| line["step"] == "session");
        assert!(session.count() > 0, "{:#}", found.report);
        assert!(!found.report.to_string().contains(&token), "the token is printed");
    }
}

/// What a certificate is to be like.
struct Kind {
    name: &'static str,
    begins: i32,
    ends: i32,
}

/// A gateway behind TLS, and the authority that vouches for its certificate.
struct Secured {
    url: String,
    authority: NamedTempFile,
    _gateway: Gateway,
    proxy: JoinHandle<()>,
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

impl Secured {
    async fn with(kind: &Kind) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = parameters.self_signed(&key).unwrap();
        let issuer = Issuer::new(parameters, key);
        let own = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![kind.name.to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "gateway");
        parameters.not_before = date_time_ymd(kind.begins, 1, 1);
        parameters.not_after = date_time_ymd(kind.ends, 1, 1);
        let certificate = parameters.signed_by(&own, &issuer).unwrap();
        let mut authority = NamedTempFile::new().unwrap();
        authority.write_all(root.pem().as_bytes()).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let address = format!("127.0.0.1:{}", free_port());
        let settings = [
            ("GATEWAY_PUBLIC_URL", url.as_str()),
            ("GITHUB_CLIENT_ID", "id"),
            ("GITHUB_CLIENT_SECRET", "secret"),
            ("ALLOWED_GITHUB_USERS", "*"),
        ];
        let gateway = Gateway::start_with(&address, &settings, "").await;
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                PrivateKeyDer::try_from(own.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let proxy = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, address) = (acceptor.clone(), address.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await.ok()?;
                    let mut server = TcpStream::connect(address).await.ok()?;
                    copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        });
        Self {
            url,
            authority,
            _gateway: gateway,
            proxy,
        }
    }

    async fn examine(&self, trusted: bool) -> Found {
        let file = self.authority.path().to_str().unwrap();
        let trust: &[&str] = if trusted { &["--ca-file", file] } else { &[] };
        examine(&format!("{}/echo/mcp", self.url), trust).await
    }
}

#[tokio::test]
async fn behind_tls_a_good_gateway_is_said_to_be_good_and_a_bad_certificate_is_named() {
    let good = Kind {
        name: "localhost",
        begins: 2025,
        ends: 2125,
    };
    let site = Secured::with(&good).await;
    let found = site.examine(true).await;
    assert!(
        found.lines().iter().all(|line| line["verdict"] == "good") && found.code == 0,
        "{:#}",
        found.report
    );
    let reason = |found: &Found| found.only("certificate")["fault"]["reason"].clone();
    assert_eq!(reason(&site.examine(false).await), "intermediate_missing");

    for (kind, expected) in [
        (Kind { ends: 2026, ..good }, "expired"),
        (Kind { begins: 2124, ..good }, "not_yet_valid"),
        (
            Kind {
                name: "traefik.default",
                ..good
            },
            "other_names",
        ),
    ] {
        assert_eq!(reason(&Secured::with(&kind).await.examine(true).await), expected);
    }
}

/// nginx as people have it who put an application of one page beside the MCP server.
#[tokio::test]
async fn the_fallback_of_a_single_page_application_is_found_behind_nginx() {
    let Some(nginx) = tools::proxy("an SPA's fallback in nginx", "nginx", "-v") else {
        return;
    };
    let (directory, port) = (TempDir::new().unwrap(), free_port());
    let url = format!("http://127.0.0.1:{port}");
    let address = format!("127.0.0.1:{}", free_port());
    let _gateway = Gateway::start_with(&address, &[("GATEWAY_PUBLIC_URL", &url)], "").await;
    std::fs::write(directory.path().join("index.html"), "<!doctype html><div id=app></div>").unwrap();
    let here = directory.path().to_str().unwrap();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {here}/{name};\n"))
        .concat();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\
         server {{\nlisten 127.0.0.1:{port};\nroot {here};\n\
         location /echo/ {{ proxy_pass http://{address}; proxy_set_header Host $http_host; }}\n\
         location ~ ^/(authorize|token|register|callback)$ {{ proxy_pass http://{address}; proxy_set_header Host $http_host; }}\n\
         location / {{ types {{ text/html html; }} try_files $uri /index.html; }}\n}}\n}}\n"
    );
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut nginx = Command::new(nginx);
    let nginx = nginx
        .args(["-p", here, "-e", "stderr", "-c"])
        .arg(&file)
        .kill_on_drop(true);
    let _nginx = nginx.spawn().unwrap();
    eventually("nginx answers", async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let found = examine(&format!("{url}/echo/mcp"), &[]).await;
    let problem = found.problem("document");
    assert_eq!(problem["fault"]["fault"], "html");
    assert_eq!((&problem["needed"], found.code), (&json!(true), 1));
    assert!(
        problem["url"].as_str().unwrap().ends_with(RESOURCE_METADATA),
        "{problem}"
    );
}

/// A server that gives no end of bytes, and one that gives none.
#[tokio::test]
async fn neither_size_nor_time_is_without_bound() {
    let found = with(Fault::at(RESOURCE_METADATA, |reply| {
        reply.body = format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024)).into_bytes();
    }));
    assert_eq!(found.await.problem("document")["fault"]["fault"], "too_large");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let examined = tokio::time::timeout(Duration::from_secs(60), examine(&url, &["--timeout", "1"]));
    assert_eq!(examined.await.expect("it ends").code, 4);
}
