//! Debian's kernel, unpacked and not installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process, setup};

/// The package that depends on the newest kernel for virtual machines.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// The versions that this ring is about: those of Debian 12.
const VERSION: &str = "6.1.";

/// A kernel and its modules.
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// What QEMU boots.
    pub image: PathBuf,
    modules: PathBuf,
}

/// A kernel module.
pub struct Module {
    /// Its file's name without `.ko`.
    pub name: String,
    /// The file.
    pub octets: Vec<u8>,
}

impl Kernel {
    /// The newest of Debian's package lists, unpacked below `directory`; downloaded if it is not there yet.
    pub fn fetch(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let known = newest().ok().filter(|package| directory.join(package).exists());
        let package = match known {
            Some(package) => package,
            None => {
                // Lists that are old name a package that the mirrors have no longer.
                process::run(setup::apt_get().arg("update"))
                    .context("refresh the list of Debian packages")?;
                let package = newest()?;
                if !directory.join(&package).exists() {
                    download(&package, directory)?;
                }
                package
            }
        };
        let root = directory.join(&package);
        let release = package.strip_prefix("linux-image-").unwrap_or(&package).to_owned();
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        ensure!(image.is_file(), "{package} has no {}: remove {}", image.display(), root.display());
        let modules = root.join("lib/modules").join(&release);
        Ok(Self { release, image, modules })
    }

    /// These modules and all that they need, each behind what it needs.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<Module>> {
        let order = self.modules.join("modules.order");
        let order = fs::read_to_string(&order).with_context(|| format!("read {}", order.display()))?;
        let mut found = Vec::new();
        for name in names {
            self.add_module(name, &order, &mut found)?;
        }
        Ok(found)
    }

    fn add_module(&self, name: &str, order: &str, found: &mut Vec<Module>) -> Result<()> {
        if found.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let path = order
            .lines()
            .find(|path| file_stem(path) == name)
            .with_context(|| format!("the kernel {} has no module {name}", self.release))?;
        let path = self.modules.join(path);
        let octets = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        for needed in dependencies(&octets) {
            self.add_module(&needed, order, found)?;
        }
        found.push(Module { name: name.to_owned(), octets });
        Ok(())
    }
}

/// The package of the newest kernel that apt knows of.
fn newest() -> Result<String> {
    let mut query = process::command("apt-cache");
    query.args(["depends", "--important", META_PACKAGE]).env("LC_ALL", "C");
    let depends = process::output(&mut query).context("ask apt for the newest kernel")?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    match package {
        Some(package) if package.starts_with(VERSION) => Ok(format!("linux-image-{package}")),
        Some(package) => {
            bail!("apt offers {package}, and this ring is about Linux {VERSION}: it needs Debian 12")
        }
        None => bail!("apt knows no {META_PACKAGE}: this ring needs Debian 12 on amd64"),
    }
}

/// Downloads a package and unpacks it, whole or not at all.
fn download(package: &str, directory: &Path) -> Result<()> {
    let root = directory.join(package);
    let new = directory.join(format!("{package}.new"));
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("remove {}", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("create {}", new.display()))?;
    let mut download = setup::apt_get();
    // Apt's own user, to which it gives rights away, may not write there.
    process::run(download.current_dir(&new).args(["-o", "APT::Sandbox::User=root", "download", package]))
        .with_context(|| format!("download the Debian package {package}"))?;
    let file = fs::read_dir(&new)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get downloaded no {package}"))?;
    process::run(process::command("dpkg-deb").arg("-x").arg(&file).arg(&new))
        .with_context(|| format!("unpack {}", file.display()))?;
    fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    fs::rename(&new, &root).with_context(|| format!("rename to {}", root.display()))
}

/// The name of a module by its path; in names `-` and `_` are the same.
fn file_stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.trim_end_matches(".ko").replace('-', "_")
}

/// What a module says in its section `.modinfo`, of strings that end in NUL, that it depends on.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"depends=";
    let entry = module.split(|octet| *octet == 0).find(|entry| entry.starts_with(KEY));
    let names =
        entry.map(|entry| String::from_utf8_lossy(&entry[KEY.len()..]).into_owned()).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_read_from_it() {
        let module = b"\x7fELF\0license=GPL\0depends=udp_tunnel,ip6-udp-tunnel\0retpoline=Y\0";
        assert_eq!(dependencies(module), ["udp_tunnel", "ip6_udp_tunnel"]);
        assert!(dependencies(b"license=GPL\0depends=\0").is_empty());
        assert_eq!(file_stem("kernel/net/ipv4/ip6-udp_tunnel.ko"), "ip6_udp_tunnel");
    }
}
