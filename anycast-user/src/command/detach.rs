//! `anycast detach`: removes what a dead daemon left.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anycast_user::config::state_dir_of;
use anycast_user::control::{Command, client};
use anycast_user::datapath;
use anycast_user::host::address::Addresses;
use anycast_user::host::state::StateDir;
use anycast_user::host::sysctl::Sysctls;
use anyhow::Context;

use crate::cli::Global;
use crate::output;

/// Detaches the fast path from an interface and undoes what the state directory remembers.
pub fn detach(global: &Global, interface: &str, bpffs: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let socket = global.socket_path();
    if client::request(&socket, &Command::Status).is_ok() {
        anyhow::bail!(
            "a daemon runs on {}: `anycast stop` ends it and leaves nothing behind",
            socket.display()
        );
    }
    let bpffs = global.bpffs_path(bpffs);
    let detached = datapath::detach(&bpffs, interface)?;
    // Addresses belong to no interface: they stay as long as another one may answer for them.
    let last = fs::read_dir(&bpffs).map_or(true, |mut entries| entries.next().is_none());
    let restored = restore(global, interface, last)?;
    let said = match (detached, restored) {
        (true, _) => format!("detached the fast path from {interface}"),
        (false, true) => {
            format!("there was no fast path on {interface}; restored what the state directory remembered")
        }
        (false, false) => format!("there was nothing of ours on {interface}"),
    };
    output::print(&format!("{said}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes back addresses and sysctls. Returns whether there were any.
fn restore(global: &Global, interface: &str, addresses: bool) -> anyhow::Result<bool> {
    let path = state_dir_of(&global.config_path());
    if !path.exists() {
        return Ok(false);
    }
    let mut state = StateDir::open(&path).context("cannot restore addresses and sysctls")?;
    let addresses = addresses && !state.state().addresses.is_empty();
    let remembered = addresses || !state.state().sysctls.is_empty();
    if remembered {
        super::runtime()?.block_on(async {
            if addresses {
                Addresses::open()?.remove_all_but(&mut state, &[]).await?;
            }
            Sysctls::default().restore(&mut state, interface)?;
            anyhow::Ok(())
        })?;
    }
    Ok(remembered)
}
