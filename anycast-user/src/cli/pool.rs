//! `anycast pool`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anycast_user::pool::RegistrarAddress;
use clap::{Args, Subcommand};

use super::duration;

/// Commands of pool users.
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Show a pool's elements, in the order in which they are to be tried
    #[command(after_help = "\
Examples:
  anycast pool resolve dns --registrar [2001:db8::1]:3863
  anycast pool resolve dns --registrar 2001:db8::1 --json | jq -r '.elements[0].address'")]
    Resolve(Named),

    /// Print what changes in a pool, as it changes, until Ctrl-C
    #[command(after_help = "\
Example:
  anycast pool watch dns --registrar 2001:db8::1 --registrar 2001:db8::2")]
    Watch(Named),

    /// Show all that is known of a pool's elements: state, who saw it, age, load, policy
    #[command(after_help = "Example:\n  anycast pool elements dns --registrar 2001:db8::1")]
    Elements(Named),

    /// Tell the registrars that an element does not answer: they look at once whether it does
    #[command(after_help = "\
Example:
  anycast pool report dns 5f3a9c01 --registrar 2001:db8::1")]
    Report {
        #[command(flatten)]
        named: Named,
        /// The element's identifier, as `anycast pool elements` shows it
        #[arg(value_name = "ID", value_parser = element_id)]
        id: u32,
    },

    /// Forward DNS queries to the elements of a pool, each to one that works
    #[command(after_help = "\
Examples:
  anycast pool forward --listen [::1]:53 --pool dns --registrar 2001:db8::1 --registrar 2001:db8::2
  anycast pool forward --listen 127.0.0.1:53 --pool dns --registrar 192.0.2.1 --metrics [::1]:9532

Runs in the foreground; SIGTERM and SIGINT stop it.")]
    Forward(Forward),
}

/// Whom to ask.
#[derive(Clone, Debug, Args)]
pub struct Registrars {
    /// A registrar, as `[2001:db8::1]:3863`, 192.0.2.1 or registrar.example, or by SCTP sctp://192.0.2.1; give it again for more
    #[arg(long, value_name = "ADDR", required_unless_present = "discover")]
    pub registrar: Vec<RegistrarAddress>,
    /// Interface on which registrars announce themselves; give it again for more
    #[arg(long, value_name = "IFACE")]
    pub discover: Vec<String>,
    /// Use TLS: file with the authorities of the registrars' certificates
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
    /// File with the certificate to show
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,
    /// File with its key
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_key: Option<PathBuf>,
    /// The name in the registrars' certificates [default: what follows --registrar]
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    pub tls_name: Option<String>,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
}

/// A pool, and whom to ask about it.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// The pool
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub registrars: Registrars,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `anycast pool forward` forwards.
#[derive(Debug, Args)]
pub struct Forward {
    /// Address and port to serve, by UDP and TCP; give it again for more
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    pub listen: Vec<SocketAddr>,
    /// The pool
    #[arg(long, value_name = "NAME")]
    pub pool: String,
    #[command(flatten)]
    pub registrars: Registrars,
    /// How long a query may take before its client gets SERVFAIL
    #[arg(long, value_name = "TIME", default_value = "900ms", value_parser = duration)]
    pub patience: Duration,
    /// Queries under way at a time; more are dropped
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub in_flight: u32,
    /// Serve Prometheus metrics there
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
}

/// Reads an element's identifier.
fn element_id(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| format!("{text:?} is no identifier: write its hexadecimal digits, as 5f3a9c01"))
}
