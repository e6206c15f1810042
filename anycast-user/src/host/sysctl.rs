//! The sysctls that an IPv4 service address on `lo` needs on its link.
//!
//! Without them the kernel undoes the design as it would with an IPv6 address on the link: it answers ARP requests for any
//! local address on any interface, gate or no gate (`arp_ignore` = 0), and asks for its gateway with the service address as
//! ARP sender, whereupon the router's entry moves to it (`arp_announce` = 0). Both are taken from the larger of `all` and
//! the interface's own value, so it suffices to raise the interface's, and nothing else on the host changes. A second interface
//! on the same link, which would answer there as well, is the operator's to set alike.

use std::io;
use std::path::{Path, PathBuf};

use super::state::{StateDir, StateError, SysctlRecord};

/// Why a sysctl could not be changed or restored.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The kernel refused to read or write it.
    #[error("cannot {operation} sysctl {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be recorded, and so it was not changed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The sysctls below one directory: /proc/sys/net, which shows those of the calling thread's network namespace.
#[derive(Clone, Debug)]
pub struct Sysctls {
    root: PathBuf,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self { root: PathBuf::from("/proc/sys/net") }
    }
}

/// A rule for a sysctl of an interface.
struct Rule {
    name: &'static str,
    /// What is written where the value does not do.
    value: &'static str,
    /// Values that do.
    enough: &'static [&'static str],
}

/// `arp_announce` 2: the ARP sender address is one of the interface. `arp_ignore` 1: only addresses of the interface are
/// answered for; 2, 3 and 8 refuse still more (3: our address has scope host) and stay.
const ARP_RULES: [Rule; 2] = [
    Rule { name: "arp_announce", value: "2", enough: &["2"] },
    Rule { name: "arp_ignore", value: "1", enough: &["1", "2", "3", "8"] },
];

impl Sysctls {
    /// Sets what an IPv4 service on `interface` needs, each after it was recorded in `state`. Values that do already are left
    /// alone. Doing it again sets what was changed or lost since (an interface that is back begins with new values).
    ///
    /// # Errors
    /// See [`SysctlError`].
    pub fn set_arp(&self, state: &mut StateDir, interface: &str) -> Result<(), SysctlError> {
        for rule in &ARP_RULES {
            let key = key(interface, rule.name);
            let before = self.read(&key)?;
            if rule.enough.contains(&before.as_str()) {
                continue;
            }
            let record = SysctlRecord { before, set: rule.value.to_owned() };
            state.update(|state| {
                state.sysctls.insert(key.clone(), record);
            })?;
            self.write(&key, rule.value)?;
        }
        Ok(())
    }

    /// Puts back what [`set_arp`](Self::set_arp) changed on `interface`. A value that somebody else changed since is left
    /// alone, and so is one whose interface is gone. Harmless if nothing was changed.
    ///
    /// # Errors
    /// See [`SysctlError`]; what could not be restored stays recorded.
    pub fn restore(&self, state: &mut StateDir, interface: &str) -> Result<(), SysctlError> {
        let keys: Vec<_> = ARP_RULES.iter().map(|rule| key(interface, rule.name)).collect();
        self.restore_keys(state, keys)
    }

    /// Puts back everything recorded, of whatever interface.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_all(&self, state: &mut StateDir) -> Result<(), SysctlError> {
        let keys = state.state().sysctls.keys().cloned().collect();
        self.restore_keys(state, keys)
    }

    /// Restores all of `keys` that are recorded, whatever happens to one of them, and returns the first error.
    fn restore_keys(&self, state: &mut StateDir, keys: Vec<String>) -> Result<(), SysctlError> {
        let mut result = Ok(());
        for key in keys {
            let Some(record) = state.state().sysctls.get(&key).cloned() else { continue };
            let restored = self.restore_one(&key, &record).and_then(|()| {
                state.update(|state| {
                    state.sysctls.remove(&key);
                })?;
                Ok(())
            });
            if let Err(error) = restored
                && result.is_ok()
            {
                result = Err(error);
            }
        }
        result
    }

    fn restore_one(&self, key: &str, record: &SysctlRecord) -> Result<(), SysctlError> {
        match self.read(key) {
            Ok(now) if now == record.set => self.write(key, &record.before),
            Ok(now) => {
                tracing::info!(sysctl = key, now, set = record.set, "left alone: somebody else changed it");
                Ok(())
            }
            Err(SysctlError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&self, key: &str) -> Result<String, SysctlError> {
        let path = self.root.join(key);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(source) => Err(SysctlError::Io { operation: "read", path, source }),
        }
    }

    fn write(&self, key: &str, value: &str) -> Result<(), SysctlError> {
        let path = self.root.join(key);
        std::fs::write(&path, value).map_err(|source| SysctlError::Io { operation: "write", path, source })
    }
}

