//! Where link, program and maps are pinned, and whose they are.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use anycast_common::abi::ABI_VERSION;

use super::{
    Error,
    maps::{NAMES, pinned_abi_version},
    sys,
};

/// The pins of one interface: `<bpffs>/<interface>/{link,prog,maps/…}`, dots in the interface's name as colons.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    interface: String,
    directory: PathBuf,
}

/// What is pinned for an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Absent,
    /// Leftovers of somebody who was killed while making or removing them: no link, or not all maps.
    Partial,
    /// All maps, of this version.
    Whole,
}

impl Pins {
    pub fn new(bpffs: &Path, interface: &str) -> Self {
        // A bpffs refuses names with a dot, which interface names may have; a colon they may not have.
        Self { interface: interface.to_owned(), directory: bpffs.join(interface.replace('.', ":")) }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn link(&self) -> PathBuf {
        self.directory.join("link")
    }

    pub fn program(&self) -> PathBuf {
        self.directory.join("prog")
    }

    /// Where a program is pinned that is about to take the other's place.
    pub fn new_program(&self) -> PathBuf {
        self.directory.join("prog-new")
    }

    pub fn maps(&self) -> PathBuf {
        self.directory.join("maps")
    }

    /// Looks at what is there; maps of another version are an error.
    pub fn state(&self) -> Result<State, Error> {
        if !self.directory.exists() {
            return Ok(State::Absent);
        }
        let maps = self.maps();
        if !maps.join("META").exists() {
            return Ok(State::Partial);
        }
        // Zero has been left by somebody killed before the maps were made ready, or they are not ours; then there is no link.
        match pinned_abi_version(&maps)? {
            ABI_VERSION => {}
            0 if !self.link().exists() => return Ok(State::Partial),
            found => {
                return Err(Error::AbiVersion {
                    path: self.directory.clone(),
                    interface: self.interface.clone(),
                    found,
                });
            }
        }
        let whole = NAMES.iter().all(|name| maps.join(name).exists());
        Ok(if whole { State::Whole } else { State::Partial })
    }

    /// Makes the directories.
    pub fn create(&self) -> Result<(), Error> {
        let maps = self.maps();
        fs::create_dir_all(&maps).map_err(|error| Error::io("create", maps, error))
    }

    /// Keeps other processes from opening the same datapath as long as the returned file lives. The directory must exist.
    pub fn lock(&self) -> Result<File, Error> {
        let file = File::open(&self.directory).map_err(|error| Error::io("open", &self.directory, error))?;
        // SAFETY: flock(2) takes no pointers, and the descriptor is open.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(file);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::WouldBlock {
            return Err(Error::InUse { path: self.directory.clone(), interface: self.interface.clone() });
        }
        Err(Error::io("lock", &self.directory, error))
    }

    /// Detaches the link if there is one, and removes all pins.
    pub fn remove(&self) -> Result<(), Error> {
        let link = self.link();
        if let Ok(link) = sys::open_pin(&link) {
            use std::os::fd::AsFd;
            // A link whose interface is gone has nothing to detach.
            let _ = sys::link_detach(link.as_fd());
        }
        for path in [link, self.program(), self.new_program()] {
            remove_file(&path)?;
        }
        let maps = self.maps();
        match fs::read_dir(&maps) {
            Ok(entries) => {
                for entry in entries {
                    remove_file(&entry.map_err(|error| Error::io("list", &maps, error))?.path())?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("list", maps, error)),
        }
        for path in [maps, self.directory.clone()] {
            match fs::remove_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Is the path, or what there is of it, on a bpffs?
pub(super) fn check_bpffs(path: &Path) -> Result<(), Error> {
    let mut existing = path;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) => existing = parent,
            None => break,
        }
    }
    match nix::sys::statfs::statfs(existing) {
        Ok(status) if status.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC => Ok(()),
        _ => Err(Error::NoBpffs { path: path.to_owned() }),
    }
}
