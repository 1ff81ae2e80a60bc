//! The commands of whoever runs a gateway: the program, beside a gateway that runs, on a Redis that both use. Behaviour 45:
//! listing, purging, deleting a client with all it owns, a backup and back.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use mcp_oauth_tests::client::Tokens;
use mcp_oauth_tests::gateway::command_in;
use mcp_oauth_tests::redis::RedisServer;
use mcp_oauth_tests::tools;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use terminal::Terminal;

use crate::node::{Http, Node, Registered, SEALING_SECRET, Site};

mod backups;
mod health;
mod keys;
mod predecessor;
mod setting_up;
mod terminal;
mod tokens;

/// The subject of the made-up person who signs in.
const ADA: &str = "development:ada";

/// A gateway, its Redis, and a folder for its operator.
struct Installation {
    redis: RedisServer,
    site: Site,
    node: Node,
    folder: TempDir,
}

/// A command that has ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().expect("no signal has ended it"),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// What it printed, if it is done.
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// The JSON that it printed, if it is done.
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// What it wrote to stderr, if it ended with this code.
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.stderr
    }
}

/// Runs the program in a folder, with these variables, and something on its stdin.
async fn run_in(folder: &Path, settings: &[(&str, &str)], arguments: &[&str], input: &str) -> Ended {
    let mut command = command_in(folder, settings);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whoever does not read it may be gone.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    Ended::of(&child.wait_with_output().await.unwrap())
}

impl Installation {
    async fn start(test: &str) -> Option<Self> {
        if !tools::redis(test) {
            return None;
        }
        let redis = RedisServer::durable().await;
        let site = Site::new();
        let node = site.node_at_issuer(&redis.url()).await;
        let folder = TempDir::new().unwrap();
        Some(Self {
            redis,
            site,
            node,
            folder,
        })
    }

    fn http(&self) -> &Http {
        &self.node.http
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let url = self.redis.url();
        let settings = [
            ("GATEWAY_LISTEN", self.site.address()),
            ("GATEWAY_KEY_SEALING_SECRET", SEALING_SECRET),
            ("REDIS_URL", &url),
        ];
        run_in(self.folder.path(), &settings, arguments, "").await
    }

    async fn sign_in(&self) -> (Registered, Tokens) {
        let client = self.http().register().await;
        let tokens = self.http().sign_in(&client).await;
        (client, tokens)
    }

    async fn accepts(&self, tokens: &Tokens) -> bool {
        self.http().call(&tokens.access_token).await.status == 200
    }

    /// A second after its end nothing accepts a token any more.
    async fn refuses(&self, tokens: &Tokens) {
        let what = "the token is refused";
        mcp_oauth_tests::redis::eventually(what, async || (!self.accepts(tokens).await).then_some(())).await;
    }

