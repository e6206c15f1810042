//! The command line.

pub mod pool;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anycast_core::StandbyConfig;
use anycast_user::config::XdpMode;
use anycast_user::control::Hold;
use clap::{Args, Parser, Subcommand};

/// What stands at the end of `anycast --help`.
const AFTER_HELP: &str = "\
Exit codes: 0 good, 1 failed, 2 wrong usage or configuration.
ANYCAST_LOG sets a log filter of its own, as anycast_user::monitor=trace.";

/// Serves one DNS address from many machines of a link, without a load balancer.
#[derive(Debug, Parser)]
#[command(name = "anycast", version, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The configuration file [default: /etc/anycast/anycast.toml, the registrar's: /etc/anycast/registrar.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The control socket [default: control_socket of the configuration, or /run/anycast/control.sock, the registrar's:
    /// /run/anycast-registrar/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Log more: -v why things happen, -vv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground: check the service, own the address, answer for it
    #[command(after_help = "\
Example:
  anycast run --config /etc/anycast/anycast.toml

SIGTERM and SIGINT stop it and leave nothing behind. A crash leaves the fast path attached, silent after the lease;
the next run takes it over.")]
    Run,

    /// Attach the fast path alone, with the gates open, and show its counters until Ctrl-C
    #[command(after_help = "\
Examples:
  anycast load --interface eth0 --address 2001:db8:1::53
  anycast load --interface eth0 --address 2001:db8:1::53 --address 192.0.2.53 --mode generic

For trying out: no health check, no peers, no advertisements. Do not run it on a link where another server answers for
the same address.")]
    Load(Load),

    /// Test the configuration and the machine it is for; changes nothing
    #[command(after_help = "\
Examples:
  anycast check
  anycast check --config new.toml && mv new.toml /etc/anycast/anycast.toml

Prints a line for each finding. Exit code 2: the configuration is wrong; 1: the machine cannot serve it; 0: all is well,
perhaps with warnings.")]
    Check,

    /// Show what the daemon knows: services, owners, peers, checks
    #[command(after_help = "\
Examples:
  anycast status
  anycast status --watch
  anycast status --json | jq '.services[] | {name, state, gate}'")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show it again every second until Ctrl-C
        #[arg(long)]
        watch: bool,
    },

    /// Show the fast path's counters, read from its pinned maps; works without a daemon
    #[command(after_help = "\
Examples:
  anycast stats
  anycast stats --interface eth0 --json")]
    Stats {
        /// Only this interface
        #[arg(long, value_name = "IF")]
        interface: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Where the maps are pinned [default: daemon.bpffs of the configuration, or /sys/fs/bpf/anycast]
        #[arg(long, value_name = "PATH")]
        bpffs: Option<PathBuf>,
    },

    /// Hold a gate shut or open, whatever the daemon decides, or let it decide again
    #[command(after_help = "\
Examples:
  anycast hold dns shut
  anycast hold 2001:db8:1::53 automatic

A held gate stays as it is over restarts of the daemon, and without one.")]
    Hold {
        /// Name or address of the service
        service: String,
        /// The word over the daemon's
        hold: Hold,
    },

    /// Give ownership up and stay out until `undrain`, over restarts too
    #[command(after_help = "Examples:\n  anycast drain dns\n  anycast drain --all")]
    Drain(Which),

    /// End `drain`
    #[command(after_help = "Examples:\n  anycast undrain dns\n  anycast undrain --all")]
    Undrain(Which),

    /// Fall silent until needed: by a solicitation, by queries, or because the owner is lost
    #[command(after_help = "Example:\n  anycast standby dns")]
    Standby {
        /// Name or address of the service
        service: String,
    },

    /// Take ownership now
    #[command(after_help = "Example:\n  anycast takeover dns")]
    Takeover {
        /// Name or address of the service
        service: String,
    },

    /// Send an advertisement now for what this server owns
    #[command(after_help = "Examples:\n  anycast announce dns\n  anycast announce --all")]
    Announce(Which),

    /// Stop the daemon and wait for its end
    #[command(after_help = "\
Examples:
  anycast stop           # hand over, serve what still arrives, leave nothing behind
  anycast stop --keep    # before a restart: the fast path goes on answering for daemon.restart_lease")]
    Stop {
        /// Leave the fast path, the addresses and the open gates for the next daemon
        #[arg(long)]
        keep: bool,
    },

    /// Remove what a dead daemon left on an interface: program, pins, addresses, sysctls
    #[command(after_help = "\
