//! `mesher check`: every problem of the configuration at once.

use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use mesher_actors::logging;
use mesher_actors::tls::Ciphers;

use super::args::{Format, RunArgs};
use super::exit::Exit;
use super::load::{Loaded, load};
use super::run::complain;

/// Reports on the standard output; the exit code says whether there are errors.
pub(super) fn check(args: &RunArgs, ciphers: &Ciphers, strict: bool, format: Format) -> Exit {
    let Loaded { config, mut report, settings } = match load(args, ciphers) {
        Ok(loaded) => loaded,
        Err(error) => return complain(Exit::Usage, &error.to_string()),
    };
    // What the log's settings are wrong about belongs to the report too.
    let _ = logging::Settings::from_config(&config, &mut report);
    settings.inspect_watched_files(SystemTime::now(), &mut report);
    if strict {
        report.be_strict();
    }
    let mut out = std::io::stdout();
    let text = match format {
        Format::Json => format!("{:#}\n", report.to_json()),
        Format::Text if report.is_empty() => {
            format!("{}: {} files, no problems\n", config.dir().display(), config.files().len())
        }
        Format::Text => report.render(out.is_terminal()),
    };
    let _ = out.write_all(text.as_bytes());
    if report.has_errors() { Exit::Usage } else { Exit::Ok }
}
