//! A device asks for its tokens until there are some.

use std::time::Duration;

use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{Device, application, device_metadata};

use super::{refused, with};

#[tokio::test]
async fn a_device_that_asks_too_often_is_told_to_slow_down_each_time_more() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut answers = Vec::new();
    // The interval is 5 seconds, then 10, then 15.
    for wait in [0, 5, 2, 10, 5, 15, 14] {
        application.clock.advance(Duration::from_secs(wait));
        answers.push(device.poll(&application).await.error());
    }
    let (pending, slow) = ("authorization_pending", "slow_down");
    assert_eq!(answers, [pending, pending, slow, pending, slow, pending, pending]);
    let other = Device::of(&application, device.client.clone()).await;
    other.poll(&application).await;
    let other = other.wait_and_poll(&application).await;
    assert_eq!(refused(&other), with(400, pending), "each device has its own interval");
}

#[tokio::test]
async fn a_device_that_was_let_in_gets_its_tokens_however_fast_it_asks() {
    let application = application();
    let device = Device::begin(&application).await;
    device.poll(&application).await;
    assert_eq!(refused(&device.poll(&application).await), with(400, "slow_down"));
    device.let_in(&application, "ada").await;
    assert_eq!(device.poll(&application).await.status, 200);
}

#[tokio::test]
async fn a_device_that_was_turned_away_is_told_so() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    browser.decide(&application, &consent, "deny").await;
    for _ in 0..2 {
        assert_eq!(refused(&device.poll(&application).await), with(400, "access_denied"));
    }
}

#[tokio::test]
async fn codes_expire() {
    let application = application();
    let device = Device::begin(&application).await;
    application.clock.advance(Duration::from_secs(599));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "authorization_pending")
    );
    application.clock.advance(Duration::from_secs(1));
    for wait in [0, 299] {
        application.clock.advance(Duration::from_secs(wait));
        assert_eq!(refused(&device.poll(&application).await), with(400, "expired_token"));
    }
    application.clock.advance(Duration::from_secs(1));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "invalid_grant"),
        "nothing is left of it"
    );
    for kind in [Kind::Device, Kind::DeviceDecision, Kind::UserCode] {
        assert_eq!(application.store.inner().count_of(kind), 0);
    }
}

#[tokio::test]
async fn tokens_that_nobody_fetches_expire() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    application.clock.advance(Duration::from_secs(600));
    assert_eq!(refused(&device.poll(&application).await), with(400, "expired_token"));
    // What was decided is kept no longer than the device itself, or another person could decide in the end.
    for (wait, kept) in [(299, 1), (1, 0)] {
        application.clock.advance(Duration::from_secs(wait));
        for kind in [Kind::Device, Kind::DeviceDecision] {
            assert_eq!(application.store.inner().count_of(kind), kept, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_device_code_is_good_for_its_own_client_alone_and_stays_good_for_it() {
    let application = application();
    let device = Device::begin(&application).await;
    let thief = Device {
        client: Client::register(&application, &device_metadata()).await,
        ..device.clone()
    };
    assert_eq!(refused(&thief.poll(&application).await), with(400, "invalid_grant"));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "authorization_pending"),
        "and its interval has not begun"
    );
    device.let_in(&application, "ada").await;
    assert_eq!(refused(&thief.poll(&application).await), with(400, "invalid_grant"));
    let tokens = Tokens::of(&device.poll(&application).await);
    application.clock.advance(Duration::from_secs(120));
    assert_eq!(refused(&thief.poll(&application).await), with(400, "invalid_grant"));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test]
async fn device_codes_that_cannot_be_any_are_an_invalid_grant_and_none_is_an_invalid_request() {
    let application = application();
    let device = Device::begin(&application).await;
    let (id, _) = device.device_code.split_once('.').unwrap();
    for made_up in [
        "x",
        ".",
        "a.b",
        "\u{e4}.\u{e4}",
        &"A".repeat(1000),
        &format!("{id}.x"),
        &device.user_code,
    ] {
        let answer = device.poll_with(&application, &[("device_code", made_up)]).await;
        assert_eq!(refused(&answer), with(400, "invalid_grant"), "{made_up}");
    }
    let none = device.poll_with(&application, &[("device_code", "")]).await;
    assert_eq!(refused(&none), with(400, "invalid_request"));
}

#[tokio::test]
async fn a_device_code_is_good_once() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    assert_eq!(refused(&device.poll(&application).await), with(400, "invalid_grant"));
    // Polls overlap, and answers get lost: so soon, nobody suspects a theft.
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    let refreshed = device.client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn a_device_code_that_is_used_again_much_later_ends_everything_that_came_of_it() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    application.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        assert_eq!(refused(&device.poll(&application).await), with(400, "invalid_grant"));
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
        let refreshed = device.client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refused(&refreshed), with(400, "invalid_grant"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_parallel_polls_of_a_device_that_was_let_in_one_gets_tokens() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let polls: Vec<_> = (0..64)
        .map(|_| {
            let (application, device) = (application.clone(), device.clone());
            tokio::spawn(async move { device.poll(&application).await })
        })
        .collect();
    let mut answers = Vec::new();
    for poll in polls {
        answers.push(poll.await.unwrap());
    }
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1);
    assert!(bad.iter().all(|answer| answer.error() == "invalid_grant"), "{bad:?}");
    assert_eq!(
        application.store.inner().count_of(Kind::Grant),
        1,
        "the others left nothing behind"
    );
    let tokens = Tokens::of(good[0]);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_parallel_polls_of_a_device_that_waits_one_is_in_time() {
    let application = application();
    let device = Device::begin(&application).await;
    let polls: Vec<_> = (0..64)
        .map(|_| {
            let (application, device) = (application.clone(), device.clone());
            tokio::spawn(async move { device.poll(&application).await.error() })
        })
        .collect();
    let mut pending = 0;
    for poll in polls {
        match poll.await.unwrap().as_str() {
            "authorization_pending" => pending += 1,
            "slow_down" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(pending, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_polls_all_the_time_can_be_let_in_all_the_same() {
    let application = application();
    let device = Device::begin(&application).await;
    let polls: Vec<_> = (0..8)
        .map(|_| {
            let (application, device) = (application.clone(), device.clone());
            tokio::spawn(async move {
                for _ in 0..200 {
                    let answer = device.poll(&application).await;
                    if !["authorization_pending", "slow_down"].contains(&answer.json()["error"].as_str().unwrap_or(""))
                    {
                        return Some(answer);
                    }
                    tokio::task::yield_now().await;
                }
                None
            })
        })
        .collect();
    assert_eq!(device.let_in(&application, "ada").await.status, 200);
    let mut tokens = 0;
    for poll in polls {
        if let Some(answer) = poll.await.unwrap() {
            tokens += usize::from(answer.status == 200);
        }
    }
    tokens += usize::from(device.poll(&application).await.status == 200);
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn each_step_takes_the_round_trips_that_it_says() {
    let application = Application::new(|builder| builder.device_authorization().limits(Limits::unlimited()));
    let count = || application.store.operations();
    let device = Device::begin(&application).await;
    let before = count();
    device.client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(
        count() - before,
        3,
        "the client; then the device and its code at the same time"
    );
    let before = count();
    device.poll(&application).await;
    assert_eq!(
        count() - before,
        4,
        "the client, the device and what was decided at the same time; then the device"
    );
}
