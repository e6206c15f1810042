//! `anycast completions` and `anycast man`: both come out of the command line's own description.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::output;

/// Prints the completions of a shell.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "anycast", &mut text);
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `anycast.8` and a page for each command, at any depth, into a directory, or prints the first.
pub fn man(directory: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    command.build();
    let page = |command: clap::Command, name: &str| -> anyhow::Result<Vec<u8>> {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).title(name.to_uppercase()).section("8").render(&mut text)?;
        Ok(text)
    };
    let Some(directory) = directory else {
        output::print(&String::from_utf8_lossy(&page(command, "anycast")?))?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut pages = Vec::new();
    collect(&command, "anycast", &mut pages);
    for (name, command) in pages {
        let path = directory.join(format!("{name}.8"));
        fs::write(&path, page(command, &name)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page for a command and for each below it, which the page names.
fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, clap::Command)>) {
    // clap wants names for its whole life; a handful of them is no leak that matters.
    pages.push((name.to_owned(), command.clone().name(&*name.to_owned().leak())));
    let shown = |sub: &&clap::Command| sub.get_name() != "help" && !sub.is_hide_set();
    for sub in command.get_subcommands().filter(shown) {
        collect(sub, &format!("{name}-{}", sub.get_name()), pages);
    }
}
