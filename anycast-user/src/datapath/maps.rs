//! The maps of one interface: opened from a loaded object or from their pins, read, and written as the program expects.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::atomic::Ordering,
};

use anycast_common::{
    abi::{
        self, ABI_VERSION, Counters, DROPS, Gate, Limits, Meta, RouterGate, RouterKey, SERVICES_ENTRIES,
        SERVICES_MAX, SLOTS, Services,
    },
    packet::MAC_LENGTH,
};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};

use super::{
    Error, Service,
    sys::{Mapping, wait_for_running_programs},
    table::{Key, Table},
};

/// The maps that are pinned, by name.
pub(super) const NAMES: [&str; 9] =
    ["META", "SERVICES", "GATES", "ROUTERS", "COUNTERS", "DROPS", "LIMITS", "SOLICITED", "PEERS"];

/// Everything but the rings.
pub(super) struct Maps {
    routers: HashMap<MapData, RouterKey, RouterGate>,
    counters: PerCpuArray<MapData, Counters>,
    drops: PerCpuArray<MapData, u64>,
    limits: PerCpuArray<MapData, Limits>,
    meta: Mapping,
    services: Mapping,
    gates: Mapping,
    /// The active table's services; the same as in the active half of `services`.
    active: Vec<abi::Service>,
    cpus: usize,
}

const META_ABI_VERSION: usize = std::mem::offset_of!(Meta, abi_version);
const META_IFINDEX: usize = std::mem::offset_of!(Meta, ifindex);
const SERVICES_TABLE: usize = std::mem::offset_of!(Services, table);
const SERVICES_PORT_FILTER: usize = std::mem::offset_of!(Services, port_filter);
const SERVICES_MAC: usize = std::mem::offset_of!(Services, mac);
const SERVICES_SLOTS: usize = std::mem::offset_of!(Services, slots);

fn gate_lease(index: u32) -> usize {
    index as usize * size_of::<Gate>() + std::mem::offset_of!(Gate, open_until_ns)
}

fn gate_hold(index: u32) -> usize {
    index as usize * size_of::<Gate>() + std::mem::offset_of!(Gate, hold)
}

/// A slot of the table as it is stored and loaded.
type SlotWords = [u64; size_of::<abi::Service>() / 8];

fn slot_word(slot: u32, word: usize) -> usize {
    SERVICES_SLOTS + slot as usize * size_of::<abi::Service>() + word * 8
}

