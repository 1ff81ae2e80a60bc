use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(1_790_000_000 + seconds)
}

fn mark_line(writer: &mut BackupWriter, subject: &str, expires_at: Option<UnixTime>) {
    let key = Key::new(Kind::NotBefore, format!("user:{subject}"));
    let record = json!({"version": 1, "record": {"at": 7}}).to_string();
    check(&key, record.as_bytes()).unwrap();
    writer.record(&key, record.as_bytes(), expires_at).unwrap();
}

fn backup(subjects: &[&str], ended: &[&str]) -> String {
    let mut writer = BackupWriter::begin(Header::new("https://auth.example", at(0), false)).unwrap();
    for (number, subject) in subjects.iter().enumerate() {
        mark_line(&mut writer, subject, Some(at(number as u64)));
    }
    for entry in ended {
        writer.ended(entry).unwrap();
    }
    writer.end().unwrap();
    writer.take()
}

fn read(text: &str) -> Result<Summary, BackupError> {
    inspect(text.as_bytes(), at(0))
}

#[test]
fn what_was_written_is_read_and_counted() {
    let text = backup(&["ada", "grace", "new\nline"], &["client:a", "before:1:user:ada"]);
    assert_eq!(text.lines().count(), 1 + 3 + 2 + 1);
    let summary = read(&text).unwrap();
    assert_eq!(summary.records, BTreeMap::from([("not-before".to_owned(), 3)]));
    assert_eq!((summary.ended, summary.expired, summary.version), (2, 1, VERSION));
    assert_eq!(summary.issuer, "https://auth.example");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_noticed() {
    let text = backup(&["ada", "grace"], &["client:a"]);
    for length in 0..text.len() - 1 {
        assert!(read(&text[..length]).is_err(), "{length} of {} bytes", text.len());
    }
    assert!(read(&text[..text.len() - 1]).is_ok(), "the last line feed says nothing");
    let lines = text.lines().collect::<Vec<_>>();
    assert!(matches!(read(&lines[..3].join("\n")), Err(BackupError::CutOff(3))));
}

#[test]
fn a_line_that_is_missing_doubled_or_moved_is_noticed() {
    let text = backup(&["ada", "grace"], &["client:a"]);
    let lines: Vec<_> = text.lines().collect();
    for number in 1..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(number);
        assert!(
            matches!(read(&without.join("\n")), Err(BackupError::Changed)),
            "{number}"
        );
        let mut twice = lines.clone();
        twice.insert(number, lines[number]);
        assert!(matches!(read(&twice.join("\n")), Err(BackupError::Changed)), "{number}");
    }
    let mut moved = lines.clone();
    moved.swap(1, 2);
    assert!(matches!(read(&moved.join("\n")), Err(BackupError::Changed)));
    let behind = format!("{text}{}\n", lines[1]);
    assert!(matches!(read(&behind), Err(BackupError::Damaged { line: 6, .. })));
}

#[test]
fn a_damaged_line_is_named_by_its_number() {
    let text = backup(&["ada", "grace"], &["client:a"]);
    let damaged = |number: usize, by: &str| {
        let mut lines: Vec<_> = text.lines().collect();
        lines[number - 1] = by;
        read(&lines.join("\n"))
    };
    for by in [
        "",
        "{}",
        "null",
        "not JSON",
        r#"{"record":{"kind":"transaction","id":"a","value":{}}}"#,
        r#"{"record":{"kind":"nonsense","id":"a","value":{}}}"#,
        r#"{"record":{"kind":"not-before","id":"nobody","value":{"version":1,"record":{"at":7}}}}"#,
        r#"{"record":{"kind":"not-before","id":"user:a","value":{"version":2,"record":{"at":7}}}}"#,
        r#"{"record":{"kind":"grant","id":"a","value":{"version":1,"record":{}}}}"#,
        r#"{"record":{"kind":"not-before","id":"user:a","value":{"version":1,"record":{"at":7}},"more":1}}"#,
        r#"{"ended":"nothing"}"#,
        text.lines().next().unwrap(),
    ] {
        assert!(
            matches!(damaged(3, by), Err(BackupError::Damaged { line: 3, .. })),
            "{by}"
        );
    }
    let long = format!(r#"{{"ended":"client:{}"}}"#, "a".repeat(MAXIMUM_LINE));
    assert!(matches!(damaged(2, &long), Err(BackupError::Damaged { line: 2, .. })));
}

#[test]
fn what_is_no_backup_or_a_newer_one_is_told_apart() {
    for foreign in ["", "\n", "{}", r#"{"header":{"format":"other","version":1}}"#, "[1]"] {
        assert!(matches!(read(foreign), Err(BackupError::NoBackup)), "{foreign}");
    }
    let newer = r#"{"header":{"format":"mcp-oauth-backup","version":2,"what":"nobody knows"}}"#;
    assert!(matches!(read(newer), Err(BackupError::NewerVersion(2))));
    let incomplete = r#"{"header":{"format":"mcp-oauth-backup","version":1}}"#;
    assert!(matches!(read(incomplete), Err(BackupError::Damaged { line: 1, .. })));
}

proptest! {
    #[test]
    fn whatever_is_in_identifiers_a_backup_is_read_as_it_was_written(
        subjects in proptest::collection::vec(".{0,30}", 0..5),
        ended in proptest::collection::vec(".{0,30}", 0..5),
    ) {
        let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
        let ended: Vec<_> = ended.iter().map(|subject| format!("before:9:user:{subject}")).collect();
        let text = backup(&subjects, &ended.iter().map(String::as_str).collect::<Vec<_>>());
        let summary = read(&text).unwrap();
        prop_assert_eq!(summary.records.get("not-before").copied().unwrap_or(0), subjects.len() as u64);
        prop_assert_eq!(summary.ended, ended.len() as u64);
    }

    #[test]
    fn no_changed_byte_goes_unnoticed(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let text = backup(&["ada", "grace"], &["client:a"]);
        let mut bytes = text.clone().into_bytes();
        let position = position.index(bytes.len() - 1);
        prop_assume!(bytes[position] != byte);
        bytes[position] = byte;
        // The digest is over all lines but the last, which says it.
        if let Ok(summary) = inspect(bytes.as_slice(), at(0)) {
            prop_assert_eq!(summary, read(&text).unwrap());
        }
    }

    #[test]
    fn reading_never_panics(lines in proptest::collection::vec(".{0,80}", 0..6)) {
        let mut reader = BackupReader::new();
        for line in lines {
            let _ = reader.line(line.as_bytes());
        }
        let _ = reader.finish(at(0));
    }
}
