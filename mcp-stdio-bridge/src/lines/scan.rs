//! Finds out whose message a line is that is too long to be kept.
//!
//! Servers write the members of a message in any order, the id often last. So the line is looked at piece by piece
//! while it is thrown away: strings and depth are followed, and of the members of the outermost object the value of
//! `id` and the presence of `method` are remembered.

/// Longer ids are not the bridge's own.
const LONGEST: usize = 64;

/// What was found of the outermost object.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    depth: usize,
    text: Text,
    /// The token being read in the outermost object.
    token: Vec<u8>,
    /// The name of the member whose value is being read.
    name: Option<Vec<u8>>,
    id: Vec<u8>,
    has_method: bool,
}

/// Whether the scan is inside of a string.
#[derive(Debug, Default, Clone, Copy)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Scan {
    /// Looks at the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            self.step(byte);
        }
    }

    /// The raw id, if the message has one that is short enough to be of use.
    pub(super) fn id(&self) -> Option<&str> {
        std::str::from_utf8(&self.id).ok().filter(|id| !id.is_empty())
    }

    /// Whether the message is a request or a notification.
    pub(super) fn has_method(&self) -> bool {
        self.has_method
    }

    fn step(&mut self, byte: u8) {
        match self.text {
            Text::Outside => {}
            Text::Inside | Text::Escaped => {
                self.keep(byte);
                self.text = match (self.text, byte) {
                    (Text::Inside, b'\\') => Text::Escaped,
                    (Text::Inside, b'"') => Text::Outside,
                    _ => Text::Inside,
                };
                return;
            }
        }
        match byte {
            b'"' => {
                self.text = Text::Inside;
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth == 1 {
                    self.token.clear();
                }
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.member();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 => self.name = Some(std::mem::take(&mut self.token)),
            b',' if self.depth == 1 => self.member(),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.keep(byte),
        }
    }

    /// Keeps what belongs to the outermost object, up to a bound that no name and no id of use exceeds.
    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.token.len() <= LONGEST {
            self.token.push(byte);
        }
    }

    fn member(&mut self) {
        let value = std::mem::take(&mut self.token);
        match self.name.take().as_deref() {
            Some(b"\"id\"") if value.len() <= LONGEST => self.id = value,
            Some(b"\"method\"") => self.has_method = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scan;

    fn scan(text: &str) -> (Option<String>, bool) {
        let mut scan = Scan::default();
        for piece in text.as_bytes().chunks(3) {
            scan.feed(piece);
        }
        (scan.id().map(str::to_owned), scan.has_method())
    }

    #[test]
    fn the_id_is_found_wherever_it_stands() {
        let id = |text| scan(text).0;
        assert_eq!(
            id(r#"{"jsonrpc":"2.0","id":7,"result":{"id":8}}"#).as_deref(),
            Some("7")
        );
        assert_eq!(
            id(r#"{"result":{"id":8,"a":[{"id":9}]},"jsonrpc":"2.0", "id" : 7 }"#).as_deref(),
            Some("7")
        );
        assert_eq!(id(r#"{"result":"\",\"id\":8,","id":"a"}"#).as_deref(), Some("\"a\""));
        assert_eq!(id(r#"{"result":{"id":8}}"#), None);
        assert_eq!(id("no message, \"id\":8"), None);
    }

    #[test]
    fn a_request_is_told_from_an_answer() {
        assert!(scan(r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{}}"#).1);
        assert!(!scan(r#"{"jsonrpc":"2.0","id":7,"result":{"method":"a"}}"#).1);
        assert!(!scan(r#"{"jsonrpc":"2.0","id":"method","result":"method"}"#).1);
    }
}