impl Maps {
    /// Takes the maps out of an object that has just been loaded. They may be pinned ones that were in use before.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Self::open(|name| {
            ebpf.take_map(name)
                .ok_or_else(|| Error::map("find", name, "the embedded program has no such map"))
        })
    }

    /// Opens the maps pinned in `directory`.
    pub fn from_pins(directory: &Path) -> Result<Self, Error> {
        Self::open(|name| {
            let data =
                MapData::from_pin(directory.join(name)).map_err(|error| Error::map("open", name, error))?;
            Map::from_map_data(data).map_err(|error| Error::map("open", name, error))
        })
    }

    fn open(mut map: impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        fn typed<T: TryFrom<Map>>(map: Map, name: &'static str) -> Result<T, Error>
        where
            T::Error: ToString,
        {
            T::try_from(map).map_err(|error| Error::map("open", name, error))
        }
        let mapping = |map: &Map, name, entries, size| {
            let Map::Array(data) = map else { return Err(Error::map("open", name, "is not an array")) };
            Mapping::new(data.fd().as_fd(), entries, size).map_err(|error| Error::map("mmap", name, error))
        };
        let mut maps = Self {
            meta: mapping(&map("META")?, "META", 1, size_of::<Meta>())?,
            services: mapping(&map("SERVICES")?, "SERVICES", 1, size_of::<Services>())?,
            gates: mapping(&map("GATES")?, "GATES", SERVICES_MAX, size_of::<Gate>())?,
            routers: typed(map("ROUTERS")?, "ROUTERS")?,
            counters: typed(map("COUNTERS")?, "COUNTERS")?,
            drops: typed(map("DROPS")?, "DROPS")?,
            limits: typed(map("LIMITS")?, "LIMITS")?,
            active: Vec::new(),
            cpus: nr_cpus().map_err(|(path, error)| Error::io("read", path, error))?,
        };
        maps.active = maps.read_active();
        Ok(maps)
    }

    /// Makes new maps ready: a zero-filled slot would be service 0 at the address `::`.
    pub fn initialise(&mut self, ifindex: u32) {
        for slot in 0..SERVICES_ENTRIES {
            self.store(slot, &abi::Service::EMPTY);
        }
        self.meta.cell_u32(META_ABI_VERSION).store(ABI_VERSION, Ordering::Release);
        self.set_ifindex(ifindex);
    }

    pub fn set_ifindex(&self, ifindex: u32) {
        self.meta.cell_u32(META_IFINDEX).store(ifindex, Ordering::Release);
    }

    /// The services now in the maps.
    pub fn active(&self) -> &[abi::Service] {
        &self.active
    }

    fn read_active(&self) -> Vec<abi::Service> {
        let (_, first) = abi::table(self.services.cell_u64(SERVICES_TABLE).load(Ordering::Acquire));
        (first..first + SLOTS)
            .map(|slot| self.load(slot))
            .filter(|service| service.index != abi::NO_SERVICE && service.address != [0; 4])
            .collect()
    }

    fn load(&self, slot: u32) -> abi::Service {
        let words: SlotWords =
            std::array::from_fn(|word| self.services.cell_u64(slot_word(slot, word)).load(Ordering::Acquire));
        // SAFETY: the same size, checked by the compiler; integers and arrays of integers are valid for every bit pattern.
        unsafe { std::mem::transmute::<SlotWords, abi::Service>(words) }
    }

    /// To an idle slot: the program must not see it before all its words are there.
    fn store(&self, slot: u32, service: &abi::Service) {
        // SAFETY: the same size, checked by the compiler; `Service` has no padding that is not a field.
        let words = unsafe { std::mem::transmute::<abi::Service, SlotWords>(*service) };
        for (word, value) in words.into_iter().enumerate() {
            self.services.cell_u64(slot_word(slot, word)).store(value, Ordering::Release);
        }
    }

    /// Replaces the services; see [`super::Datapath::set_services`].
    pub fn set_services(&mut self, mac: [u8; MAC_LENGTH], services: &[Service]) -> Result<Vec<u32>, Error> {
        let known = |wanted: &Key| {
            let same = |service: &&abi::Service| (service.address, service.vlan) == *wanted;
            self.active.iter().find(same).map(|service| service.index)
        };
        let table = Table::new(mac, services, known)?;
        let is_active = |index: u32| self.active.iter().any(|service| service.index == index);
        let fresh: Vec<u32> = table
            .entries
            .iter()
            .map(|(_, service)| service.index)
            .filter(|index| !is_active(*index))
            .collect();
        for index in fresh {
            self.reset(index)?;
        }
        let active_half = self.services.cell_u64(SERVICES_TABLE).load(Ordering::Acquire) & 1;
        let switched = table.multiplier & !1 | (active_half ^ 1);
        let (_, idle) = abi::table(switched);
        for slot in 0..SLOTS {
            let value = table.entries.iter().find(|(place, _)| *place == slot);
            self.store(idle + slot, value.map_or(&abi::Service::EMPTY, |(_, service)| service));
        }
        // In between the program must know the ports of both tables.
        let filter = self.services.cell_u64(SERVICES_PORT_FILTER);
        filter.fetch_or(table.port_filter, Ordering::AcqRel);
        self.set_mac(mac);
        self.services.cell_u64(SERVICES_TABLE).store(switched, Ordering::Release);
        filter.store(table.port_filter, Ordering::Release);
        // After this nobody reads the other half, nor counts for a service that is gone: both may be used again.
        if wait_for_running_programs().is_err() {
            // No such call on this kernel. A program run takes less than a microsecond.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let active: Vec<abi::Service> = table.entries.iter().map(|(_, service)| *service).collect();
        for gone in &self.active {
            if active.iter().all(|service| service.index != gone.index) {
                self.set_lease(gone.index, 0);
            }
        }
        self.active = active;
        Ok(self.active.iter().map(|service| service.index).collect())
    }

    fn set_mac(&self, mac: [u8; MAC_LENGTH]) {
        let [a, b, c, d, e, f] = mac;
        self.services
            .cell_u64(SERVICES_MAC)
            .store(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]), Ordering::Release);
    }

    /// Makes an index as good as new.
    fn reset(&mut self, index: u32) -> Result<(), Error> {
        self.set_lease(index, 0);
        self.set_hold(index, abi::HOLD_AUTOMATIC);
        self.set_router_gates(index, &[])?;
        let counters = vec![Counters::default(); self.cpus];
        let values =
            PerCpuValues::try_from(counters).map_err(|error| Error::map("write", "COUNTERS", error))?;
        self.counters.set(index, values, 0).map_err(|error| Error::map("write", "COUNTERS", error))?;
        let limits = vec![Limits::default(); self.cpus];
        let values = PerCpuValues::try_from(limits).map_err(|error| Error::map("write", "LIMITS", error))?;
        self.limits.set(index, values, 0).map_err(|error| Error::map("write", "LIMITS", error))
    }

    pub fn set_lease(&self, index: u32, open_until_ns: u64) {
        if (index as usize) < SERVICES_MAX {
            self.gates.cell_u64(gate_lease(index)).store(open_until_ns, Ordering::Release);
        }
    }

    /// Replaces the gates of single routers; see [`super::Datapath::set_router_gates`].
    pub fn set_router_gates(&mut self, index: u32, gates: &[([u8; MAC_LENGTH], u64)]) -> Result<(), Error> {
        for (mac, _) in self.router_gates(index)? {
            if !gates.iter().any(|(wanted, _)| *wanted == mac) {
                let key = RouterKey { index, mac, pad: [0; 2] };
                self.routers.remove(&key).map_err(|error| Error::map("write", "ROUTERS", error))?;
            }
        }
        for (mac, open_until_ns) in gates {
            let key = RouterKey { index, mac: *mac, pad: [0; 2] };
            let gate = RouterGate { open_until_ns: *open_until_ns };
            self.routers.insert(key, gate, 0).map_err(|error| Error::map("write", "ROUTERS", error))?;
        }
        Ok(())
    }

    pub fn router_gates(&self, index: u32) -> Result<Vec<([u8; MAC_LENGTH], u64)>, Error> {
        let mut gates = Vec::new();
        for entry in self.routers.iter() {
            let (key, gate) = entry.map_err(|error| Error::map("read", "ROUTERS", error))?;
            if key.index == index {
                gates.push((key.mac, gate.open_until_ns));
            }
        }
        Ok(gates)
    }

    pub fn set_hold(&self, index: u32, hold: u32) {
        if (index as usize) < SERVICES_MAX {
            self.gates.cell_u32(gate_hold(index)).store(hold, Ordering::Release);
        }
    }

    pub fn gate(&self, index: u32) -> Gate {
        if index as usize >= SERVICES_MAX {
            return Gate::default();
        }
        Gate {
            open_until_ns: self.gates.cell_u64(gate_lease(index)).load(Ordering::Acquire),
            hold: self.gates.cell_u32(gate_hold(index)).load(Ordering::Acquire),
            pad: 0,
        }
    }

    /// The sum over all CPUs.
    pub fn counters(&self, index: u32) -> Result<Counters, Error> {
        let values = self.counters.get(&index, 0).map_err(|error| Error::map("read", "COUNTERS", error))?;
        Ok(values.iter().fold(Counters::default(), add))
    }

    /// The sum over all CPUs.
    pub fn drops(&self) -> Result<[u64; DROPS], Error> {
        let mut drops = [0; DROPS];
        for (reason, sum) in (0..).zip(&mut drops) {
            let values = self.drops.get(&reason, 0).map_err(|error| Error::map("read", "DROPS", error))?;
            *sum = values.iter().sum();
        }
        Ok(drops)
    }
}

