//! A backup, and the way back.

use std::os::unix::fs::PermissionsExt as _;

use mcp_oauth_core::secret::Secret;
use serde_json::json;

use super::Installation;

#[tokio::test]
async fn after_a_restore_with_the_keys_every_token_is_as_good_as_before() {
    let Some(mut here) = Installation::start("after_a_restore_with_the_keys").await else {
        return;
    };
    let (client, tokens) = here.sign_in().await;
    let secret = here.file("secret", Secret::random().expose());
    let secret = secret.to_str().unwrap();
    let made = here
        .run(&["backup", "saved.jsonl", "--with-keys", secret, "--json"])
        .await
        .json();
    assert_eq!(
        (&made["file"], &made["has_keys"]),
        (&json!("saved.jsonl"), &json!(true))
    );
    let saved = here.folder.path().join("saved.jsonl");
    assert_eq!(saved.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&saved).unwrap();
    for readable in [tokens.access_token.as_str(), &tokens.refresh_token, "PRIVATE KEY"] {
        assert!(!text.contains(readable), "no secret can be read in a backup");
    }

    let inspected = here.run(&["inspect", "saved.jsonl", "--json"]).await.json();
    assert_eq!(
        (
            &inspected["issuer"],
            &inspected["has_keys"],
            &inspected["records"]["grant"]
        ),
        (&json!(here.site.issuer), &json!(true), &json!(1))
    );
    assert!(
        here.run(&["inspect", "saved.jsonl"])
            .await
            .done()
            .contains(&here.site.issuer)
    );

    let refused = here.run(&["restore", "saved.jsonl", "--yes"]).await.failed(1);
    assert!(refused.contains("--keep") && refused.contains("--replace"), "{refused}");

    let node = here.site.node(&here.redis.url()).await;
    std::mem::replace(&mut here.node, node).kill().await;
    here.redis.ask(&["FLUSHALL"]);
    let rehearsed = here
        .run(&["restore", "saved.jsonl", "--dry-run", "--json"])
        .await
        .json();
    assert_eq!(rehearsed["dry_run"], true);
    assert_eq!(here.redis.ask(&["DBSIZE"]), "0", "a rehearsal writes nothing");
    here.run(&["restore", "saved.jsonl"]).await.failed(2);
    let restored = here
        .run(&["restore", "saved.jsonl", "--with-keys", secret, "--yes", "--json"])
        .await
        .json();
    assert_eq!(restored["keys"], true, "{restored}");
    let node = here.site.node(&here.redis.url()).await;
    std::mem::replace(&mut here.node, node).kill().await;
    assert!(here.accepts(&tokens).await, "the access token");
    let next = here.http().refresh(&client, &tokens.refresh_token).await;
    assert_eq!(next.status, 200, "the refresh token: {next:?}");
    let again = here
        .run(&["restore", "saved.jsonl", "--keep", "--yes", "--json"])
        .await
        .json();
    assert_eq!(again["imported"], 0, "{again}");
}

#[tokio::test]
async fn a_backup_replaces_no_file_and_a_damaged_one_is_not_restored() {
    let Some(here) = Installation::start("a_backup_replaces_no_file_and_a_damaged_one_is_not_restored").await else {
        return;
    };
    here.http().register().await;
    here.file("taken", "precious");
    here.run(&["backup", "taken"]).await.failed(1);
    assert_eq!(
        std::fs::read_to_string(here.folder.path().join("taken")).unwrap(),
        "precious"
    );
    here.run(&["backup", "whole"]).await.done();
    let whole = std::fs::read_to_string(here.folder.path().join("whole")).unwrap();
    here.file("cut", &whole[..whole.len() / 2]);
    here.file("changed", &whole.replace("client_", "cl1ent_"));
    for damaged in ["taken", "cut", "changed", "nowhere"] {
        here.run(&["inspect", damaged]).await.failed(1);
        here.run(&["restore", damaged, "--replace", "--yes"]).await.failed(1);
    }
    let weak = here.file("weak", "password");
    let weak = here
        .run(&["backup", "other", "--with-keys", weak.to_str().unwrap()])
        .await
        .failed(1);
    assert!(weak.contains("openssl rand"), "{weak}");
    assert!(!here.folder.path().join("other").exists());
}
