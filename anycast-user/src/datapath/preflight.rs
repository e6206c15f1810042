//! What stands in the way of attaching, found without attaching.

use super::pins::{Pins, State, check_bpffs};
use super::{Error, Options, attached, interface, object, occupied, pinned_program};

/// Looks for what [`Datapath::open`](super::Datapath::open) and `set_services` would refuse, as far as that can be known
/// without trying: the driver's own limits cannot. `vlan`: some service is on a VLAN. Empty = nothing was found.
pub fn preflight(options: &Options, vlan: bool) -> Vec<Error> {
    let mut problems = Vec::new();
    problems.extend(object::embedded().err());
    problems.extend(check_bpffs(&options.bpffs).err());
    let name = &options.interface;
    let Some(ifindex) = interface::index(name) else {
        problems.push(Error::NoInterface { interface: name.clone() });
        return problems;
    };
    match interface::takes_vlan_tags_off(name) {
        Ok(true) if vlan => problems.push(Error::VlanOffload { interface: name.clone() }),
        Ok(_) => {}
        Err(error) => problems.push(Error::io("query the offloads of", name, error)),
    }
    let pins = Pins::new(&options.bpffs, name);
    let state = match pins.state() {
        Ok(state) => state,
        Err(error) => {
            problems.push(error);
            return problems;
        }
    };
    if state != State::Absent {
        problems.extend(pins.lock().err());
    }
    match attached(name, ifindex) {
        Ok(Some(attached)) => {
            let ours = pinned_program(&pins).is_some_and(|pinned| pinned.id() == attached.program_id);
            if !ours {
                problems.push(occupied(name, attached));
            }
        }
        Ok(None) => {}
        Err(error) => problems.push(error),
    }
    problems
}
