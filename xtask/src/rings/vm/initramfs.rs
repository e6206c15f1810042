//! The guest's file system: an archive in cpio's format `newc`, as the kernel's Documentation/driver-api/early-userspace describes it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::process;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Major and minor number of the console.
const CONSOLE: (u32, u32) = (5, 1);

/// An archive that grows.
pub struct Initramfs {
    octets: Vec<u8>,
    places: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// One with a console alone.
    pub fn new() -> Self {
        let mut own = Self { octets: Vec::new(), places: BTreeSet::new() };
        own.directory(Path::new("/dev"));
        own.entry("dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
        own
    }

    /// Adds a file.
    pub fn file(&mut self, place: &str, octets: &[u8], executable: bool) {
        if !self.places.insert(place.into()) {
            return;
        }
        if let Some(parent) = Path::new(place).parent() {
            self.directory(parent);
        }
        let mode = if executable { PROGRAM } else { FILE };
        self.entry(place.trim_start_matches('/'), mode, (0, 0), octets);
    }

    /// Adds a program without its debug information, and the libraries that it needs.
    pub fn program(&mut self, path: &Path, place: &str) -> Result<()> {
        self.file(place, &stripped(path)?, true);
        let list = process::output(process::command("ldd").arg(path).env("LC_ALL", "C"))
            .with_context(|| format!("see what libraries {} needs", path.display()))?;
        for library in libraries(&list)? {
            // A link leads to the version that is there: the guest has the file under the name that is asked for.
            let octets = fs::read(library).with_context(|| format!("read {library}"))?;
            self.file(library, &octets, true);
        }
        Ok(())
    }

    /// The whole.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.octets
    }

    fn directory(&mut self, place: &Path) {
        if place == Path::new("/") || !self.places.insert(place.to_owned()) {
            return;
        }
        if let Some(parent) = place.parent() {
            self.directory(parent);
        }
        self.entry(&place.to_string_lossy()[1..], DIRECTORY, (0, 0), &[]);
    }

    /// Header of 110 octets, name, padding to 4, content, padding to 4.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let inode = self.octets.len() as u32;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.octets.extend_from_slice(b"070701");
        for field in fields {
            self.octets.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.octets.extend_from_slice(name.as_bytes());
        self.octets.push(0);
        self.pad();
        self.octets.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

/// A program without its debug information, which is most of it.
fn stripped(path: &Path) -> Result<Vec<u8>> {
    let small = std::env::temp_dir().join(format!("anycast-stripped-{}", std::process::id()));
    let mut strip = process::command("strip");
    strip.arg("--strip-all").arg("-o").arg(&small).arg(path);
    process::run(&mut strip).with_context(|| format!("strip {}", path.display()))?;
    let octets = fs::read(&small).with_context(|| format!("read {}", small.display()));
    fs::remove_file(&small).with_context(|| format!("remove {}", small.display()))?;
    octets
}

/// The files that a listing of ldd names.
fn libraries(list: &str) -> Result<Vec<&str>> {
    let mut files = Vec::new();
    for line in list.lines().map(str::trim) {
        let file = line.split_once(" => ").map_or(line, |(_, file)| file);
        anyhow::ensure!(file != "not found", "{line}");
        let file = file.split(" (").next().unwrap_or(file);
        // The kernel's own, and the line that says that there are none, have no path.
        if file.starts_with('/') {
            files.push(file);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_a_listing() {
        let list = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(libraries(list).unwrap(), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert!(libraries("\tstatically linked\n").unwrap().is_empty());
        assert!(libraries("\tlibgone.so.1 => not found\n").is_err());
    }

    #[test]
    fn an_archive_has_directories_before_what_is_in_them_and_all_of_it_on_words() {
        let mut archive = Initramfs::new();
        archive.file("/a/b/c", b"text", false);
        archive.file("/a/b/c", b"again", false);
        let octets = archive.finish();
        let text = String::from_utf8_lossy(&octets).into_owned();
        let at = |name: &str| text.find(&format!("{name}\0")).unwrap();
        assert!(at("dev") < at("dev/console") && at("a/b") < at("a/b/c") && at("a/b/c") < at("TRAILER!!!"));
        assert!(text.contains("text") && !text.contains("again"), "the first of a name stays");
        assert_eq!(octets.len() % 4, 0);
        let heads: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(heads.len(), 6);
        assert!(heads.iter().all(|at| at % 4 == 0));
    }
}
