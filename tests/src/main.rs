//! The lab's command: the demo and the benches.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anycast_tests::bench;
use anycast_tests::demo::{self, Outcome};
use anycast_tests::guest;
use anycast_tests::lab::member;
use anycast_tests::lab::responder;
use anycast_user::pool::RegistrarAddress;
use clap::{Parser, Subcommand};

/// Runs the farm in network namespaces.
#[derive(Parser)]
#[command(name = "anycast-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A farm in namespaces loses the DNS service of its owner; the next server answers. Ends by itself.
    Demo {
        /// Write the figures to this file as JSON.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Measures and compares: see docs/performance.md.
    Bench(bench::Arguments),
    /// The lab's DNS service, which tells the name of its server; runs until it is killed.
    #[command(hide = true)]
    DnsResponder {
        /// The server's name, the answer to every TXT query.
        #[arg(long)]
        name: String,
        /// UDP and TCP port.
        #[arg(long, default_value_t = 53)]
        port: u16,
    },
    /// Succeeds if a DNS server answers: what keepalived's check script runs.
    #[command(hide = true)]
    DnsAsk {
        /// Address and port of the server.
        server: SocketAddr,
    },
    /// An element of a pool: registers and answers keep-alives until it is killed.
    #[command(hide = true)]
    PoolElement {
        /// Address and port of the registrar.
        #[arg(long)]
        registrar: SocketAddr,
        /// The pool.
        #[arg(long)]
        pool: String,
        /// The element's identifier.
        #[arg(long)]
        id: u32,
    },
    /// An element of a pool with an echo service over SCTP: runs until SIGTERM.
    #[command(hide = true)]
    PoolMember {
        /// A registrar, as the product takes it; give it again for more.
        #[arg(long)]
        registrar: Vec<RegistrarAddress>,
        /// The pool.
        #[arg(long)]
        pool: String,
        /// The element's identifier.
        #[arg(long)]
        id: u32,
        /// Where it serves.
        #[arg(long)]
        service: SocketAddr,
    },
    /// The first process of the guest of `cargo xtask test vm`.
    #[command(hide = true)]
    VmInit,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo { report } => demo::run(report.as_deref()).map(|outcome| match outcome {
            Outcome::Good => ExitCode::SUCCESS,
            Outcome::Failed => ExitCode::FAILURE,
            // What a shell reports of a process that SIGINT ended.
            Outcome::Interrupted => ExitCode::from(130),
        }),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::DnsResponder { name, port } => responder::serve(&name, port).map(|()| ExitCode::SUCCESS),
        Command::PoolElement { registrar, pool, id } => {
            bench::pool::push::run_element(registrar, &pool, id).map(|()| ExitCode::SUCCESS)
        }
        Command::PoolMember { registrar, pool, id, service } => {
            member::run(registrar, &pool, id, service).map(|()| ExitCode::SUCCESS)
        }
        Command::VmInit => guest::run().map(|()| ExitCode::SUCCESS),
        Command::DnsAsk { server } => responder::ask(server).map(|_| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("anycast-lab: {error:#}");
        ExitCode::FAILURE
    })
}