    /// A file in the operator's folder.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[tokio::test]
async fn clients_are_listed_and_shown_without_what_is_secret() {
    let Some(here) = Installation::start("clients_are_listed_and_shown_without_what_is_secret").await else {
        return;
    };
    let (client, tokens) = here.sign_in().await;
    let others = [here.http().register().await, here.http().register().await];
    let table = here.run(&["clients", "list"]).await.done();
    let list = here.run(&["clients", "list", "--json"]).await.json();
    let ids: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["client_id"].clone())
        .collect();
    for known in others.iter().chain([&client]) {
        assert!(table.contains(&known.client_id), "{table}");
        assert!(ids.contains(&json!(known.client_id)), "{list}");
    }
    let shown = here.run(&["clients", "show", &client.client_id, "--json"]).await.json();
    assert_eq!(
        (&shown["client_id"], &shown["source"]),
        (&json!(client.client_id), &json!("registration"))
    );
    let people = here.run(&["clients", "show", &client.client_id]).await.done();
    let grants = here.run(&["grants", "list", "--json"]).await.done();
    for printed in [table, list.to_string(), people, grants] {
        assert!(!printed.contains(&tokens.access_token) && !printed.contains(&tokens.refresh_token));
    }
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page_or_all_of_it() {
    let Some(here) = Installation::start("a_long_list_is_read_page_by_page_or_all_of_it").await else {
        return;
    };
    for _ in 0..7 {
        here.http().register().await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["clients", "list", "--json", "--limit", "3"];
        arguments.extend(cursor.iter().flat_map(|cursor| ["--cursor", cursor.as_str()]));
        let page = here.run(&arguments).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["client_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let lines = here.run(&["clients", "list", "--json", "--all"]).await.done();
    let line = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["client_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut all: Vec<_> = lines.lines().map(line).collect();
    for list in [&mut seen, &mut all] {
        list.sort();
        list.dedup();
    }
    assert_eq!((seen.len(), &seen), (7, &all));
}

#[tokio::test]
async fn a_deleted_client_takes_all_it_was_granted_along() {
    let Some(here) = Installation::start("a_deleted_client_takes_all_it_was_granted_along").await else {
        return;
    };
    let ((client, ended), (_, stays)) = (here.sign_in().await, here.sign_in().await);
    let asked = here.run(&["clients", "delete", &client.client_id]).await.failed(2);
    assert!(asked.contains("--yes"), "{asked}");
    assert!(here.accepts(&ended).await, "nobody has confirmed it");
    let deleted = here
        .run(&["clients", "delete", &client.client_id, "--yes", "--json"])
        .await
        .json();
    assert_eq!(deleted, json!({"deleted": 1, "missing": []}));
    here.refuses(&ended).await;
    assert!(here.accepts(&stays).await);
    let refused = here.http().refresh(&client, &ended.refresh_token).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (401, "invalid_client")
    );
    here.run(&["clients", "show", &client.client_id]).await.failed(3);
    here.run(&["clients", "delete", &client.client_id, "--yes"])
        .await
        .failed(3);
}

#[tokio::test]
async fn a_person_who_says_no_is_told_that_nothing_was_changed() {
    let test = "a_person_who_says_no_is_told_that_nothing_was_changed";
    if !tools::terminal(test) {
        return;
    }
    let Some(here) = Installation::start(test).await else {
        return;
    };
    let client = here.http().register().await;
    here.file(
        ".env",
        &format!(
            "GATEWAY_LISTEN={}\nREDIS_URL={}\n",
            here.site.address(),
            here.redis.url()
        ),
    );
    let delete = format!("clients delete {}", client.client_id);
    let mut terminal = Terminal::open(here.folder.path(), &delete);
    terminal.answer("cannot be undone", "n").await;
    let (code, seen) = terminal.end().await;
    assert!(code == 5 && seen.contains("nothing was changed"), "{code}: {seen}");
    here.run(&["clients", "show", &client.client_id]).await.done();
    let mut terminal = Terminal::open(here.folder.path(), &delete);
    terminal.answer("cannot be undone", "y").await;
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 0, "{seen}");
    here.run(&["clients", "show", &client.client_id]).await.failed(3);
}

#[tokio::test]
async fn purging_says_at_a_terminal_how_far_it_is_and_nothing_to_a_pipe() {
    let test = "purging_says_at_a_terminal_how_far_it_is_and_nothing_to_a_pipe";
    if !tools::terminal(test) {
        return;
    }
    let Some(here) = Installation::start(test).await else {
        return;
    };
    here.sign_in().await;
    let settings = [here.site.address(), &here.redis.url()];
    let [address, redis] = settings;
    here.file(".env", &format!("GATEWAY_LISTEN={address}\nREDIS_URL={redis}\n"));
    let (code, seen) = Terminal::open(here.folder.path(), "purge --dry-run").end().await;
    assert_eq!(code, 0, "{seen}");
    // A client, a grant, and the two lists that it is on.
    assert!(
        seen.contains("looking through the store") && seen.contains("0/4"),
        "{seen}"
    );
    let piped = here.run(&["purge", "--dry-run"]).await;
    assert_eq!((piped.code, piped.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn clients_are_deleted_by_how_they_are_called() {
    let Some(here) = Installation::start("clients_are_deleted_by_how_they_are_called").await else {
        return;
    };
    for name in ["TEST one", "TEST two", "Real"] {
        let redirect = ["--redirect-uri", "https://app.example/callback"];
        here.run(&[&["clients", "create", "--name", name][..], &redirect].concat())
            .await
            .done();
    }
    let deleted = here
        .run(&["clients", "delete", "--name-begins-with", "TEST ", "--yes", "--json"])
        .await
        .json();
    assert_eq!(deleted["deleted"], 2);
    here.run(&["clients", "delete", "--name-contains", "test", "--yes"])
        .await
        .failed(3);
    let left = here.run(&["clients", "list", "--json"]).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(
        here.run(&["clients", "delete", "--all", "--yes", "--json"])
            .await
            .json()["deleted"],
        1
    );
}

#[tokio::test]
async fn a_client_that_is_made_by_hand_signs_people_in_and_its_secret_is_shown_once() {
    let Some(here) = Installation::start("a_client_that_is_made_by_hand_signs_people_in").await else {
        return;
    };
    let redirect = mcp_oauth_tests::client::REDIRECT_URI;
    let public = here
        .run(&[
            "clients",
            "create",
            "--proof",
            "none",
            "--redirect-uri",
            redirect,
            "--json",
        ])
        .await
        .json();
    assert!(public.get("client_secret").is_none(), "{public}");
    let client = Registered::known(public["client_id"].as_str().unwrap());
    let tokens = here.http().sign_in(&client).await;
    assert!(here.accepts(&tokens).await);

    let made = here
        .run(&[
            "clients",
            "create",
            "--name",
            "By hand",
            "--redirect-uri",
            redirect,
            "--json",
        ])
        .await
        .json();
    let (id, secret) = (
        made["client_id"].as_str().unwrap(),
        made["client_secret"].as_str().unwrap(),
    );
    for arguments in [
        &["clients", "show", id, "--json"][..],
        &["clients", "show", id],
        &["clients", "list"],
    ] {
        assert!(!here.run(arguments).await.done().contains(secret));
    }
    let wrong = here
        .run(&["clients", "create", "--redirect-uri", "http://app.example/"])
        .await
        .failed(1);
    assert!(wrong.contains("redirect"), "{wrong}");
}

#[tokio::test]
async fn what_was_granted_ends_one_by_one_by_client_by_person_and_all_at_once() {
    let Some(here) = Installation::start("what_was_granted_ends").await else {
        return;
    };
    let (client, tokens) = here.sign_in().await;
    let of_client = ["grants", "list", "--client", &client.client_id, "--json"];
    let id = here.run(&of_client).await.json()["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        here.run(&["grants", "show", &id, "--json"]).await.json()["state"],
        "live"
    );
    here.run(&["grants", "revoke", &id]).await.failed(2);
    assert_eq!(
        here.run(&["grants", "revoke", &id, "--yes", "--json"]).await.json()["ended"],
        json!([id])
    );
    here.refuses(&tokens).await;
    here.run(&["grants", "revoke", &id, "--yes"]).await.failed(3);

    let tokens = here.http().sign_in(&client).await;
    here.run(&["grants", "revoke", "--client", &client.client_id, "--yes"])
        .await
        .done();
    here.refuses(&tokens).await;

    let tokens = here.sign_in().await.1;
    let users = here.run(&["users", "list", "--json"]).await.json();
    assert_eq!(
        (&users["items"][0]["subject"], &users["items"][0]["live"]),
        (&json!(ADA), &json!(1)),
        "{users}"
    );
    here.run(&["users", "end", ADA, "--yes"]).await.done();
    here.refuses(&tokens).await;
    here.run(&["users", "end", "development:nobody", "--yes"])
        .await
        .failed(3);

    // Who signs in again as soon as the command has ended stays signed in.
    let tokens = here.sign_in().await.1;
    let ended = here.run(&["grants", "revoke", "--all", "--yes", "--json"]).await.json();
    assert_eq!(ended["ended"], 1, "{ended}");
    here.refuses(&tokens).await;
}

#[tokio::test]
async fn it_is_said_how_much_there_is_and_what_is_stale_goes() {
    let Some(here) = Installation::start("it_is_said_how_much_there_is_and_what_is_stale_goes").await else {
        return;
    };
    let (client, _) = here.sign_in().await;
    let counted = here.run(&["stats", "--json"]).await.json();
    assert_eq!(
        (&counted["registered_clients"], &counted["grants"], &counted["users"]),
        (&json!(1), &json!(1), &json!(1)),
        "{counted}"
    );
    assert!(here.run(&["stats"]).await.done().contains("people with grants"));
    here.redis
        .ask(&["SET", &format!("mcp-oauth:client:{}", client.client_id), "damaged"]);
    let rehearsed = here.run(&["purge", "--dry-run", "--json"]).await;
    assert!(rehearsed.stderr.contains(&client.client_id), "{rehearsed:?}");
    let rehearsed = rehearsed.json();
    assert_eq!(
        (&rehearsed["dry_run"], &rehearsed["unreadable_count"]),
        (&json!(true), &json!(1))
    );
    let purged = here.run(&["purge", "--json"]).await.json();
    assert_eq!(
        (&purged["dry_run"], &purged["grants_examined"]),
        (&json!(false), &json!(1))
    );
}

#[tokio::test]
async fn a_command_says_by_its_code_why_it_is_not_done() {
    let folder = TempDir::new().unwrap();
    let memory = run_in(folder.path(), &[], &["clients", "list"], "").await.failed(1);
    assert!(memory.contains("REDIS_URL"), "{memory}");
    let nobody = format!("redis://127.0.0.1:{}", mcp_oauth_tests::gateway::free_port());
    for command in [
        &["stats"][..],
        &["clients", "list"],
        &["users", "list"],
        &["purge"],
        &["backup", "file"],
    ] {
        let away = run_in(folder.path(), &[("REDIS_URL", &nobody)], command, "")
            .await
            .failed(4);
        assert!(away.contains("store does not answer"), "{away}");
    }
    assert!(!folder.path().join("file").exists(), "a backup that failed is none");
    for wrong in [
        &["clients", "list", "--limit", "0"][..],
        &["clients", "list", "--cursor", "!"],
        &["clients", "delete"],
        &["grants", "revoke", "--all", "--client", "x"],
        &["grants", "show", "not a grant"],
        &["nothing"],
    ] {
        run_in(folder.path(), &[], wrong, "").await.failed(2);
    }
}

#[tokio::test]
async fn shells_can_complete_the_commands() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run_in(folder.path(), &[], &["completions", shell], "").await.done();
        assert!(script.contains("clients") && script.contains("restore"), "{shell}");
    }
}
