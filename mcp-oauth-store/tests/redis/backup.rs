//! A backup that is taken while people are at work, restored into an empty Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_oauth_core::backup;
use mcp_oauth_core::clock::{Clock as _, SystemClock};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::operator::{ExistingRecords, ImportOptions, Whose};
use mcp_oauth_core::store::{Kind, Store};
use mcp_oauth_core::token::keys::KeySealing;
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::RedisConfiguration;

use crate::people::{Client, REDIRECT_URI, accepts, another_second, server};
use crate::servers::cluster::Cluster;
use crate::servers::{Server, available};

fn over(configuration: &RedisConfiguration) -> AuthorizationServer {
    let patience = Duration::from_secs(20);
    let configuration = configuration
        .clone()
        .connection_timeout(patience)
        .response_timeout(patience);
    server(Arc::new(RedisStore::new(&configuration).unwrap()))
}

struct Session {
    client: Client,
    /// Every refresh token that it was given, the newest one last.
    tokens: Vec<Secret>,
}

impl Session {
    async fn begin(server: &AuthorizationServer) -> Self {
        let client = Client::register(server).await;
        let tokens = client.sign_in(server, "ada", REDIRECT_URI).await.unwrap();
        let tokens = vec![tokens.refresh_token.unwrap()];
        Self { client, tokens }
    }

    async fn refresh(&mut self, server: &AuthorizationServer) {
        let newest = self.tokens.last().unwrap();
        let refreshed = self.client.refresh(server, newest).await.unwrap();
        self.tokens.push(refreshed.refresh_token.unwrap());
    }
}

/// Backs up while others refresh, register and sign in, restores, and holds every client, grant and key against what it
/// was told.
async fn there_and_back(before: &RedisConfiguration, after: &RedisConfiguration) {
    let from = over(before);
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for number in 0..24 {
        let session = Session::begin(&from).await;
        if number % 3 == 0 {
            quiet.push(session);
        } else {
            busy.push(session);
        }
    }
    let access = quiet[0]
        .client
        .sign_in(&from, "grace", REDIRECT_URI)
        .await
        .unwrap()
        .access_token;
    let ended = Session::begin(&from).await;
    let revoked = from
        .operator()
        .grants(Whose::Client(&ended.client.id.parse().unwrap()), None, 10)
        .await
        .unwrap();
    from.operator().end_grant(&revoked.items[0].id).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let at_work: Vec<_> = busy
        .into_iter()
        .enumerate()
        .map(|(number, mut session)| {
            let (server, stop) = (from.clone(), stop.clone());
            tokio::spawn(async move {
                let (known_before, mut rounds) = (session.tokens.len(), 0);
                while !stop.load(Ordering::SeqCst) {
                    session.refresh(&server).await;
                    rounds += 1;
                    if rounds % 4 == number % 4 {
                        Session::begin(&server).await.refresh(&server).await;
                    }
                }
                (session, known_before)
            })
        })
        .collect();
    let secret = KeySealing::new(&Secret::random()).unwrap();
    let mut export = from.operator().export(Some(&secret)).unwrap();
    let mut file = String::new();
    while let Some(lines) = export.next().await.unwrap() {
        file.push_str(&lines);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(export.report().unreadable.is_empty());
    stop.store(true, Ordering::SeqCst);
    let mut busy = Vec::new();
    for task in at_work {
        busy.push(task.await.unwrap());
    }
    let refreshed: usize = busy.iter().map(|(session, before)| session.tokens.len() - before).sum();
    assert!(
        refreshed > busy.len(),
        "the others were at work while the backup was made"
    );

    let summary = backup::inspect(file.as_bytes(), SystemClock.now()).unwrap();
    assert!(summary.has_keys && summary.records["client"] >= 25 && summary.records["grant"] >= 25);
    let to = over(after);
    let options = ImportOptions::new(ExistingRecords::Refuse).with_keys(secret);
    let report = to.operator().import_from(file.as_bytes(), options).await.unwrap();
    assert!(report.keys && report.kept == 0, "{report:?}");

    assert!(accepts(&to, &access).await.unwrap(), "the old keys verify");
    another_second().await;
    for mut session in quiet {
        session.refresh(&to).await;
        session.client.sign_in(&to, "ada", REDIRECT_URI).await.unwrap();
    }
    for (session, known_before) in busy {
        let mut good = false;
        for token in session.tokens[known_before - 1..].iter().rev() {
            match session.client.refresh(&to, token).await {
                Ok(_) => good = true,
                Err(refused) => assert_eq!(refused.error().code().as_str(), "invalid_grant"),
            }
            if good {
                break;
            }
        }
        assert!(good, "the newest token of some moment of the backup is good");
        session.client.sign_in(&to, "ada", REDIRECT_URI).await.unwrap();
    }
    assert!(
        ended.client.refresh(&to, &ended.tokens[0]).await.is_err(),
        "what had ended has ended"
    );
    ended.client.sign_in(&to, "ada", REDIRECT_URI).await.unwrap();
    let statistics = to.operator().statistics().await.unwrap();
    assert!(statistics.registered_clients >= 25 && statistics.users >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_brings_every_client_grant_and_key_back() {
    if available("a_backup_under_load_brings_every_client_grant_and_key_back") {
        let (before, after) = (Server::start(&[]).await, Server::start(&[]).await);
        Box::pin(there_and_back(&before.configuration(), &after.configuration())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_cluster_is_restored_to_one_node() {
    if available("a_backup_of_a_cluster_is_restored_to_one_node") {
        let (before, after) = (Cluster::start().await, Server::start(&[]).await);
        Box::pin(there_and_back(&before.configuration(), &after.configuration())).await;
    }
}

#[tokio::test]
async fn what_is_restored_has_the_time_to_live_that_it_had() {
    if !available("what_is_restored_has_the_time_to_live_that_it_had") {
        return;
    }
    let (before, after) = (Server::start(&[]).await, Server::start(&[]).await);
    let (from, to) = (over(&before.configuration()), over(&after.configuration()));
    Session::begin(&from).await;
    let mut file = Vec::new();
    from.operator().export_to(&mut file, None).await.unwrap();
    to.operator()
        .import_from(file.as_slice(), ImportOptions::new(ExistingRecords::Refuse))
        .await
        .unwrap();
    let [one, other] = [&before, &after].map(|server| RedisStore::new(&server.configuration()).unwrap());
    for kind in [Kind::Grant, Kind::Client] {
        let keys = one.list(kind, None, 100).await.unwrap().keys;
        assert_eq!(keys.len(), 1);
        let [had, has] = [one.inspect(&keys[0]).await, other.inspect(&keys[0]).await]
            .map(|kept| kept.unwrap().unwrap().time_to_live.unwrap());
        assert!(had.abs_diff(has) < Duration::from_secs(60), "{had:?} {has:?}");
    }
}
