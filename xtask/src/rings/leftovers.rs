//! What a test binary left behind on the machine: processes, network namespaces, BPF pins, scratch directories.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Marks every process that a test starts, and theirs, through the environment.
const RUN_VARIABLE: &str = "ANYCAST_TEST_RUN";

const NAMESPACES: &str = "/run/netns";
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

/// The machine as it was before a test binary ran.
pub struct Before {
    run: String,
    present: BTreeSet<PathBuf>,
}

impl Before {
    /// Looks at the machine.
    pub fn look() -> Self {
        Self { run: std::process::id().to_string(), present: traces() }
    }

    /// Marks `command` and whatever it will start as part of this run.
    pub fn mark(&self, command: &mut Command) {
        command.env(RUN_VARIABLE, &self.run);
    }

    /// What was not there before and belongs to nobody who still runs. Processes among it are ended.
    pub fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (process, name) in self.processes() {
            // SAFETY: kill takes two integers and touches no memory; the process carries this run's mark.
            unsafe { libc::kill(process, libc::SIGKILL) };
            left.push(format!("process {process} ({name}), ended now"));
        }
        let new = traces().into_iter().filter(|path| !self.present.contains(path));
        left.extend(new.map(|path| path.display().to_string()));
        left
    }

    /// The processes of this run that still live.
    fn processes(&self) -> Vec<(libc::pid_t, String)> {
        let mark = format!("{RUN_VARIABLE}={}", self.run).into_bytes();
        let is_marked = |process: &libc::pid_t| {
            fs::read(format!("/proc/{process}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark))
        };
        names(Path::new("/proc"))
            .filter_map(|name| name.parse().ok())
            .filter(is_marked)
            .map(|process| {
                let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
                (process, name.trim_end().to_owned())
            })
            .collect()
    }
}

/// Namespaces, pins and scratch directories whose names say that they were made by a lab whose process has ended, and all pins at the place
/// where the daemon puts them unless it is told otherwise.
fn traces() -> BTreeSet<PathBuf> {
    let directories = [PathBuf::from(NAMESPACES), PathBuf::from(BPF_FILE_SYSTEM), std::env::temp_dir()];
    let of_dead_labs = directories.into_iter().flat_map(|directory| {
        names(&directory)
            .filter(|name| lab_process(name).is_some_and(|process| !is_alive(process)))
            .map(|name| directory.join(name))
            .collect::<Vec<_>>()
    });
    let default_pins = Path::new(BPF_FILE_SYSTEM).join("anycast");
    let pins: Vec<String> = names(&default_pins).collect();
    of_dead_labs.chain(pins.into_iter().map(|name| default_pins.join(name))).collect()
}

/// The process that made the thing of this name: the lab names everything `ac<pid>-<number>`.
fn lab_process(name: &str) -> Option<u32> {
    let (process, _) = name.strip_prefix("ac")?.split_once('-')?;
    process.parse().ok()
}

fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// The names in a directory; none if it cannot be read.
fn names(directory: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::process;

    #[test]
    fn a_process_that_stays_is_found_and_ended() {
        let before = Before { run: format!("test-{}", std::process::id()), present: traces() };
        assert!(before.processes().is_empty());
        let mut marked = process::command("sleep");
        before.mark(marked.arg("60").stdout(Stdio::null()));
        let mut child = marked.spawn().unwrap();
        let mut unmarked = process::command("sleep").arg("60").spawn().unwrap();
        // The mark is in place once the child has become `sleep`.
        while before.processes().is_empty() {
            std::thread::yield_now();
        }
        let left = before.left_over();
        assert!(left.iter().any(|left| left.starts_with(&format!("process {} (", child.id()))), "{left:?}");
        assert!(
            !left.iter().any(|left| left.starts_with(&format!("process {} (", unmarked.id()))),
            "{left:?}"
        );
        assert!(!child.wait().unwrap().success());
        unmarked.kill().unwrap();
        unmarked.wait().unwrap();
    }

    #[test]
    fn the_lab_process_is_in_the_name() {
        assert_eq!(lab_process("ac1234-7"), Some(1234));
        assert_eq!(lab_process("acme-7"), None);
        assert_eq!(lab_process("router"), None);
        assert!(is_alive(std::process::id()));
    }
}
