//! A backup brings everything back that was acknowledged before it. Behaviour 45: backup and restore, there and back.

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_oauth_core::backup::{self, BackupError};
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_core::server::operator::{ExistingRecords, ImportOptions, ImportReport, OperatorError, Whose};
use mcp_oauth_core::store::{Key, Kind, Store as _};
use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Answer, Application, NOTES};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::failing_store::FailingStore;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A node with a store of its own, and its own secret for the keys in there.
fn node_with(
    clock: &ManualClock,
    configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
) -> Application {
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    let sealing = KeySealing::new(&Secret::random()).unwrap();
    Application::with(store, clock.clone(), |builder| {
        let builder = builder.signing_algorithm(Algorithm::EdDsa).device_authorization();
        configure(builder.stored_keys(sealing, KeyRotation::default()))
    })
}

fn node(clock: &ManualClock) -> Application {
    node_with(clock, |builder| builder)
}

async fn backup(from: &Application, keys: Option<&KeySealing>) -> Vec<u8> {
    let mut file = Vec::new();
    let report = from.server.operator().export_to(&mut file, keys).await.unwrap();
    assert!(report.unreadable.is_empty());
    file
}

async fn restore(to: &Application, file: &[u8], options: ImportOptions) -> Result<ImportReport, OperatorError> {
    to.server.operator().import_from(file, options).await
}

fn sealing() -> KeySealing {
    KeySealing::new(&Secret::random()).unwrap()
}

fn refused(answer: &Answer) -> bool {
    answer.status == 400 && answer.error() == "invalid_grant"
}

async fn hints(application: &Application, subject: &str) -> usize {
    let operator = application.server.operator();
    operator
        .grants(Whose::User(subject), None, 100)
        .await
        .unwrap()
        .items
        .len()
}

#[tokio::test]
async fn every_client_grant_and_key_works_after_a_restore_into_an_empty_store() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let (public, confidential) = (Client::public(&before).await, Client::confidential(&before).await);
    let mut signed_in = Vec::new();
    for client in [&public, &confidential] {
        for person in ["ada", "grace"] {
            let tokens = client.sign_in(&before, person).await;
            let newer = Tokens::of(&client.refresh(&before, &tokens.refresh_token, &[]).await);
            signed_in.push((client, newer));
        }
    }
    let secret = sealing();
    let file = backup(&before, Some(&secret)).await;

    let after = node(&clock);
    let options = ImportOptions::new(ExistingRecords::Refuse).with_keys(secret);
    let report = restore(&after, &file, options).await.unwrap();
    assert_eq!(
        (report.imported, report.kept, report.expired, report.keys),
        (6, 0, 0, true)
    );
    assert_eq!(
        (
            hints(&after, "development:ada").await,
            hints(&after, "development:grace").await
        ),
        (2, 2)
    );
    for (client, tokens) in &signed_in {
        let called = after.call(NOTES, &tokens.access_token).await;
        assert_eq!(called.status, 200, "the old keys verify");
        let newer = Tokens::of(&client.refresh(&after, &tokens.refresh_token, &[]).await);
        assert_eq!(after.call(NOTES, &newer.access_token).await.status, 200);
    }
    confidential.sign_in(&after, "ada").await;
    let jwks = [before.get("/jwks").await, after.get("/jwks").await].map(|answer| answer.json());
    assert_eq!(jwks[0], jwks[1]);
}

#[tokio::test]
async fn nothing_in_a_backup_gets_anybody_in() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::confidential(&before).await;
    let code = client.code(&before, "ada").await;
    let tokens = client.sign_in(&before, "grace").await;
    let file = String::from_utf8(backup(&before, Some(&sealing())).await).unwrap();
    let hidden = [
        client.client_secret.as_deref().unwrap(),
        code.split_once('.').unwrap().1,
        &tokens.refresh_token.split_once('.').unwrap().1[6..49],
        &tokens.access_token,
    ];
    for hidden in hidden {
        assert!(!file.contains(hidden), "{hidden}");
    }
    assert!(!file.contains("transaction") && !file.contains("counter"));
}

