//! Tells the program what it was built from: `MESHER_COMMIT` and `MESHER_BUILT`, each empty where it is not known.
//!
//! The commit is that of the repository whose top this is, with `-dirty` behind it if files differ from it; an unpacked
//! archive has none, and neither has a copy inside another repository. The time is `SOURCE_DATE_EPOCH` where builds are to
//! be reproducible (reproducible-builds.org), else now.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    for input in ["Cargo.toml", "Cargo.lock", "src", "actors/src"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rustc-env=MESHER_COMMIT={}", commit().unwrap_or_default());
    println!("cargo::rustc-env=MESHER_BUILT={}", built().map(date_time).unwrap_or_default());
}

fn commit() -> Option<String> {
    let top = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let same =
        |path: &str| Some(Path::new(path).canonicalize().ok()? == Path::new(&top).canonicalize().ok()?);
    if !same(&git(&["rev-parse", "--show-toplevel"])?)? {
        return None;
    }
    // Changes with each commit and checkout; in a linked worktree it lies elsewhere.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_clean { commit } else { format!("{commit}-dirty") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn built() -> Option<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds.trim().parse().ok(),
        Err(_) => Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()),
    }
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
fn date_time(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let day = days + 1;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
