//! A notebook as an MCP server over standard input and output: something to put behind the bridge.
//!
//! The notes live in the process and nowhere else. A gateway that starts one process for each session therefore gives
//! each session a notebook of its own, without this server knowing of sessions, people or tokens; when the session
//! ends, so does the notebook. That also makes it easy to see from outside whether two sessions share what they must
//! not.
//!
//! Nothing grows without end: a notebook has at most [`MOST_NOTES`] notes of at most [`LONGEST_NOTE`] bytes, and a
//! listing that gets long stops and says where to go on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::JsonSchema;
use rmcp::service::ServerInitializeError;
use rmcp::transport::stdio_pipes;
use rmcp::{ServerHandler, ServiceExt, tool, tool_handler, tool_router};
use serde::Deserialize;

/// The most notes that a notebook holds.
const MOST_NOTES: usize = 1000;

/// The longest note, in bytes.
const LONGEST_NOTE: usize = 10 * 1024;

/// A listing stops after the note with which it exceeds this many bytes.
const LONGEST_LISTING: usize = 256 * 1024;

/// Serves one notebook until the other side closes standard input.
///
/// Standard output belongs to the protocol: write logs to standard error.
pub(crate) async fn serve_stdio() -> anyhow::Result<()> {
    match NotesServer::default().serve(stdio_pipes()).await {
        // Nobody said a word: an end like any other.
        Err(ServerInitializeError::ConnectionClosed(_)) => {}
        served => {
            served?.waiting().await?;
        }
    }
    Ok(())
}

/// Notes by number. A number is given once, so that it means the same note as long as there is one.
#[derive(Debug, Default)]
struct Notebook {
    notes: BTreeMap<u64, String>,
    last: u64,
}

impl Notebook {
    fn add(&mut self, text: String) -> Result<String, String> {
        if text.trim().is_empty() {
            return Err("A note needs a text.".to_owned());
        }
        if text.len() > LONGEST_NOTE {
            return Err(format!(
                "The note has {} bytes; at most {LONGEST_NOTE} are kept.",
                text.len()
            ));
        }
        if self.notes.len() >= MOST_NOTES {
            return Err(format!("The notebook is full ({MOST_NOTES} notes): delete one first."));
        }
        self.last += 1;
        self.notes.insert(self.last, text);
        Ok(format!("Note {} was added.", self.last))
    }

    fn list(&self, from: u64) -> String {
        let total = self.notes.len();
        let mut listing = match total {
            0 => return "There are no notes.".to_owned(),
            1 => "1 note:\n".to_owned(),
            _ => format!("{total} notes:\n"),
        };
        for (number, text) in self.notes.range(from..) {
            if listing.len() > LONGEST_LISTING {
                write!(listing, "There are more: call list_notes with from = {number}.")
                    .expect("writing to a string does not fail");
                break;
            }
            writeln!(listing, "{number}. {text}").expect("writing to a string does not fail");
        }
        listing
    }

    fn delete(&mut self, number: u64) -> Result<String, String> {
        match self.notes.remove(&number) {
            Some(_) => Ok(format!("Note {number} was deleted.")),
            None => Err(format!("There is no note {number}: list_notes shows the numbers.")),
        }
    }
}

/// The server of one notebook.
#[derive(Clone, Debug, Default)]
struct NotesServer {
    notebook: Arc<Mutex<Notebook>>,
}

impl NotesServer {
    fn notebook(&self) -> MutexGuard<'_, Notebook> {
        // A note is there or not, whatever panicked.
        self.notebook.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The arguments of `add_note`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct AddNote {
    /// What to write down, at most 10 KiB.
    text: String,
}

/// The arguments of `list_notes`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct ListNotes {
    /// The number to begin with. Needed only where a listing stopped.
    #[serde(default)]
    from: u64,
}

/// The arguments of `delete_note`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct DeleteNote {
    /// The number of the note, as `list_notes` shows it.
    number: u64,
}

