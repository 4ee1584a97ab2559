//! The mesher binary; see [`mesher::cmd`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mesher::cmd::main(&mesher::cmd::Ciphers::default())
}
