//! What reaches the log, at TRACE and from every thread, while a server does all that it can do: no secret.
//!
//! A program of its own, because what listens to every thread is there for the whole of a process.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod capture;
mod device;
mod github;
mod journey;
mod keys;
mod machines;
mod oidc;
mod proxies;
mod secrets;

use capture::Log;
use secrets::Secrets;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_a_whole_run_is_in_the_log() {
    let log = Log::begin();
    let mut secrets = Secrets::default();

    journey::registration_and_management(&mut secrets).await;
    journey::from_sign_in_to_the_end_of_the_grant(&mut secrets).await;
    journey::what_is_refused_at_the_authorization_endpoint(&mut secrets).await;
    journey::what_is_refused_at_the_token_endpoint(&mut secrets).await;
    journey::what_is_refused_elsewhere(&mut secrets).await;
    journey::without_a_store(&mut secrets).await;
    device::devices(&mut secrets).await;
    machines::proving_themselves(&mut secrets).await;
    machines::vouched_for(&mut secrets).await;
    device::what_is_refused(&mut secrets).await;
    keys::in_the_store_and_handed_in(&mut secrets).await;
    github::signing_in(&mut secrets).await;
    github::failures(&mut secrets).await;
    oidc::signing_in(&mut secrets).await;
    oidc::failures(&mut secrets).await;
    proxies::disregarded().await;

    let text = log.text();
    // It does capture: the crates' own lines, those of others, both kinds of log, and lines of another thread.
    for line in [
        r#"done action="register_client""#,
        r#"refused action="read_client""#,
        r#"done action="issue_tokens" detail="refresh_token""#,
        r#"done action="end_grant" detail="code_reused""#,
        r#"done action="end_grant" detail="device_code_reused""#,
        r#"refused action="enter_user_code""#,
        r#"refused action="sign_in""#,
        r#"done action="enter_user_code""#,
        r#"done action="rotate_keys""#,
        "another secret",
        "Event { at: ",
        r#"done action="issue_tokens" detail="client_credentials""#,
        r#"done action="issue_tokens" detail="urn:ietf:params:oauth:grant-type:jwt-bearer""#,
        "a client assertion was refused",
        "the store failed",
        "an access token was refused",
        "the identity provider failed",
        // Of what anybody can write, only what can be a code of a specification.
        r#"error="interactionrequired_b""#,
        " TRACE hyper_util::",
        "DEBUG reqwest::",
    ] {
        assert!(text.contains(line), "{line:?} is not in the log:\n{text}");
    }
    let disregarded: Vec<_> = text
        .lines()
        .filter(|line| line.contains(proxies::DISREGARDED))
        .collect();
    assert!(
        matches!(disregarded[..], [line] if line.contains(" WARN ") && line.contains("peer=192.0.2.1")),
        "once, and by whom: {disregarded:?}"
    );
    assert!(secrets.len() >= 80, "{} secrets were used", secrets.len());
    let found = secrets.found_in(&text);
    assert!(found.is_empty(), "the log holds {found:#?}");

    // And it would be seen if one were there.
    let mistake = secrets.made_up("code that is written by mistake");
    std::thread::spawn(move || tracing::trace!(url = format!("/callback?code={mistake}&state=x"), "a mistake"))
        .join()
        .unwrap();
    let found = secrets.found_in(&log.text());
    assert!(matches!(&found[..], [line] if line.contains("by mistake")), "{found:?}");
}
