//! The lab's own BPF programs, and putting them on interfaces.

use anyhow::{Context as _, Result, bail};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, programs::xdp::XdpLinkId};

use super::namespace::Namespace;

/// The object with the lab's programs, as `cargo xtask build` made it; empty if it had not.
#[cfg(lab_programs)]
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("ANYCAST_LAB_PROGRAMS"));
/// The object with the lab's programs, as `cargo xtask build` made it; empty if it had not.
#[cfg(not(lab_programs))]
pub static OBJECT: &[u8] = &[];

/// Whether the programs were there when this was built.
pub fn built() -> bool {
    !OBJECT.is_empty()
}

/// Programs attached to interfaces; they stay while this lives.
#[derive(Debug)]
pub struct Attached {
    _object: Ebpf,
    _links: Vec<XdpLinkId>,
}

/// Attaches the program `name` to `interfaces` of `namespace`, in the driver.
///
/// # Errors
/// The programs are not built, or the kernel refuses.
pub fn attach(namespace: &Namespace, name: &str, interfaces: &[String]) -> Result<Attached> {
    if !built() {
        bail!("the lab's BPF programs are not built: run `cargo xtask build`");
    }
    let mut object = Ebpf::load(OBJECT).context("load the lab's BPF programs")?;
    let program: &mut Xdp = object
        .program_mut(name)
        .with_context(|| format!("no program {name} in the lab's object"))?
        .try_into()?;
    program.load().with_context(|| format!("load the program {name}"))?;
    let links = namespace.run(|| {
        interfaces
            .iter()
            .map(|interface| {
                program
                    .attach(interface, XdpMode::Driver)
                    .with_context(|| format!("attach the program {name} to {interface}"))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(Attached { _object: object, _links: links })
}