Example:
  anycast detach eth0

Refuses while a daemon runs: stop it instead.")]
    Detach {
        /// The interface
        interface: String,
        /// Where the program is pinned [default: daemon.bpffs of the configuration, or /sys/fs/bpf/anycast]
        #[arg(long, value_name = "PATH")]
        bpffs: Option<PathBuf>,
    },

    /// Show what the routing protocol looks like: neighbours, interfaces, database
    #[command(
        arg_required_else_help = true,
        after_help = "\
Examples:
  anycast ospf neighbors
  anycast ospf database --json | jq '.database[] | select(.own)'"
    )]
    Ospf {
        #[command(subcommand)]
        command: OspfCommand,
    },

    /// Use a pool: resolve, watch, report, forward DNS queries to it
    #[command(
        arg_required_else_help = true,
        after_help = "\
Examples:
  anycast pool resolve dns --registrar 2001:db8::1
  anycast pool forward --listen [::1]:53 --pool dns --registrar 2001:db8::1"
    )]
    Pool {
        #[command(subcommand)]
        command: pool::PoolCommand,
    },

    /// The registrar of server pools: it knows which elements are up and tells the users (RFC 5352)
    #[command(
        arg_required_else_help = true,
        after_help = "\
Examples:
  anycast registrar run --config /etc/anycast/registrar.toml
  anycast registrar status --pool dns
  anycast registrar check

Its configuration is a file of its own [default: /etc/anycast/registrar.toml]."
    )]
    Registrar {
        #[command(subcommand)]
        command: RegistrarCommand,
    },

    /// What a daemon starts to say good-bye if it is killed
    #[command(name = anycast_user::routing::guard::COMMAND, hide = true)]
    OspfGuard,

    /// Simulate a farm on a virtual link: what its configuration would do, and when servers fail
    #[command(after_help = "\
Examples:
  anycast simulate --servers 12 --mode rotate --slice 60s --weights 1,2 --qps 50000
  anycast simulate --servers 1000 --loss 0.01 --latency 1ms --crash-every 20s --duration 10m
  anycast simulate --scenario docs/scenarios/partition.toml --json

