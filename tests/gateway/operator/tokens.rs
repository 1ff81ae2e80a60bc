//! A token without a browser.

use std::process::Stdio;

use mcp_oauth_tests::gateway::{Gateway, command_in, free_port};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{Ended, Installation, run_in};
use crate::node::Http;

/// Runs `token`, and lets it in by the code that it shows.
async fn let_in(here: &Installation, arguments: &[&str]) -> Ended {
    let mut command = command_in(here.folder.path(), &[]);
    let mut child = command
        .args(["token", &here.site.issuer])
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let code = loop {
        let line = stderr.next_line().await.unwrap().expect("it shows a code");
        if let Some((_, code)) = line.split_once("and enter ") {
            break code.to_owned();
        }
    };
    here.http().let_in(&code).await;
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = stderr.next_line().await {} });
    let output = child.wait_with_output().await.unwrap();
    rest.await.unwrap();
    Ended::of(&output)
}

#[tokio::test]
async fn a_person_lets_it_in_elsewhere_and_the_token_alone_is_printed() {
    let Some(here) = Installation::start("a_person_lets_it_in_elsewhere").await else {
        return;
    };
    let printed = let_in(&here, &[]).await.done();
    let token = printed.strip_suffix('\n').unwrap();
    assert_eq!(here.http().call(token).await.status, 200);
}

#[tokio::test]
async fn what_is_saved_is_private_and_gets_the_next_token_without_a_person() {
    use std::os::unix::fs::PermissionsExt as _;

    let Some(here) = Installation::start("what_is_saved_is_private").await else {
        return;
    };
    let first = let_in(&here, &["--save", "saved.json"]).await.done();
    let saved = here.folder.path().join("saved.json");
    assert_eq!(saved.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut before: Value = serde_json::from_str(&std::fs::read_to_string(&saved).unwrap()).unwrap();
    for _ in 0..2 {
        let next = here.run(&["token", "--refresh", "saved.json"]).await.done();
        assert_ne!(next, first);
        assert_eq!(here.http().call(next.trim()).await.status, 200);
        let after: Value = serde_json::from_str(&std::fs::read_to_string(&saved).unwrap()).unwrap();
        assert_ne!(after["refresh_token"], before["refresh_token"], "each is used once");
        before = after;
    }
    let client_id = before["client_id"].as_str().unwrap();
    here.run(&["clients", "delete", client_id, "--yes"]).await.done();
    let over = here.run(&["token", "--refresh", "saved.json"]).await.failed(1);
    assert!(over.contains("invalid_client"), "{over}");
}

#[tokio::test]
async fn while_one_process_refreshes_another_waits_and_then_goes_on_from_what_that_has_kept() {
    let Some(here) = Installation::start("while_one_process_refreshes_another_waits").await else {
        return;
    };
    let_in(&here, &["--save", "saved.json"]).await.done();
    let (saved, lock) = (
        here.folder.path().join("saved.json"),
        here.folder.path().join("saved.json.lock"),
    );
    here.run(&["token", "--refresh", "saved.json"]).await.done();

    // Another process holds the lock, and has not kept yet what it got.
    let held = std::fs::File::open(&lock).unwrap();
    fs4::FileExt::lock(&held).unwrap();
    let mut command = command_in(here.folder.path(), &[]);
    let mut child = command.args(["token", "--refresh", "saved.json"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = stderr.next_line().await.unwrap().expect("it says that it waits");
    assert!(told.contains("waiting"), "{told}");
    let text = std::fs::read_to_string(&saved).unwrap();
    let mut kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    kept["client_id"] = "client_of_the_other".into();
    std::fs::write(&saved, kept.to_string()).unwrap();
    drop(held);

    let mut told = String::new();
    while let Some(line) = stderr.next_line().await.unwrap() {
        told.push_str(&line);
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert!(
        told.contains("invalid_client"),
        "it uses what has been kept meanwhile: {told}"
    );
}

#[tokio::test]
async fn a_client_that_an_operator_has_made_shows_its_secret_and_a_person_lets_it_in() {
    let Some(here) = Installation::start("a_client_that_an_operator_has_made_shows_its_secret").await else {
        return;
    };
    let made = here
        .run(&["clients", "create", "--name", "Terminal", "--device", "--json"])
        .await
        .json();
    here.file("secret", made["client_secret"].as_str().unwrap());
    let known = ["--client-id", made["client_id"].as_str().unwrap()];
    let printed = let_in(&here, &[&known[..], &["--client-secret-file", "secret"]].concat())
        .await
        .done();
    assert_eq!(here.http().call(printed.trim()).await.status, 200);
    here.file("wrong", "another secret");
    let wrong = [
        &["token", &here.site.issuer][..],
        &known,
        &["--client-secret-file", "wrong"],
    ]
    .concat();
    let refused = here.run(&wrong).await.failed(1);
    assert!(refused.contains("invalid_client"), "{refused}");
}

#[tokio::test]
async fn a_client_gets_a_token_of_its_own_with_its_secret() {
    let address = format!("127.0.0.1:{}", free_port());
    let (secret, folder) = ("0123456789abcdefghijklmnopqrstuvwxyz", tempfile::tempdir().unwrap());
    let toml = format!(
        "[[clients]]\nid = \"job\"\nsecret = \"{secret}\"\ngrant_types = [\"client_credentials\"]\nservers = [\"echo\"]\n"
    );
    let gateway = Gateway::start_with(&address, &[], &toml).await;
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    let as_itself = [
        "--client-credentials",
        "--client-id",
        "job",
        "--client-secret-file",
        "secret",
    ];
    let arguments = [&["token", gateway.url.as_str()][..], &as_itself].concat();
    let token = run_in(folder.path(), &[], &arguments, "").await.done();
    let http = Http::at(&gateway.url, &gateway.url);
    assert_eq!(http.call(token.trim()).await.status, 200);
}

#[tokio::test]
async fn an_address_that_is_no_gateway_or_that_others_can_listen_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let insecure = run_in(folder.path(), &[], &["token", "http://gateway.example"], "")
        .await
        .failed(2);
    assert!(insecure.contains("https"), "{insecure}");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    run_in(folder.path(), &[], &["token", &nobody], "").await.failed(4);
    run_in(folder.path(), &[], &["token"], "").await.failed(2);
    run_in(folder.path(), &[], &["token", "--refresh", "nowhere"], "")
        .await
        .failed(1);
}
