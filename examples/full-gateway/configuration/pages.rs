//! How the pages look that people see, what they say, and which there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use config::{Config, File, FileFormat};
use mcp_oauth_tower::Pages;
use mcp_oauth_tower::pages::{Brand, Colour, Palette, Texts};
use serde::Deserialize;

/// `[pages]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PageSettings {
    /// Stands at the top of every page.
    name: Option<String>,
    /// A path of the same host, where a proxy serves the logo, or a file that the gateway serves.
    logo: Option<Logo>,
    /// The colours of the light scheme.
    light: PaletteSettings,
    /// The colours of the dark scheme.
    dark: PaletteSettings,
    /// Stands below every page.
    footer: Option<String>,
    /// Links below every page: what each says, and where it leads.
    footer_links: BTreeMap<String, String>,
    /// A file of texts, which may be a translation.
    texts: Option<PathBuf>,
    /// Whether people can see and end at `/account` what they have let in.
    account: bool,
    /// For how many days people may have a consent remembered; 0 means not at all.
    remember_consent_days: u16,
}

/// Where the logo is.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Logo {
    At(String),
    In { file: PathBuf },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PaletteSettings {
    accent: Option<String>,
    ground: Option<String>,
    card: Option<String>,
    text: Option<String>,
}

impl Default for PageSettings {
    fn default() -> Self {
        Self {
            name: None,
            logo: None,
            light: PaletteSettings::default(),
            dark: PaletteSettings::default(),
            footer: None,
            footer_links: BTreeMap::new(),
            texts: None,
            account: true,
            remember_consent_days: 0,
        }
    }
}

impl PaletteSettings {
    fn change(&self, palette: Palette, scheme: &str) -> anyhow::Result<Palette> {
        type Change = fn(Palette, Colour) -> Palette;
        let settings: [(&str, &Option<String>, Change); 4] = [
            ("accent", &self.accent, Palette::accent),
            ("ground", &self.ground, Palette::ground),
            ("card", &self.card, Palette::card),
            ("text", &self.text, Palette::text),
        ];
        settings
            .into_iter()
            .try_fold(palette, |palette, (name, colour, change)| {
                let Some(colour) = colour else { return Ok(palette) };
                let colour = colour.parse().with_context(|| format!("{name} of [pages.{scheme}]"))?;
                Ok(change(palette, colour))
            })
    }
}

impl PageSettings {
    /// The pages, if they can be read by people.
    pub(crate) fn pages(&self) -> anyhow::Result<Pages> {
        let mut pages = Pages::default().brand(self.brand().context("[pages] cannot be used")?);
        if let Some(file) = &self.texts {
            let texts = texts(file).with_context(|| format!("the texts of {} cannot be used", file.display()))?;
            pages = pages.texts(texts)?;
        }
        if !self.account {
            pages = pages.without_account();
        }
        Ok(pages)
    }

    /// For how long people may have a consent remembered, if at all.
    pub(crate) fn remember_consent(&self) -> Option<Duration> {
        let days = u64::from(self.remember_consent_days);
        (days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60))
    }

    fn brand(&self) -> anyhow::Result<Brand> {
        let mut brand = self.name.as_ref().map_or_else(Brand::default, Brand::new);
        brand = brand
            .light(self.light.change(Palette::LIGHT, "light")?)?
            .dark(self.dark.change(Palette::DARK, "dark")?)?;
        brand = match &self.logo {
            None => brand,
            Some(Logo::At(path)) => brand.logo_at(path)?,
            Some(Logo::In { file }) => {
                let picture = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
                brand.logo(picture)?
            }
        };
        if let Some(footer) = &self.footer {
            brand = brand.footer(footer);
        }
        for (text, url) in &self.footer_links {
            brand = brand.footer_link(text, url)?;
        }
        Ok(brand)
    }
}

fn texts(file: &Path) -> anyhow::Result<Texts> {
    let file = File::from(file).format(FileFormat::Toml);
    let texts: Texts = Config::builder().add_source(file).build()?.try_deserialize()?;
    texts.check()?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> anyhow::Result<PageSettings> {
        let source = File::from_str(toml, FileFormat::Toml);
        Ok(Config::builder().add_source(source).build()?.try_deserialize()?)
    }

    fn refusal(toml: &str) -> String {
        match read(toml).and_then(|settings| settings.pages()) {
            Ok(_) => panic!("{toml} was taken"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn everything_can_be_set() {
        let settings = read(
            r##"
            name = "Acme"
            logo = "/static/logo.svg"
            footer = "Acme Inc."
            account = false
            remember_consent_days = 30
            [light]
            accent = "#7a1fa2"
            [dark]
            accent = "#e0b0ff"
            [footer_links]
            Privacy = "https://acme.example/privacy"
            "##,
        )
        .unwrap();
        settings.pages().unwrap();
        assert_eq!(
            settings.remember_consent(),
            Some(Duration::from_secs(30 * 24 * 60 * 60))
        );
    }

    #[test]
    fn nothing_has_to_be_set_and_then_no_consent_is_remembered() {
        let settings = read("").unwrap();
        settings.pages().unwrap();
        assert!(settings.account);
        assert_eq!(settings.remember_consent(), None);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        for (toml, part) in [
            ("[light]\naccent = \"#ffee00\"", "contrast"),
            ("[dark]\ntext = \"grey\"", "text of [pages.dark]"),
            ("logo = \"https://elsewhere.example/logo.svg\"", "path of this host"),
            ("logo = { file = \"/nowhere/logo.svg\" }", "cannot be read"),
            ("texts = \"/nowhere/de.toml\"", "/nowhere/de.toml"),
            ("[footer_links]\nPrivacy = \"javascript:alert(1)\"", "Privacy"),
            ("colour = \"#123456\"", "colour"),
        ] {
            let refused = refusal(toml);
            assert!(
                refused.contains(part) || part == "Privacy" && refused.contains("footer"),
                "{part} in {refused}"
            );
        }
    }

    #[test]
    fn the_example_of_a_translation_can_be_used() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("full-gateway/texts.example.toml");
        let german = texts(&file).unwrap();
        assert_eq!(german.lang, "de");
        assert_eq!(german.consent_allow.as_str(), "Erlauben");
        assert_eq!(
            german.account_end.as_str(),
            "End access",
            "what is not translated stays English"
        );
    }
}
