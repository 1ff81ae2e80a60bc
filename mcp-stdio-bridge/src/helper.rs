//! The work that has to be done in a process of its own: limits for a server, and the watch over a bridge that dies.
//!
//! Two things cannot be done from inside a bridge. Limits have to be set after the server's process has been made and
//! before the server's program runs in it. And when the bridge is killed outright, somebody else has to end the servers
//! that do not end by themselves when their stdin is closed. For the first, and for the second where there is no
//! shell, the bridge starts its own program again under a special name; a program that holds the library has to be ready
//! for that:
//!
//! ```no_run
//! // The first line of `main`: it does not return where the program was started as a helper.
//! mcp_stdio_bridge::helper::run();
//! ```
//!
//! `mcp-stdio-bridge` itself does so. Without it, servers end with a killed bridge if they end at the end of their
//! stdin, as the protocol asks, and [limits](ResourceLimits) are refused when the bridge is built.

use crate::config::ConfigError;

pub(crate) use self::system::{Watch, launcher};

/// What a server may use of the machine. What is not set is not limited.
///
/// ```
/// use mcp_stdio_bridge::ResourceLimits;
///
/// let limits = ResourceLimits::default().memory(512 * 1024 * 1024).open_files(256);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct ResourceLimits {
    memory: Option<u64>,
    open_files: Option<u64>,
    cpu_seconds: Option<u64>,
    file_size: Option<u64>,
}

impl ResourceLimits {
    /// Address space of each process, in bytes (`RLIMIT_AS`). JavaScript runtimes reserve far more than they use:
    /// leave them several GiB.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Open files of each process (`RLIMIT_NOFILE`).
    pub fn open_files(mut self, files: u64) -> Self {
        self.open_files = Some(files);
        self
    }

    /// Processor time of each process, in seconds (`RLIMIT_CPU`).
    pub fn cpu_seconds(mut self, seconds: u64) -> Self {
        self.cpu_seconds = Some(seconds);
        self
    }

    /// The largest file that can be written, in bytes (`RLIMIT_FSIZE`).
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.file_size = Some(bytes);
        self
    }

    pub(crate) fn check(self) -> Result<(), ConfigError> {
        match (self == Self::default(), cfg!(unix), system::is_ready()) {
            (true, ..) | (false, true, true) => Ok(()),
            (false, true, false) => Err(ConfigError::NoHelper),
            (false, false, _) => Err(ConfigError::Unsupported("resource limits")),
        }
    }

    /// As an argument.
    fn written(self) -> String {
        let one = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        [self.memory, self.open_files, self.cpu_seconds, self.file_size]
            .map(one)
            .join(",")
    }

    fn read(text: &str) -> Self {
        let mut limits = text.split(',').map(|limit| limit.parse().ok());
        let mut next = || limits.next().flatten();
        Self {
            memory: next(),
            open_files: next(),
            cpu_seconds: next(),
            file_size: next(),
        }
    }
}

/// Does a helper's work and ends the process, if the process was started for that; else returns at once.
pub fn run() {
    system::run();
}

#[cfg(unix)]
mod system {
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::io::{BufRead, PipeWriter, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio, exit};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use nix::sys::resource::{Resource, setrlimit};
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;

    use super::ResourceLimits;

    const LAUNCH: &str = "__mcp-stdio-bridge-launch";
    const WATCH: &str = "__mcp-stdio-bridge-watch";
    /// From SIGTERM to SIGKILL where the bridge is gone: nobody waits for an orderly end any more.
    const GRACE: Duration = Duration::from_millis(700);

