//! The source that looks at the file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::caret::Fault;
use super::format::{Defaults, Registry, parse};
use crate::file_watch::{Directories, NextLook, SECOND_LOOK};
use crate::registry::{Answer, Command, Event, RegistrationState, Source, SourceError};

/// A larger file is refused: it would be read again and again, and no one writes one by hand.
const SIZE_MAX: u64 = 1 << 20;
/// Where the file is and who reads it.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// The file.
    pub path: PathBuf,
    /// Application of entries that name none: ours.
    pub app: Arc<str>,
    /// Environment of entries that name none: ours.
    pub environment: Arc<str>,
}

/// A registry in a file. A file that is missing, too large or makes no sense leaves the answers as they were and
/// the registry unreachable, until it does.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    defaults: Defaults,
    watched: BTreeSet<Arc<str>>,
    /// The last text read, good or not; none if there was none.
    text: Result<String, String>,
    /// The last good file; none before the first.
    registry: Option<Registry>,
    events: Option<flume::Sender<Event>>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// The file as it was read.
    pub text: String,
    /// What makes it useless, if it is.
    pub error: Option<Fault>,
    /// What is left out of it.
    pub left_out: Vec<Fault>,
}

/// Looks a file through as the source would.
///
/// # Errors
/// Why it cannot be read, its path included.
pub fn inspect(settings: FileSettings) -> Result<Faults, String> {
    let text = read(&settings.path)?;
    let defaults = Defaults { app: settings.app, environment: settings.environment };
    let (error, left_out) = match parse(&text, &defaults) {
        Ok(registry) => (None, registry.complaints),
        Err(fault) => (Some(fault), Vec::new()),
    };
    Ok(Faults { text, error, left_out })
}

// === impl FileSource ===

impl FileSource {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(settings: FileSettings) -> Self {
        let FileSettings { path, app, environment } = settings;
        Self {
            path,
            defaults: Defaults { app, environment },
            watched: BTreeSet::new(),
            text: Err(String::new()),
            registry: None,
            events: None,
        }
    }

