//! How people stand with their provider: when it is asked again, and what becomes of what they have let in.

use std::time::Duration;

use mcp_oauth_core::identity::{Identity, Standing};
use mcp_oauth_tests::application::{Application, NOTES, files, notes};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tower::Lifetimes;

use super::{ALMOST_CHECK, ALMOST_MAXIMUM_AGE, CHECK, MAXIMUM_AGE, World, ada, ending, list, member, unavailable};

#[tokio::test]
async fn the_provider_is_asked_at_a_refresh_and_no_more_often_than_configured() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let mut tokens = world.sign_in(&application, &client, ada()).await;
    assert_eq!(world.provider.asked(), 0, "it has just said who this is");
    for (wait, asked) in [
        (ALMOST_CHECK, 0),
        (Duration::from_secs(1), 1),
        (CHECK / 2, 1),
        (CHECK / 2, 2),
    ] {
        world.clock.advance(wait);
        world.provider.then_standing(Ok(Standing::Confirmed));
        let repeated = tokens.refresh_token.clone();
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        assert_eq!(client.refresh(&application, &repeated, &[]).await.status, 200);
        assert_eq!(world.provider.asked(), asked);
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(world.provider.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_refreshes_get_one_successor_although_they_find_the_provider_to_ask() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    let refresh = || {
        let (application, client, token) = (application.clone(), client.clone(), tokens.refresh_token.clone());
        tokio::spawn(async move { Tokens::of(&client.refresh(&application, &token, &[]).await).refresh_token })
    };
    let mut successors = Vec::new();
    for refreshing in (0..64).map(|_| refresh()).collect::<Vec<_>>() {
        successors.push(refreshing.await.unwrap());
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    let asked = world.provider.asked();
    assert!(
        (1..=64).contains(&asked),
        "once for each refresh at most, and not {asked} times"
    );
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
    assert_eq!(world.provider.asked(), asked, "a repeat asks nobody");
}

#[tokio::test]
async fn a_new_login_is_taken_over_and_the_subject_stays() {
    let world = World::new();
    let application = world.scripted("ada, countess");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    world
        .provider
        .then_standing(Ok(Standing::Changed(ada().with_login("countess"))));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    let seen = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(
        (seen["subject"].as_str(), seen["username"].as_str()),
        (Some("scripted:1"), Some("countess"))
    );
    let without_the_new_one = world.scripted("ada");
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&without_the_new_one)
        .await;
}

/// Attack V-18, defect S14.
#[tokio::test]
async fn leaving_the_organisation_ends_the_next_refresh_and_the_tokens() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, member()).await;
    world.clock.advance(CHECK);
    world.provider.then_standing(Ok(Standing::Changed(ada())));
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&application)
        .await;
}

/// Attack V-18.
#[tokio::test]
async fn an_account_that_is_gone_takes_its_grants_with_it() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    world.provider.then_standing(Ok(Standing::Gone));
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn an_answer_about_somebody_else_is_no_answer() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    let mallory = Identity::new("scripted", "666").with_login("mallory");
    world.provider.then_standing(Ok(Standing::Changed(mallory)));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    let seen = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(
        (seen["subject"].as_str(), seen["username"].as_str()),
        (Some("scripted:1"), Some("ada"))
    );
}

#[tokio::test]
async fn an_outage_of_the_provider_ends_nobodys_session() {
    for person in [ada(), member()] {
        let world = World::new();
        let application = world.scripted("ada, org=acme");
        let client = Client::public(&application).await;
        let mut tokens = world.sign_in(&application, &client, person).await;
        // While what was learnt is young enough, nobody notices; and it is not asked more often for it.
        for _ in 0..2 {
            world.provider.then_standing(unavailable());
            for _ in 0..2 {
                world.clock.advance(CHECK / 2);
                tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
            }
        }
        assert_eq!(world.provider.asked(), 2);
        // Once it is too old, clients are told to come again, as often as they come.
        world.clock.advance(MAXIMUM_AGE);
        for _ in 0..3 {
            world.provider.then_standing(unavailable());
            let later = client.refresh(&application, &tokens.refresh_token, &[]).await;
            assert_eq!(
                (later.status.as_u16(), later.error()),
                (503, "temporarily_unavailable".to_owned())
            );
            assert_ne!(later.header("retry-after"), "");
        }
        assert_eq!(world.provider.asked(), 5);
        // And the first answer makes up for all of it.
        world.provider.then_standing(Ok(Standing::Confirmed));
        for _ in 0..2 {
            tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        }
        assert_eq!(world.provider.asked(), 6);
    }
}

