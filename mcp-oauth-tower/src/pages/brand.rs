//! How pages look: a name, a logo, colours, a footer.
//!
//! Colours are checked when they are set ([`Palette`]), so that no operator's can make the consent page hard to read.
//!
//! ```
//! use mcp_oauth_tower::pages::{Brand, Palette};
//!
//! let brand = Brand::new("Acme").light(Palette::LIGHT.accent("#7a1fa2".parse()?))?;
//! let refused = brand.light(Palette::LIGHT.accent("#ffcc00".parse()?)).unwrap_err();
//! assert!(refused.to_string().contains("contrast of 1.5"), "{refused}");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;

use super::colours::{Colour, Palette};

/// No logo needs more.
const MAXIMUM_LOGO: usize = 256 * 1024;

/// Where the logo is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Logo {
    /// At a path of the same host, where the operator serves it.
    Path(String),
    /// Here.
    Data { media_type: &'static str, bytes: Bytes },
}

/// A link of the footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FooterLink {
    text: String,
    url: String,
}

impl FooterLink {
    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it leads.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Why pages cannot look like that.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBrand {
    /// Two colours are too much alike.
    #[error(
        "in the {scheme} scheme, the {front_name} {front} on the {back_name} {back} has a contrast of {contrast}, and WCAG AA asks \
         for 4.5: make one of them {advice}", advice = advice(*front, *back)
    )]
    Contrast {
        /// Which scheme.
        scheme: &'static str,
        /// What stands in front.
        front_name: &'static str,
        /// Its colour.
        front: Colour,
        /// What is behind it.
        back_name: &'static str,
        /// Its colour.
        back: Colour,
        /// How far they are apart.
        contrast: f64,
    },
    /// The logo is nowhere where pages load anything from.
    #[error(
        "the logo {0:?} has to be a path of this host, such as /logo.svg: pages load nothing from elsewhere, or whoever serves it \
         would learn who signs in"
    )]
    LogoPath(String),
    /// The logo is no picture, or too large.
    #[error("the logo has to be SVG, PNG, WebP or JPEG of at most 256 KiB")]
    LogoData,
    /// A link leads nowhere.
    #[error("the link {0:?} of the footer has to be a path of this host or an https URL")]
    Link(String),
}

fn advice(front: Colour, back: Colour) -> &'static str {
    if front.luminance() < back.luminance() {
        "darker, or what is behind it lighter"
    } else {
        "lighter, or what is behind it darker"
    }
}

/// How pages look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    pub(crate) name: Option<String>,
    pub(crate) logo: Option<Logo>,
    pub(crate) light: Palette,
    pub(crate) dark: Palette,
    pub(crate) footer: Option<String>,
    pub(crate) links: Vec<FooterLink>,
}

impl Default for Brand {
    /// Without a name, a logo or a footer.
    fn default() -> Self {
        Self {
            name: None,
            logo: None,
            light: Palette::LIGHT,
            dark: Palette::DARK,
            footer: None,
            links: Vec::new(),
        }
    }
}

impl Brand {
    /// With a name, which stands at the top of every page.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }

    /// Shows the picture at this path of the same host, where the operator serves it.
    ///
    /// # Errors
    ///
    /// When it is no path: pages load nothing from another host.
    pub fn logo_at(mut self, path: impl Into<String>) -> Result<Self, InvalidBrand> {
        let path = path.into();
        if !is_path(&path) {
            return Err(InvalidBrand::LogoPath(path));
        }
        self.logo = Some(Logo::Path(path));
        Ok(self)
    }

    /// Shows this picture, which is served beside the pages.
    ///
    /// # Errors
    ///
    /// When it is no SVG, PNG, WebP or JPEG, or larger than 256 KiB.
    pub fn logo(mut self, picture: impl Into<Bytes>) -> Result<Self, InvalidBrand> {
        let bytes = picture.into();
        let media_type = media_type(&bytes).filter(|_| bytes.len() <= MAXIMUM_LOGO);
        self.logo = Some(Logo::Data {
            media_type: media_type.ok_or(InvalidBrand::LogoData)?,
            bytes,
        });
        Ok(self)
    }

