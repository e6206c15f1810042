//! Finding and running other programs.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};

/// Where Debian keeps administrators' tools; not on every user's `PATH`.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Variables that `cargo run` sets for this process and that must not leak into another toolchain's cargo.
const CARGO_RUN_VARIABLES: [&str; 4] = ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "RUSTC", "RUSTDOC"];

/// A command whose `PATH` also has the administrators' directories, and which reads nothing from this process's
/// standard input: no step of this program asks anything.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).stdin(Stdio::null());
    command
}

/// The cargo that runs this program, for the host's own builds.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Takes out of `command` what `cargo run` put into this process's environment.
pub fn without_cargo_variables(command: &mut Command) -> &mut Command {
    for variable in CARGO_RUN_VARIABLES {
        command.env_remove(variable);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `command` to its end with its output on the terminal; an error names the command line and how it ended.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs `command` and returns its standard output; an error carries its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start `{}`", line(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes `command`: signals and the terminal go to it, its exit code is ours. Returns only an error.
pub fn exec(command: &mut Command) -> anyhow::Error {
    command.stdin(Stdio::inherit());
    let error = command.exec();
    anyhow!(error).context(format!("start `{}`", line(command)))
}

/// Where `program` is on the search path, if it is.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path()).map(|directory| directory.join(program)).find(|path| is_executable(path))
}

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes no argument, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The command line as a person would type it, without the environment.
pub fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn search_path() -> OsString {
    let mut directories: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    // `cargo install` puts programs here whether or not the user's PATH has it.
    if let Some(bin) = cargo_home_bin()
        && !directories.contains(&bin)
    {
        directories.push(bin);
    }
    for directory in SYSTEM_DIRECTORIES.map(PathBuf::from) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    // Joining fails only on a directory with a colon in its name, which cannot have come out of splitting PATH.
    env::join_paths(&directories).unwrap_or_else(|_| env::var_os("PATH").unwrap_or_default())
}

fn cargo_home_bin() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))?;
    Some(home.join("bin"))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
