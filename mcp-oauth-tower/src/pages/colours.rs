//! The colours of pages, which have to differ enough for texts to be read.
//!
//! WCAG 2.2 AA asks for a contrast of 4.5 between text and what is behind it (success criterion 1.4.3). A pair below that is
//! refused, in the light scheme and in the dark one.
//!
//! ```
//! use mcp_oauth_tower::pages::Colour;
//!
//! let (yellow, white): (Colour, Colour) = ("#ffcc00".parse()?, "#fff".parse()?);
//! assert!(yellow.contrast(white) < 4.5);
//! # Ok::<_, mcp_oauth_tower::pages::InvalidColour>(())
//! ```

use std::fmt;
use std::str::FromStr;

use super::brand::InvalidBrand;

/// WCAG 2.2 AA, success criterion 1.4.3.
const MINIMUM_CONTRAST: f64 = 4.5;

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
    pub(super) fn luminance(self) -> f64 {
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

    /// The same, if texts can be read in it.
    pub(super) fn check(self, scheme: &'static str) -> Result<Self, InvalidBrand> {
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
    fn a_colour_is_nothing_but_a_colour() {
        for text in ["red", "#12", "#12345g", "#1234567", "#fff;}*{", "", "#+1+1+1"] {
            assert!(text.parse::<Colour>().is_err(), "{text}");
        }
        assert_eq!("#AbC".parse::<Colour>().unwrap().to_string(), "#aabbcc");
    }
}