    /// The colours of the light scheme.
    ///
    /// # Errors
    ///
    /// When a text could not be read well in them.
    pub fn light(mut self, palette: Palette) -> Result<Self, InvalidBrand> {
        self.light = palette.check("light")?;
        Ok(self)
    }

    /// The colours of the dark scheme.
    ///
    /// # Errors
    ///
    /// When a text could not be read well in them.
    pub fn dark(mut self, palette: Palette) -> Result<Self, InvalidBrand> {
        self.dark = palette.check("dark")?;
        Ok(self)
    }

    /// A text below every page.
    #[must_use]
    pub fn footer(mut self, text: impl Into<String>) -> Self {
        self.footer = Some(text.into());
        self
    }

    /// Adds a link below every page, such as one to a privacy policy.
    ///
    /// # Errors
    ///
    /// When it is neither a path of the same host nor an https URL.
    pub fn footer_link(mut self, text: impl Into<String>, url: impl Into<String>) -> Result<Self, InvalidBrand> {
        let url = url.into();
        let is_https = url::Url::parse(&url).is_ok_and(|url| url.scheme() == "https");
        if !is_https && !is_path(&url) {
            return Err(InvalidBrand::Link(url));
        }
        self.links.push(FooterLink { text: text.into(), url });
        Ok(self)
    }

    /// The name of whoever runs this.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The text below every page.
    #[must_use]
    pub fn footer_text(&self) -> Option<&str> {
        self.footer.as_deref()
    }

    /// The links below every page.
    #[must_use]
    pub fn footer_links(&self) -> &[FooterLink] {
        &self.links
    }
}

/// A path and nothing that a browser, or a policy that names it, would read as something else.
fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

/// What kind of picture it is, by how it begins.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let text = std::str::from_utf8(bytes)
        .ok()?
        .trim_start_matches('\u{feff}')
        .trim_start();
    (text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg"))).then_some("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_cannot_be_read_is_refused_with_advice() {
        let pale = Palette::LIGHT.text("#999".parse().unwrap());
        let refused = Brand::default().light(pale).unwrap_err().to_string();
        for part in ["light scheme", "#999999", "#ffffff", "2.84", "darker"] {
            assert!(refused.contains(part), "{part} in {refused}");
        }
        let dim = Palette::DARK.accent("#224".parse().unwrap());
        assert!(Brand::default().dark(dim).unwrap_err().to_string().contains("lighter"));
    }

    #[test]
    fn a_logo_and_links_are_not_elsewhere() {
        for path in [
            "//evil.example/x",
            "https://evil.example/x.png",
            "logo.svg",
            "/a;b",
            "/a b",
            "/a\"",
            "",
        ] {
            assert!(Brand::default().logo_at(path).is_err(), "{path}");
        }
        for url in ["javascript:alert(1)", "http://plain.example", "//evil.example", "x"] {
            assert!(Brand::default().footer_link("x", url).is_err(), "{url}");
        }
        assert!(Brand::default().logo_at("/static/logo.svg").is_ok());
        assert!(
            Brand::default()
                .footer_link("Privacy", "https://acme.example/privacy")
                .is_ok()
        );
        assert!(Brand::default().footer_link("Privacy", "/privacy").is_ok());
    }

    #[test]
    fn a_logo_is_a_picture_of_a_moderate_size() {
        assert!(
            Brand::default()
                .logo(&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..])
                .is_ok()
        );
        assert!(Brand::default().logo(&b"\x89PNG\r\n\x1a\n"[..]).is_ok());
        assert!(Brand::default().logo(&b"<html>"[..]).is_err());
        let large = [b"\x89PNG\r\n\x1a\n".to_vec(), vec![0; MAXIMUM_LOGO]].concat();
        assert!(Brand::default().logo(large).is_err());
    }
}
