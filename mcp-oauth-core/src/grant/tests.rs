//! The transitions of a grant, one by one.

use super::*;
use crate::client::redirect_uri_policy::RedirectUriPolicy;
use crate::pkce::{CodeChallenge, CodeVerifier};
use crate::randomness::SystemRandomness;
use code::RedemptionRefused;
use refresh::RefreshRefused;

const WINDOW: Duration = Duration::from_secs(60);
const REDIRECT_URI: &str = "https://client.example/callback";

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(1_790_000_000 + seconds)
}

fn client() -> ClientId {
    "client_of_these_tests".parse().unwrap()
}

fn somebody_else() -> ClientId {
    "another_client".parse().unwrap()
}

fn approval() -> Approval {
    Approval {
        client_id: client(),
        identity: Identity::new("github", "1"),
        resources: vec!["https://mcp.example.com/mcp".parse().unwrap()],
        scopes: "mcp".parse().unwrap(),
        upstream: None,
    }
}

/// A grant with its code, and the verifier of that code.
fn issued() -> (Grant, AuthorizationCode, CodeVerifier) {
    let verifier: CodeVerifier = "v".repeat(43).parse().unwrap();
    let binding = CodeBinding {
        redirect_uri: RedirectUriPolicy::default().take(REDIRECT_URI).unwrap(),
        code_challenge: CodeChallenge::of(&verifier),
    };
    let (grant, code) = Grant::issue(
        approval(),
        binding,
        at(0),
        &GrantLifetimes::default(),
        &SystemRandomness,
    );
    (grant, code, verifier)
}

/// Redeems the code as its own client would.
fn redeem(
    grant: &Grant,
    code: &AuthorizationCode,
    verifier: &CodeVerifier,
    now: UnixTime,
) -> Transition<Option<RefreshToken>, RedemptionRefused> {
    let redemption = Redemption {
        code,
        client_id: &client(),
        redirect_uri: Some(REDIRECT_URI),
        code_verifier: verifier,
        with_refresh_token: true,
    };
    grant.redeem(&redemption, now, &SystemRandomness)
}

/// A grant whose code was redeemed, and its first refresh token.
fn redeemed() -> (Grant, RefreshToken) {
    let (grant, token) = Grant::without_code(approval(), true, at(0), &SystemRandomness);
    (grant, token.unwrap())
}

fn refresh(grant: &Grant, token: &RefreshToken, now: UnixTime) -> Transition<RefreshToken, RefreshRefused> {
    grant.refresh(token, &client(), now, WINDOW, &SystemRandomness)
}

fn stored<T, R: fmt::Debug>(transition: Transition<T, R>) -> (Grant, T) {
    match transition {
        Transition::Store(grant, answer) => (*grant, answer),
        Transition::Answer(_) => panic!("nothing to write"),
        Transition::End(reason) => panic!("ended: {reason:?}"),
        Transition::Refuse(reason) => panic!("refused: {reason:?}"),
        Transition::Again => panic!("a grant by itself has nothing to read again"),
    }
}

fn answered<T, R: fmt::Debug>(transition: Transition<T, R>) -> T {
    match transition {
        Transition::Answer(answer) => answer,
        Transition::Store(..) => panic!("something to write"),
        Transition::End(reason) => panic!("ended: {reason:?}"),
        Transition::Refuse(reason) => panic!("refused: {reason:?}"),
        Transition::Again => panic!("a grant by itself has nothing to read again"),
    }
}

/// How it ended, or why it was refused.
fn outcome<T, R>(transition: Transition<T, R>) -> Result<&'static str, Result<EndReason, R>> {
    match transition {
        Transition::Store(..) => Ok("something to write"),
        Transition::Answer(_) => Ok("the same again"),
        Transition::End(reason) => Err(Ok(reason)),
        Transition::Refuse(reason) => Err(Err(reason)),
        Transition::Again => panic!("a grant by itself has nothing to read again"),
    }
}

#[test]
fn a_code_is_good_for_its_lifetime_and_not_a_second_longer() {
    let (grant, code, verifier) = issued();
    assert!(outcome(redeem(&grant, &code, &verifier, at(59))).is_ok());
    assert_eq!(
        outcome(redeem(&grant, &code, &verifier, at(60))),
        Err(Err(RedemptionRefused::Expired))
    );
}

