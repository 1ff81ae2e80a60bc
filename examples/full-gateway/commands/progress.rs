//! How far something is that takes long: a bar on stderr, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for work of which the amount is known about.
pub(crate) fn bar(what: &'static str, amount: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    shown(ProgressBar::new(amount), style, what)
}

/// A bar for a file.
pub(crate) fn bytes(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    shown(ProgressBar::new(length), style, what)
}

/// Something that turns while nobody knows how long it takes.
pub(crate) fn spinner(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let spinner = shown(ProgressBar::new_spinner(), style, what);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn shown(
    bar: ProgressBar,
    style: Result<ProgressStyle, indicatif::style::TemplateError>,
    what: &'static str,
) -> ProgressBar {
    let bar = bar.with_message(what);
    // What cannot be drawn as it should be is drawn as it comes.
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