#[tool_router]
impl NotesServer {
    #[tool(
        description = "Writes a note down, and tells its number.",
        annotations(title = "Add a note", destructive_hint = false, open_world_hint = false)
    )]
    fn add_note(&self, Parameters(AddNote { text }): Parameters<AddNote>) -> Result<String, String> {
        self.notebook().add(text)
    }

    #[tool(
        description = "Shows the notes of this session, each with its number.",
        annotations(title = "List the notes", read_only_hint = true, open_world_hint = false)
    )]
    fn list_notes(&self, Parameters(ListNotes { from }): Parameters<ListNotes>) -> String {
        self.notebook().list(from)
    }

    #[tool(
        description = "Deletes the note with this number.",
        annotations(title = "Delete a note", destructive_hint = true, open_world_hint = false)
    )]
    fn delete_note(&self, Parameters(DeleteNote { number }): Parameters<DeleteNote>) -> Result<String, String> {
        self.notebook().delete(number)
    }
}

#[tool_handler(name = "notes", instructions = "Keeps notes for as long as the session lasts.")]
impl ServerHandler for NotesServer {}

#[cfg(test)]
mod tests {
    use super::*;

    fn notebook(texts: &[&str]) -> Notebook {
        let mut notebook = Notebook::default();
        for text in texts {
            notebook.add((*text).to_owned()).unwrap();
        }
        notebook
    }

    #[test]
    fn notes_are_listed_with_their_numbers() {
        assert_eq!(Notebook::default().list(0), "There are no notes.");
        assert_eq!(notebook(&["milk"]).list(0), "1 note:\n1. milk\n");
        assert_eq!(notebook(&["milk", "eggs"]).list(0), "2 notes:\n1. milk\n2. eggs\n");
    }

    #[test]
    fn a_number_is_given_once() {
        let mut notebook = notebook(&["milk", "eggs"]);
        assert_eq!(notebook.delete(2).unwrap(), "Note 2 was deleted.");
        assert_eq!(notebook.add("flour".to_owned()).unwrap(), "Note 3 was added.");
        assert_eq!(notebook.list(0), "2 notes:\n1. milk\n3. flour\n");
        assert!(notebook.delete(2).unwrap_err().contains("There is no note 2"));
    }

    #[test]
    fn a_note_needs_a_text_and_has_an_end() {
        let mut notebook = Notebook::default();
        assert_eq!(notebook.add(" \n".to_owned()).unwrap_err(), "A note needs a text.");
        assert!(notebook.add("x".repeat(LONGEST_NOTE)).is_ok());
        let error = notebook.add("x".repeat(LONGEST_NOTE + 1)).unwrap_err();
        assert_eq!(error, "The note has 10241 bytes; at most 10240 are kept.");
    }

    #[test]
    fn a_full_notebook_takes_no_more_until_one_is_deleted() {
        let mut notebook = notebook(&vec!["x"; MOST_NOTES]);
        assert!(notebook.add("y".to_owned()).unwrap_err().contains("full (1000 notes)"));
        notebook.delete(1).unwrap();
        assert!(notebook.add("y".to_owned()).is_ok());
    }

    #[test]
    fn a_long_listing_can_be_read_to_its_end() {
        let text = "x".repeat(LONGEST_NOTE);
        let notebook = notebook(&vec![text.as_str(); 60]);
        let (mut from, mut seen, mut listings) = (0, 0, 0);
        loop {
            let listing = notebook.list(from);
            assert!(listing.len() < LONGEST_LISTING + 2 * LONGEST_NOTE);
            seen += listing.matches(". x").count();
            listings += 1;
            let Some((_, next)) = listing.rsplit_once("from = ") else {
                break;
            };
            from = next.trim_end_matches('.').parse().unwrap();
        }
        assert_eq!((seen, listings), (60, 3));
    }
}