#[tokio::test]
async fn the_signing_keys_are_in_a_backup_only_if_asked_for_and_open_with_its_secret_alone() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::public(&before).await;
    let tokens = client.sign_in(&before, "ada").await;
    let without = backup(&before, None).await;
    assert!(!String::from_utf8(without.clone()).unwrap().contains(r#""kind":"keys""#));

    let after = node(&clock);
    let report = restore(&after, &without, ImportOptions::new(ExistingRecords::Refuse))
        .await
        .unwrap();
    assert!(!report.keys);
    assert_eq!(after.call(NOTES, &tokens.access_token).await.status, 401, "new keys");
    let _ = Tokens::of(&client.refresh(&after, &tokens.refresh_token, &[]).await);

    let secret = sealing();
    let with = backup(&before, Some(&secret)).await;
    let other = node(&clock);
    let wrong = restore(
        &other,
        &with,
        ImportOptions::new(ExistingRecords::Refuse).with_keys(sealing()),
    )
    .await;
    assert!(
        matches!(wrong, Err(OperatorError::Keys(KeyRingError::Unreadable(_)))),
        "{wrong:?}"
    );
    let left_out = restore(&node(&clock), &with, ImportOptions::new(ExistingRecords::Refuse))
        .await
        .unwrap();
    assert!(!left_out.keys);

    let given = Application::default();
    assert!(matches!(
        given.server.operator().export(Some(&secret)),
        Err(OperatorError::Keys(KeyRingError::NotStored))
    ));
}

#[tokio::test]
async fn to_restore_twice_is_to_restore_once_and_what_is_there_stays_or_goes_as_was_chosen() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::public(&before).await;
    let old = client.sign_in(&before, "ada").await;
    let file = backup(&before, None).await;
    let newer = Tokens::of(&client.refresh(&before, &old.refresh_token, &[]).await);

    let again = restore(&before, &file, ImportOptions::new(ExistingRecords::Refuse)).await;
    assert!(matches!(again, Err(OperatorError::NotEmpty)));
    for _ in 0..2 {
        let report = restore(&before, &file, ImportOptions::new(ExistingRecords::Keep))
            .await
            .unwrap();
        assert_eq!((report.imported, report.replaced, report.kept), (0, 0, 2));
    }
    let newest = Tokens::of(&client.refresh(&before, &newer.refresh_token, &[]).await);
    let report = restore(&before, &file, ImportOptions::new(ExistingRecords::Replace))
        .await
        .unwrap();
    assert_eq!((report.imported, report.replaced, report.kept), (0, 2, 0));
    // What came after the backup is unknown, and nobody is punished for it.
    for ahead in [&newest, &newer] {
        assert!(refused(&client.refresh(&before, &ahead.refresh_token, &[]).await));
    }
    let _ = Tokens::of(&client.refresh(&before, &old.refresh_token, &[]).await);
}

