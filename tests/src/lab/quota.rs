//! A limit on a process's share of the processor, by a control group of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::sweep::unique_name;

/// Where version 1 of the hierarchy has its controller `cpu`, and where version 2 begins.
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
const VERSION_2: &str = "/sys/fs/cgroup";

/// A control group with a CPU quota; removed on drop, its processes unlimited again.
#[derive(Debug)]
pub struct Quota {
    directory: PathBuf,
    parent: PathBuf,
    version_2: bool,
}

impl Quota {
    /// Makes a group without a limit.
    ///
    /// # Errors
    /// The machine has no controller `cpu` with quotas.
    pub fn new() -> Result<Self> {
        let version_2 = !Path::new(VERSION_1).join("cpu.cfs_quota_us").exists()
            && fs::read_to_string(Path::new(VERSION_2).join("cgroup.controllers"))
                .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "cpu"));
        let parent = PathBuf::from(if version_2 { VERSION_2 } else { VERSION_1 });
        if version_2 {
            write(&parent.join("cgroup.subtree_control"), "+cpu")?;
        }
        let directory = parent.join(unique_name());
        fs::create_dir(&directory)
            .with_context(|| format!("make the control group {}", directory.display()))?;
        let quota = Self { directory, parent, version_2 };
        let limit = if version_2 { "cpu.max" } else { "cpu.cfs_quota_us" };
        if !quota.directory.join(limit).exists() {
            bail!("this kernel has no CPU quotas: {limit} is missing in {}", quota.directory.display());
        }
        // The group is to get its quota whatever else the machine does: the greatest weight there is.
        let (file, weight) = if version_2 { ("cpu.weight", "10000") } else { ("cpu.shares", "262144") };
        write(&quota.directory.join(file), weight)?;
        Ok(quota)
    }

    /// Puts a process into the group.
    ///
    /// # Errors
    /// There is no such process.
    pub fn add(&self, pid: u32) -> Result<()> {
        write(&self.directory.join("cgroup.procs"), &pid.to_string())
    }

    /// The group's processes together get `share` of each `period` from now on.
    ///
    /// # Errors
    /// The kernel refuses: a share of less than a millisecond, a period of more than a second.
    pub fn set(&self, share: Duration, period: Duration) -> Result<()> {
        let (share, period) = (share.as_micros().to_string(), period.as_micros().to_string());
        if self.version_2 {
            return write(&self.directory.join("cpu.max"), &format!("{share} {period}"));
        }
        write(&self.directory.join("cpu.cfs_quota_us"), "-1")?;
        write(&self.directory.join("cpu.cfs_period_us"), &period)?;
        write(&self.directory.join("cpu.cfs_quota_us"), &share)
    }

    /// No limit any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lift(&self) -> Result<()> {
        let (file, value) = if self.version_2 { ("cpu.max", "max") } else { ("cpu.cfs_quota_us", "-1") };
        write(&self.directory.join(file), value)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A group with processes cannot be removed.
        let processes = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines() {
            let _ = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(&self.directory) {
            eprintln!("the control group {} stays: {error}", self.directory.display());
        }
    }
}

fn write(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).with_context(|| format!("write {value:?} to {}", file.display()))
}