fn add(sum: Counters, of: &Counters) -> Counters {
    Counters {
        solicitations_multicast: sum.solicitations_multicast + of.solicitations_multicast,
        solicitations_unicast: sum.solicitations_unicast + of.solicitations_unicast,
        solicitations_dad: sum.solicitations_dad + of.solicitations_dad,
        answered: sum.answered + of.answered,
        refused_shut: sum.refused_shut + of.refused_shut,
        refused_stale: sum.refused_stale + of.refused_stale,
        refused_held: sum.refused_held + of.refused_held,
        advertisements: sum.advertisements + of.advertisements,
        queries: sum.queries + of.queries,
        responses: sum.responses + of.responses,
        tcp_syns: sum.tcp_syns + of.tcp_syns,
        bytes: sum.bytes + of.bytes,
        malformed: sum.malformed + of.malformed,
        fragments: sum.fragments + of.fragments,
    }
}

/// The version that maps pinned in `directory` say they have; 0 if they are not of this program at all.
pub(super) fn pinned_abi_version(directory: &Path) -> Result<u32, Error> {
    let path = directory.join("META");
    let data = MapData::from_pin(&path).map_err(|error| Error::map("open", "META", error))?;
    let info = data.info().map_err(|error| Error::map("read", "META", error))?;
    // Smaller values end before the version; the kernel's answer must fit into the buffer.
    if info.key_size() != 4 || info.value_size() as usize != size_of::<Meta>() {
        return Ok(0);
    }
    let map = Map::from_map_data(data).map_err(|error| Error::map("open", "META", error))?;
    let Ok(meta) = Array::<MapData, Meta>::try_from(map) else { return Ok(0) };
    meta.get(&0, 0).map(|meta| meta.abi_version).map_err(|error| Error::map("read", "META", error))
}

/// The descriptor of any map of an object.
pub(super) fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data) => {
            Some(data.fd().as_fd())
        }
        _ => None,
    }
}