    /// Watches in a tenth of the memory that this program would need for it. It does what [`watch`] does.
    const SHELL: &str = "/bin/sh";
    const SCRIPT: &str = r#"
        groups=" "
        while read -r sign group; do
            case $sign in
                +) groups="$groups$group " ;;
                -) case $groups in *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;; esac ;;
            esac
        done
        [ "$groups" = " " ] && exit 0
        for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
        sleep 1
        for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
    "#;

    /// Whether the program can be started again as a helper.
    static READY: AtomicBool = AtomicBool::new(false);

    pub(super) fn is_ready() -> bool {
        READY.load(Ordering::Relaxed)
    }

    pub(super) fn run() {
        READY.store(true, Ordering::Relaxed);
        let mut arguments = std::env::args_os().skip(1);
        match arguments.next().as_ref().and_then(|first| first.to_str()) {
            Some(LAUNCH) => launch(arguments),
            Some(WATCH) => watch(),
            _ => {}
        }
    }

    /// The command that sets these limits and becomes the program that follows.
    pub(crate) fn launcher(limits: &ResourceLimits) -> Option<tokio::process::Command> {
        if *limits == ResourceLimits::default() || !is_ready() {
            return None;
        }
        let mut command = tokio::process::Command::new(std::env::current_exe().ok()?);
        command.arg(LAUNCH).arg(limits.written());
        Some(command)
    }

    fn launch(mut arguments: impl Iterator<Item = OsString>) -> ! {
        let limits = arguments.next().unwrap_or_default();
        let limits = ResourceLimits::read(&limits.to_string_lossy());
        for (resource, limit) in [
            (Resource::RLIMIT_AS, limits.memory),
            (Resource::RLIMIT_NOFILE, limits.open_files),
            (Resource::RLIMIT_CPU, limits.cpu_seconds),
            (Resource::RLIMIT_FSIZE, limits.file_size),
        ] {
            let Some(limit) = limit else { continue };
            if let Err(error) = setrlimit(resource, limit, limit) {
                eprintln!("the limit {resource:?} of {limit} cannot be set: {error}");
                exit(126);
            }
        }
        let Some(program) = arguments.next() else { exit(126) };
        let error = Command::new(&program).args(arguments).exec();
        eprintln!("{} cannot be run: {error}", program.to_string_lossy());
        exit(127);
    }

    /// Ends the groups it was told of when the bridge is gone without having taken them back.
    fn watch() -> ! {
        let mut groups = BTreeSet::new();
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let Some((sign, Ok(group))) = line.split_once(' ').map(|(sign, group)| (sign, group.parse::<i32>())) else {
                continue;
            };
            if sign == "+" {
                groups.insert(group);
            } else {
                groups.remove(&group);
            }
        }
        let send = |signal| {
            for group in &groups {
                // The only failure is that nobody is there any more.
                let _ = killpg(Pid::from_raw(*group), signal);
            }
        };
        if !groups.is_empty() {
            send(Signal::SIGTERM);
            std::thread::sleep(GRACE);
            send(Signal::SIGKILL);
        }
        exit(0);
    }

    /// A group that is watched over.
    #[derive(Debug)]
    pub(crate) struct Watch {
        group: Pid,
    }

    /// The helper that watches, from the bridge's side. One serves the whole program, from the first server on.
    struct Watcher {
        pipe: PipeWriter,
    }

    static WATCHER: Mutex<Option<Watcher>> = Mutex::new(None);

    impl Watch {
        /// Has a group ended if the bridge dies before this is dropped.
        pub(crate) fn over(group: Pid) -> Option<Self> {
            if !is_ready() {
                return None;
            }
            let mut watcher = WATCHER.lock().unwrap_or_else(PoisonError::into_inner);
            if watcher.is_none() {
                *watcher = start();
            }
            let running = watcher.as_mut()?;
            if writeln!(running.pipe, "+ {group}").is_err() {
                // Somebody has killed it; the next group gets another.
                *watcher = None;
                return None;
            }
            Some(Self { group })
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            let mut watcher = WATCHER.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(running) = watcher.as_mut() else { return };
            if writeln!(running.pipe, "- {}", self.group).is_err() {
                *watcher = None;
            }
        }
    }

    fn start() -> Option<Watcher> {
        let started = || {
            let (theirs, ours) = std::io::pipe()?;
            // Of the runtime's kind, since the runtime takes the status of those that nobody waits for.
            let shell = std::path::Path::new(SHELL).exists();
            let mut command = if shell {
                let mut command = tokio::process::Command::new(SHELL);
                command.args(["-c", SCRIPT, WATCH]);
                command
            } else {
                let mut command = tokio::process::Command::new(std::env::current_exe()?);
                command.arg(WATCH);
                command
            };
            // In a group of its own, so that what the terminal sends the bridge does not end it.
            command.env_clear().env("PATH", "/usr/bin:/bin").process_group(0);
            command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
            drop(command.spawn()?);
            Ok::<_, std::io::Error>(Watcher { pipe: ours })
        };
        match started() {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "nothing watches over the servers if this program is killed");
                None
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use super::ResourceLimits;

    pub(super) fn is_ready() -> bool {
        false
    }

    pub(super) fn run() {}

    pub(crate) fn launcher(_limits: &ResourceLimits) -> Option<tokio::process::Command> {
        None
    }

    /// A job object ends with the process that holds it.
    #[derive(Debug)]
    pub(crate) struct Watch;
}
