//! The steps of a transaction, in order and out of it.

use super::*;
use crate::client::redirect_uri_policy::RedirectUriPolicy;
use crate::randomness::SystemRandomness;

const END: UnixTime = UnixTime::from_seconds(600);

fn request() -> AuthorizationRequest {
    let verifier: CodeVerifier = "v".repeat(43).parse().unwrap();
    AuthorizationRequest {
        client_id: "client_of_these_tests".parse().unwrap(),
        destination: Destination::Client {
            redirect_uri: RedirectUriPolicy::default()
                .take("https://client.example/callback")
                .unwrap(),
            state: Some(ClientState("state of the client".to_owned())),
            code_challenge: CodeChallenge::of(&verifier),
        },
        resources: vec!["https://mcp.example.com/mcp".parse().unwrap()],
        scopes: ScopeSet::default(),
    }
}

/// A transaction at its beginning, and the browser that began it.
fn begun() -> (Transaction, BrowserSecret) {
    let browser = BrowserSecret::drawn_from(&SystemRandomness);
    (Transaction::begin(request(), &browser, END, &SystemRandomness), browser)
}

/// A transaction to which the person has consented, with their browser, and what that has for the callback.
const PROVIDER: &str = "github";

fn approved() -> (Transaction, BrowserSecret, SignInSecret, SignInState) {
    let (transaction, browser) = begun();
    let (next, sign_in) = transaction.approve(&browser, END).unwrap();
    let state = SignInState::new(&transaction.id, &sign_in, PROVIDER);
    (next.unwrap(), browser, sign_in, state)
}

#[test]
fn whoever_approved_and_comes_back_in_the_same_browser_is_let_through() {
    let (transaction, _, sign_in, state) = approved();
    assert_eq!(transaction.returned(&state, Some(&sign_in), PROVIDER), Ok(()));
    // As they come back in a request: a parameter and a cookie.
    let state: SignInState = state.expose().expose().parse().unwrap();
    let cookie = SignInSecret::from_cookie(sign_in.expose());
    assert_eq!(state.transaction(), &transaction.id);
    assert_eq!(transaction.returned(&state, Some(&cookie), PROVIDER), Ok(()));
}

/// V-35, V-39: what went to one provider comes back from no other.
#[test]
fn nobody_comes_back_from_another_provider_than_they_were_sent_to() {
    let (transaction, browser, sign_in, state) = approved();
    let other_browser = Err(TransactionRefused::OtherBrowser);
    assert_eq!(transaction.returned(&state, Some(&sign_in), "another"), other_browser);
    let to_another = SignInState::new(&transaction.id, &sign_in, "another");
    assert_eq!(
        transaction.returned(&to_another, Some(&sign_in), PROVIDER),
        other_browser
    );
    assert_eq!(transaction.returned(&to_another, Some(&sign_in), "another"), Ok(()));
    assert_ne!(
        sign_in.code_verifier(PROVIDER).expose(),
        sign_in.code_verifier("another").expose()
    );
    // Choosing again after going back is choosing from the same.
    let again = transaction.goes_to_sign_in(&browser).unwrap();
    assert_eq!(again.expose(), sign_in.expose());
    let (begun, browser) = begun();
    assert_eq!(
        begun.goes_to_sign_in(&browser).err(),
        Some(TransactionRefused::NotApproved)
    );
}

#[test]
fn state_and_cookie_are_both_asked_for() {
    let (transaction, _, sign_in, state) = approved();
    let (other, _, other_sign_in, other_state) = approved();
    let other_browser = Err(TransactionRefused::OtherBrowser);
    assert_eq!(transaction.returned(&state, None, PROVIDER), other_browser);
    assert_eq!(
        transaction.returned(&state, Some(&other_sign_in), PROVIDER),
        other_browser
    );
    assert_eq!(
        transaction.returned(&other_state, Some(&sign_in), PROVIDER),
        other_browser
    );
    // An attacker's own pair, brought to somebody else's transaction, and the other way round.
    assert_eq!(
        transaction.returned(&other_state, Some(&other_sign_in), PROVIDER),
        other_browser
    );
    assert_eq!(other.returned(&state, Some(&sign_in), PROVIDER), other_browser);
}

#[test]
fn nobody_comes_back_before_somebody_has_approved_or_after_it_is_over() {
    let (approved, browser, sign_in, state) = approved();
    let (begun, _) = begun();
    assert_eq!(
        begun.returned(&state, Some(&sign_in), PROVIDER),
        Err(TransactionRefused::NotApproved)
    );
    let denied = approved.deny(&browser).unwrap().unwrap();
    for over in [approved.completed(), denied] {
        assert_eq!(
            over.returned(&state, Some(&sign_in), PROVIDER),
            Err(TransactionRefused::Finished)
        );
    }
}

#[test]
fn approving_twice_leads_to_the_same_place_twice() {
    let (transaction, browser, sign_in, _) = approved();
    let (next, again) = transaction.approve(&browser, END).unwrap();
    assert!(next.is_none(), "nothing to write");
    assert_eq!(again.expose(), sign_in.expose());
}

