//! What systemd is told, where it has started the gateway with `Type=notify-reload`. Elsewhere nobody is told anything.

#[cfg(unix)]
pub(crate) use told::{alive, ready, reloading, stopping, watchdog};
#[cfg(not(unix))]
pub(crate) use untold::{alive, ready, reloading, stopping, watchdog};

#[cfg(unix)]
mod told {
    use std::time::Duration;

    use sd_notify::NotifyState;

    /// The gateway serves.
    pub(crate) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    /// It reads its configuration anew; [`ready`] comes after it.
    pub(crate) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "systemd cannot be told of the reload"
            ),
        }
    }

    /// It is about to end.
    pub(crate) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }

    /// How often systemd wants to hear that the gateway is alive, if it does: twice in the time that it waits.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|time| time / 2)
    }

    /// It is alive.
    pub(crate) fn alive() {
        tell(&[NotifyState::Watchdog]);
    }

    fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "systemd cannot be told how the gateway stands"
            );
        }
    }
}

/// Where there is no systemd.
#[cfg(not(unix))]
mod untold {
    pub(crate) fn ready() {}

    pub(crate) fn reloading() {}

    pub(crate) fn stopping() {}

    pub(crate) fn watchdog() -> Option<std::time::Duration> {
        None
    }

    pub(crate) fn alive() {}
}
