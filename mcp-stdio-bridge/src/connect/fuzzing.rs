//! What the fuzzer calls of the way back.

use std::sync::LazyLock;

use url::Url;

use super::address::Reach;
use super::fetch::Fetcher;

pub(crate) fn events(bytes: &[u8]) {
    let (mut whole, mut parts) = (super::events::Events::new(4096), super::events::Events::new(4096));
    let together = whole.feed(bytes);
    let mut apart = Ok(Vec::new());
    for byte in bytes {
        match (parts.feed(&[*byte]), &mut apart) {
            (Ok(texts), Ok(all)) => all.extend(texts),
            (Err(error), _) => apart = Err(error),
            (Ok(_), Err(_)) => {}
        }
        if apart.is_err() {
            break;
        }
    }
    assert_eq!(together, apart, "where the network cuts makes no difference");
}

pub(crate) fn challenges(text: &str) {
    for (scheme, _) in super::challenge::challenges(text) {
        assert!(!scheme.is_empty(), "a challenge has a scheme");
    }
}

pub(crate) fn metadata(bytes: &[u8]) {
    // Made once: to gather the roots of TLS takes a thousand times as long as to read a document.
    static FETCHER: LazyLock<Option<Fetcher>> = LazyLock::new(|| Fetcher::new(Reach::Public).ok());
    if let Some(fetcher) = &*FETCHER {
        let _ = super::discovery::read_metadata(fetcher, bytes);
    }
}

pub(crate) fn returned(query: &str) {
    let _ = super::authorization::Returned::read(query);
    let _ = Url::parse(query).map(|url| Reach::Public.check(&url));
}
