//! Signing in on another device.
//!
//! The clock stands still but for what a test lets pass, so that what the program waits for takes no time, and what it must
//! not wait for does not come.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_stdio_bridge::connect::{Grant, TokenError};
use tokio::time::Instant;

use super::*;

/// No sign-in here needs more of these.
const SECONDS: usize = 120;

/// Somebody who reads what is shown.
#[derive(Debug, Default)]
struct Reading(Arc<Mutex<Vec<DevicePrompt>>>);

#[async_trait]
impl Person for Reading {
    async fn visit(&self, url: &Url) {
        panic!("no browser is opened, not for {url} either");
    }

    async fn enter(&self, prompt: &DevicePrompt) {
        self.0.lock().unwrap().push(prompt.clone());
    }
}

/// A clock that is stopped for as long as this is there.
struct Stopped {
    _hold: std::sync::mpsc::Sender<()>,
    client: reqwest::Client,
}

impl Stopped {
    fn new() -> Self {
        let (hold, released) = std::sync::mpsc::channel::<()>();
        // As long as such a task is there, the clock does not go on by itself.
        tokio::task::spawn_blocking(move || {
            let _ = released.recv();
        });
        tokio::time::pause();
        Self {
            _hold: hold,
            client: reqwest::Client::new(),
        }
    }

    /// Lets a second pass again and again, until the call is over. In each, everything that is on its way may arrive.
    async fn until_over<T>(&self, remote: &Remote, call: impl Future<Output = T>) -> T {
        let seconds = async {
            for _ in 0..SECONDS {
                let _ = self.client.get(remote.server()).send().await;
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            result = call => result,
            () = seconds => panic!("the sign-in is not over after {SECONDS} seconds"),
        }
    }
}

fn gaps(moments: &[Instant]) -> Vec<Duration> {
    moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test]
async fn somebody_types_the_code_in_elsewhere_and_is_not_asked_for_more_often_than_the_server_wants() {
    let setting = Setting::new().await;
    let clock = Stopped::new();
    setting
        .remote
        .set(|tricks| tricks.device_errors = ["authorization_pending", "slow_down"].into());
    let shown = Arc::default();
    let connection = setting
        .builder()
        .grant(Grant::Device)
        .person(Reading(Arc::clone(&shown)))
        .build()
        .unwrap();
    let result = clock.until_over(&setting.remote, call(&connection, "read")).await;
    assert_eq!(result.unwrap()["content"][0]["text"], "read");

    let seen = setting.remote.seen();
    assert_eq!(seen.devices.len(), 1);
    assert_eq!(seen.devices[0]["resource"], setting.remote.server());
    assert_eq!(seen.devices[0]["scope"], "read");
    let shown = shown.lock().unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].user_code, "BCDF-GHJK");
    assert!(shown[0].verification_uri.path().ends_with("/enter"));
    let gaps = gaps(&seen.device_codes);
    assert_eq!(gaps.len(), 2, "pending, slower, and then a token");
    assert!(gaps[0] >= Duration::from_secs(2), "{gaps:?}");
    // Slower by five seconds (RFC 8628 §3.5).
    assert!(gaps[1] >= Duration::from_secs(7), "{gaps:?}");
}

#[tokio::test]
async fn a_sign_in_that_was_refused_elsewhere_is_over() {
    let setting = Setting::new().await;
    let clock = Stopped::new();
    setting
        .remote
        .set(|tricks| tricks.device_errors = ["access_denied"].into());
    let builder = setting.builder().grant(Grant::Device).person(Reading::default());
    let connection = builder.build().unwrap();
    let result = clock.until_over(&setting.remote, call(&connection, "read")).await;
    let error = refusal(result);
    assert!(
        matches!(&error, AuthorizationError::Token(TokenError::Refused { code, .. }) if code == "access_denied"),
        "{error}"
    );
    assert_eq!(setting.remote.seen().device_codes.len(), 1);
}

#[tokio::test]
async fn a_code_that_nobody_types_in_is_not_waited_for_beyond_its_life() {
    let setting = Setting::new().await;
    let clock = Stopped::new();
    setting
        .remote
        .set(|tricks| tricks.device_errors = ["authorization_pending"; SECONDS].into());
    let builder = setting.builder().grant(Grant::Device).person(Reading::default());
    let connection = builder.build().unwrap();
    let began = Instant::now();
    let result = clock.until_over(&setting.remote, call(&connection, "read")).await;
    let error = refusal(result);
    assert!(matches!(error, AuthorizationError::TimedOut), "{error}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(60), "{waited:?}");
}
