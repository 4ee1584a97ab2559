//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Service-mesh sidecar and API gateway: finds, balances and carries the HTTP calls of the service beside it.
///
/// Without a subcommand it runs. It reads chassis.yaml, microservice.yaml, mesher.yaml and their siblings from one
/// directory: that of --config, or CHASSIS_CONF_DIR, CHASSIS_HOME/conf, ./conf, or conf beside the executable, the
/// first that is there.
///
/// The local service sends through it with http_proxy=http://127.0.0.1:30101; other services reach the local one
/// through the address in servicecomb.protocols.http.listenAddress.
#[derive(Debug, Parser)]
#[command(
    name = "mesher",
    version,
    after_help = "\
Signals:
  TERM       deregister, serve on while others learn of it, finish what is in flight, exit
  INT        the same within five seconds; a second one exits at once
  HUP        read the configuration again, keep what runs if it is broken, open the log file again
  USR1       open the log file again
  USR2       hand everything over to a new process, started from the same path

Exit codes:
  0  done
  1  failed while running
  2  wrong usage or configuration
  3  io_uring is demanded (net.driver: uring) and cannot be had
  4  an address cannot be listened on
  5  connections were cut at the end of the drain

Try it: mesher demo"
)]
pub struct Cli {
    /// Settings of the run.
    #[command(flatten)]
    pub run: RunArgs,
    /// What to do; `run` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Settings that belong to the run and to whatever looks at its configuration; before or behind the subcommand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// mesher.yaml, or the directory it and its siblings are in
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// sidecar: beside one service (the default); edge: a gateway in front of many
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// Ports of the service beside mesher, the first one its default, as in rest:8080,rest-admin:8081; also
    /// SERVICE_PORTS
    #[arg(long, value_name = "LIST")]
    pub service_ports: Option<String>,

    /// Threads that carry traffic, 1 to 256; also MESHER_SHARDS and mesher.shards; else 1, or the CPUs in edge mode
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
}

/// What mesher can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Carry traffic (the default)
    Run {
        /// Settings of the run.
        #[command(flatten)]
        run: RunArgs,
    },
    /// Check the configuration and report every problem at once
    Check {
        /// Settings of the run.
        #[command(flatten)]
        run: RunArgs,
        /// Treat unknown keys as errors
        #[arg(long)]
        strict: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show a small mesh at work: two instances of a service, their sidecars and a caller's
    Demo,
    /// Print the effective configuration and where each value comes from
    Config {
        /// Settings of the run.
        #[command(flatten)]
        run: RunArgs,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the version, and the I/O driver that this machine offers
    Version {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

impl RunArgs {
    /// What is said here, and what `before` says where nothing is said here.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            config: self.config.or(before.config),
            mode: self.mode.or(before.mode),
            service_ports: self.service_ports.or(before.service_ports),
            shards: self.shards.or(before.shards),
        }
    }
}

/// Output for people or programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_flags_of_mesher_work_with_and_without_a_subcommand_before_and_behind_it() {
        let bare = Cli::parse_from(["mesher", "--config", "x", "--mode=edge", "--service-ports=rest:8080"]);
        assert!(bare.command.is_none());
        assert_eq!(
            (bare.run.mode.as_deref(), bare.run.service_ports.as_deref()),
            (Some("edge"), Some("rest:8080"))
        );
        let check =
            Cli::parse_from(["mesher", "--config", "x", "--shards=2", "check", "--shards=3", "--strict"]);
        let Some(Command::Check { run, strict: true, .. }) = check.command else { panic!("{check:?}") };
        let run = run.or(check.run);
        assert_eq!((run.config, run.shards), (Some("x".into()), Some(3)));
    }

    #[test]
    fn a_command_that_reads_no_configuration_takes_none() {
        for command in ["demo", "version"] {
            assert!(Cli::try_parse_from(["mesher", command, "--config", "x"]).is_err());
        }
    }
}
