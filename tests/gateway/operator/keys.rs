//! The keys that sign.

use serde_json::{Value, json};

use super::{Installation, run_in};

fn states(keys: &Value) -> Vec<&str> {
    let keys = keys.as_array().unwrap().iter();
    keys.map(|key| key["state"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_new_key_is_announced_once_and_can_be_withdrawn() {
    let Some(here) = Installation::start("a_new_key_is_announced_once_and_can_be_withdrawn").await else {
        return;
    };
    assert_eq!(states(&here.run(&["keys", "list", "--json"]).await.json()), ["signing"]);
    let announced = here.run(&["keys", "rotate", "--json"]).await.json();
    assert_eq!(announced["state"], "announced");
    assert_eq!(
        here.run(&["keys", "rotate", "--json"]).await.json(),
        announced,
        "twice is once"
    );
    let kid = announced["kid"].as_str().unwrap();
    assert!(here.run(&["keys", "list"]).await.done().contains(kid));
    let known = here.http().get("/jwks").await.body;
    here.run(&["keys", "withdraw", kid]).await.failed(2);
    here.run(&["keys", "withdraw", kid, "--yes"]).await.done();
    here.run(&["keys", "withdraw", kid, "--yes"]).await.failed(3);
    // A name may begin with a hyphen, and is none of the options then.
    here.run(&["keys", "withdraw", "-nobodys", "--yes"]).await.failed(3);
    assert_eq!(states(&here.run(&["keys", "list", "--json"]).await.json()), ["signing"]);
    assert_eq!(
        here.run(&["keys", "reseal", "--json"]).await.json(),
        json!({"resealed": false})
    );
    assert!(known.contains("keys"), "{known}");
}

#[tokio::test]
async fn a_key_that_was_made_elsewhere_is_the_next_one_and_is_never_printed() {
    let Some(here) = Installation::start("a_key_that_was_made_elsewhere_is_the_next_one").await else {
        return;
    };
    let pem = include_str!("../../../mcp-oauth-core/tests/keys/rsa2048.pkcs8.pem");
    here.file("key.pem", pem);
    let imported = here.run(&["keys", "import", "key.pem", "--json"]).await.json();
    assert_eq!(
        (&imported["algorithm"], &imported["state"]),
        (&json!("RS256"), &json!("announced"))
    );
    let list = here.run(&["keys", "list"]).await.done();
    let secret_line = pem.lines().nth(3).unwrap();
    assert!(list.contains(imported["kid"].as_str().unwrap()) && !list.contains(secret_line));
    for (name, text) in [
        (
            "weak.pem",
            include_str!("../../../mcp-oauth-core/tests/keys/rsa1024.pkcs8.pem"),
        ),
        (
            "public.pem",
            include_str!("../../../mcp-oauth-core/tests/keys/public.pem"),
        ),
        ("none.pem", "nothing"),
    ] {
        here.file(name, text);
        here.run(&["keys", "import", name]).await.failed(1);
    }
}

#[tokio::test]
async fn where_keys_are_not_in_the_store_it_is_said_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("REDIS_URL", "redis://127.0.0.1:1")];
    let refused = run_in(folder.path(), &settings, &["keys", "list"], "").await.failed(1);
    assert!(refused.contains("GATEWAY_KEY_SEALING_SECRET"), "{refused}");
}
