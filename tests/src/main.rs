//! The lab's command: the demo and the benches.

use std::process::ExitCode;

use anycast_tests::lab::responder;
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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::DnsResponder { name, port } => responder::serve(&name, port).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("anycast-lab: {error:#}");
        ExitCode::FAILURE
    })
}
