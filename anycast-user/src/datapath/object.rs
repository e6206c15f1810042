//! The BPF object that the binary carries, and loading it.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, Xdp},
};

use super::{Error, maps::NAMES};

/// Name of the program in the object.
const PROGRAM: &str = "anycast";

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

/// Loads maps and program of `object`. With `pinned`, the maps of that directory are used instead of new ones.
pub(super) fn load(object: &[u8], log: bool, pinned: Option<&Path>) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    let level = if log { LOG_ALL } else { LOG_NOTHING };
    loader.override_global("AYA_LOG_LEVEL", &level, true);
    if let Some(directory) = pinned {
        for name in NAMES {
            loader.map_pin_path(name, directory.join(name));
        }
    }
    let mut ebpf = loader.load(object).map_err(|error| failure(&error))?;
    program_mut(&mut ebpf)?.load().map_err(|error| failure(&error))?;
    Ok(ebpf)
}

/// The loaded program.
pub(super) fn program(ebpf: &Ebpf) -> Result<&Xdp, Error> {
    ebpf.program(PROGRAM).and_then(|program| program.try_into().ok()).ok_or_else(no_program)
}

fn program_mut(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM).and_then(|program| program.try_into().ok()).ok_or_else(no_program)
}

fn no_program() -> Error {
    Error::Load { message: format!("the embedded object has no XDP program `{PROGRAM}`") }
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
