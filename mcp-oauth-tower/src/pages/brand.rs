//! How pages look: a name, a logo, colours, a footer.
//!
//! Colours are checked when they are set. WCAG 2.2 AA asks for a contrast of 4.5 between text and what is behind it (success
//! criterion 1.4.3); a pair below that is refused, in the light scheme and in the dark one, so no operator's colours can make
//! the consent page hard to read.
//!
//! ```
//! use mcp_oauth_tower::pages::{Brand, Palette};
//!
//! let brand = Brand::new("Acme").light(Palette::LIGHT.accent("#7a1fa2".parse()?))?;
//! let refused = brand.light(Palette::LIGHT.accent("#ffcc00".parse()?)).unwrap_err();
//! assert!(refused.to_string().contains("contrast of 1.5"), "{refused}");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// WCAG 2.2 AA, success criterion 1.4.3.
const MINIMUM_CONTRAST: f64 = 4.5;

/// No logo needs more.
const MAXIMUM_LOGO: usize = 256 * 1024;

/// A colour: `#rrggbb` or `#rgb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// Text that is no colour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no colour: write it as #rrggbb")]
pub struct InvalidColour(String);

impl FromStr for Colour {
    type Err = InvalidColour;

    fn from_str(text: &str) -> Result<Self, InvalidColour> {
        let invalid = || InvalidColour(text.to_owned());
        let digits = text.strip_prefix('#').ok_or_else(invalid)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let full = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            6 => digits.to_owned(),
            _ => return Err(invalid()),
        };
        let number = u32::from_str_radix(&full, 16).map_err(|_| invalid())?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Colour {
    const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self([red, green, blue])
    }

    /// The relative luminance (WCAG 2.2): 0 for black, 1 for white.
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// The contrast ratio of the two (WCAG 2.2), from 1 to 21.
    #[must_use]
    pub fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// Black or white, whichever can be read on this: for any colour one of them has a contrast of 4.5.
    fn readable_on(self) -> Self {
        let (white, black) = (Self::new(255, 255, 255), Self::new(0, 0, 0));
        if self.contrast(white) >= MINIMUM_CONTRAST {
            white
        } else {
            black
        }
    }
}

/// The colours of one scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    text: Colour,
    soft: Colour,
    line: Colour,
    ground: Colour,
    card: Colour,
    accent: Colour,
    warning: Colour,
    warning_ground: Colour,
}

impl Palette {
    /// The light scheme as it is unless changed.
    pub const LIGHT: Self = Self {
        text: Colour::new(0x1b, 0x1f, 0x24),
        soft: Colour::new(0x57, 0x5f, 0x69),
        line: Colour::new(0xd9, 0xdd, 0xe2),
        ground: Colour::new(0xf4, 0xf5, 0xf7),
        card: Colour::new(0xff, 0xff, 0xff),
        accent: Colour::new(0x1f, 0x5a, 0xb8),
        warning: Colour::new(0x6f, 0x45, 0x00),
        warning_ground: Colour::new(0xff, 0xf4, 0xdc),
    };

    /// The dark scheme as it is unless changed.
    pub const DARK: Self = Self {
        text: Colour::new(0xe8, 0xea, 0xed),
        soft: Colour::new(0xab, 0xb3, 0xbc),
        line: Colour::new(0x3a, 0x40, 0x48),
        ground: Colour::new(0x14, 0x17, 0x1a),
        card: Colour::new(0x1e, 0x22, 0x27),
        accent: Colour::new(0x8a, 0xb6, 0xff),
        warning: Colour::new(0xff, 0xd8, 0x8a),
        warning_ground: Colour::new(0x38, 0x2b, 0x0d),
    };

    /// Changes the colour of buttons and links.
    #[must_use]
    pub const fn accent(mut self, accent: Colour) -> Self {
        self.accent = accent;
        self
    }

    /// Changes the colour behind everything.
    #[must_use]
    pub const fn ground(mut self, ground: Colour) -> Self {
        self.ground = ground;
        self
    }

    /// Changes the colour that texts stand on.
    #[must_use]
    pub const fn card(mut self, card: Colour) -> Self {
        self.card = card;
        self
    }

    /// Changes the colour of texts.
    #[must_use]
    pub const fn text(mut self, text: Colour) -> Self {
        self.text = text;
        self
    }

    fn check(self, scheme: &'static str) -> Result<Self, InvalidBrand> {
        let pairs = [
            ("text", self.text, "card", self.card),
            ("text", self.text, "ground", self.ground),
            ("quieter text", self.soft, "card", self.card),
            ("quieter text", self.soft, "ground", self.ground),
            ("accent", self.accent, "card", self.card),
            ("accent", self.accent, "ground", self.ground),
        ];
        for (front_name, front, back_name, back) in pairs {
            let contrast = front.contrast(back);
            if contrast < MINIMUM_CONTRAST {
                return Err(InvalidBrand::Contrast {
                    scheme,
                    front_name,
                    front,
                    back_name,
                    back,
                    // Rounded down: 4.49 must not read as the 4.5 that is asked for.
                    contrast: (contrast * 100.0).floor() / 100.0,
                });
            }
        }
        Ok(self)
    }

    /// The same as custom properties of CSS.
    pub(crate) fn css(&self) -> String {
        let on_accent = self.accent.readable_on();
        let Self {
            text,
            soft,
            line,
            ground,
            card,
            accent,
            warning,
            warning_ground,
        } = self;
        format!(
            "--text:{text};--soft:{soft};--line:{line};--ground:{ground};--card:{card};--accent:{accent};--on-accent:{on_accent};\
             --warning:{warning};--warning-ground:{warning_ground}"
        )
    }
}

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
    fn the_colours_that_pages_have_by_themselves_can_be_read() {
        for (palette, scheme) in [(Palette::LIGHT, "light"), (Palette::DARK, "dark")] {
            palette.check(scheme).unwrap();
            assert!(palette.warning.contrast(palette.warning_ground) >= MINIMUM_CONTRAST);
            assert!(palette.accent.contrast(palette.accent.readable_on()) >= MINIMUM_CONTRAST);
        }
    }

    #[test]
    fn contrast_is_that_of_the_standard() {
        let (white, black) = (Colour::new(255, 255, 255), Colour::new(0, 0, 0));
        assert!((white.contrast(black) - 21.0).abs() < 1e-9);
        assert!((Colour::new(0x76, 0x76, 0x76).contrast(white) - 4.54).abs() < 0.005);
    }

    #[test]
    fn on_any_accent_there_is_a_colour_that_can_be_read() {
        for red in (0..=255).step_by(15) {
            for green in (0..=255).step_by(15) {
                for blue in (0..=255).step_by(15) {
                    let accent = Colour::new(red, green, blue);
                    assert!(accent.contrast(accent.readable_on()) >= MINIMUM_CONTRAST, "{accent}");
                }
            }
        }
    }

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
    fn a_colour_is_nothing_but_a_colour() {
        for text in ["red", "#12", "#12345g", "#1234567", "#fff;}*{", "", "#+1+1+1"] {
            assert!(text.parse::<Colour>().is_err(), "{text}");
        }
        assert_eq!("#AbC".parse::<Colour>().unwrap().to_string(), "#aabbcc");
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
