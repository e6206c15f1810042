//! Names that say whose they are, and the removal of what a killed lab left behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `ip netns` keeps its bind mounts.
pub(super) const NETNS_DIRECTORY: &str = "/run/netns";

/// A name no other lab on this machine has: `ac<pid>-<n>`. It sweeps once a process first.
pub(super) fn unique_name() -> String {
    static SWEPT: Once = Once::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    SWEPT.call_once(sweep);
    format!("ac{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes namespaces, mounts and directories of labs whose process is no more. What cannot be removed is left to the next
/// sweep: nothing of it is in the way, since names are never used twice by living processes.
fn sweep() {
    for name in names_in(Path::new(NETNS_DIRECTORY)).filter(|name| is_orphan(name)) {
        // A failure means that another lab swept it first.
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
    let scratch = std::env::temp_dir();
    for name in names_in(&scratch).filter(|name| is_orphan(name)) {
        remove_scratch(&scratch.join(name));
    }
}

/// Unmounts a lab's BPF file system and removes its directory.
pub(super) fn remove_scratch(directory: &Path) {
    // Detached, so that a map some process still holds open is no obstacle; EINVAL says that nothing was mounted.
    let _ = nix::mount::umount2(&bpffs_of(directory), nix::mount::MntFlags::MNT_DETACH);
    let _ = std::fs::remove_dir_all(directory);
}

/// Where a lab's own BPF file system is mounted within its scratch directory.
pub(super) fn bpffs_of(scratch: &Path) -> PathBuf {
    scratch.join("bpf")
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn is_orphan(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// The process a name belongs to, if it is a lab's name at all.
fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix("ac")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_labs_own_names_have_an_owner() {
        assert_eq!(owner("ac123-4"), Some(123));
        for other in ["ac123", "ac-4", "acx-1", "ac123-", "ac123-x", "eth0", "ac1-2-3"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn a_living_process_is_no_orphan() {
        assert!(!is_orphan(&format!("ac{}-0", std::process::id())));
        // Above the largest pid_max, so it never lives.
        assert!(is_orphan("ac4194305-0"));
    }
}
