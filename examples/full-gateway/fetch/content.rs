//! What a document is to a model: a text, or a picture.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::ContentBlock;
use url::Url;

/// The pictures that models can look at.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// A document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page<'a> {
    Text(String),
    Html { title: Option<String>, source: String },
    Picture { media_type: String, bytes: &'a [u8] },
}

impl<'a> Page<'a> {
    /// Reads a document by its `Content-Type`. Texts are taken for UTF-8; what is not, is replaced.
    pub(super) fn read(content_type: &str, body: &'a [u8]) -> Result<Self, String> {
        let essence = content_type.split(';').next().unwrap_or_default();
        let media_type = essence.trim().to_ascii_lowercase();
        let text = || String::from_utf8_lossy(body).into_owned();
        let is_text = media_type.starts_with("text/")
            || media_type.ends_with("+json")
            || media_type.ends_with("+xml")
            || matches!(
                &*media_type,
                "application/json" | "application/xml" | "application/javascript"
            );
        if matches!(&*media_type, "text/html" | "application/xhtml+xml") {
            let source = text();
            return Ok(Self::Html {
                title: title(&source),
                source,
            });
        }
        if PICTURES.contains(&&*media_type) {
            return Ok(Self::Picture {
                media_type,
                bytes: body,
            });
        }
        if is_text {
            return Ok(Self::Text(text()));
        }
        let what = if media_type.is_empty() {
            "of no type"
        } else {
            &media_type
        };
        Err(format!(
            "the document is {what}: only texts, HTML and pictures can be read"
        ))
    }

    /// What the model gets, texts up to this many characters.
    pub(super) fn into_content(self, url: &Url, longest: usize) -> Vec<ContentBlock> {
        let content = match self {
            Self::Picture { media_type, bytes } => ContentBlock::image(STANDARD.encode(bytes), media_type),
            Self::Text(text) => ContentBlock::text(format!("URL: {url}\n\n{}", cut(text, longest))),
            Self::Html { title, source } => {
                let title = title.map_or(String::new(), |title| format!("Title: {title}\n"));
                ContentBlock::text(format!("URL: {url}\n{title}\n{}", cut(source, longest)))
            }
        };
        vec![content]
    }
}

fn cut(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}\n[cut after {longest} characters]", &text[..end]),
        None => text,
    }
}

/// What stands between the first `<title>` and its end, on one line.
fn title(source: &str) -> Option<String> {
    let lower = source.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let begin = begin + lower[begin..].find('>')? + 1;
    let end = begin + lower[begin..].find("</title")?;
    let words: Vec<_> = source[begin..end].split_whitespace().collect();
    let title = words.join(" ");
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    let title = entities
        .iter()
        .fold(title, |title, (entity, plain)| title.replace(entity, plain));
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(content_type: &str, body: &str, longest: usize) -> String {
        let page = Page::read(content_type, body.as_bytes()).unwrap();
        let content = page.into_content(&"https://example.com/".parse().unwrap(), longest);
        serde_json::to_value(&content).unwrap()[0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_title_is_told_in_one_line() {
        let html = "<!doctype html><HEAD><Title lang=en>\n A &amp;\n page </TITLE><p>text";
        assert!(shown("text/html; charset=utf-8", html, 100).contains("\nTitle: A & page\n"));
        assert!(!shown("text/html", "<p>no title", 100).contains("Title:"));
    }

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        let text = shown("text/plain", "äöü", 2);
        assert!(text.ends_with("äö\n[cut after 2 characters]"), "{text}");
        assert!(shown("application/json", "[1]", 3).ends_with("\n\n[1]"));
    }

    #[test]
    fn a_picture_is_a_picture_and_an_archive_is_refused() {
        let page = Page::read("image/png", b"\x89PNG").unwrap();
        let content = serde_json::to_value(page.into_content(&"https://a.example/".parse().unwrap(), 1)).unwrap();
        assert_eq!(
            (&content[0]["type"], &content[0]["data"]),
            (&"image".into(), &"iVBORw==".into())
        );
        assert!(
            Page::read("application/zip", b"PK")
                .unwrap_err()
                .contains("application/zip")
        );
    }
}