#[tokio::test]
async fn what_had_ended_does_not_rise_again() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let operator = before.server.operator();
    let secret = sealing();
    let (revoking, marked, deleted) = (
        Client::public(&before).await,
        Client::public(&before).await,
        Client::public(&before).await,
    );
    let mut ended = Vec::new();
    for (client, person) in [
        (&revoking, "ada"),
        (&marked, "ada"),
        (&revoking, "grace"),
        (&deleted, "grace"),
    ] {
        ended.push((client, client.sign_in(&before, person).await));
    }
    let revoked = revoking
        .post(&before, "/revoke", &[("token", &ended[0].1.access_token)])
        .await;
    assert_eq!(revoked.status, 200);
    operator
        .end_grants_of_client(&marked.client_id.parse().unwrap())
        .await
        .unwrap();
    operator.end_grants_of_user("development:grace").await.unwrap();
    operator
        .delete_client(&deleted.client_id.parse().unwrap())
        .await
        .unwrap();
    let file = backup(&before, Some(&secret)).await;

    let after = node(&clock);
    let report = restore(
        &after,
        &file,
        ImportOptions::new(ExistingRecords::Refuse).with_keys(secret),
    )
    .await
    .unwrap();
    assert_eq!(report.ended, 4);
    for (client, tokens) in ended {
        assert_eq!(after.call(NOTES, &tokens.access_token).await.status, 401);
        assert_ne!(client.refresh(&after, &tokens.refresh_token, &[]).await.status, 200);
    }
    assert!(
        after
            .server
            .operator()
            .client(&deleted.client_id.parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_ends_while_the_backup_is_made_is_not_half_ended() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::public(&before).await;
    let tokens = client.sign_in(&before, "ada").await;
    let mut export = before.server.operator().export(None).unwrap();
    // The grant has been read when it ends.
    let mut file = export.next().await.unwrap().unwrap();
    assert!(file.contains(r#""kind":"grant""#));
    let revoked = client
        .post(&before, "/revoke", &[("token", &tokens.refresh_token)])
        .await;
    assert_eq!(revoked.status, 200);
    while let Some(lines) = export.next().await.unwrap() {
        file.push_str(&lines);
    }
    let after = node(&clock);
    restore(&after, file.as_bytes(), ImportOptions::new(ExistingRecords::Refuse))
        .await
        .unwrap();
    assert!(refused(&client.refresh(&after, &tokens.refresh_token, &[]).await));
}

#[tokio::test]
async fn what_is_over_by_the_time_of_the_restore_stays_over() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::public(&before).await;
    let tokens = client.sign_in(&before, "ada").await;
    let file = backup(&before, None).await;
    clock.advance(DAY * 31);
    let summary = backup::inspect(file.as_slice(), clock.now()).unwrap();
    assert_eq!(summary.expired, 1, "the grant; the client lives for 90 days");
    let after = node(&clock);
    let report = restore(&after, &file, ImportOptions::new(ExistingRecords::Refuse))
        .await
        .unwrap();
    assert_eq!((report.imported, report.expired), (1, 1));
    assert!(refused(&client.refresh(&after, &tokens.refresh_token, &[]).await));
    client.sign_in(&after, "ada").await;
}

#[tokio::test]
async fn a_backup_of_another_server_a_newer_one_or_a_damaged_one_is_refused_by_name() {
    let clock = ManualClock::default();
    let before = node(&clock);
    Tokens::issued_to(&before, "ada").await;
    let file = String::from_utf8(backup(&before, None).await).unwrap();
    let restored = async |file: &str| {
        restore(
            &node(&clock),
            file.as_bytes(),
            ImportOptions::new(ExistingRecords::Refuse),
        )
        .await
    };
    let other = file.replacen("http://127.0.0.1:8080", "https://other.example", 1);
    let newer = file.replacen(r#""version":1"#, r#""version":2"#, 1);
    let lines: Vec<_> = file.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let damaged = file.replacen(r#""client_id""#, r#""client_ip""#, 1);
    assert!(matches!(
        restored(&other).await,
        Err(OperatorError::Backup(BackupError::OtherIssuer(_)))
    ));
    assert!(matches!(
        restored(&newer).await,
        Err(OperatorError::Backup(BackupError::NewerVersion(2)))
    ));
    assert!(matches!(
        restored(&cut).await,
        Err(OperatorError::Backup(BackupError::CutOff(3)))
    ));
    match restored(&damaged).await {
        Err(OperatorError::Backup(BackupError::Damaged { line: 2, reason })) => assert!(!reason.contains("client_ip")),
        other => panic!("{other:?}"),
    }
    assert!(restored(&file).await.is_ok());
}

#[tokio::test]
async fn a_restore_that_fails_half_way_is_completed_by_another_one() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::public(&before).await;
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(client.sign_in(&before, "ada").await);
    }
    let file = backup(&before, None).await;
    let after = node(&clock);
    let mut failed = 0;
    for number in (0..60).step_by(7) {
        after
            .store
            .fail_once(number, mcp_oauth_tests::failing_store::Loss::Answer);
        failed += u32::from(
            restore(&after, &file, ImportOptions::new(ExistingRecords::Keep))
                .await
                .is_err(),
        );
    }
    assert!(failed > 0, "nothing has failed");
    after
        .store
        .fail_once(u64::from(u32::MAX), mcp_oauth_tests::failing_store::Loss::Answer);
    restore(&after, &file, ImportOptions::new(ExistingRecords::Keep))
        .await
        .unwrap();
    for tokens in &tokens {
        let _ = Tokens::of(&client.refresh(&after, &tokens.refresh_token, &[]).await);
    }
    assert_eq!(hints(&after, "development:ada").await, 20);
}

/// A client whose person signed in, and which refreshes again and again.
struct Session {
    client: Client,
    /// Every refresh token that it was given, the newest one last.
    tokens: Vec<String>,
}

impl Session {
    async fn begin(application: &Application, number: usize) -> Self {
        let client = if number.is_multiple_of(2) {
            Client::public(application).await
        } else {
            Client::confidential(application).await
        };
        let tokens = vec![client.sign_in(application, "ada").await.refresh_token];
        Self { client, tokens }
    }

    async fn refresh(&mut self, application: &Application) {
        let answer = self.client.refresh(application, self.tokens.last().unwrap(), &[]).await;
        self.tokens.push(Tokens::of(&answer).refresh_token);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_every_client_every_grant_and_every_key() {
    let clock = ManualClock::default();
    let before = node_with(&clock, |builder| {
        builder.limits(mcp_oauth_core::limits::Limits::unlimited())
    });
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let session = Session::begin(&before, number).await;
        if number % 3 == 0 {
            quiet.push(session);
        } else {
            busy.push(session);
        }
    }
    let access = quiet[0].client.sign_in(&before, "grace").await.access_token;
    let stop = Arc::new(AtomicBool::new(false));
    let at_work: Vec<_> = busy
        .into_iter()
        .enumerate()
        .map(|(number, mut session)| {
            let (application, stop) = (before.clone(), stop.clone());
            tokio::spawn(async move {
                let known_before = session.tokens.len();
                let mut refreshes = 0;
                while !stop.load(Ordering::SeqCst) {
                    session.refresh(&application).await;
                    refreshes += 1;
                    // Others come, and sign in, meanwhile.
                    if refreshes % 8 == number % 8 {
                        Session::begin(&application, number).await.refresh(&application).await;
                    }
                }
                (session, known_before)
            })
        })
        .collect();
    let secret = sealing();
    let mut export = before.server.operator().export(Some(&secret)).unwrap();
    let mut file = String::new();
    while let Some(lines) = export.next().await.unwrap() {
        file.push_str(&lines);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut busy = Vec::new();
    for task in at_work {
        busy.push(task.await.unwrap());
    }
    let refreshed: usize = busy
        .iter()
        .map(|(session, known_before)| session.tokens.len() - known_before)
        .sum();
    assert!(
        refreshed > busy.len(),
        "the others were at work while the backup was made"
    );

    let summary = backup::inspect(file.as_bytes(), clock.now()).unwrap();
    assert!(summary.records["client"] >= 30 && summary.records["grant"] >= 31);
    let after = node_with(&clock, |builder| {
        builder.limits(mcp_oauth_core::limits::Limits::unlimited())
    });
    let report = restore(
        &after,
        file.as_bytes(),
        ImportOptions::new(ExistingRecords::Refuse).with_keys(secret),
    )
    .await
    .unwrap();
    assert!(report.keys);
    assert_eq!(after.call(NOTES, &access).await.status, 200);
    for mut session in quiet {
        session.refresh(&after).await;
        session.client.sign_in(&after, "ada").await;
    }
    for (session, known_before) in busy {
        // The backup has the newest token of some moment since it was begun; whatever is newer is refused, and ends nothing.
        let since: Vec<_> = session.tokens[known_before - 1..].iter().rev().collect();
        let mut good = 0;
        for token in since {
            let answer = session.client.refresh(&after, token, &[]).await;
            if answer.status == 200 {
                good += 1;
                break;
            }
            assert!(refused(&answer), "{answer:?}");
        }
        assert_eq!(good, 1, "one of the tokens of {} is good", session.tokens.len());
        session.client.sign_in(&after, "ada").await;
    }
}

#[tokio::test]
async fn lines_may_be_handed_in_one_by_one() {
    let clock = ManualClock::default();
    let before = node(&clock);
    let client = Client::public(&before).await;
    let file = backup(&before, None).await;
    let after = node(&clock);
    let mut import = after
        .server
        .operator()
        .import(ImportOptions::new(ExistingRecords::Refuse))
        .await
        .unwrap();
    for line in file.lines() {
        import.line(line.unwrap().as_bytes()).await.unwrap();
    }
    let report = import.finish().await.unwrap();
    assert_eq!(report.summary.unwrap().records["client"], 1);
    let key = Key::new(Kind::Client, &client.client_id);
    assert!(after.store.get(&key).await.unwrap().is_some());
}
