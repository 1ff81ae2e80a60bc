//! An event stream, read as it comes (WHATWG HTML §9.2.6).
//!
//! Of the three spellings of a line's end any may be cut in two by the network. An event's text is bounded; its id is
//! kept for the request that goes on where the stream broke off.

use std::time::Duration;

/// No server is waited for longer than this before its stream is taken up again.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// A stream with an event that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {0} bytes")]
pub(crate) struct TooLarge(usize);

/// Reads the text of events.
#[derive(Debug)]
pub(crate) struct Events {
    /// The largest event, in bytes.
    most: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed behind it belongs to it.
    returned: bool,
    begun: bool,
    data: Option<String>,
    id: Option<String>,
    /// The id of the last event that was whole.
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Events {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            line: Vec::new(),
            returned: false,
            begun: false,
            data: None,
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// What to go on from.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants to be left alone before its stream is taken up again.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes; gives the texts of the events that are now whole and say something.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLarge> {
        let mut texts = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::take(&mut self.returned);
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    self.returned = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    texts.extend(self.take_line(&line));
                }
                byte => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > self.most {
                return Err(TooLarge(self.most));
            }
        }
        Ok(texts)
    }

    fn take_line(&mut self, line: &[u8]) -> Option<String> {
        let line = if std::mem::replace(&mut self.begun, true) {
            line
        } else {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let wanted = value.parse().ok().map(Duration::from_millis);
                self.retry = wanted.map(|wanted| wanted.min(LONGEST_RETRY)).or(self.retry);
            }
            // A comment begins with the colon; the type of an event says nothing in MCP.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<String> {
        if let Some(id) = self.id.take() {
            // An empty id says that there is nothing to go on from.
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        self.data.take().filter(|data| !data.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, prop, proptest};

    use super::{Events, TooLarge};

    const STREAM: &[u8] = b"\xef\xbb\xbfid: 1\ndata:\nretry: 500\n\n: ping\r\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\nid: two\r\n\r\rdata:x\r\rdata: cut off";

    fn whole(chunks: &[&[u8]]) -> (Vec<String>, Events) {
        let mut events = Events::new(1000);
        let texts = chunks.iter().flat_map(|chunk| events.feed(chunk).unwrap()).collect();
        (texts, events)
    }

    #[test]
    fn an_event_without_text_says_nothing_and_its_id_and_retry_count() {
        let mut events = Events::new(1000);
        assert_eq!(
            events.feed(b"id: 1\ndata:\nretry: 500\n\n").unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(events.last_id(), Some("1"));
        assert_eq!(events.retry(), Some(Duration::from_millis(500)));
    }

    #[test]
    fn an_id_counts_when_its_event_is_whole() {
        let mut events = Events::new(1000);
        events.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n").unwrap();
        assert_eq!(events.last_id(), Some("1"));
    }

    #[test]
    fn all_line_ends_and_comments_are_read() {
        let (texts, events) = whole(&[STREAM]);
        assert_eq!(texts, ["{\"a\":\n1}", "x"]);
        assert_eq!(events.last_id(), Some("two"));
    }

    #[test]
    fn an_event_that_is_too_large_is_refused() {
        let mut events = Events::new(8);
        assert_eq!(events.feed(b"data: 123456789"), Err(TooLarge(8)));
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_makes_no_difference(cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &STREAM[pair[0]..pair[1]]).collect();
            assert_eq!(whole(&chunks).0, whole(&[STREAM]).0);
        }

        #[test]
        fn any_bytes_are_read_within_the_bound(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut events = Events::new(64);
            if let Ok(texts) = events.feed(&bytes) {
                assert!(texts.iter().all(|text| !text.is_empty() && text.len() <= 3 * 64));
            }
        }
    }
}