#[test]
fn a_redemption_brings_a_refresh_token_to_a_client_that_may_have_one() {
    let (grant, code, verifier) = issued();
    for may in [true, false] {
        let redemption = Redemption {
            code: &code,
            client_id: &client(),
            redirect_uri: None,
            code_verifier: &verifier,
            with_refresh_token: may,
        };
        let (next, token) = stored(grant.redeem(&redemption, at(5), &SystemRandomness));
        assert_eq!(token.is_some(), may);
        assert_eq!(next.last_used_at, at(5));
        assert_eq!(next.approved_at, at(0));
    }
}

#[test]
fn whoever_shows_something_wrong_changes_nothing_however_far_the_grant_is() {
    let (fresh, code, verifier) = issued();
    let (used, _) = stored(redeem(&fresh, &code, &verifier, at(1)));
    let ended = used.ended();
    let other_code = AuthorizationCode {
        grant: fresh.id.clone(),
        secret: Secret::random(),
    };
    let other_verifier: CodeVerifier = "w".repeat(43).parse().unwrap();
    let good = || (&code, client(), Some(REDIRECT_URI), &verifier);
    for grant in [&fresh, &used, &ended] {
        for ((code, client_id, redirect_uri, code_verifier), refused) in [
            ((&other_code, good().1, good().2, good().3), RedemptionRefused::Unknown),
            (
                (good().0, somebody_else(), good().2, good().3),
                RedemptionRefused::OtherClient,
            ),
            (
                (good().0, good().1, good().2, &other_verifier),
                RedemptionRefused::Verifier,
            ),
            (
                (good().0, good().1, Some("https://evil.example"), good().3),
                RedemptionRefused::RedirectUri,
            ),
        ] {
            let redemption = Redemption {
                code,
                client_id: &client_id,
                redirect_uri,
                code_verifier,
                with_refresh_token: true,
            };
            assert_eq!(
                outcome(grant.redeem(&redemption, at(2), &SystemRandomness)),
                Err(Err(refused))
            );
        }
    }
}

#[test]
fn a_second_valid_use_of_a_code_ends_the_grant() {
    let (grant, code, verifier) = issued();
    let (used, _) = stored(redeem(&grant, &code, &verifier, at(1)));
    // Even when the code has run out since.
    for now in [at(1), at(600)] {
        assert_eq!(
            outcome(redeem(&used, &code, &verifier, now)),
            Err(Ok(EndReason::CodeReused))
        );
    }
    let ended = used.ended();
    assert!(ended.has_ended() && !used.has_ended());
    assert_eq!(
        outcome(redeem(&ended, &code, &verifier, at(1))),
        Err(Ok(EndReason::AlreadyEnded))
    );
}

#[test]
fn a_grant_that_no_code_led_to_has_none_to_redeem() {
    let (grant, _) = redeemed();
    let (_, code, verifier) = issued();
    assert_eq!(
        outcome(redeem(&grant, &code, &verifier, at(0))),
        Err(Err(RedemptionRefused::Unknown))
    );
}

#[test]
fn a_refresh_token_is_replaced_by_its_use() {
    let (grant, first) = redeemed();
    let (next, second) = stored(refresh(&grant, &first, at(7)));
    assert_ne!(first.expose().expose(), second.expose().expose());
    assert_eq!(next.last_used_at, at(7));
    assert!(grant.is_current(&first) && !grant.is_current(&second));
    assert!(next.is_current(&second) && !next.is_current(&first));
    let (after, third) = stored(refresh(&next, &second, at(8)));
    assert!(after.is_current(&third));
}

#[test]
fn the_last_token_that_was_replaced_gets_the_same_successor_within_the_window() {
    let (grant, first) = redeemed();
    let (next, second) = stored(refresh(&grant, &first, at(100)));
    for now in [at(100), at(159)] {
        let again = answered(refresh(&next, &first, now));
        assert_eq!(again.expose().expose(), second.expose().expose());
    }
    assert_eq!(
        outcome(refresh(&next, &first, at(160))),
        Err(Ok(EndReason::RefreshTokenReused))
    );
}

