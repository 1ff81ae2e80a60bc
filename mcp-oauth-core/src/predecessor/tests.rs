use std::io::{self, Read};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

const ID: &str = "client_Zk3v0Qy7Ff1mJ8aWcR2tNw";
const SECRET: &str = "Vb7mQ2xZ9kLpR4tYwE1uI8oA5sDfGhJ3cKnM6vBxXzQ";
const TOKEN: &str = "reg-p0OiU8yT6rE4wQ2aS3dF5gH7jK9lZxCvBnMqWeRtYui";

fn now() -> UnixTime {
    UnixTime::from_seconds(1_790_000_000)
}

/// As `POST /register` of the predecessor writes it.
fn written() -> Value {
    json!({
        "client_id": ID,
        "client_secret": SECRET,
        "client_secret_expires_at": 1_797_776_000,
        "client_id_issued_at": 1_780_000_000,
        "redirect_uris": "[\"https://claude.ai/api/mcp/auth_callback\", \"http://localhost:3000/callback\"]",
        "client_name": "Claude",
        "scope": "openid profile email",
        "created_at": 1_780_000_000,
        "response_types": "[\"code\"]",
        "grant_types": "[\"authorization_code\", \"refresh_token\"]",
        "registration_access_token": TOKEN,
    })
}

fn converted(record: &Value) -> Result<Converted, LeftOut> {
    let record = PredecessorRecord::new(ID, record.to_string(), Some(Duration::from_secs(60)));
    convert(&record, &RedirectUriPolicy::default(), now())
}

