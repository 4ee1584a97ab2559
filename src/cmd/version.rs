//! `mesher version`.

use std::io::Write;

use serde_json::json;

use super::args::Format;
use super::exit::Exit;
use crate::net::{self, DriverChoice};

/// Prints the version and what the machine offers.
pub(super) fn version(format: Format) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    let (driver, why) = match net::preflight(DriverChoice::Auto, 1) {
        Ok((driver, refusal)) => (driver.to_string(), refusal.map(|refusal| refusal.to_string())),
        Err(refusal) => (String::new(), Some(refusal.to_string())),
    };
    let text = match format {
        Format::Json => format!("{:#}\n", json!({ "version": version, "driver": driver, "why": why })),
        Format::Text => {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            format!("mesher {version}\ndriver: {driver}{why}\n")
        }
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Ok
}