#[test]
fn what_the_store_keeps_of_a_successor_opens_to_nobody_without_the_token_before_it() {
    let (grant, first) = redeemed();
    let (next, second) = stored(refresh(&grant, &first, at(0)));
    let record = serde_json::to_string(&next).unwrap();
    for token in [&first, &second] {
        let written = token.expose();
        let (_, rest) = written.expose().split_once('.').unwrap();
        assert!(!record.contains(&rest[6..49]), "a secret can be read");
    }
    let read: Grant = serde_json::from_str(&record).unwrap();
    assert_eq!(
        answered(refresh(&read, &first, at(1))).expose().expose(),
        second.expose().expose()
    );
}

#[test]
fn a_token_from_further_back_is_a_straggler_for_as_long_as_its_own_replacement_is_recent() {
    let (mut grant, first) = redeemed();
    let mut tokens = vec![first];
    // Replaced at 0, 30, 60, …
    for step in 0..4 {
        let (next, token) = stored(refresh(&grant, tokens.last().unwrap(), at(30 * step)));
        grant = next;
        tokens.push(token);
    }
    let superseded = Err(Err(RefreshRefused::Superseded));
    let reused = Err(Ok(EndReason::RefreshTokenReused));
    assert_eq!(outcome(refresh(&grant, &tokens[3], at(100))), Ok("the same again"));
    assert_eq!(outcome(refresh(&grant, &tokens[2], at(100))), superseded);
    assert_eq!(outcome(refresh(&grant, &tokens[2], at(119))), superseded);
    assert_eq!(outcome(refresh(&grant, &tokens[2], at(120))), reused);
    assert_eq!(outcome(refresh(&grant, &tokens[1], at(100))), reused);
    assert_eq!(outcome(refresh(&grant, &tokens[0], at(100))), reused);
}

#[test]
fn a_token_that_is_too_old_to_be_remembered_counts_as_old_as_the_oldest_that_is() {
    let (mut grant, first) = redeemed();
    let mut newest = first.clone();
    for step in 0..20 {
        (grant, newest) = stored(refresh(&grant, &newest, at(step)));
    }
    // The last eight were replaced from 12 on.
    assert_eq!(
        outcome(refresh(&grant, &first, at(71))),
        Err(Err(RefreshRefused::Superseded))
    );
    assert_eq!(
        outcome(refresh(&grant, &first, at(72))),
        Err(Ok(EndReason::RefreshTokenReused))
    );
    assert!(
        serde_json::to_vec(&grant).unwrap().len() < 1500,
        "a grant does not grow"
    );
}

#[test]
fn a_token_that_the_grant_never_issued_does_nothing() {
    let (grant, first) = redeemed();
    let (next, second) = stored(refresh(&grant, &first, at(0)));
    let (_, of_another_grant) = redeemed();
    let written = second.expose();
    let text = written.expose();
    let changed = |position: usize| -> RefreshToken {
        let mut bytes = text.as_bytes().to_vec();
        bytes[position] = if bytes[position] == b'A' { b'Q' } else { b'A' };
        String::from_utf8(bytes).unwrap().parse().unwrap()
    };
    // Its generation, its secret, its tag.
    for made_up in [changed(24), changed(40), changed(80), of_another_grant] {
        assert_eq!(
            outcome(refresh(&next, &made_up, at(600))),
            Err(Err(RefreshRefused::Unknown))
        );
        assert!(!next.issued(&made_up, &client()));
    }
    let (without_refresh, _) = Grant::without_code(approval(), false, at(0), &SystemRandomness);
    assert_eq!(
        outcome(refresh(&without_refresh, &second, at(0))),
        Err(Err(RefreshRefused::Unknown))
    );
    assert!(!without_refresh.issued(&second, &client()));
    assert!(!without_refresh.is_current(&second));
}

#[test]
fn a_refresh_token_is_good_for_its_own_client_alone() {
    let (grant, first) = redeemed();
    let (next, second) = stored(refresh(&grant, &first, at(0)));
    for token in [&first, &second] {
        let stolen = next.refresh(token, &somebody_else(), at(600), WINDOW, &SystemRandomness);
        assert_eq!(outcome(stolen), Err(Err(RefreshRefused::OtherClient)));
        assert!(next.issued(token, &client()) && !next.issued(token, &somebody_else()));
    }
}