#[test]
fn a_person_may_change_their_mind_until_they_have_denied() {
    let (transaction, browser, _, _) = approved();
    let denied = transaction.deny(&browser).unwrap().unwrap();
    assert!(denied.deny(&browser).unwrap().is_none(), "denying twice is denying");
    assert_eq!(denied.approve(&browser, END).err(), Some(TransactionRefused::Finished));
}

#[test]
fn nothing_more_happens_to_what_is_over() {
    let (transaction, browser, _, _) = approved();
    let completed = transaction.completed();
    assert_eq!(
        completed.approve(&browser, END).err(),
        Some(TransactionRefused::Finished)
    );
    assert_eq!(completed.deny(&browser).err(), Some(TransactionRefused::Finished));
}

#[test]
fn another_browser_can_neither_approve_nor_deny() {
    let (approved, browser, _, _) = approved();
    let (begun, _) = begun();
    let denied = approved.deny(&browser).unwrap().unwrap();
    let other = BrowserSecret::drawn_from(&SystemRandomness);
    for transaction in [begun, approved, denied] {
        assert_eq!(
            transaction.approve(&other, END).err(),
            Some(TransactionRefused::OtherBrowser)
        );
        assert_eq!(transaction.deny(&other).err(), Some(TransactionRefused::OtherBrowser));
    }
}

#[test]
fn a_browser_is_known_by_its_cookie_and_has_another_secret_for_each_sign_in() {
    let browser = BrowserSecret::drawn_from(&SystemRandomness);
    assert_ne!(browser.expose(), BrowserSecret::drawn_from(&SystemRandomness).expose());
    let (one, other) = (
        Transaction::begin(request(), &browser, END, &SystemRandomness),
        Transaction::begin(request(), &browser, END, &SystemRandomness),
    );
    let same = BrowserSecret::from_cookie(browser.expose());
    let (_, of_one) = one.approve(&same, END).unwrap();
    let (_, of_other) = other.approve(&same, END).unwrap();
    assert_ne!(of_one.expose(), of_other.expose());
    assert_ne!(of_one.expose(), browser.expose());
    assert_ne!(
        of_one.code_verifier(PROVIDER).expose(),
        of_other.code_verifier(PROVIDER).expose()
    );
}

#[test]
fn what_is_stored_holds_nothing_that_a_browser_shows() {
    let (transaction, browser, sign_in, state) = approved();
    let record = serde_json::to_string(&transaction).unwrap();
    let state = state.expose();
    let (_, proof) = state.expose().split_once('.').unwrap();
    for secret in [
        browser.expose(),
        sign_in.expose(),
        proof,
        sign_in.code_verifier(PROVIDER).expose(),
    ] {
        assert!(!record.contains(secret));
    }
    let read: Transaction = serde_json::from_str(&record).unwrap();
    assert!(read.approve(&browser, END).is_ok());
}

#[test]
fn debug_output_shows_nothing_that_somebody_could_use() {
    let (transaction, browser, sign_in, state) = approved();
    let shown = format!("{transaction:?} {browser:?} {sign_in:?} {state:?} {:?}", transaction.id);
    let state = state.expose();
    for secret in [
        browser.expose(),
        sign_in.expose(),
        state.expose(),
        transaction.id.as_str(),
        "state of the client",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    for name in ["TransactionId(…)", "ClientState(…)"] {
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
fn an_identifier_of_a_transaction_has_43_characters_of_base64url() {
    let id = TransactionId::drawn_from(&SystemRandomness);
    assert_eq!(id.as_str().parse(), Ok(id.clone()));
    assert_eq!(String::from(id.clone()), id.as_str());
    assert!(format!("{}-_", "A".repeat(41)).parse::<TransactionId>().is_ok());
    for text in ["", &"A".repeat(42), &"A".repeat(44), &format!("{}.", "A".repeat(42))] {
        assert_eq!(text.parse::<TransactionId>(), Err(InvalidTransactionId), "{text}");
    }
    for text in [id.as_str(), "", ".", &format!("x{}.proof", id.as_str())] {
        assert!(text.parse::<SignInState>().is_err(), "{text}");
    }
}

#[test]
fn the_consent_page_is_shown_to_its_browser_until_it_is_over() {
    let (begun, browser) = begun();
    let (approved, ..) = begun.approve(&browser, END).unwrap();
    let approved = approved.unwrap();
    let stranger = BrowserSecret::drawn_from(&SystemRandomness);
    for going_on in [&begun, &approved] {
        assert_eq!(going_on.is_shown_to(&browser), Ok(()));
        assert_eq!(going_on.is_shown_to(&stranger), Err(TransactionRefused::OtherBrowser));
    }
    let denied = begun.deny(&browser).unwrap().unwrap();
    for over in [denied, approved.completed()] {
        assert_eq!(over.is_shown_to(&browser), Err(TransactionRefused::Finished));
    }
}