The same seed gives the same output, byte for byte. Exit code 1: a bound that the scenario sets was broken.")]
    Simulate(Box<Simulate>),

    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  anycast completions bash > /usr/share/bash-completion/completions/anycast"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },

    /// Write the manual pages, one a command, into a directory
    #[command(after_help = "Example:\n  anycast man /usr/share/man/man8")]
    Man {
        /// The directory; without one, the page of `anycast` goes to standard output
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum OspfCommand {
    /// Neighbours: state, role, how long they have been silent
    Neighbors {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Interfaces: state, Designated Router, packets, what was not taken and why
    Interfaces {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The database; a star marks what this host originated
    Database {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say good-bye to the routers for a daemon that was killed; for ExecStopPost of its unit
    Goodbye,
}

#[derive(Debug, Subcommand)]
pub enum RegistrarCommand {
    /// Run the registrar in the foreground; SIGTERM and SIGINT stop it
    Run,
    /// Show pools, elements and counters of a running registrar
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show the elements of this pool too
        #[arg(long, value_name = "NAME")]
        pool: Option<String>,
    },
    /// Test the registrar's configuration; changes nothing
    Check,
}

/// What `anycast load` attaches to and answers for.
#[derive(Debug, Args)]
pub struct Load {
    /// The interface that the routers are on
    #[arg(long, value_name = "IF")]
    pub interface: String,
    /// A service address, IPv6 or IPv4; give it again for more
    #[arg(long, value_name = "ADDR", required = true)]
    pub address: Vec<IpAddr>,
    /// Where the program runs: in the driver, or behind it
    #[arg(long, value_enum, default_value = "native")]
    pub mode: XdpMode,
    /// A port whose packets are counted; give it again for more, at most four
    #[arg(long, value_name = "N", default_values_t = [53], value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// The VLAN the addresses are on; twice for two tags, outermost first
    #[arg(long, value_name = "VID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub vlan: Vec<u16>,
    /// Where links, programs and maps are pinned
    #[arg(long, value_name = "PATH", default_value = anycast_user::config::DEFAULT_BPFFS)]
    pub bpffs: PathBuf,
    /// Load the fast path with its log statements
    #[arg(long)]
    pub bpf_log: bool,
}

/// The farm that is simulated, its link, and what happens.
#[derive(Debug, Args)]
pub struct Simulate {
    /// A scenario file; the other options change what it says
    #[arg(long, value_name = "FILE", visible_alias = "replay")]
    pub scenario: Option<PathBuf>,
    /// Number of servers [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub servers: Option<u32>,
    /// How ownership moves: rotate, failover or solicited [default: rotate]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Length of a slice of weight 1 [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub slice: Option<Duration>,
    /// Distance of the owner's heartbeats [default: 50ms]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub heartbeat: Option<Duration>,
    /// How long a gate stays open without being renewed [default: 300ms]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub lease: Option<Duration>,
    /// Weights, server by server, again from the beginning when they are used up [default: 1]
    #[arg(long, value_name = "W,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub weights: Vec<u32>,
    /// Queries per second each server can answer, likewise [default: not looked at]
    #[arg(long, value_name = "QPS,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: Vec<u32>,
    /// Stand by after fewer queries than this in this much owned time, as 10/60s
    #[arg(long, value_name = "QUERIES/TIME", value_parser = standby)]
    pub standby: Option<StandbyConfig>,
    /// Share of frames that the link loses, 0 to 1 [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub loss: Option<f64>,
    /// How long a frame takes [default: 200us]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub latency: Option<Duration>,
    /// How much longer it may take [default: 100us]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub jitter: Option<Duration>,
    /// Share of frames that arrive twice [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub duplication: Option<f64>,
    /// Share of frames that others overtake [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub reordering: Option<f64>,
    /// Queries per second that clients send [default: 0]
    #[arg(long, value_name = "QPS")]
    pub qps: Option<u32>,
    /// The owner loses power so often, and boots again after half of that time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub crash_every: Option<Duration>,
    /// How long the farm is watched, once it has come up [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Everything random follows from it [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Run it with this many seeds, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print the scenario as a file instead of running it
    #[arg(long, conflicts_with = "json")]
    pub print: bool,
}

/// One service or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Name or address of the service
    pub service: Option<String>,
    /// All services
    #[arg(long)]
    pub all: bool,
}

/// Reads a time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    anycast_user::simulate::duration(text)
}

/// Reads a standby rule.
fn standby(text: &str) -> Result<StandbyConfig, String> {
    let (queries, window) = text.split_once('/').ok_or("write queries and time as 10/60s")?;
    let queries = queries.parse().map_err(|_| format!("{queries:?} is no number of queries"))?;
    Ok(StandbyConfig { queries, window: duration(window)?, wake_timeout: None })
}

impl Global {
    /// The configuration file: as given, or the default.
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from(anycast_user::config::DEFAULT_PATH))
    }

    /// The control socket: as given, or as the configuration says.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| anycast_user::config::control_socket_of(&self.config_path()))
    }

    /// Where links, programs and maps are pinned: as given to the command, or as the configuration says.
    pub fn bpffs_path(&self, given: Option<PathBuf>) -> PathBuf {
        given.unwrap_or_else(|| anycast_user::config::bpffs_of(&self.config_path()))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has none", command.get_name());
        }
    }

    #[test]
    fn a_command_for_services_wants_one_or_all() {
        assert!(Cli::try_parse_from(["anycast", "drain", "dns"]).is_ok());
        assert!(Cli::try_parse_from(["anycast", "drain", "--all"]).is_ok());
        assert!(Cli::try_parse_from(["anycast", "drain"]).is_err());
        assert!(Cli::try_parse_from(["anycast", "drain", "dns", "--all"]).is_err());
    }

    #[test]
    fn load_takes_many_addresses_and_refuses_what_does_not_fit() {
        let load = |more: &[&str]| {
            let base = ["anycast", "load", "--interface", "eth0", "--address", "2001:db8::53"];
            Cli::try_parse_from(base.iter().chain(more))
        };
        let Ok(Cli { command: Command::Load(options), .. }) =
            load(&["--address", "192.0.2.53", "--port", "853"])
        else {
            panic!("refused");
        };
        assert_eq!(options.address.len(), 2);
        assert_eq!((options.mode, options.port), (XdpMode::Native, vec![853]));
        for wrong in [["--port", "0"], ["--vlan", "4095"], ["--mode", "offload"], ["--address", "dns"]] {
            assert!(load(&wrong).is_err(), "{wrong:?}");
        }
    }
}