#[test]
fn nothing_comes_of_a_grant_that_has_ended() {
    let (grant, token) = redeemed();
    let ended = grant.ended();
    assert_eq!(
        outcome(refresh(&ended, &token, at(0))),
        Err(Ok(EndReason::AlreadyEnded))
    );
    assert!(ended.issued(&token, &client()) && !ended.is_current(&token));
}

#[test]
fn each_end_has_a_word_of_its_own_in_the_log() {
    let words = [
        EndReason::CodeReused,
        EndReason::RefreshTokenReused,
        EndReason::NoLongerAllowed,
        EndReason::Revoked,
        EndReason::AlreadyEnded,
    ]
    .map(EndReason::as_str);
    let expected = [
        "code_reused",
        "refresh_token_reused",
        "no_longer_allowed",
        "revoked",
        "already_ended",
    ];
    assert_eq!(words, expected);
}

#[test]
fn a_record_is_kept_for_as_long_as_something_may_come_of_it() {
    let lifetimes = GrantLifetimes::default();
    let access_token = Duration::from_secs(3600);
    let kept = |grant: &Grant, now| grant.time_to_live(now, access_token, &lifetimes);
    let (fresh, code, verifier) = issued();
    assert_eq!(
        kept(&fresh, at(20)),
        Duration::from_secs(40),
        "until its code is of no use"
    );
    let (used, _) = stored(redeem(&fresh, &code, &verifier, at(20)));
    assert_eq!(kept(&used, at(20)), lifetimes.refresh_token);
    let (without_refresh, _) = Grant::without_code(approval(), false, at(0), &SystemRandomness);
    assert_eq!(
        kept(&without_refresh, at(20)),
        access_token,
        "while there are tokens to end"
    );
    assert_eq!(kept(&used.ended(), at(20)), access_token);
    let redemption = Redemption {
        code: &code,
        client_id: &client(),
        redirect_uri: None,
        code_verifier: &verifier,
        with_refresh_token: false,
    };
    let (used, _) = stored(fresh.redeem(&redemption, at(20), &SystemRandomness));
    assert_eq!(kept(&used, at(20)), access_token);
}

#[test]
fn an_identifier_of_a_grant_has_22_characters_of_base64url() {
    let id = GrantId::random();
    assert_eq!(String::from(id.clone()), id.as_str());
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in [
        "",
        &"A".repeat(21),
        &"A".repeat(23),
        &"A".repeat(21).replace('A', "é"),
        "AAAAAAAAAAAAAAAAAAAAA.",
    ] {
        assert_eq!(text.parse::<GrantId>(), Err(InvalidGrantId), "{text}");
    }
}

#[test]
fn what_cannot_be_a_refresh_token_is_not_looked_up() {
    let (_, token) = redeemed();
    let written = token.expose();
    let text = written.expose();
    assert_eq!(text.parse::<RefreshToken>().unwrap().expose().expose(), text);
    let (grant, rest) = text.split_once('.').unwrap();
    for wrong in [
        grant.to_owned(),
        format!("{grant}."),
        format!("{grant}.{}", &rest[1..]),
        format!("{grant}.{rest}A"),
        format!("x{grant}.{rest}"),
        format!("{grant}.!!!!!!{}", &rest[6..]),
        // The right number of bytes, and no border of characters where the parts meet.
        format!("{grant}.AAAAAé{}", &rest[7..]),
    ] {
        assert!(wrong.parse::<RefreshToken>().is_err(), "{wrong}");
    }
}

#[test]
fn a_code_names_its_grant_and_keeps_its_secret() {
    let (grant, code, _) = issued();
    let written = code.expose();
    let read: AuthorizationCode = written.expose().parse().unwrap();
    assert_eq!(read.grant(), &grant.id);
    assert_eq!(code.to_string(), format!("{}.…", grant.id));
    assert!(!format!("{code:?}").contains(code.secret.expose()));
}
