//! Whether it is well.

use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::{Installation, run_in};

/// The names of what is not in order.
fn failed(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["ok"] == false);
    failed.map(|check| check["check"].as_str().unwrap()).collect()
}

/// The processes that a process has started, as Linux lists them.
fn children(process: u32) -> String {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default()
    };
    threads.map(of_thread).collect()
}

#[tokio::test]
async fn a_gateway_that_is_well_says_so_and_one_that_is_gone_does_not() {
    let Some(here) = Installation::start("a_gateway_that_is_well_says_so").await else {
        return;
    };
    let before = children(here.node.process());
    let report = here.run(&["health", "--json"]).await.json();
    assert_eq!(
        children(here.node.process()),
        before,
        "it starts no program of a server"
    );
    assert_eq!(
        (report["healthy"].as_bool(), failed(&report).len()),
        (Some(true), 0),
        "{report}"
    );
    let lines = here.run(&["health"]).await.done();
    for what in ["gateway", "readiness", "store", "server echo", "server notes"] {
        assert!(
            lines.lines().any(|line| line.starts_with("ok ")) && lines.contains(what),
            "{lines}"
        );
    }
    let Installation {
        redis,
        site,
        node,
        folder,
    } = here;
    node.kill().await;
    let url = redis.url();
    let settings = [("GATEWAY_LISTEN", site.address()), ("REDIS_URL", url.as_str())];
    let gone = run_in(folder.path(), &settings, &["health", "--json"], "").await;
    assert_eq!(gone.code, 4, "{gone:?}");
    let report: Value = serde_json::from_str(&gone.stdout).unwrap();
    assert_eq!(
        failed(&report),
        ["gateway", "readiness", "server echo", "server notes"],
        "the store is there"
    );
}

#[tokio::test]
async fn a_store_that_is_gone_is_named_within_the_time_that_is_allowed() {
    let Some(mut here) = Installation::start("a_store_that_is_gone_is_named").await else {
        return;
    };
    here.redis.kill();
    let started = Instant::now();
    let report = here.run(&["health", "--json", "--timeout", "5"]).await;
    assert!(started.elapsed() < Duration::from_secs(60), "it is bounded: {report:?}");
    assert_eq!(report.code, 4, "{report:?}");
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(failed(&report), ["readiness", "store"], "{report}");
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(vec!["redis.example".to_owned()]).unwrap();
    certificate.not_after = (SystemTime::now() + Duration::from_secs(3 * 24 * 60 * 60)).into();
    let pem = certificate.self_signed(&key).unwrap().pem();
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let address = format!("127.0.0.1:{}", mcp_oauth_tests::gateway::free_port());
    let settings = [
        ("GATEWAY_LISTEN", address.as_str()),
        ("REDIS_URL", "rediss://127.0.0.1:1"),
        ("REDIS_CA_FILE", "ca.pem"),
    ];
    for (days, ok) in [("7", false), ("1", true)] {
        let report = run_in(
            folder.path(),
            &settings,
            &["health", "--json", "--certificate-days", days],
            "",
        )
        .await;
        let report: Value = serde_json::from_str(&report.stdout).unwrap();
        let named = failed(&report).contains(&"certificate REDIS_CA_FILE");
        assert_eq!(named, !ok, "{report}");
    }
}
