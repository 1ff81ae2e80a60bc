//! How far something is that takes long: a bar on stderr, if that is a terminal.

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

/// A count of what is done, while nobody knows how much there is to do.
pub(crate) fn count(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {pos} {elapsed}");
    shown(ProgressBar::new_spinner(), style, what)
}

fn shown(
    bar: ProgressBar,
    style: Result<ProgressStyle, indicatif::style::TemplateError>,
    what: &'static str,
) -> ProgressBar {
    let bar = bar.with_message(what);
    // What cannot be drawn as it should be is drawn as it comes.
    let bar = match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    // At once, for the first step may be the one that takes long.
    bar.tick();
    bar
}
