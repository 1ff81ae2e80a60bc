//! Two gateways on one Redis: what happens at one holds at the other.
//!
//! What is promised of revocation is a bound: a request that is *sent* a second or more after the revocation was
//! acknowledged is refused. The tests hold each answer against the times at which it was asked and came, as the caller
//! has measured them, and never against how long something took: on a slow machine they see fewer answers in the second
//! in which both are right, and none of them turns wrong. So they send until there were enough answers that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::revocation::MAXIMUM_AGE;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::{KeyRotation, KeySealing};
use mcp_oauth_store::RedisStore;
use mcp_oauth_tests::application::Answer;
use mcp_oauth_tests::client::Tokens;
use mcp_oauth_tests::redis::{Line, RedisServer, State, eventually};
use mcp_oauth_tests::tools;
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, Resource};
use tokio::task::JoinHandle;

use crate::node::{Called, Http, Node, Registered, SEALING_SECRET, Site};

/// A Redis, two processes, and somebody who has signed in at the first.
struct Pair {
    redis: RedisServer,
    site: Site,
    first: Node,
    second: Node,
    client: Registered,
}

impl Pair {
    async fn start(test: &str) -> Option<Self> {
        if !tools::redis(test) {
            return None;
        }
        let redis = RedisServer::durable().await;
        let url = redis.url();
        Some(Self::on(redis, &url).await)
    }

    /// A pair whose second process reaches Redis by another URL.
    async fn on(redis: RedisServer, second: &str) -> Self {
        let site = Site::new();
        let first = site.node(&redis.url()).await;
        let second = site.node(second).await;
        let client = first.http.register().await;
        Self {
            redis,
            site,
            first,
            second,
            client,
        }
    }

    fn both(&self) -> [&Http; 2] {
        [&self.first.http, &self.second.http]
    }

    /// Signs in at the first, and has the second see that the tokens are good.
    async fn sign_in(&self) -> Tokens {
        let tokens = self.first.http.sign_in(&self.client).await;
        for node in self.both() {
            assert_eq!(node.call(&tokens.access_token).await.status, 200);
        }
        tokens
    }

    /// Ends the grant at the first process, and says when that was acknowledged.
    async fn revoke(&self, tokens: &Tokens) -> Instant {
        self.first.http.revoke(&self.client, &tokens.refresh_token).await;
        Instant::now()
    }
}

/// Calls until an answer counts, which is one to a request that was sent when the bound was over. Until then, answers may
/// be old, but not wrong.
async fn after_the_bound(node: &Http, token: &str, since: Instant, until_then: &[u16]) -> Called {
    loop {
        let called = node.call(token).await;
        if called.sent >= since + MAXIMUM_AGE {
            return called;
        }
        assert!(until_then.contains(&called.status), "{called:?}");
    }
}

/// The challenge that makes a client throw its token away.
fn assert_refused(called: &Called) {
    assert_eq!(called.status, 401, "{called:?}");
    let challenge = called.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
}

fn assert_unavailable(called: &Called) {
    assert_eq!(called.status, 503, "{called:?}");
    assert_eq!(called.headers["retry-after"], "1");
    assert!(!called.headers.contains_key("www-authenticate"));
}

/// Callers at one process who go on until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Called>>>,
}

