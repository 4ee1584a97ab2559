//! Which registry the configuration names, as a factory of sources.

use std::path::PathBuf;
use std::sync::Arc;

use mesher_actors::config::yaml::Mark;
use mesher_actors::config::{Code, Config, Origin, Place, Report, SourceFile, Unit};
use mesher_actors::control::SourceFactory;
use mesher_actors::registry::Source;
use mesher_actors::registry::file::{self, Fault, FileSettings, FileSource};
use mesher_actors::registry::instance::Identity;
use mesher_actors::registry::servicecenter::{ServiceCenter, ServiceCenterSettings};
use mesher_actors::registry::unlisted::Unlisted;
use mesher_actors::tls::Tls;

use std::time::Duration;

/// The registry to use.
#[derive(Debug, Clone)]
pub(super) enum Registry {
    /// None at all (`servicecomb.registry.disabled`).
    Disabled,
    /// A watched file.
    File(FileSettings),
    /// Apache ServiceComb service-center.
    ServiceCenter(ServiceCenterSettings),
}

impl Registry {
    /// Reads `servicecomb.registry.*`. Wrong values are in the report; service-center's defaults stand in for them.
    pub(super) fn from_config(config: &Config, identity: &Identity, report: &mut Report) -> Self {
        if config.boolean("servicecomb.registry.disabled", false, report) {
            return Self::Disabled;
        }
        if config.text("servicecomb.registry.type").as_deref() == Some("file") {
            return Self::File(FileSettings {
                path: file_path(config),
                app: identity.app.clone(),
                environment: identity.environment.clone(),
            });
        }
        Self::service_center(config, identity, report)
    }

    fn service_center(config: &Config, identity: &Identity, report: &mut Report) -> Self {
        const ADDRESS: &str = "servicecomb.registry.address";
        let thirty = Duration::from_secs(30);
        let addresses = config.text(ADDRESS).unwrap_or_else(|| "http://127.0.0.1:30100".into());
        let project = config.text("mesher.registry.project").unwrap_or_else(|| "default".into());
        let refresh = config.duration("servicecomb.registry.refreshInterval", Unit::Seconds, thirty, report);
        let heartbeat =
            config.duration("servicecomb.registry.heartbeat.interval", Unit::Seconds, thirty, report);
        let watch = config.boolean("servicecomb.registry.watch", true, report);
        match ServiceCenterSettings::try_new(&addresses, &project, identity, refresh, heartbeat, watch) {
            Ok(settings) => Self::ServiceCenter(settings),
            Err(problems) => {
                for problem in problems {
                    report.error(Code::WRONG_VALUE, &config.origin(ADDRESS), problem);
                }
                Self::Disabled
            }
        }
    }

    /// Adds what is wrong with the registry's file. At start that is no reason not to run: the file is watched.
    pub(super) fn inspect(&self, report: &mut Report) {
        let Self::File(settings) = self else { return };
        let faults = match file::inspect(settings.clone()) {
            Ok(faults) => faults,
            Err(why) => {
                report.error(Code::UNREADABLE, &Origin::Default, why);
                return;
            }
        };
        let read = Arc::new(SourceFile { path: settings.path.clone(), text: faults.text });
        if let Some(fault) = faults.error {
            report.error(Code::SYNTAX, &origin(&read, &fault), fault.message);
        }
        for fault in faults.left_out {
            report.warning(Code::WRONG_VALUE, &origin(&read, &fault), fault.message);
        }
    }

    /// Kind and address, for people.
    pub(super) fn name(&self) -> (&'static str, String) {
        match self {
            Self::Disabled => ("none", String::new()),
            Self::File(settings) => ("file", settings.path.display().to_string()),
            Self::ServiceCenter(settings) => {
                let addresses: Vec<_> = settings.addresses.iter().map(ToString::to_string).collect();
                ("servicecenter", addresses.join(","))
            }
        }
    }

    /// Id under which our instance is registered, where the registry has such.
    pub(super) fn instance(&self) -> Option<Arc<str>> {
        match self {
            Self::ServiceCenter(settings) => Some(settings.instance_id.clone()),
            Self::Disabled | Self::File(_) => None,
        }
    }

    /// The part of the registry that we are in, where it has such.
    pub(super) fn project(&self) -> &str {
        match self {
            Self::ServiceCenter(settings) => &settings.project,
            Self::Disabled | Self::File(_) => "",
        }
    }

    /// Takes on an instance that another process has registered.
    pub(super) fn inherit(&mut self, instance: Arc<str>) {
        if let Self::ServiceCenter(settings) = self {
            settings.instance_id = instance;
            settings.is_inherited = true;
        }
    }

    /// Has the registry called in this way from now on, where its address says https.
    pub(super) fn secure(&self, tls: &Tls) {
        if let (Self::ServiceCenter(settings), Some(client)) = (self, tls.registry()) {
            settings.tls.replace(client);
        }
    }

    /// Makes sources.
    pub(super) fn factory(&self) -> SourceFactory {
        let registry = self.clone();
        Box::new(move || -> Box<dyn Source> {
            match &registry {
                Self::Disabled => Box::new(Unlisted),
                Self::File(settings) => Box::new(FileSource::new(settings.clone())),
                Self::ServiceCenter(settings) => Box::new(ServiceCenter::new(settings.clone())),
            }
        })
    }
}

/// Where in the file a fault is; its beginning if it is wrong as a whole.
fn origin(file: &Arc<SourceFile>, fault: &Fault) -> Origin {
    let (line, column) = fault.place.unwrap_or((1, 1));
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Origin::File(Place::new(file, Mark { line: number(line), column: number(column), length: 1 }))
}

/// `servicecomb.registry.configPath`, from the configuration directory unless absolute.
fn file_path(config: &Config) -> PathBuf {
    let name = config.text("servicecomb.registry.configPath").unwrap_or_else(|| "registry.yaml".into());
    config.dir().join(name)
}