#[tokio::test]
async fn who_is_let_in_for_an_organisation_signs_in_again_when_it_cannot_be_confirmed() {
    for (allow, ends) in [
        ("org=acme", true),
        ("org=acme, ada", false),
        ("org=acme, scripted:1", false),
        ("*", false),
        ("email=ada@example.com", true),
        ("domain=example.com", true),
    ] {
        let world = World::new();
        let application = world.scripted(allow);
        let client = Client::public(&application).await;
        let person = member().with_verified_email("ada@example.com");
        let tokens = world.sign_in(&application, &client, person.clone()).await;
        world.clock.advance(ALMOST_MAXIMUM_AGE);
        let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        world.clock.advance(Duration::from_secs(1));
        let repeated = tokens.refresh_token.clone();
        let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refreshed.status == 400, ends, "{allow}: {refreshed:?}");
        if ends {
            ending(&application, &client, tokens)
                .has_come_at_a_refresh_at(&application)
                .await;
            world.sign_in(&application, &client, person).await;
        } else {
            assert_eq!(client.refresh(&application, &repeated, &[]).await.status, 200);
        }
    }
}

/// Of two lists, the one that is less sure decides for how long both are believed.
#[tokio::test]
async fn who_needs_an_organisation_for_one_of_two_lists_signs_in_again_too() {
    for (allow, of_notes) in [("*", "org=acme"), ("org=acme", "*"), ("scripted:1", "org=acme")] {
        let world = World::new();
        let resources = [notes().allow(list(of_notes)), files()];
        let application = Application::with_resources(world.store.clone(), world.clock.clone(), resources, |builder| {
            builder.identity(world.provider.clone()).allow(list(allow))
        });
        let client = Client::public(&application).await;
        let tokens = world.sign_in(&application, &client, member()).await;
        world.clock.advance(MAXIMUM_AGE);
        ending(&application, &client, tokens)
            .has_come_at_a_refresh_at(&application)
            .await;
    }
}

/// Otherwise nobody could tell a provider that is back from one that cannot be asked.
#[tokio::test]
async fn what_is_too_old_is_asked_for_although_somebody_has_just_asked() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, member()).await;
    world.clock.advance(ALMOST_MAXIMUM_AGE);
    world.provider.then_standing(unavailable());
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    world.clock.advance(Duration::from_secs(1));
    world.provider.then_standing(Ok(Standing::Confirmed));
    let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!((refreshed.status.as_u16(), world.provider.asked()), (200, 2));
}

#[tokio::test]
async fn what_is_confirmed_or_told_anew_in_time_lasts() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let mut tokens = world.sign_in(&application, &client, member()).await;
    for number in 0..6 {
        world.clock.advance(ALMOST_MAXIMUM_AGE);
        let renamed = Standing::Changed(member().with_login(format!("ada-{number}")));
        world
            .provider
            .then_standing(Ok(if number % 2 == 0 { Standing::Confirmed } else { renamed }));
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    }
}

#[tokio::test]
async fn an_address_is_as_old_as_the_sign_in_whatever_is_confirmed_of_the_person() {
    let world = World::new();
    let application = world.scripted("domain=example.com");
    let client = Client::public(&application).await;
    let person = ada().with_verified_email("ada@example.com");
    let tokens = world.sign_in(&application, &client, person).await;
    world.clock.advance(MAXIMUM_AGE / 2);
    world.provider.then_standing(Ok(Standing::Confirmed));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    world.clock.advance(MAXIMUM_AGE / 2);
    world.provider.then_standing(Ok(Standing::Confirmed));
    ending(&application, &client, tokens)
        .has_come_at_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn a_repeat_within_the_window_is_answered_although_time_is_over() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, member()).await;
    world.clock.advance(ALMOST_MAXIMUM_AGE);
    let next = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    world.clock.advance(Duration::from_secs(30));
    let repeat = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    assert_eq!(repeat.refresh_token, next.refresh_token);
}

#[tokio::test]
async fn both_times_are_the_operators_to_set() {
    let world = World::new();
    let mut lifetimes = Lifetimes::default();
    lifetimes.identity_check = Duration::ZERO;
    lifetimes.maximum_identity_age = Duration::MAX;
    let application = Application::with(world.store.clone(), world.clock.clone(), |builder| {
        builder
            .identity(world.provider.clone())
            .allow(list("org=acme"))
            .lifetimes(lifetimes)
    });
    let client = Client::public(&application).await;
    let mut tokens = world.sign_in(&application, &client, member()).await;
    for asked in 1..4 {
        world.clock.advance(MAXIMUM_AGE * 2);
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        assert_eq!(world.provider.asked(), asked);
    }
}

/// A provider that was replaced is not asked about people whom it never knew.
#[tokio::test]
async fn only_the_provider_who_said_who_somebody_is_is_asked() {
    let world = World::new();
    let before = world.application("*", [None, None]);
    let client = Client::public(&before).await;
    let tokens = client.sign_in(&before, "ada").await;
    world.clock.advance(CHECK);
    world.provider.then_standing(Ok(Standing::Gone));
    let now = world.scripted("*");
    assert_eq!(client.refresh(&now, &tokens.refresh_token, &[]).await.status, 200);
    assert_eq!(world.provider.asked(), 0);
}
