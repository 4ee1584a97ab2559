//! No registry at all (`servicecomb.registry.disabled`): every name is unknown, and nothing is registered.

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use super::{Answer, Command, Event, RegistrationState, Source, SourceError};

/// Answers that there is nothing.
#[derive(Debug)]
pub struct Unlisted;

impl Source for Unlisted {
    fn run(
        &mut self,
        commands: flume::Receiver<Command>,
        events: flume::Sender<Event>,
    ) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        async move {
            let gone = |_| SourceError("nobody listens".into());
            events.send_async(Event::Reachable(Ok(()))).await.map_err(gone)?;
            while let Ok(command) = commands.recv_async().await {
                match command {
                    Command::Watch(service) => {
                        let event = Event::Answer { service, answer: Answer::NoSuchService };
                        events.send_async(event).await.map_err(gone)?;
                    }
                    Command::Withdraw(done) => {
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(Ok(()));
                        let event = Event::Registration(RegistrationState::Absent);
                        events.send_async(event).await.map_err(gone)?;
                    }
                    Command::Forget(_) | Command::Register(_) | Command::SetStatus(_) | Command::Release => {}
                }
            }
            Ok(())
        }
        .boxed_local()
    }
}
