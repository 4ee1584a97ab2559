//! Reads the configuration and everything the command line adds to it, with all problems in one report.

use std::str::FromStr;

use mesher_actors::config::{Code, Config, ConfigError, Origin, Report, Sources};
use mesher_actors::tls::Ciphers;

use super::args::RunArgs;
use crate::run::{Given, Mode, ServicePorts, ServicePortsError, Settings};

/// A configuration and what is to be made of it.
pub(super) struct Loaded {
    /// The flat key space.
    pub(super) config: Config,
    /// All problems found.
    pub(super) report: Report,
    /// Valid if the report has no errors.
    pub(super) settings: Settings,
}

/// Loads it.
///
/// # Errors
/// If there is no configuration at all.
pub(super) fn load(args: &RunArgs, ciphers: &Ciphers) -> Result<Loaded, ConfigError> {
    let sources = Sources::of_process(args.config.clone(), Vec::new());
    let (config, mut report) = Config::load(&sources)?;
    let given = given(args, ciphers, &sources.env, &mut report);
    let settings = Settings::from_config(&config, &given, &mut report);
    Ok(Loaded { config, report, settings })
}

fn given(args: &RunArgs, ciphers: &Ciphers, env: &[(String, String)], report: &mut Report) -> Given {
    let variable = |name: &str| {
        env.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, v)| v.as_str())
    };
    Given {
        mode: mode(args.mode.as_deref().unwrap_or("sidecar"), report),
        ports: ports(args.service_ports.as_deref(), &variable, report),
        shards: args.shards.map(usize::from),
        ciphers: ciphers.clone(),
    }
}

fn mode(name: &str, report: &mut Report) -> Mode {
    let origin = Origin::Flag("mode".into());
    match name {
        "sidecar" => Mode::Sidecar,
        "edge" => Mode::Edge,
        "per-host" => {
            report
                .error(Code::NOT_SERVED, &origin, "--mode per-host is not served")
                .help("run one mesher beside each service with --mode sidecar");
            Mode::Sidecar
        }
        _ => {
            report
                .error(Code::UNKNOWN_NAME, &origin, format!("--mode {}: no such mode", name.escape_debug()))
                .help("use sidecar or edge");
            Mode::Sidecar
        }
    }
}

/// The flag, else `SERVICE_PORTS`, else the deprecated `SPECIFIC_ADDR`.
fn ports<'e>(
    flag: Option<&str>,
    variable: &impl Fn(&str) -> Option<&'e str>,
    report: &mut Report,
) -> ServicePorts {
    let (parsed, origin): (Result<_, ServicePortsError>, _) = if let Some(list) = flag {
        (ServicePorts::from_str(list), Origin::Flag("service-ports".into()))
    } else if let Some(list) = variable("SERVICE_PORTS") {
        (list.parse(), Origin::Env("SERVICE_PORTS".into()))
    } else if let Some(address) = variable("SPECIFIC_ADDR") {
        let origin = Origin::Env("SPECIFIC_ADDR".into());
        report
            .warning(Code::OLD_SPELLING, &origin, "`SPECIFIC_ADDR` is deprecated")
            .help("use SERVICE_PORTS=rest:PORT");
        (ServicePorts::from_specific_addr(address), origin)
    } else {
        return ServicePorts::default();
    };
    parsed.unwrap_or_else(|error| {
        report.error(Code::WRONG_VALUE, &origin, error.to_string());
        ServicePorts::default()
    })
}
