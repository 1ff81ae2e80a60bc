//! Grants end on one machine while another is busy answering.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mcp_oauth_core::clock::{Clock as _, ManualClock, UnixTime};
use mcp_oauth_core::revocation::MAXIMUM_AGE;
use mcp_oauth_core::token::keys::{Algorithm, KeySet};
use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tower::MemoryStore;

const PEOPLE: usize = 12;

/// One answer: who asked, when they did, and the status.
type Answered = (usize, UnixTime, u16);

/// Of two machines that share a store, one ends the grants of half of the people, one after the other. On the other, which
/// remembers all their tokens, a token is refused as soon as the bound is over, and nobody else notices anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_is_refused_elsewhere_within_the_bound_and_no_answer_in_between_is_wrong() {
    let clock = ManualClock::default();
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    let keys = KeySet::generate(Algorithm::Es256).unwrap();
    let machine = || Application::with(store.clone(), clock.clone(), |builder| builder.keys(keys.clone()));
    let (here, there) = (machine(), machine());

    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let client = Client::public(&here).await;
        let person = if number % 2 == 0 { "ada" } else { "grace" };
        let tokens = client.sign_in(&here, person).await;
        assert_eq!(there.call(NOTES, &tokens.access_token).await.status, 200);
        people.push((client, tokens));
    }

    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(number, (_, tokens))| {
            let (there, clock, token) = (there.clone(), clock.clone(), tokens.access_token.clone());
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let mut answered: Vec<Answered> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let asked_at = clock.now();
                    let status = there.call(NOTES, &token).await.status.as_u16();
                    answered.push((number, asked_at, status));
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                answered
            })
        })
        .collect();

    let busy = async |requests: usize| {
        let until = count.load(Ordering::SeqCst) + requests;
        while count.load(Ordering::SeqCst) < until {
            tokio::task::yield_now().await;
        }
    };
    // Between these two times nobody can say yet which answer is right.
    let mut ends: BTreeMap<usize, (UnixTime, UnixTime)> = BTreeMap::new();
    for (number, (client, tokens)) in people.iter().enumerate().take(PEOPLE / 2) {
        busy(50).await;
        let begins = clock.now();
        let revoked = client.post(&here, "/revoke", &[("token", &tokens.refresh_token)]).await;
        assert_eq!(revoked.status, 200);
        ends.insert(number, (begins, clock.now()));
        busy(50).await;
        clock.advance(MAXIMUM_AGE);
        busy(50).await;
        clock.advance(Duration::from_secs(1));
    }
    busy(100).await;
    stop.store(true, Ordering::SeqCst);

    let (mut refused, mut taken) = (0, 0);
    for task in tasks {
        for (number, asked_at, status) in task.await.unwrap() {
            match ends.get(&number) {
                Some((_, ended)) if asked_at >= *ended + MAXIMUM_AGE => {
                    assert_eq!(status, 401, "person {number}, whose grant has ended");
                    refused += 1;
                }
                Some((begins, _)) if asked_at >= *begins => assert!([200, 401].contains(&status)),
                _ => {
                    assert_eq!(status, 200, "person {number}, whose grant has not ended");
                    taken += 1;
                }
            }
        }
    }
    assert!(refused >= 50 && taken >= 200, "{refused} refused, {taken} taken");
}
