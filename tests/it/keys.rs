//! The signing keys of a whole installation: every node has the same ones, and none of them outlives its time.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::{Key, Kind, Store as _};
use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, request};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::failing_store::{FailingStore, Loss};
use mcp_oauth_tests::hesitant_store::HesitantStore;
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, Resource};
use serde_json::{Value, json};

mod handed_in;
mod outage;
mod rotation;
mod sealing;
mod withdrawal;

/// In seconds.
const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Everything that nodes have in common.
#[derive(Clone)]
struct Installation {
    store: FailingStore<MemoryStore>,
    clock: ManualClock,
    secret: Secret,
}

impl Installation {
    fn new() -> Self {
        let clock = ManualClock::default();
        Self {
            store: FailingStore::new(MemoryStore::default().with_clock(clock.clone())),
            clock,
            secret: Secret::random(),
        }
    }

    fn node(&self) -> Application {
        self.node_with(|builder| builder)
    }

    /// A node for which a read and the write after it always leave time for others.
    fn hesitant_node(&self) -> Application {
        self.node_with(|builder| builder.store(HesitantStore::new(self.store.clone())))
    }

    fn node_with(
        &self,
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Application {
        self.node_sealing_with(&KeySealing::new(&self.secret).unwrap(), configure)
    }

    fn node_sealing_with(
        &self,
        sealing: &KeySealing,
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Application {
        Application::with(self.store.clone(), self.clock.clone(), |builder| {
            configure(
                builder
                    .signing_algorithm(Algorithm::EdDsa)
                    .stored_keys(sealing.clone(), KeyRotation::default()),
            )
        })
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn nothing_more_is_lost(&self) {
        self.store.fail_once(u64::from(u32::MAX), Loss::Request);
    }

    fn key() -> Key {
        Key::new(Kind::Keys, ISSUER)
    }

    async fn record(&self) -> bytes::Bytes {
        self.store.inner().get(&Self::key()).await.unwrap().expect("a record")
    }

    async fn overwrite(&self, record: &[u8]) {
        let present = self.record().await;
        let record = bytes::Bytes::copy_from_slice(record);
        assert!(
            self.store
                .inner()
                .compare_and_set(&Self::key(), &present, record, None)
                .await
                .unwrap()
        );
    }
}

/// The name of the key that signed a token.
fn kid_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The same token, with the name of a key that somebody made up.
fn with_made_up_key(token: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": Secret::random().expose()});
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

async fn published(application: &Application) -> Vec<String> {
    let answer = application.get("/jwks").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn status(application: &Application, token: &str) -> u16 {
    application.call(NOTES, token).await.status.as_u16()
}

async fn sign_in(application: &Application) -> (Client, Tokens) {
    let client = Client::public(application).await;
    let tokens = client.sign_in(application, "ada").await;
    (client, tokens)
}

fn unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("www-authenticate"), "");
}

#[tokio::test]
async fn what_one_node_signs_every_node_verifies() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let (_, tokens) = sign_in(&one).await;
    assert_eq!(status(&other, &tokens.access_token).await, 200);
    assert_eq!(published(&one).await, published(&other).await);
    let restarted = installation.node();
    assert_eq!(
        status(&restarted, &tokens.access_token).await,
        200,
        "and so does one that starts later"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_the_same_time_agree_on_one_key() {
    for _ in 0..10 {
        let installation = Installation::new();
        let kept = Events::default();
        let node = || {
            installation.node_with(|builder| {
                builder
                    .store(HesitantStore::new(installation.store.clone()))
                    .audit(kept.clone())
            })
        };
        let nodes = [node(), node()];
        let started = (0..16).map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                node.server.prepare_keys().await.unwrap();
                published(&node).await
            })
        });
        let mut seen = BTreeSet::new();
        for started in started.collect::<Vec<_>>() {
            seen.extend(started.await.unwrap());
        }
        assert_eq!(seen.len(), 1);
        let made: Vec<_> = kept.so_far().iter().filter_map(|event| event.key.clone()).collect();
        assert_eq!(made, seen.into_iter().collect::<Vec<_>>(), "and say so once");
    }
}

#[tokio::test]
async fn issuers_that_share_a_store_and_a_secret_keep_their_keys_apart() {
    let installation = Installation::new();
    let one = installation.node();
    let other = installation.node_with(|_| {
        AuthorizationServer::builder("http://127.0.0.1:9090")
            .resource(Resource::new(NOTES).unwrap())
            .resource(Resource::new(FILES).unwrap())
            .default_resource(NOTES)
            .identity(DevIdentity::default())
            .allow(AllowList::everybody())
            .store(installation.store.clone())
            .clock(installation.clock.clone())
            .stored_keys(KeySealing::new(&installation.secret).unwrap(), KeyRotation::default())
    });
    let (_, tokens) = sign_in(&one).await;
    assert_ne!(published(&one).await, published(&other).await);
    assert_eq!(status(&other, &tokens.access_token).await, 401);
    // What one issuer's record says is not read for another one, even where somebody has copied it there.
    let copied = Key::new(Kind::Keys, "http://127.0.0.1:9090");
    let (present, record) = (
        installation.store.inner().get(&copied).await.unwrap().unwrap(),
        installation.record().await,
    );
    assert!(
        installation
            .store
            .inner()
            .compare_and_set(&copied, &present, record, None)
            .await
            .unwrap()
    );
    installation.wait(10);
    unavailable(&other.get("/jwks").await);
}

#[tokio::test]
async fn the_key_set_may_be_kept_for_five_minutes_and_is_not_sent_twice() {
    let installation = Installation::new();
    let node = installation.node();
    let answer = node.get("/jwks").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    assert_eq!(answer.header("content-type"), "application/json");
    let tag = answer.header("etag").to_owned();
    let ask = |condition: String| {
        let node = node.clone();
        async move {
            node.send(request(Method::GET, "/jwks", &[("if-none-match", &condition)], ""))
                .await
        }
    };
    for condition in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = ask(condition.clone()).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (304, ""), "{condition}");
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
    }
    for condition in ["\"other\"", "", "W/", &tag[1..]] {
        assert_eq!(ask(condition.to_owned()).await.status, 200, "{condition}");
    }
    node.server.rotate_keys().await.unwrap();
    assert_eq!(ask(tag).await.status, 200, "another key, another tag");
}