fn with(changes: &Value) -> Value {
    let mut record = written();
    for (name, value) in changes.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

#[test]
fn a_client_keeps_its_identifier_its_secret_and_its_management_token_and_none_of_them_is_readable() {
    let Converted { client, left_out } = converted(&written()).unwrap();
    assert!(left_out.is_empty(), "{left_out:?}");
    assert_eq!(client.client_id.as_str(), ID);
    assert!(client.accepts(Some(&SECRET.into())) && !client.accepts(None) && !client.accepts(Some(&TOKEN.into())));
    assert!(client.registration_access_token.unwrap().matches(&TOKEN.into()));
    assert_eq!(client.client_id_issued_at.as_seconds(), 1_780_000_000);
    assert_eq!(client.expires_at, Some(now() + Duration::from_secs(60)));
    assert_eq!(client.metadata.client_name.as_deref(), Some("Claude"));
    assert_eq!(client.metadata.redirect_uris.len(), 2);
    let stored = serde_json::to_string(&client).unwrap();
    assert!(!stored.contains(SECRET) && !stored.contains(TOKEN));
    let record = PredecessorRecord::new(ID, written().to_string(), None);
    assert!(!format!("{record:?}").contains(SECRET));
}

#[test]
fn redirect_uris_that_are_not_taken_today_are_left_out_and_named() {
    let bad = [
        "http://localhost.evil.example/",
        "HTTP://evil.example/",
        "javascript:alert(1)",
        "https://a.example/#fragment",
        "https://user@a.example/",
        "myapp://callback",
    ];
    let all: Vec<_> = bad.into_iter().chain(["https://good.example/cb"]).collect();
    let uris = serde_json::to_string(&all).unwrap();
    let Converted { client, left_out } = converted(&with(&json!({"redirect_uris": uris}))).unwrap();
    assert_eq!(client.metadata.redirect_uris.len(), 1);
    assert_eq!(left_out.len(), bad.len());
    let uris = serde_json::to_string(&bad).unwrap();
    let refused = converted(&with(&json!({"redirect_uris": uris}))).unwrap_err();
    assert!(matches!(refused, LeftOut::RedirectUris(_)), "{refused:?}");
    for none in [json!("[]"), json!(""), json!(null), json!(5), json!("not JSON")] {
        assert!(matches!(
            converted(&with(&json!({"redirect_uris": none}))),
            Err(LeftOut::RedirectUris(_))
        ));
    }
}

#[test]
fn what_was_never_checked_is_left_out_by_itself() {
    let record = with(&json!({
        "client_name": "x".repeat(5000), "logo_uri": "javascript:alert(1)", "client_uri": "https://a.example",
        "contacts": ["ada@a.example"], "grant_types": "\"urn:x\"", "response_types": 5, "scope": null,
    }));
    let Converted { client, left_out } = converted(&record).unwrap();
    assert_eq!(client.metadata.client_name, None);
    assert_eq!(client.metadata.links.client_uri.as_deref(), Some("https://a.example"));
    assert_eq!(client.metadata.contacts, ["ada@a.example"]);
    assert_eq!(left_out.len(), 2, "{left_out:?}");
}

#[test]
fn a_record_that_is_not_the_predecessors_is_left_out() {
    for (record, reason) in [
        (json!([]), LeftOut::Unreadable),
        (with(&json!({"client_id": "client_another"})), LeftOut::Identifier),
        (with(&json!({"client_secret": null})), LeftOut::Secret),
        (with(&json!({"client_secret": "password"})), LeftOut::Secret),
    ] {
        assert_eq!(converted(&record).unwrap_err(), reason);
    }
    for id in ["", "https://a.example/c", "with space", "new\nline"] {
        let record = PredecessorRecord::new(id, with(&json!({"client_id": id})).to_string(), None);
        let refused = convert(&record, &RedirectUriPolicy::default(), now()).unwrap_err();
        assert_eq!(refused, LeftOut::Identifier, "{id}");
    }
    let without = converted(&with(&json!({"registration_access_token": "guess me"}))).unwrap();
    assert!(without.client.registration_access_token.is_none() && without.left_out.len() == 1);
}

#[test]
fn a_dump_of_its_own_commands_is_read() {
    let dump = json!({
        "metadata": {"created": "2025-07-01T00:00:00", "counts": {"clients": 3}},
        "registrations": {
            format!("oauth:client:{ID}"): {"type": "string", "ttl": 1000, "value": written().to_string(), "parsed": written()},
            "oauth:client:client_over": {"type": "string", "ttl": 100, "value": "{}"},
            "oauth:client:client_eternal": {"type": "string", "ttl": -1, "value": "{}"},
        },
        "tokens": {"oauth:token:x": {"type": "string", "ttl": 5, "value": "{}"}},
        "more": [{"key": "oauth:client:client_listed", "value": "{}"}],
    });
    let mut records = read_dump(dump.to_string().as_bytes(), Duration::from_secs(100)).unwrap();
    records.sort_by(|one, other| one.id.cmp(&other.id));
    let read: Vec<_> = records
        .iter()
        .map(|record| (record.id(), record.time_to_live.map(|left| left.as_secs())))
        .collect();
    assert_eq!(
        read,
        [(ID, Some(900)), ("client_eternal", None), ("client_listed", None)]
    );
    assert!(convert(&records[0], &RedirectUriPolicy::default(), now()).is_ok());
    assert_eq!(read_dump(b"nonsense", Duration::ZERO).unwrap_err(), InvalidDump);
}

#[test]
fn records_of_a_dump_come_one_by_one_before_its_end_is_known() {
    let whole =
        json!({"registrations": {"oauth:client:a": {"value": "{}"}, "oauth:client:b": {"value": "{}"}}}).to_string();
    // Where it was cut off there is nothing, and what could not be read is no end.
    let cut = &whole[..whole.len() - 2];
    let mut met = Vec::new();
    let broken = visit_dump(cut.as_bytes(), Duration::ZERO, |record| {
        met.push(record.id().to_owned());
        ControlFlow::Continue(())
    });
    assert!(matches!(broken, Err(DumpError::Invalid(_))), "{broken:?}");
    assert_eq!(met, ["a", "b"]);

    let mut met = 0;
    let stopped = visit_dump(cut.as_bytes(), Duration::ZERO, |_| {
        met += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.is_ok(), "{stopped:?}");
    assert_eq!(met, 1);

    let failing = cut.as_bytes().chain(Unreadable);
    let unread = visit_dump(failing, Duration::ZERO, |_| ControlFlow::Continue(()));
    assert!(matches!(unread, Err(DumpError::Read(_))), "{unread:?}");
}

/// A file on a disk that is broken.
struct Unreadable;

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn what_is_in_lists_is_found_at_any_depth_and_whatever_its_members_are_ordered_by() {
    let dump = r#"[[{"more": [{"value": "{}", "key": "oauth:client:last"}], "oauth:client:named": {"value": "{}"}}], 1, null, true]"#;
    let read = read_dump(dump.as_bytes(), Duration::ZERO).unwrap();
    let mut ids: Vec<_> = read.iter().map(PredecessorRecord::id).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["last", "named"]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read_dump(deep.as_bytes(), Duration::ZERO).unwrap_err(), InvalidDump);
}

proptest! {
    #[test]
    fn no_record_and_no_dump_makes_it_panic_or_repeats_a_secret(
        id in ".{0,30}", member in "[a-z_]{1,30}", text in ".{0,60}", number in any::<f64>(),
    ) {
        let _ = read_dump(text.as_bytes(), Duration::ZERO);
        for value in [json!(text), json!(number), json!([text]), json!({"a": text}), Value::Null] {
            let record = PredecessorRecord::new(id.clone(), with(&json!({member.as_str(): value})).to_string(), None);
            let said = match convert(&record, &RedirectUriPolicy::default(), now()) {
                Ok(converted) => format!("{converted:?}"),
                Err(error) => error.to_string(),
            };
            prop_assert!(!said.contains(SECRET));
        }
    }
}
