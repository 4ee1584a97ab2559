//! Logging as a whole: settings in, lines out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::handle::build;
use super::*;
use crate::config::{Config, Report, SourceFile, Sources};

const PATIENCE: Duration = Duration::from_secs(60);

/// A standard output that remembers.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A standard output whose reader stopped reading.
struct Stuck(flume::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(lager: &str) -> (Settings, Report) {
    let file = SourceFile { path: PathBuf::from("/conf/lager.yaml"), text: lager.to_owned() };
    let name = SourceFile {
        path: PathBuf::from("/conf/microservice.yaml"),
        text: "servicecomb: {service: {name: a}}".to_owned(),
    };
    let sources = Sources { cwd: PathBuf::from("/home"), ..Sources::default() };
    let (config, mut report) = Config::from_files(vec![file, name], &sources);
    (Settings::from_config(&config, &mut report), report)
}

#[test]
fn without_a_file_text_goes_to_the_standard_output_from_info_up() {
    let (settings, report) = settings("");
    assert!(report.is_empty());
    assert_eq!(Settings { rotation: None, color: false, ..settings }, Settings::default());
}

#[test]
fn every_key_of_lager_yaml_is_read() {
    let (settings, report) = settings(
        "logWriters: file\nlogLevel: WARN\nlogFile: log/a.log\nlogFormatText: false\nlogColorMode: always\n\
         logRotateCompress: yes\nlogRotateAge: 2\nlogRotateSize: 3\nlogBackupCount: 4\n",
    );
    assert!(report.is_empty(), "{}", report.render(false));
    let expected = Settings {
        stdout: false,
        file: Some("/home/log/a.log".into()),
        level: "warn".parse().unwrap(),
        text: false,
        color: true,
        rotation: Some(rotation::Policy {
            size_bytes_max: 3 << 20,
            age_max: Some(Duration::from_secs(2 * 86_400)),
            backups_max: 4,
            compress: true,
        }),
    };
    assert_eq!(settings, expected);
}

#[test]
fn old_names_are_read_and_the_new_ones_named() {
    let (settings, report) = settings("writers: file,stdout\nlogger_level: ERROR\nlogger_file: /x.log\n");
    assert_eq!((settings.stdout, settings.file), (true, Some("/x.log".into())));
    assert_eq!((report.errors(), report.warnings()), (0, 3));
    assert!(report.problems().iter().any(|p| p.help.as_deref() == Some("write `logWriters`")));
}

#[test]
fn unknown_writers_and_levels_are_errors() {
    let (settings, report) = settings("logWriters: stdout,syslog\nlogLevel: loud\n");
    let text = report.render(false);
    assert_eq!(report.errors(), 2, "{text}");
    assert!(text.contains("no writer is called `syslog`") && text.contains("found `loud`"), "{text}");
    assert_eq!(settings.level, Settings::default().level);
}

#[test]
fn both_outputs_get_every_line_and_only_the_screen_has_color() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.log");
    let screen = Screen::default();
    let settings = Settings { file: Some(path.clone()), color: true, ..Settings::default() };
    let (subscriber, handle, failure) = build(&settings, Box::new(screen.clone())).unwrap();
    assert!(failure.is_none());
    tracing::subscriber::with_default(subscriber, || tracing::warn!(service = "a b", n = 3, "odd"));
    assert!(handle.flush(PATIENCE));
    let file = fs::read_to_string(path).unwrap();
    assert!(file.ends_with("Z  WARN mesher_actors::logging::tests: odd service=\"a b\" n=3\n"), "{file}");
    assert!(screen.text().contains("\x1b[33m WARN\x1b[0m"), "{}", screen.text());
    assert_eq!(handle.dropped(), 0);
}

#[test]
fn the_level_can_be_changed_while_it_runs_and_libraries_stay_quiet() {
    let screen = Screen::default();
    let (subscriber, handle, _) = build(&Settings::default(), Box::new(screen.clone())).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!("one");
        handle.set_level("DEBUG".parse().unwrap());
        tracing::debug!("two");
        tracing::debug!(target: "hyper", "three");
        handle.set_level("error".parse().unwrap());
        tracing::warn!("four");
        tracing::error!(target: "hyper", "five");
    });
    assert!(handle.flush(PATIENCE));
    let text = screen.text();
    let said: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(said, ["two", "five"]);
}

#[test]
fn a_file_that_cannot_be_opened_leaves_the_standard_output() {
    let screen = Screen::default();
    let settings = Settings { stdout: false, file: Some("/dev/null/m.log".into()), ..Settings::default() };
    let (subscriber, handle, failure) = build(&settings, Box::new(screen.clone())).unwrap();
    assert!(failure.is_some());
    tracing::subscriber::with_default(subscriber, || tracing::info!("still here"));
    assert!(handle.flush(PATIENCE));
    assert!(screen.text().contains("still here"));
    assert_eq!(handle.dropped(), 1, "the file lost it");
}

#[test]
fn a_full_disk_is_counted_and_stops_nothing() {
    let screen = Screen::default();
    let settings = Settings { file: Some("/dev/full".into()), ..Settings::default() };
    let (subscriber, handle, _) = build(&settings, Box::new(screen.clone())).unwrap();
    tracing::subscriber::with_default(subscriber, || (0..3).for_each(|n| tracing::info!(n, "line")));
    assert!(handle.flush(PATIENCE));
    assert_eq!(screen.text().lines().count(), 3);
    assert_eq!(handle.dropped(), 3);
}

#[test]
fn a_stuck_output_drops_lines_and_holds_nobody_up() {
    let (release, held) = flume::unbounded::<()>();
    let (subscriber, handle, _) = build(&Settings::default(), Box::new(Stuck(held))).unwrap();
    tracing::subscriber::with_default(subscriber, || (0..10_000).for_each(|n| tracing::info!(n, "line")));
    assert!(handle.dropped() > 1000, "dropped {}", handle.dropped());
    assert!(!handle.flush(Duration::from_millis(1)));
    drop(release);
    assert!(handle.flush(PATIENCE), "it goes on once the output does");
}

#[test]
fn a_moved_file_is_begun_anew_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.log");
    let settings = Settings { stdout: false, file: Some(path.clone()), ..Settings::default() };
    let (subscriber, handle, _) = build(&settings, Box::new(Screen::default())).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("one");
        assert!(handle.flush(PATIENCE));
        fs::rename(&path, dir.path().join("moved")).unwrap();
        assert!(handle.reopen());
        tracing::info!("two");
    });
    assert!(handle.flush(PATIENCE));
    assert!(fs::read_to_string(dir.path().join("moved")).unwrap().ends_with("one\n"));
    assert!(fs::read_to_string(&path).unwrap().ends_with("two\n"));
}
