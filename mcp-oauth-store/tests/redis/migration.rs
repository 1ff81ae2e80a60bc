//! Clients are taken over from the Redis of the predecessor, with records as it writes them.

use std::sync::Arc;

use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::Predecessor;
use redis::Value;
use serde_json::json;

use crate::people::{Client, server};
use crate::servers::{Server, available};

const CALLBACK: &str = "https://claude.ai/api/mcp/auth_callback";

/// A record as `POST /register` of the predecessor writes it: lists are JSON inside of strings, secrets are readable.
fn record(id: &str, secret: &str, redirect_uris: &[&str]) -> String {
    json!({
        "client_id": id,
        "client_secret": secret,
        "client_secret_expires_at": 1_893_456_000,
        "client_id_issued_at": 1_750_000_000,
        "redirect_uris": serde_json::to_string(redirect_uris).unwrap(),
        "client_name": "Claude",
        "scope": "openid profile email",
        "created_at": 1_750_000_000,
        "response_types": "[\"code\"]",
        "grant_types": "[\"authorization_code\", \"refresh_token\"]",
        "registration_access_token": format!("reg-{}", Secret::random().expose()),
    })
    .to_string()
}

const IDS: [&str; 4] = [
    "client_Zk3v0Qy7Ff1mJ8aWcR2tNw",
    "client_eternal_AAAAAAAAAAAAAA",
    "client_evil",
    "client_weak",
];

async fn put(server: &Server, key: &str, value: &str, seconds: Option<u64>) {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value);
    if let Some(seconds) = seconds {
        command.arg("EX").arg(seconds);
    }
    server.send::<Value>(&command).await.unwrap();
}

/// Fills a Redis as the predecessor does, with clients that have these secrets, and with what it keeps besides.
async fn fill(old: &Server, secrets: &[Secret]) {
    let evil = ["javascript:alert(1)", "http://127.0.0.1.evil.example/"];
    let clients: [(&str, &[&str], Option<u64>); 4] = [
        (
            secrets[0].expose(),
            &[CALLBACK, "http://localhost.evil.example/"],
            Some(7_776_000),
        ),
        (secrets[1].expose(), &[CALLBACK], None),
        (secrets[2].expose(), &evil, Some(60)),
        ("password", &[CALLBACK], Some(60)),
    ];
    for (id, (secret, redirect_uris, seconds)) in IDS.iter().zip(clients) {
        put(
            old,
            &format!("oauth:client:{id}"),
            &record(id, secret, redirect_uris),
            seconds,
        )
        .await;
    }
    put(old, "oauth:client:client_damaged", "not JSON", Some(60)).await;
    old.ask::<Value>("SADD oauth:client:client_set member").await.unwrap();
    // What else the predecessor keeps, and what is nobody's.
    put(old, "oauth:refresh:some-token", "{}", Some(60)).await;
    put(old, "oauth:token:some-jti", "{}", Some(60)).await;
    old.ask::<Value>("SADD oauth:user_tokens:ada some-jti").await.unwrap();
    for number in 0..2000 {
        put(old, &format!("other:{number}"), "x", None).await;
    }
}

#[tokio::test]
async fn clients_of_the_predecessor_keep_their_identifiers_and_secrets() {
    if !available("clients_of_the_predecessor_keep_their_identifiers_and_secrets") {
        return;
    }
    let (old, new) = (
        Server::start(&["--requirepass", "of-the-operator"]).await,
        Server::start(&[]).await,
    );
    let secrets: Vec<_> = (0..4).map(|_| Secret::random()).collect();
    fill(&old, &secrets).await;
    let keys = async || old.ask::<i64>("DBSIZE").await.unwrap();
    let before = keys().await;

    let predecessor = Predecessor::new(&old.configuration()).unwrap();
    let to = server(Arc::new(RedisStore::new(&new.configuration()).unwrap()));
    let rehearsal = to
        .operator()
        .migrate(predecessor.clients().await.unwrap(), true)
        .await
        .unwrap();
    assert!(
        to.operator().clients(None, 10).await.unwrap().items.is_empty(),
        "nothing was changed"
    );
    let report = to
        .operator()
        .migrate(predecessor.clients().await.unwrap(), false)
        .await
        .unwrap();
    assert_eq!((rehearsal.dry_run, report.dry_run), (true, false));
    assert_eq!(
        (rehearsal.taken_over, &rehearsal.in_part, &rehearsal.left_out),
        (report.taken_over, &report.in_part, &report.left_out)
    );
    assert_eq!((report.taken_over, report.already_here), (2, 0));
    assert_eq!(report.in_part.len(), 1);
    assert!(
        report.in_part[0].reasons[0].contains("localhost.evil.example"),
        "{:?}",
        report.in_part
    );
    let left_out: Vec<_> = report.left_out.iter().map(|loss| loss.client_id.as_str()).collect();
    assert_eq!(left_out, ["client_damaged", "client_evil", "client_set", "client_weak"]);
    let again = to
        .operator()
        .migrate(predecessor.clients().await.unwrap(), false)
        .await
        .unwrap();
    assert_eq!((again.taken_over, again.already_here), (0, 2));
    assert_eq!(keys().await, before, "the predecessor's Redis is as it was");

    for (id, secret) in IDS.iter().zip(&secrets).take(2) {
        let client = Client::known(id, secret.clone());
        let tokens = client.sign_in(&to, "ada", CALLBACK).await.unwrap();
        client.refresh(&to, &tokens.refresh_token.unwrap()).await.unwrap();
        let shown = to
            .operator()
            .client(&id.parse::<ClientId>().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert!(shown.expires_at.is_some(), "nobody lives longer than clients do here");
        assert!(shown.manages_itself);
        let stranger = Client::known(id, Secret::random());
        assert!(
            stranger.sign_in(&to, "ada", CALLBACK).await.is_err(),
            "the secret is asked for"
        );
    }
    let dump: Vec<Vec<u8>> = redis_dump(&new).await;
    for secret in &secrets {
        let readable = |value: &Vec<u8>| String::from_utf8_lossy(value).contains(secret.expose());
        assert!(!dump.iter().any(readable), "a secret is readable");
    }
}

/// The values of all strings in a Redis.
async fn redis_dump(server: &Server) -> Vec<Vec<u8>> {
    let keys: Vec<String> = server.ask("KEYS *").await.unwrap();
    let mut values = Vec::new();
    for key in keys {
        let mut command = redis::cmd("GET");
        command.arg(key);
        values.extend(server.send::<Vec<u8>>(&command).await.ok());
    }
    values
}
