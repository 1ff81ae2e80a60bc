//! The clients of the Python gateway.

use serde_json::json;

use super::Installation;

const ID: &str = "client_Zk3v0Qy7Ff1mJ8aWcR2tNw";
const SECRET: &str = "Vb7mQ2xZ9kLpR4tYwE1uI8oA5sDfGhJ3cKnM6vBxXzQ";

/// As it writes a client.
fn record(id: &str, secret: &str) -> String {
    json!({
        "client_id": id, "client_secret": secret, "client_secret_expires_at": 0, "client_id_issued_at": 1_780_000_000,
        "redirect_uris": "[\"https://claude.ai/api/mcp/auth_callback\"]", "client_name": "Claude", "scope": "openid",
        "created_at": 1_780_000_000, "response_types": "[\"code\"]",
        "grant_types": "[\"authorization_code\", \"refresh_token\"]",
        "registration_access_token": "reg-p0OiU8yT6rE4wQ2aS3dF5gH7jK9lZxCvBnMqWeRtYui",
    })
    .to_string()
}

#[tokio::test]
async fn its_clients_are_rehearsed_first_and_then_taken_over_once() {
    let Some(here) = Installation::start("its_clients_are_rehearsed_first_and_then_taken_over_once").await else {
        return;
    };
    here.redis
        .ask(&["SET", &format!("oauth:client:{ID}"), &record(ID, SECRET)]);
    here.redis.ask(&["SET", "oauth:client:weak", &record("weak", "guess")]);
    let url = here.redis.url();
    let rehearsed = here
        .run(&["import", "predecessor", "--redis", &url, "--dry-run", "--json"])
        .await;
    assert!(
        rehearsed.stderr.contains("weak") && !rehearsed.stderr.contains(SECRET),
        "{rehearsed:?}"
    );
    let rehearsed = rehearsed.json();
    assert_eq!(
        (&rehearsed["taken_over"], &rehearsed["dry_run"]),
        (&json!(1), &json!(true)),
        "{rehearsed}"
    );
    here.run(&["clients", "show", ID]).await.failed(3);
    let taken = here
        .run(&["import", "predecessor", "--redis", &url, "--json"])
        .await
        .json();
    assert_eq!(taken["taken_over"], 1, "{taken}");
    let shown = here.run(&["clients", "show", ID]).await.done();
    assert!(shown.contains("Claude") && !shown.contains(SECRET));
    let again = here
        .run(&["import", "predecessor", "--redis", &url, "--json"])
        .await
        .json();
    assert_eq!(
        (&again["taken_over"], &again["already_here"]),
        (&json!(0), &json!(1)),
        "{again}"
    );

    here.run(&["import", "predecessor"]).await.failed(2);
    let nobody = format!("redis://127.0.0.1:{}", mcp_oauth_tests::gateway::free_port());
    here.run(&["import", "predecessor", "--redis", &nobody]).await.failed(4);
}

#[tokio::test]
async fn its_backup_is_read_as_well_as_its_redis() {
    let Some(here) = Installation::start("its_backup_is_read_as_well_as_its_redis").await else {
        return;
    };
    let record = record(ID, SECRET);
    let name = format!("oauth:client:{ID}");
    let dump = json!({"registrations": {name: {"value": record, "type": "string", "ttl": -1}}});
    here.file("oauth-backup.json", &dump.to_string());
    here.file("other.json", "no JSON");
    let taken = here
        .run(&["import", "predecessor", "--dump", "oauth-backup.json", "--json"])
        .await
        .json();
    assert_eq!(taken["taken_over"], 1, "{taken}");
    here.run(&["import", "predecessor", "--dump", "other.json"])
        .await
        .failed(1);
}

#[tokio::test]
async fn however_many_there_are_a_file_of_them_is_never_held() {
    use std::io::Write as _;

    let Some(here) = Installation::start("however_many_there_are_a_file_of_them_is_never_held").await else {
        return;
    };
    // 40 MB, which could not be held together with what is made of it in the 60 MB that the process may have.
    let (clients, padding) = (400, "x".repeat(100_000));
    let mut dump = std::io::BufWriter::new(std::fs::File::create(here.folder.path().join("dump.json")).unwrap());
    dump.write_all(b"{\"registrations\": {").unwrap();
    for number in 0..clients {
        let (id, separator) = (format!("client_{number}"), if number == 0 { "" } else { "," });
        let value = json!({"value": record(&id, SECRET), "padding": padding});
        write!(dump, "{separator}\"oauth:client:{id}\": {value}").unwrap();
    }
    dump.write_all(b"}}").unwrap();
    dump.into_inner().unwrap();
    let program = mcp_oauth_tests::gateway::program();
    let bounded = tokio::process::Command::new("sh")
        .args(["-c", "ulimit -d 60000 && exec \"$@\"", "sh"])
        .arg(program)
        .args(["import", "predecessor", "--dump", "dump.json", "--json"])
        .env("GATEWAY_LISTEN", here.site.address())
        .env("GATEWAY_KEY_SEALING_SECRET", crate::node::SEALING_SECRET)
        .env("REDIS_URL", here.redis.url())
        .current_dir(here.folder.path())
        .output()
        .await
        .unwrap();
    let taken = super::Ended::of(&bounded).json();
    assert_eq!(taken["taken_over"], clients, "{taken}");
}

#[tokio::test]
async fn of_half_a_backup_nothing_is_taken_over() {
    let Some(here) = Installation::start("of_half_a_backup_nothing_is_taken_over").await else {
        return;
    };
    let dump = json!({"registrations": {format!("oauth:client:{ID}"): {"value": record(ID, SECRET)}}}).to_string();
    here.file("half.json", &dump[..dump.len() - 1]);
    here.run(&["import", "predecessor", "--dump", "half.json"])
        .await
        .failed(1);
    here.run(&["clients", "show", ID]).await.failed(3);
}
