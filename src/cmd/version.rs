//! `mesher version`.

use std::io::Write;

use mesher_actors::admin::Build;
use serde_json::json;

use super::args::Format;
use super::exit::Exit;
use crate::net::{self, DriverChoice};
use crate::run::about;

/// Prints the version and what the machine offers.
pub(super) fn version(format: Format) -> Exit {
    let Build { version, commit, built } = about::build();
    let (driver, why) = match net::preflight(DriverChoice::Auto, 1) {
        Ok((driver, refusal)) => (driver.to_string(), refusal.map(|refusal| refusal.to_string())),
        Err(refusal) => (String::new(), Some(refusal.to_string())),
    };
    let text = match format {
        Format::Json => format!(
            "{:#}\n",
            json!({ "version": version, "commit": commit, "built": built, "driver": driver, "why": why })
        ),
        Format::Text => {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let known = |name: &str, value: &str| match value {
                "" => String::new(),
                value => format!("{name}: {value}\n"),
            };
            let (commit, built) = (known("commit", &commit), known("built", &built));
            format!("mesher {version}\n{commit}{built}driver: {driver}{why}\n")
        }
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Ok
}
