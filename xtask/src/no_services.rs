//! Keeps Debian packages from starting their services while they are installed.
//!
//! A package's maintainer scripts ask `/usr/sbin/policy-rc.d` before they start or restart a service (Debian's
//! invoke-rc.d(8)). The lab starts the daemons that it needs itself, inside network namespaces; one that a package
//! started would listen on the host's own interfaces.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const POLICY: &str = "/usr/sbin/policy-rc.d";
const MARK: &str = "# placed by `cargo xtask setup` while it installs packages";

/// While this lives, no package starts a service. Signals that would end the program are held off, so that the
/// machine's own policy comes back even when the installation is interrupted.
pub struct NoServices {
    policy: PathBuf,
    saved: PathBuf,
    signals: HeldSignals,
}

impl NoServices {
    /// Puts the policy in place and sets aside the machine's own, if it has one.
    pub fn begin() -> Result<Self> {
        Self::begin_at(Path::new(POLICY))
    }

    /// Puts the machine's own policy back.
    pub fn end(self) -> Result<()> {
        let result = restore(&self.policy, &self.saved);
        drop(self.signals);
        result
    }

    fn begin_at(policy: &Path) -> Result<Self> {
        let mut saved = policy.as_os_str().to_owned();
        saved.push(".before-xtask");
        let saved = PathBuf::from(saved);
        let signals = HeldSignals::begin();
        // An earlier run that was killed outright left its own policy and the machine's set aside.
        if fs::read_to_string(policy).is_ok_and(|text| text.contains(MARK)) {
            restore(policy, &saved)?;
        }
        match fs::symlink_metadata(policy) {
            Ok(_) => fs::rename(policy, &saved).with_context(|| format!("set {} aside", policy.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("look at {}", policy.display())),
        }
        // 101: the action is forbidden by policy.
        let place = || -> io::Result<()> {
            fs::write(policy, format!("#!/bin/sh\n{MARK}\nexit 101\n"))?;
            fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
        };
        if let Err(error) = place() {
            restore(policy, &saved)?;
            return Err(error).with_context(|| format!("write {}", policy.display()));
        }
        Ok(Self { policy: policy.to_owned(), saved, signals })
    }
}

fn restore(policy: &Path, saved: &Path) -> Result<()> {
    match fs::remove_file(policy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", policy.display()));
        }
        _ => {}
    }
    match fs::rename(saved, policy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("put {} back from {}", policy.display(), saved.display()))
        }
        _ => Ok(()),
    }
}

/// SIGINT, SIGTERM and SIGHUP do nothing to this process while this lives; programs that it starts keep their own
/// reaction, so Ctrl-C still ends an apt in the foreground.
struct HeldSignals {
    before: [(libc::c_int, libc::sighandler_t); 3],
}

extern "C" fn held(_signal: libc::c_int) {}

impl HeldSignals {
    fn begin() -> Self {
        let handler = held as extern "C" fn(libc::c_int);
        let hold = |signal| {
            // SAFETY: `held` is an `extern "C"` function of the handler's type that lives as long as the program and
            // does nothing, so it is safe in a signal's context. A handler, unlike SIG_IGN, is not inherited by exec.
            (signal, unsafe { libc::signal(signal, handler as usize as libc::sighandler_t) })
        };
        Self { before: [hold(libc::SIGINT), hold(libc::SIGTERM), hold(libc::SIGHUP)] }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        for (signal, handler) in self.before {
            // SAFETY: `handler` is what `signal` returned for the same signal, so it is a disposition of this process.
            unsafe { libc::signal(signal, handler) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_machine_without_a_policy_has_none_afterwards() {
        let directory = directory("policy-none");
        let policy = directory.join("policy-rc.d");
        let services = NoServices::begin_at(&policy).unwrap();
        assert!(fs::read_to_string(&policy).unwrap().ends_with("exit 101\n"));
        assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o755);
        services.end().unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_policy_of_the_machine_comes_back_even_after_a_killed_run() {
        let directory = directory("policy-own");
        let policy = directory.join("policy-rc.d");
        symlink("/etc/alternatives/policy", &policy).unwrap();
        // The first run never gets to its end.
        std::mem::forget(NoServices::begin_at(&policy).unwrap());
        NoServices::begin_at(&policy).unwrap().end().unwrap();
        assert_eq!(fs::read_link(&policy).unwrap(), Path::new("/etc/alternatives/policy"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
