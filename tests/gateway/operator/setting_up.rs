//! `init`: the first minutes of an installation.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mcp_oauth_tests::tools;

use super::run_in;
use super::terminal::Terminal;

const GITHUB: [&str; 13] = [
    "init",
    "--public-url",
    "https://mcp.example.com",
    "--github-client-id",
    "Iv1.0123456789abcdef",
    "--github-client-secret-file",
    "secret",
    "--allowed-users",
    "ada, org=acme",
    "--redis-url",
    "redis://127.0.0.1:1",
    "--make-redis-password",
    "--json",
];

fn setting(folder: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(".env")).unwrap();
    let beginning = format!("{name}=");
    text.lines()
        .find_map(|line| Some(line.strip_prefix(&beginning)?.to_owned()))
}

#[tokio::test]
async fn what_flags_say_is_written_with_new_secrets_for_nobody_else_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("secret"), "a-$ecret\"of\"GitHub\n").unwrap();
    let written = run_in(here, &[], &GITHUB, "").await;
    assert!(!written.stdout.contains("$ecret"), "{written:?}");
    assert_eq!(written.json()["callback"], "https://mcp.example.com/callback");
    assert_eq!(
        here.join(".env").metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let secret = setting(here, "GATEWAY_KEY_SEALING_SECRET").unwrap();
    assert!(secret.len() >= 43 && setting(here, "REDIS_PASSWORD").unwrap().len() >= 43);
    assert_eq!(
        setting(here, "GITHUB_CLIENT_SECRET").unwrap(),
        r#""a-\$ecret\"of\"GitHub""#
    );
    // The program takes it: what fails is that nobody is at that port.
    run_in(here, &[], &["stats"], "").await.failed(4);

    run_in(here, &[], &GITHUB, "").await.failed(2);
    let again: Vec<_> = GITHUB.into_iter().chain(["--force"]).collect();
    run_in(here, &[], &again, "").await.done();
    assert_eq!(
        setting(here, "GATEWAY_KEY_SEALING_SECRET"),
        Some(secret),
        "it opens the keys that there are"
    );
}

#[tokio::test]
async fn a_provider_goes_into_the_file_that_can_name_one() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("secret"), "a-secret-of-the-provider").unwrap();
    let arguments = [
        "init",
        "--public-url",
        "https://mcp.example.com/",
        "--oidc-issuer",
        "https://login.acme.example",
        "--oidc-client-id",
        "mcp-gateway",
        "--oidc-client-secret-file",
        "secret",
        "--allowed-users",
        "group=staff",
    ];
    run_in(here, &[], &arguments, "").await.done();
    let toml = std::fs::read_to_string(here.join("gateway.toml")).unwrap();
    assert!(toml.contains("issuer = \"https://login.acme.example\""), "{toml}");
    assert!(
        toml.contains("groups_claim = \"groups\""),
        "the list names a group: {toml}"
    );
    assert_eq!(
        here.join("gateway.toml").metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(setting(here, "GATEWAY_PUBLIC_URL").unwrap(), "https://mcp.example.com");
}

#[tokio::test]
async fn answers_that_cannot_be_used_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("secret"), "a-secret").unwrap();
    let oidc = [
        "--oidc-issuer",
        "http://login.example",
        "--oidc-client-id",
        "a",
        "--oidc-client-secret-file",
        "secret",
    ];
    for (arguments, code) in [
        (&["init"][..], 2),
        (&["init", "--sign-in", "github"], 2),
        (
            &[
                "init",
                "--sign-in",
                "development",
                "--public-url",
                "http://mcp.example.com",
            ],
            2,
        ),
        (&["init", "--sign-in", "development", "--redis-url", "cache"], 2),
        (&["init", "--sign-in", "development", "--listen", "0.0.0.0:8080"], 1),
        (&[&["init", "--allowed-users", "*"][..], &oidc].concat(), 1),
    ] {
        run_in(here, &[], arguments, "").await.failed(code);
        assert!(
            !here.join(".env").exists() && !here.join("gateway.toml").exists(),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn a_person_is_asked_for_what_is_needed_and_no_secret_is_shown() {
    if !tools::terminal("a_person_is_asked_for_what_is_needed") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(folder.path(), "init");
    terminal.answer("public URL", "https://mcp.example.com\r").await;
    terminal.answer("Where do people sign in", "\r").await;
    terminal.answer("client ID", "Iv1.0123456789abcdef\r").await;
    terminal.answer("client secret", "tell-nobody-of-this\r").await;
    terminal.answer("Who may sign in", "ada\r").await;
    terminal.answer("Where is Redis", "redis://127.0.0.1:1\r").await;
    terminal.answer("password of Redis", "\r").await;
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("tell-nobody-of-this"), "{seen}");
    assert_eq!(
        setting(folder.path(), "GITHUB_CLIENT_SECRET").unwrap(),
        "tell-nobody-of-this"
    );
    assert_eq!(setting(folder.path(), "ALLOWED_GITHUB_USERS").unwrap(), "ada");

    let before = std::fs::read_to_string(folder.path().join(".env")).unwrap();
    let mut terminal = Terminal::open(folder.path(), "init");
    terminal.answer("is there already", "n").await;
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 5, "whoever says no is told so: {seen}");
    assert_eq!(std::fs::read_to_string(folder.path().join(".env")).unwrap(), before);
}
