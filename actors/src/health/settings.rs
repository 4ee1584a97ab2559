//! `localHealthCheck` of mesher.yaml: a list of `{port, protocol, uri, interval, match: {status, body}}`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::probe::{Check, Probe};
use crate::config::{Code, Config, Entry, Origin, Report, Unit};

const KEY: &str = "localHealthCheck";
/// Mesher's.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
/// More often than this a check would be load.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

impl Check {
    /// Reads the list. `host` is where the local service is. An item that makes no sense is an error in the report
    /// and left out.
    #[must_use]
    pub fn list_from_config(config: &Config, host: IpAddr, report: &mut Report) -> Vec<Self> {
        let mut checks = Vec::new();
        for item in config.items(KEY) {
            match Self::from_item(&item, host) {
                Ok(check) => checks.push(check),
                Err(wrong) => {
                    report.error(Code::WRONG_VALUE, &wrong.origin, format!("`{KEY}`: {}", wrong.why));
                }
            }
        }
        checks
    }

    fn from_item(item: &Entry, host: IpAddr) -> Result<Self, Box<Wrong>> {
        let at = Wrong::new;
        let port = item.child("port").ok_or_else(|| at(item, "`port` is missing".into()))?;
        let number = port.integer(&(1..=65_535)).map_err(|why| at(&port, format!("`port`: {why}")))?;
        let address = SocketAddr::new(host, u16::try_from(number).unwrap_or_default());
        let interval = match item.child("interval") {
            Some(entry) => {
                let interval =
                    entry.duration(Unit::Seconds).map_err(|why| at(&entry, format!("`interval`: {why}")))?;
                interval.max(INTERVAL_MIN)
            }
            None => INTERVAL_DEFAULT,
        };
        let protocol = item.child("protocol");
        let probe = match protocol.as_ref().and_then(Entry::text).unwrap_or_default() {
            "" | "tcp" => Probe::Tcp,
            "rest" => rest(item)?,
            other => {
                let why = format!(
                    "`protocol`: {other:?} cannot be checked; use rest, or leave it out to try a connection"
                );
                return Err(at(protocol.as_ref().unwrap_or(item), why));
            }
        };
        Ok(Self { address, probe, interval })
    }
}

/// What is wrong, and where.
struct Wrong {
    origin: Origin,
    why: String,
}

impl Wrong {
    fn new(entry: &Entry, why: String) -> Box<Self> {
        Box::new(Self { origin: entry.origin.clone(), why })
    }
}

fn rest(item: &Entry) -> Result<Probe, Box<Wrong>> {
    let uri = item.child("uri");
    let expected = item.child("match");
    let status = expected.as_ref().and_then(|expected| expected.child("status"));
    let number = match &status {
        Some(entry) => match entry.integer(&(100..=599)) {
            Ok(number) => u16::try_from(number).ok(),
            Err(why) => return Err(Wrong::new(entry, format!("`match.status`: {why}"))),
        },
        None => None,
    };
    let body = expected.as_ref().and_then(|expected| expected.child("body"));
    let pattern = body.as_ref().and_then(Entry::text);
    let path = uri.as_ref().and_then(Entry::text).unwrap_or("/");
    Probe::rest(path, number, pattern).map_err(|error| {
        let entry = if path.starts_with('/') { body.as_ref() } else { uri.as_ref() };
        Wrong::new(entry.unwrap_or(item), error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{SourceFile, Sources};

    fn read(yaml: &str) -> (Vec<Check>, Vec<String>) {
        let file = SourceFile { path: PathBuf::from("mesher.yaml"), text: yaml.to_owned() };
        let (config, mut report) = Config::from_files(vec![file], &Sources::default());
        let before = report.problems().len();
        let checks = Check::list_from_config(&config, [127, 0, 0, 1].into(), &mut report);
        let problems = report.problems().iter().skip(before).map(|problem| problem.message.clone()).collect();
        (checks, problems)
    }

    #[test]
    fn a_check_is_read_with_the_defaults_of_mesher() {
        let (checks, problems) = read(
            "localHealthCheck:\n  - port: 8080\n  - port: \"80\"\n    protocol: rest\n    uri: /health\n    interval: 5s\n    match: {status: 200, body: ok}\n",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!(checks.iter().map(|check| check.address.port()).collect::<Vec<_>>(), [8080, 80]);
        assert!(matches!(&checks[0], Check { probe: Probe::Tcp, interval: INTERVAL_DEFAULT, .. }));
        assert!(
            matches!(&checks[1].probe, Probe::Rest { uri, status: Some(200), body: Some(_) } if uri == "/health")
        );
    }

    #[test]
    fn each_mistake_is_named_and_the_others_are_kept() {
        let (checks, problems) = read(
            "localHealthCheck:\n  - protocol: rest\n  - port: 80\n    protocol: grpc\n  - port: 80\n    protocol: rest\n    uri: health\n  - port: 80\n    protocol: rest\n    match: {body: \"(\"}\n  - port: 80\n",
        );
        assert_eq!(checks.len(), 1);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains("`port` is missing") && problems[1].contains("grpc"));
    }
}