    async fn serve(&mut self, commands: flume::Receiver<Command>) -> Result<(), SourceError> {
        let mut directories = Directories::new("the registry file");
        directories.watch([self.path.as_path()]);
        self.look().await?;
        let mut next_look = NextLook::after(Instant::now());
        loop {
            tokio::select! {
                command = commands.recv_async() => match command {
                    Ok(command) => self.command(command).await?,
                    Err(_) => return Ok(()),
                },
                () = directories.happened() => next_look.something_happened(Instant::now()),
                () = sleep_until(next_look.at) => {
                    directories.watch([self.path.as_path()]);
                    self.look().await?;
                    next_look = NextLook::after(Instant::now());
                }
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), SourceError> {
        match command {
            Command::Watch(service) => {
                self.watched.insert(service.clone());
                match self.registry.as_ref().map(|registry| answer(registry, &service)) {
                    Some(answer) => self.tell(Event::Answer { service, answer }).await,
                    None => Ok(()),
                }
            }
            Command::Forget(service) => {
                self.watched.remove(&service);
                Ok(())
            }
            Command::Register(_) => {
                self.tell(Event::Registration(RegistrationState::Registered("file".into()))).await
            }
            // There is nobody to tell.
            Command::SetStatus(_) | Command::Release => Ok(()),
            Command::Withdraw(done) => {
                // Whoever asked may have given up.
                let _ = done.send(Ok(()));
                self.tell(Event::Registration(RegistrationState::Absent)).await
            }
        }
    }

    /// Reads the file, and tells what has changed.
    async fn look(&mut self) -> Result<(), SourceError> {
        let mut text = read(&self.path);
        if text == self.text {
            return Ok(());
        }
        let mut read_as = self.understand(&text);
        if read_as.is_err() {
            sleep(SECOND_LOOK).await;
            text = read(&self.path);
            read_as = self.understand(&text);
        }
        if std::mem::replace(&mut self.text, text.clone()) == text {
            return Ok(());
        }
        match read_as {
            Ok(registry) => self.replace(registry).await,
            Err(unusable) => {
                if let Some(shown) = unusable.shown {
                    warn_by_line(&shown);
                }
                let why = format!("the registry file cannot be used: {}", unusable.why);
                self.tell(Event::Reachable(Err(why))).await
            }
        }
    }

    fn understand(&self, text: &Result<String, String>) -> Result<Registry, Unusable> {
        let text = text.as_ref().map_err(|why| Unusable { why: why.clone(), shown: None })?;
        parse(text, &self.defaults).map_err(|fault| Unusable {
            why: fault.in_a_line(&self.path),
            shown: Some(fault.render(&self.path, text)),
        })
    }

    async fn replace(&mut self, registry: Registry) -> Result<(), SourceError> {
        let text = self.text.as_deref().unwrap_or_default();
        for complaint in &registry.complaints {
            warn_by_line(&complaint.render(&self.path, text));
        }
        info!(path = %self.path.display(), services = registry.services.len(), "registry file read");
        let old = self.registry.replace(registry);
        let Some(new) = &self.registry else { return Ok(()) };
        let changed =
            |service: &&Arc<str>| old.as_ref().is_none_or(|old| answer(old, service) != answer(new, service));
        let answers: Vec<_> = self
            .watched
            .iter()
            .filter(changed)
            .map(|service| Event::Answer { service: service.clone(), answer: answer(new, service) })
            .collect();
        self.tell(Event::Reachable(Ok(()))).await?;
        for event in answers {
            self.tell(event).await?;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), SourceError> {
        let Some(events) = &self.events else { return Ok(()) };
        events.send_async(event).await.map_err(|_| SourceError("nobody listens any more".to_owned()))
    }
}

impl Source for FileSource {
    fn run(
        &mut self,
        commands: flume::Receiver<Command>,
        events: flume::Sender<Event>,
    ) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        self.events = Some(events);
        self.serve(commands).boxed_local()
    }
}

/// Why a file is of no use.
struct Unusable {
    /// In a line.
    why: String,
    /// With the place in the file, if there is one.
    shown: Option<String>,
}

fn answer(registry: &Registry, service: &str) -> Answer {
    registry.services.get(service).cloned().map_or(Answer::NoSuchService, Answer::Instances)
}

/// A log escapes what ends a line, and the caret would stand nowhere.
fn warn_by_line(text: &str) {
    text.lines().for_each(|line| warn!("{line}"));
}

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let io_error = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            format!("{name} does not exist; write it, or set servicecomb.registry.configPath to where it is")
        } else {
            format!("{name}: {error}")
        }
    };
    let mut bytes = Vec::new();
    // A pipe would be waited for, and with it everything on this thread.
    let is_file = path.metadata().map_err(io_error)?.is_file();
    if !is_file {
        return Err(format!("{name} is not a file"));
    }
    File::open(path).and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut bytes)).map_err(io_error)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(format!("{name} has more than {SIZE_MAX} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("{name} is not UTF-8 from byte {}", error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::registry::instance::{Identity, Registration, Status};

    /// Between a change and its being told; below the poll, so that the watch is what is tested, and not far below: there are
    /// busy machines.
    const SEEN_WITHIN: Duration = Duration::from_millis(4500);

    /// A source that reads `registry.yaml` in a directory of its own.
    struct Bench {
        dir: tempfile::TempDir,
        commands: flume::Sender<Command>,
        events: flume::Receiver<Event>,
    }

    fn one(port: u16) -> String {
        format!("services:\n  orders:\n    - endpoints: [\"rest://10.0.0.1:{port}\"]\n")
    }

    impl Bench {
        fn start(dir: tempfile::TempDir) -> Self {
            let (commands, given) = flume::bounded(16);
            let (tell, events) = flume::bounded(16);
            let path = dir.path().join("registry.yaml");
            let settings = FileSettings { path, app: "default".into(), environment: "".into() };
            actix_rt::spawn(async move { FileSource::new(settings).run(given, tell).await });
            Self { dir, commands, events }
        }

        /// With a file for one instance that is watched and has been answered.
        async fn with_file() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("registry.yaml"), one(1)).unwrap();
            let bench = Self::start(dir);
            bench.ask("orders");
            bench.expect_reachable().await;
            bench.expect_port(1).await;
            bench
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("registry.yaml")
        }

        fn ask(&self, service: &str) {
            self.commands.send(Command::Watch(service.into())).unwrap();
        }

        async fn event(&self) -> Event {
            let event = tokio::time::timeout(SEEN_WITHIN, self.events.recv_async()).await;
            event.expect("nothing was told in time").unwrap()
        }

        async fn expect_reachable(&self) {
            let event = self.event().await;
            assert!(matches!(event, Event::Reachable(Ok(()))), "{event:?}");
        }

        async fn expect_unreachable(&self) -> String {
            match self.event().await {
                Event::Reachable(Err(why)) => why,
                other => panic!("{other:?}"),
            }
        }

        async fn expect_port(&self, port: u16) {
            match self.event().await {
                Event::Answer { answer: Answer::Instances(instances), .. } => {
                    assert_eq!(instances[0].endpoints, [format!("rest://10.0.0.1:{port}")]);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[actix::test]
    async fn a_rewritten_file_is_seen() {
        let bench = Bench::with_file().await;
        fs::write(bench.path(), one(2)).unwrap();
        bench.expect_reachable().await;
        bench.expect_port(2).await;
    }

    #[actix::test]
    async fn an_atomic_replacement_is_seen() {
        let bench = Bench::with_file().await;
        let new = bench.dir.path().join("new");
        fs::write(&new, one(2)).unwrap();
        fs::rename(new, bench.path()).unwrap();
        bench.expect_reachable().await;
        bench.expect_port(2).await;
    }

    #[actix::test]
    async fn a_config_map_that_changes_its_link_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (version, port) in [("..v1", 1), ("..v2", 2)] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("registry.yaml"), one(port)).unwrap();
        }
        symlink("..v1", dir.path().join("..data")).unwrap();
        symlink("..data/registry.yaml", dir.path().join("registry.yaml")).unwrap();
        let bench = Bench::start(dir);
        bench.ask("orders");
        bench.expect_reachable().await;
        bench.expect_port(1).await;
        let dir = bench.dir.path();
        symlink("..v2", dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        bench.expect_reachable().await;
        bench.expect_port(2).await;
    }

    #[actix::test]
    async fn a_broken_file_keeps_the_last_good_one_and_says_where_it_is_broken() {
        let bench = Bench::with_file().await;
        fs::write(bench.path(), "services:\n  orders: [}\n").unwrap();
        let why = bench.expect_unreachable().await;
        assert!(why.starts_with("the registry file cannot be used: ") && !why.contains('\n'), "{why}");
        assert!(why.contains("registry.yaml:2:12: did not find"), "{why}");
        bench.ask("orders");
        bench.expect_port(1).await;
        // Repaired: reachable again, and no answer since none changed.
        fs::write(bench.path(), one(1)).unwrap();
        bench.expect_reachable().await;
        bench.ask("users");
        let event = bench.event().await;
        assert!(matches!(event, Event::Answer { answer: Answer::NoSuchService, .. }), "{event:?}");
    }

    #[actix::test]
    async fn a_missing_file_is_waited_for() {
        let bench = Bench::start(tempfile::tempdir().unwrap());
        bench.ask("orders");
        let why = bench.expect_unreachable().await;
        assert!(why.contains("registry.yaml does not exist"), "{why}");
        fs::write(bench.path(), one(7)).unwrap();
        bench.expect_reachable().await;
        bench.expect_port(7).await;
    }

    #[actix::test]
    async fn a_file_that_is_too_large_or_no_text_is_refused() {
        let bench = Bench::with_file().await;
        fs::write(bench.path(), vec![b'#'; SIZE_MAX as usize + 1]).unwrap();
        assert!(bench.expect_unreachable().await.ends_with("has more than 1048576 bytes"));
        fs::write(bench.path(), b"services: \xff").unwrap();
        assert!(bench.expect_unreachable().await.ends_with("is not UTF-8 from byte 10"));
        fs::remove_file(bench.path()).unwrap();
        fs::create_dir(bench.path()).unwrap();
        assert!(bench.expect_unreachable().await.ends_with("is not a file"));
    }

    #[actix::test]
    async fn our_own_instance_counts_as_registered_and_nothing_is_written() {
        let bench = Bench::with_file().await;
        let registration = Registration {
            service: Identity {
                app: "default".into(),
                name: "me".into(),
                version: "1".into(),
                environment: "".into(),
            },
            cross_app: false,
            registered_by: "SIDECAR",
            framework_version: "1",
            endpoints: Vec::new(),
            host_name: "host".to_owned(),
            properties: std::collections::BTreeMap::new(),
            zone: None,
            status: Status::Up,
        };
        bench.commands.send(Command::Register(Arc::new(registration))).unwrap();
        let event = bench.event().await;
        assert!(matches!(&event, Event::Registration(RegistrationState::Registered(id)) if &**id == "file"));
        let (done, outcome) = futures::channel::oneshot::channel();
        bench.commands.send(Command::Withdraw(done)).unwrap();
        assert_eq!(outcome.await, Ok(Ok(())));
        assert_eq!(fs::read_to_string(bench.path()).unwrap(), one(1));
    }

    #[actix::test]
    async fn it_ends_when_nobody_commands_any_more() {
        let (commands, given) = flume::bounded(1);
        let (tell, _events) = flume::bounded(16);
        let path = PathBuf::from("/does/not/exist/registry.yaml");
        let settings = FileSettings { path, app: "default".into(), environment: "".into() };
        drop(commands);
        assert!(FileSource::new(settings).run(given, tell).await.is_ok());
    }
}
