//! The server and everything it started, as one group: a process group on Unix, a job object on Windows.
//!
//! A server is often a wrapper (`npx`, `uvx`, `sh -c`) around the program that does the work. Ending the wrapper
//! alone leaves the program behind, so signals go to the group.

pub(super) use self::system::{Group, join};

#[cfg(unix)]
mod system {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    use process_wrap::tokio::{CommandWrap, ProcessGroup};

    use crate::helper::Watch;

    /// Makes the command the leader of a new group.
    pub(in crate::back) fn join(command: &mut CommandWrap) {
        command.wrap(ProcessGroup::leader());
    }

    /// A group, known by its leader.
    #[derive(Debug)]
    pub(in crate::back) struct Group {
        leader: Option<Pid>,
        /// Ends it if the bridge is killed.
        _watch: Option<Watch>,
    }

    impl Group {
        pub(in crate::back) fn of(leader: Option<u32>) -> Self {
            let leader = leader.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
            Self {
                leader,
                _watch: leader.and_then(Watch::over),
            }
        }

        /// Asks every member to end.
        pub(in crate::back) fn terminate(&self) {
            if let Some(group) = self.leader {
                // The only failure is that nobody is there any more.
                let _ = killpg(group, Signal::SIGTERM);
            }
        }

        /// Whether a member is left that runs. The number is not given to another group as long as one is there.
        pub(in crate::back) fn is_alive(&self) -> bool {
            self.leader
                .is_some_and(|group| killpg(group, None).is_ok() && !all_ended(group))
        }
    }

    /// Whether those that are left have all ended, and only wait for their parent to take note. After the server is
    /// gone that is process 1, which may take its time, or in a container never come to it.
    fn all_ended(group: Pid) -> bool {
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return false;
        };
        let mut members = processes
            .filter_map(|process| std::fs::read_to_string(process.ok()?.path().join("stat")).ok())
            .filter_map(|stat| {
                // Behind the name, which may hold anything: state, parent, group.
                let mut fields = stat.rsplit_once(") ")?.1.split(' ');
                let state = fields.next()?.to_owned();
                (fields.nth(1)?.parse() == Ok(group.as_raw())).then_some(state)
            })
            .peekable();
        // Without `/proc` nothing was seen, and nothing is known.
        members.peek().is_some() && members.all(|state| matches!(state.as_str(), "Z" | "X"))
    }
}

#[cfg(not(unix))]
mod system {
    use process_wrap::tokio::CommandWrap;

    /// Puts the command into a job of its own.
    pub(in crate::back) fn join(command: &mut CommandWrap) {
        #[cfg(windows)]
        command.wrap(process_wrap::tokio::JobObject);
        #[cfg(not(windows))]
        let _ = command;
    }

    /// A job can be ended, which its owner does, but not asked to end.
    #[derive(Debug)]
    pub(in crate::back) struct Group;

    impl Group {
        pub(in crate::back) fn of(_leader: Option<u32>) -> Self {
            Self
        }

        pub(in crate::back) fn terminate(&self) {}

        /// Not to be known; the job is ended in any case.
        pub(in crate::back) fn is_alive(&self) -> bool {
            true
        }
    }
}
