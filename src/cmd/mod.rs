//! The command line: one subcommand a file.

mod args;
mod check;
mod config;
mod demo;
mod exit;
mod load;
mod run;
mod version;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, RunArgs};
use exit::Exit;

/// Does what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let before = cli.run;
    let exit = match cli.command {
        None => run::run(&before),
        Some(Command::Run { run }) => run::run(&run.or(before)),
        Some(Command::Check { run, strict, format }) => check::check(&run.or(before), strict, format),
        Some(Command::Config { run, format }) => config::config(&run.or(before), format),
        Some(Command::Demo | Command::Version { .. }) if before != RunArgs::default() => {
            run::complain(Exit::Usage, "this command reads no configuration and takes no flags of a run")
        }
        Some(Command::Demo) => demo::demo(),
        Some(Command::Version { format }) => version::version(format),
    };
    exit.into()
}
