//! The BPF object that the binary carries, and loading it.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, Xdp},
};

use super::{Error, maps::NAMES};

/// Names of the programs in the object: the one, and the one with extras.
const PROGRAM: &str = "anycast";
const PROGRAM_EXTRA: &str = "anycast_extra";

/// Level of the program's log: everything, or nothing; then the verifier removes the code.
const LOG_ALL: u8 = u8::MAX;
const LOG_NOTHING: u8 = 0;

#[cfg(embedded_object)]
pub(super) fn embedded() -> Result<&'static [u8], Error> {
    Ok(aya::include_bytes_aligned!(env!("ANYCAST_FAST_PATH")))
}

#[cfg(not(embedded_object))]
pub(super) fn embedded() -> Result<&'static [u8], Error> {
    Err(Error::NotEmbedded)
}

/// Loads maps and one of the programs of `object`. With `pinned`, the maps of that directory are used instead of new ones.
pub(super) fn load(object: &[u8], log: bool, extra: bool, pinned: Option<&Path>) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    let level = if log { LOG_ALL } else { LOG_NOTHING };
    loader.override_global("AYA_LOG_LEVEL", &level, true);
    if let Some(directory) = pinned {
        for name in NAMES {
            loader.map_pin_path(name, directory.join(name));
        }
    }
    let mut ebpf = loader.load(object).map_err(|error| failure(&error))?;
    let name = if extra { PROGRAM_EXTRA } else { PROGRAM };
    program_mut(&mut ebpf, name)?.load().map_err(|error| failure(&error))?;
    Ok(ebpf)
}

/// The loaded program.
pub(super) fn program(ebpf: &Ebpf) -> Result<&Xdp, Error> {
    let programs = [PROGRAM, PROGRAM_EXTRA].map(|name| {
        let program: Option<&Xdp> = ebpf.program(name).and_then(|program| program.try_into().ok());
        program.filter(|program| program.fd().is_ok())
    });
    programs.into_iter().flatten().next().ok_or_else(|| no_program(PROGRAM))
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or_else(|| no_program(name))
}

fn no_program(name: &str) -> Error {
    Error::Load { message: format!("the embedded object has no XDP program `{name}`") }
}

/// What a failure to load means: aya's errors hide the system's several levels deep.
fn failure(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut message = error.to_string();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code == Some(libc::EPERM) {
            return Error::Permission { operation: "load a BPF program" };
        }
        if let Some(ProgramError::LoadError { verifier_log, io_error }) = error.downcast_ref::<ProgramError>()
        {
            if io_error.raw_os_error() == Some(libc::EPERM) {
                return Error::Permission { operation: "load a BPF program" };
            }
            return Error::Load { message: format!("{io_error}\n{verifier_log}") };
        }
        cause = error.source();
        if let Some(cause) = cause {
            message = format!("{message}: {cause}");
        }
    }
    Error::Load { message }
}
