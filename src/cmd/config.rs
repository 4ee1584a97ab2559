//! `mesher config`: the effective configuration and where each value comes from.

use std::fmt::Write as _;
use std::io::Write as _;

use mesher_actors::tls::Ciphers;
use serde_json::json;

use super::args::{Format, RunArgs};
use super::exit::Exit;
use super::load::{Loaded, load};
use super::run::complain;

/// Prints it. What is wrong with it is `mesher check`'s to say.
pub(super) fn config(args: &RunArgs, ciphers: &Ciphers, format: Format) -> Exit {
    let Loaded { config, .. } = match load(args, ciphers) {
        Ok(loaded) => loaded,
        Err(error) => return complain(Exit::Usage, &error.to_string()),
    };
    let entries = config.entries();
    let mut text = String::new();
    match format {
        Format::Json => {
            let all: Vec<_> = entries
                .iter()
                .map(|entry| json!({ "key": entry.key, "value": entry.value, "origin": entry.origin.to_string() }))
                .collect();
            text = format!("{:#}\n", json!(all));
        }
        Format::Text => {
            for entry in entries {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}: {}  # {}", entry.key, entry.value, entry.origin);
            }
        }
    }
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Ok
}
