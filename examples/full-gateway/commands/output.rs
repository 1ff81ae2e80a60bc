//! What commands print: a table or a few lines for people, JSON for programs.
//!
//! What was asked for goes to stdout, and all that is said about it to stderr, so that a pipe has the one without the other.
//! Names come from clients and from identity providers: whatever in them could steer a terminal is shown and not obeyed.

use std::io::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::server::operator::{Cursor, MAXIMUM_PAGE, OperatorError, Page, Unreadable};
use serde::Serialize;

use super::exit::End;

/// For whom it is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// How much of a list is printed.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// At most about so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Where to go on: what the page before has said
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Cursor>,
    /// All of them, page by page; with --json each is a line of its own
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
}

impl Output {
    /// Prints one thing: as JSON, or with its names and values in two columns.
    pub(crate) fn one(self, value: &impl Serialize, rows: Vec<(&str, String)>) -> anyhow::Result<()> {
        if self.json {
            return json(value);
        }
        let mut table = plain();
        for (name, value) in rows {
            table.add_row([name.to_owned(), shown(&value)]);
        }
        print(table)
    }

    /// Prints several things: as JSON, or as a table.
    pub(crate) fn several<T: Serialize>(
        self,
        values: &[T],
        header: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        if self.json {
            return json(&values);
        }
        table(values, header, row)
    }

    /// Prints a list as it is asked for, page by page, so that no more than a page is ever held. What an item is printed as
    /// may be less than it is.
    pub(crate) async fn pages<T, P: Serialize>(
        self,
        paging: &Paging,
        page: impl AsyncFn(Option<&Cursor>, usize) -> Result<Page<T>, OperatorError>,
        printed: impl Fn(T) -> P,
        header: &[&str],
        row: impl Fn(&P) -> Vec<String>,
    ) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Printed<P> {
            items: Vec<P>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next: Option<Cursor>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            unreadable: Vec<Unreadable>,
        }
        let limit = if paging.all { MAXIMUM_PAGE } else { paging.limit.into() };
        let (mut cursor, mut any) = (paging.cursor.clone(), false);
        loop {
            let found = page(cursor.as_ref(), limit).await?;
            let items: Vec<P> = found.items.into_iter().map(&printed).collect();
            any |= !items.is_empty();
            cursor.clone_from(&found.next);
            match (self.json, paging.all) {
                (true, false) => {
                    let (next, unreadable) = (found.next, found.unreadable);
                    return json(&Printed {
                        items,
                        next,
                        unreadable,
                    });
                }
                (true, true) => {
                    for item in &items {
                        json(item)?;
                    }
                }
                (false, _) if items.is_empty() => {}
                (false, _) => table(&items, header, &row)?,
            }
            for record in &found.unreadable {
                unreadable(record);
            }
            if !paging.all || cursor.is_none() {
                break;
            }
        }
        if let Some(cursor) = cursor {
            note(&format!("there may be more: --cursor {cursor}, or --all"));
        } else if !any && !self.json {
            note("there is nothing");
        }
        Ok(())
    }
}

/// Says something about what is printed.
pub(crate) fn note(text: &str) {
    eprintln!("{}", shown(text));
}

/// Names a record that cannot be read.
pub(crate) fn unreadable(record: &Unreadable) {
    let (kind, id, reason) = (record.kind.as_str(), &record.id, &record.reason);
    note(&format!("warning: the record {kind}:{id} cannot be read: {reason}"));
}

/// Prints a line. Whoever has read enough and closed the pipe ends the command ([`End::Unread`]), which is no failure; a
/// command whose code is its answer gives that one all the same.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(End::Unread.into()),
        written => Ok(written?),
    }
}

/// Prints JSON, in one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?)
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn table<T>(values: &[T], header: &[&str], row: impl Fn(&T) -> Vec<String>) -> anyhow::Result<()> {
    let mut table = plain();
    table.set_header(header.iter().copied());
    for value in values {
        table.add_row(row(value).iter().map(|cell| shown(cell)));
    }
    print(table)
}

/// Prints a table, two spaces between its columns and none at the ends of lines.
fn print(mut table: Table) -> anyhow::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    line(&lines.join("\n"))
}

/// The text without what steers terminals, or turns around what is read.
pub(crate) fn shown(text: &str) -> String {
    let harmful = |character: char| {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (character.is_control() && character != '\n')
    };
    text.chars()
        .map(|character| if harmful(character) { '\u{fffd}' } else { character })
        .collect()
}

/// 10000-01-01T00:00:00Z, in seconds since 1970.
const YEAR_10000: u64 = 253_402_300_800;

/// A moment as people read it (RFC 3339, UTC).
pub(crate) fn moment(at: UnixTime) -> String {
    // Years have four digits there, and what has more of them cannot be written.
    if at.as_seconds() >= YEAR_10000 {
        return at.as_seconds().to_string();
    }
    let since = Duration::from_secs(at.as_seconds());
    let moment = UNIX_EPOCH.checked_add(since).map(humantime::format_rfc3339_seconds);
    moment.map_or_else(|| at.as_seconds().to_string(), |moment| moment.to_string())
}

/// A value, or what stands where there is none.
pub(crate) fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_calls_itself_steers_no_terminal() {
        let name = "Nice\u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}gnp.exe\u{9b}1m";
        let shown = shown(name);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'));
        assert!(!shown.contains('\u{202e}') && !shown.contains('\u{9b}'));
        assert!(shown.starts_with("Nice"));
        assert_eq!(super::shown("Łódź 东京"), "Łódź 东京");
    }

    #[test]
    fn a_moment_is_read_in_utc() {
        assert_eq!(moment(UnixTime::from_seconds(1_790_000_000)), "2026-09-21T14:13:20Z");
        for far in [YEAR_10000, u64::MAX] {
            assert_eq!(moment(UnixTime::from_seconds(far)), far.to_string());
        }
    }
}