/// The path of an interface's IPv4 sysctl below the root; interface names hold no slash.
fn key(interface: &str, name: &str) -> String {
    let path: PathBuf = Path::new("ipv4/conf").join(interface).join(name);
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory that looks like /proc/sys/net with one interface, and a state directory.
    struct Host {
        root: tempfile::TempDir,
        _state: tempfile::TempDir,
        state: StateDir,
        sysctls: Sysctls,
    }

    impl Host {
        fn new(announce: &str, ignore: &str) -> Self {
            let root = tempfile::tempdir().unwrap();
            let state_dir = tempfile::tempdir().unwrap();
            let state = StateDir::open(state_dir.path()).unwrap();
            let sysctls = Sysctls { root: root.path().to_owned() };
            fs::create_dir_all(root.path().join("ipv4/conf/eth0.7")).unwrap();
            let host = Self { root, _state: state_dir, state, sysctls };
            host.put("arp_announce", announce);
            host.put("arp_ignore", ignore);
            host
        }

        fn put(&self, name: &str, value: &str) {
            fs::write(self.root.path().join(key("eth0.7", name)), format!("{value}\n")).unwrap();
        }

        fn values(&self) -> [String; 2] {
            ["arp_announce", "arp_ignore"].map(|name| self.sysctls.read(&key("eth0.7", name)).unwrap())
        }
    }

    #[test]
    fn values_are_set_recorded_and_restored() {
        let mut host = Host::new("1", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        assert_eq!(host.values(), ["2", "1"]);
        assert_eq!(host.state.state().sysctls.len(), 2);
        host.sysctls.restore(&mut host.state, "eth0.7").unwrap();
        assert_eq!(host.values(), ["1", "0"]);
        assert!(host.state.state().sysctls.is_empty());
    }

    #[test]
    fn values_that_do_are_left_alone() {
        for ignore in ["1", "2", "3", "8"] {
            let mut host = Host::new("2", ignore);
            host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
            assert_eq!(host.values(), ["2", ignore]);
            assert!(host.state.state().sysctls.is_empty());
            host.sysctls.restore(&mut host.state, "eth0.7").unwrap();
            assert_eq!(host.values(), ["2", ignore]);
        }
    }

    #[test]
    fn a_second_run_remembers_what_the_first_found() {
        let mut host = Host::new("0", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        // The daemon was killed; the next one sets again and must not take its predecessor's values for the operator's.
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        host.sysctls.restore_all(&mut host.state).unwrap();
        assert_eq!(host.values(), ["0", "0"]);
    }

    #[test]
    fn a_value_changed_by_somebody_else_is_left_alone() {
        let mut host = Host::new("0", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        host.put("arp_ignore", "8");
        host.sysctls.restore(&mut host.state, "eth0.7").unwrap();
        assert_eq!(host.values(), ["0", "8"]);
        assert!(host.state.state().sysctls.is_empty());
    }

    #[test]
    fn a_value_lost_is_set_again() {
        let mut host = Host::new("0", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        // The interface was gone and is back.
        host.put("arp_ignore", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        assert_eq!(host.values(), ["2", "1"]);
        host.sysctls.restore(&mut host.state, "eth0.7").unwrap();
        assert_eq!(host.values(), ["0", "0"]);
    }

    #[test]
    fn an_interface_that_is_gone_is_forgotten() {
        let mut host = Host::new("0", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        fs::remove_dir_all(host.root.path().join("ipv4/conf/eth0.7")).unwrap();
        host.sysctls.restore(&mut host.state, "eth0.7").unwrap();
        assert!(host.state.state().sysctls.is_empty());
        let error = host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap_err();
        assert!(matches!(error, SysctlError::Io { operation: "read", .. }), "{error}");
        assert!(host.state.state().sysctls.is_empty());
    }

    #[test]
    fn what_cannot_be_recorded_is_not_changed() {
        let mut host = Host::new("0", "0");
        fs::create_dir(host.state.path().join("state.json.new")).unwrap();
        let error = host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap_err();
        assert!(matches!(error, SysctlError::State(_)), "{error}");
        assert_eq!(host.values(), ["0", "0"]);
    }

    #[test]
    fn what_cannot_be_restored_stays_recorded() {
        let mut host = Host::new("0", "0");
        host.sysctls.set_arp(&mut host.state, "eth0.7").unwrap();
        let path = host.root.path().join(key("eth0.7", "arp_announce"));
        fs::remove_file(&path).unwrap();
        // Neither absent nor readable.
        fs::create_dir(&path).unwrap();
        host.sysctls.restore_all(&mut host.state).unwrap_err();
        assert_eq!(host.state.state().sysctls.keys().collect::<Vec<_>>(), ["ipv4/conf/eth0.7/arp_announce"]);
        assert_eq!(
            fs::read_to_string(host.root.path().join(key("eth0.7", "arp_ignore"))).unwrap().trim(),
            "0"
        );
    }
}
