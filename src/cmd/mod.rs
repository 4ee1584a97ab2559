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

use args::{Cli, Command};

/// Does what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match cli.command.unwrap_or(Command::Run) {
        Command::Run => run::run(&cli.run),
        Command::Check { strict, format } => check::check(&cli.run, strict, format),
        Command::Demo => demo::demo(),
        Command::Config { format } => config::config(&cli.run, format),
        Command::Version { format } => version::version(format),
    };
    exit.into()
}
