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
pub use mesher_actors::tls::{Cipher, CipherError, Ciphers};

use args::{Cli, Command, RunArgs};
use exit::Exit;

/// Does what the command line asks for. Private keys may be encrypted with what these plug-ins decrypt. The binary
/// `mesher` has the one that every build has; a build with more is a program of a few lines:
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::sync::Arc;
///
/// use mesher::cmd::{Cipher, CipherError, Ciphers};
///
/// /// Passphrases written backwards.
/// struct Backwards;
///
/// impl Cipher for Backwards {
///     fn decrypt(&self, text: &str) -> Result<String, CipherError> {
///         Ok(text.chars().rev().collect())
///     }
/// }
///
/// fn main() -> ExitCode {
///     let mut ciphers = Ciphers::default();
///     ciphers.register("backwards", Arc::new(Backwards)); // ssl.<tag>.cipherPlugin: backwards
///     mesher::cmd::main(&ciphers)
/// }
/// ```
#[must_use]
pub fn main(ciphers: &Ciphers) -> ExitCode {
    let cli = Cli::parse();
    let before = cli.run;
    let exit = match cli.command {
        None => run::run(&before, ciphers),
        Some(Command::Run { run }) => run::run(&run.or(before), ciphers),
        Some(Command::Check { run, strict, format }) => {
            check::check(&run.or(before), ciphers, strict, format)
        }
        Some(Command::Config { run, format }) => config::config(&run.or(before), ciphers, format),
        Some(Command::Demo | Command::Version { .. }) if before != RunArgs::default() => {
            run::complain(Exit::Usage, "this command reads no configuration and takes no flags of a run")
        }
        Some(Command::Demo) => demo::demo(),
        Some(Command::Version { format }) => version::version(format),
    };
    exit.into()
}