impl Load {
    /// Each of them stops once it has seen `enough` answers to requests that were sent after it was told to.
    fn begin(node: &Http, token: &str, callers: usize, enough: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..callers).map(|_| {
            let (node, token, stop) = (node.clone(), token.to_owned(), stop.clone());
            tokio::spawn(async move {
                let (mut answers, mut last) = (Vec::new(), 0);
                while last < enough {
                    last += usize::from(stop.load(Ordering::SeqCst));
                    answers.push(node.call(&token).await);
                }
                answers
            })
        });
        let callers = callers.collect();
        Self { stop, callers }
    }

    async fn stop(self) -> Vec<Called> {
        self.stop.store(true, Ordering::SeqCst);
        let mut answers = Vec::new();
        for caller in self.callers {
            answers.extend(caller.await.unwrap());
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_refreshes_at_both_give_one_and_the_same_successor() {
    let Some(pair) = Pair::start("parallel refreshes at two processes").await else {
        return;
    };
    let tokens = pair.sign_in().await;
    let at_once: Vec<_> = (0..64)
        .map(|number| {
            let node = pair.both()[number % 2].clone();
            let (client, token) = (pair.client.clone(), tokens.refresh_token.clone());
            tokio::spawn(async move { Tokens::of(&node.refresh(&client, &token).await) })
        })
        .collect();
    let mut successors = Vec::new();
    for refresh in at_once {
        let next = refresh.await.unwrap();
        successors.push(next.refresh_token);
        // An access token of one is good at the other.
        for node in pair.both() {
            assert_eq!(node.call(&next.access_token).await.status, 200);
        }
    }
    assert_eq!(successors.len(), 64);
    successors.dedup();
    assert_eq!(successors.len(), 1, "they differ");
    for node in pair.both() {
        successors[0] = Tokens::of(&node.refresh(&pair.client, &successors[0]).await).refresh_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_redeemed_at_both_pays_once_and_the_second_use_ends_the_grant() {
    let Some(pair) = Pair::start("a code at two processes").await else {
        return;
    };
    let (mut ended, mut last_refused) = (Vec::new(), Instant::now());
    for _ in 0..10 {
        let code = pair.first.http.code(&pair.client).await;
        let redeemed = pair.both().map(|node| {
            let (node, client, code) = (node.clone(), pair.client.clone(), code.clone());
            tokio::spawn(async move { node.redeem(&client, &code).await })
        });
        let (mut good, mut refused) = (Vec::new(), 0);
        for redemption in redeemed {
            let answer = redemption.await.unwrap();
            if answer.status == 200 {
                good.push(Tokens::of(&answer));
            } else {
                assert_eq!((answer.status.as_u16(), &*answer.error()), (400, "invalid_grant"));
                refused += 1;
            }
        }
        last_refused = Instant::now();
        assert_eq!((good.len(), refused), (1, 1));
        for node in pair.both() {
            let refreshed = node.refresh(&pair.client, &good[0].refresh_token).await;
            assert_eq!(refreshed.error(), "invalid_grant");
        }
        ended.extend(good);
    }
    for node in pair.both() {
        assert_refused(&after_the_bound(node, &ended[0].access_token, last_refused, &[200, 401]).await);
        for tokens in &ended {
            assert_refused(&node.call(&tokens.access_token).await);
        }
    }
}

/// Callers with a token whose grant ends elsewhere in the middle of it, and others with a token that stays good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_is_refused_at_the_other_within_the_bound_under_load_and_nobody_is_answered_wrongly() {
    let Some(pair) = Pair::start("revocation under load").await else {
        return;
    };
    let (tokens, bystander) = (pair.sign_in().await, pair.sign_in().await);
    let load = Load::begin(&pair.second.http, &tokens.access_token, 12, 5);
    let others = Load::begin(&pair.second.http, &bystander.access_token, 4, 5);
    // Whatever the callers have seen until now belongs before the end.
    for _ in 0..20 {
        assert_eq!(pair.second.http.call(&tokens.access_token).await.status, 200);
    }
    let begun = Instant::now();
    let ended = pair.revoke(&tokens).await;
    after_the_bound(&pair.second.http, &tokens.access_token, ended, &[200, 401]).await;
    let answers = load.stop().await;

    let before = answers.iter().filter(|called| called.received < begun);
    assert!(before.clone().count() > 0);
    assert!(
        before.clone().all(|called| called.status == 200),
        "a good token was refused"
    );
    let after = answers.iter().filter(|called| called.sent >= ended + MAXIMUM_AGE);
    assert!(after.clone().count() >= 12 * 5);
    after.for_each(assert_refused);
    assert!(
        answers.iter().all(|called| [200, 401].contains(&called.status)),
        "something else was answered in between"
    );
    // Once a process has refused a token, it is not good there any more.
    let first_refusal = answers
        .iter()
        .filter(|called| called.status == 401)
        .map(|called| called.received)
        .min()
        .unwrap();
    let good_again = answers
        .iter()
        .filter(|called| called.sent > first_refusal && called.status == 200);
    assert_eq!(good_again.count(), 0);

    let others = others.stop().await;
    assert!(
        others.iter().all(|called| called.status == 200),
        "somebody else was disturbed"
    );
    println!(
        "{} answers, {} of them before the end and {} after the bound; {} to others",
        answers.len(),
        answers.iter().filter(|called| called.received < begun).count(),
        answers
            .iter()
            .filter(|called| called.sent >= ended + MAXIMUM_AGE)
            .count(),
        others.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_lost_its_line_says_503_and_refuses_as_soon_as_it_has_it_back() {
    if !tools::redis("a line to Redis that is cut") {
        return;
    }
    let redis = RedisServer::durable().await;
    let line = Line::to(&redis.address());
    let url = format!("{}?connection_timeout=300&response_timeout=300", line.url());
    let pair = Pair::on(redis, &url).await;
    for state in [State::Cut, State::Silent] {
        // A busy machine may have kept Redis from answering in so short a time.
        eventually("the second process has its line", async || {
            let ready = pair.second.http.get("/ready").await.status == 200;
            ready.then_some(())
        })
        .await;
        let (tokens, kept) = (
            pair.first.http.sign_in(&pair.client).await,
            pair.first.http.sign_in(&pair.client).await,
        );
        for token in [&tokens.access_token, &kept.access_token] {
            eventually("the tokens are good", async || {
                let called = pair.second.http.call(token).await;
                assert!([200, 503].contains(&called.status), "{called:?}");
                (called.status == 200).then_some(())
            })
            .await;
        }
        line.set(state);
        let cut = Instant::now();
        pair.revoke(&tokens).await;
        for token in [&tokens.access_token, &kept.access_token] {
            for _ in 0..3 {
                assert_unavailable(&after_the_bound(&pair.second.http, token, cut, &[200, 503]).await);
            }
        }
        let ready = pair.second.http.get("/ready").await;
        assert_eq!(ready.status, 503);
        // What is wrong by itself needs no Redis to be wrong.
        assert_eq!(pair.second.http.call("no.token.atall").await.status, 401);

        line.set(State::Whole);
        let refused = eventually("the line is back", async || {
            let called = pair.second.http.call(&tokens.access_token).await;
            assert_ne!(called.status, 200, "it knows too little to say that");
            (called.status != 503).then_some(called)
        });
        assert_refused(&refused.await);
        eventually("the other token is good again", async || {
            let called = pair.second.http.call(&kept.access_token).await;
            assert!([200, 503].contains(&called.status), "{called:?}");
            (called.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_again_knows_what_ended_before() {
    let Some(pair) = Pair::start("a process that starts again").await else {
        return;
    };
    let (tokens, kept) = (pair.sign_in().await, pair.sign_in().await);
    let Pair {
        redis,
        site,
        first,
        second,
        client,
    } = pair;
    second.kill().await;
    first.http.revoke(&client, &tokens.access_token).await;
    // Both start anew, so that nobody is left who was there.
    first.kill().await;
    for _ in 0..2 {
        let node = site.node(&redis.url()).await;
        // Its very first answer: it knows nothing, so it asks.
        assert_refused(&node.http.call(&tokens.access_token).await);
        assert_eq!(node.http.call(&kept.access_token).await.status, 200);
        assert_eq!(
            node.http.refresh(&client, &tokens.refresh_token).await.error(),
            "invalid_grant"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_started_again_has_forgotten_no_revocation() {
    let Some(mut pair) = Pair::start("a Redis that is started again").await else {
        return;
    };
    let (tokens, kept) = (pair.sign_in().await, pair.sign_in().await);
    pair.revoke(&tokens).await;
    pair.redis.kill();
    let gone = Instant::now();
    // It may have seen the end before, or not: only "good" would be wrong.
    let called = after_the_bound(&pair.second.http, &tokens.access_token, gone, &[200, 401, 503]).await;
    assert!([401, 503].contains(&called.status), "{called:?}");
    assert_unavailable(&after_the_bound(&pair.second.http, &kept.access_token, gone, &[200, 503]).await);
    let refreshed = pair.second.http.refresh(&pair.client, &kept.refresh_token).await;
    assert_eq!((refreshed.status.as_u16(), refreshed.header("retry-after")), (503, "1"));

    pair.redis.restart().await;
    for node in pair.both() {
        let called = eventually("Redis is back", async || {
            let called = node.call(&kept.access_token).await;
            assert!([200, 503].contains(&called.status), "{called:?}");
            (called.status == 200).then_some(called)
        });
        called.await;
        assert_refused(&node.call(&tokens.access_token).await);
        let refreshed = eventually("every lane is back", async || {
            let answer = node.refresh(&pair.client, &tokens.refresh_token).await;
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(refreshed.await.error(), "invalid_grant");
    }
    // The token that could not be used is not used up.
    assert_eq!(
        pair.second.http.refresh(&pair.client, &kept.refresh_token).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_was_cut_in_between_hides_nothing_that_came_after() {
    let Some(pair) = Pair::start("a feed that was cut").await else {
        return;
    };
    for cut in [
        &["XTRIM", "mcp-oauth:ended", "MAXLEN", "0"][..],
        &["DEL", "mcp-oauth:ended"],
    ] {
        let (before, after) = (pair.sign_in().await, pair.sign_in().await);
        let ended = pair.revoke(&before).await;
        assert_refused(&after_the_bound(&pair.second.http, &before.access_token, ended, &[200, 401]).await);
        // Now the second process has a position in the feed, and the entry there goes away.
        pair.redis.ask(cut);
        let ended = pair.revoke(&after).await;
        assert_refused(&after_the_bound(&pair.second.http, &after.access_token, ended, &[200, 401]).await);
        assert_refused(&pair.second.http.call(&before.access_token).await);
    }
}

/// A third node, in this process, so that the test can do what an operator's program does.
fn operators_node(pair: &Pair) -> AuthorizationServer {
    let issuer = &pair.site.issuer;
    let store: RedisStore = pair.redis.url().parse().unwrap();
    let sealing = KeySealing::new(&Secret::from(SEALING_SECRET)).unwrap();
    let resource = Resource::new(&format!("{issuer}/echo/mcp")).unwrap();
    AuthorizationServer::builder(issuer)
        .resource(
            resource
                .scope("mcp:tools", "see and use its tools in your name")
                .unwrap(),
        )
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .store(store)
        .stored_keys(sealing, KeyRotation::default())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_one_are_the_keys_of_all_and_an_exchange_at_one_is_followed_by_the_others() {
    let Some(pair) = Pair::start("keys of two processes").await else {
        return;
    };
    let published = |answer: Answer| {
        let keys = answer.json()["keys"].clone();
        let kids = keys
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned());
        kids.collect::<Vec<_>>()
    };
    let tokens = pair.sign_in().await;
    let [of_first, of_second] = [
        published(pair.first.http.get("/jwks").await),
        published(pair.second.http.get("/jwks").await),
    ];
    assert_eq!((of_first.len(), &of_first), (1, &of_second));

    let operator = operators_node(&pair);
    let next = operator.rotate_keys().await.unwrap().kid;
    operator.withdraw_key(&of_first[0]).await.unwrap();
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", &pair.client.client_id),
        ("refresh_token", &tokens.refresh_token),
    ];
    let refresh: Parameters = refresh
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let with_new_key = operator.token(&refresh, None, &Origin::unknown()).await.unwrap();
    for node in pair.both() {
        // A key that a process has not seen yet is looked for at once.
        assert_eq!(node.call(with_new_key.access_token.expose()).await.status, 200);
        assert_eq!(published(node.get("/jwks").await), [&*next]);
        assert_refused(&node.call(&tokens.access_token).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_takes_nothing_along() {
    let Some(pair) = Pair::start("a process that is killed").await else {
        return;
    };
    let code = pair.first.http.code(&pair.client).await;
    let tokens = pair.sign_in().await;
    let Pair {
        redis: _redis,
        site: _,
        first,
        second,
        client,
    } = pair;
    // Clients of the first that are in the middle of a refresh when it goes, and know no more than their last token.
    let refreshing: Vec<_> = (0..8)
        .map(|_| {
            let (node, client) = (first.http.clone(), client.clone());
            tokio::spawn(async move {
                let mut last = node.sign_in(&client).await.refresh_token;
                while let Some(answer) = node.try_refresh(&client, &last).await {
                    last = Tokens::of(&answer).refresh_token;
                }
                last
            })
        })
        .collect();
    let load = Load::begin(&second.http, &tokens.access_token, 4, 20);
    for _ in 0..100 {
        assert_eq!(first.http.call(&tokens.access_token).await.status, 200);
    }
    first.kill().await;
    // A sign-in that began at the first ends at the second.
    assert_eq!(second.http.redeem(&client, &code).await.status, 200);
    for client_of_the_first in refreshing {
        let last = client_of_the_first.await.unwrap();
        let next = Tokens::of(&second.http.refresh(&client, &last).await);
        assert_eq!(second.http.call(&next.access_token).await.status, 200);
    }
    let answers = load.stop().await;
    assert!(answers.iter().all(|called| called.status == 200), "the second noticed");
}
