//! What the two processes of an upgrade say to each other, and how a word is sent and awaited.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of a word. The longest is an offer that names a thousand services of 128 bytes each.
const WORD_BYTES_MAX: u64 = 1 << 20;

/// What the old process has and knows, beside its sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::run) struct Offer {
    /// Id of its instance in the registry, if it has one.
    pub instance: Option<Arc<str>>,
    /// Everything that it has registered, in words to be compared; none if it registers nothing.
    pub registration: Option<String>,
    /// The registry has it.
    pub is_registered: bool,
    /// Services that it knows.
    pub services: Vec<Arc<str>>,
}

/// What the old process says later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Serve now.
    TakeOver,
}

/// What the new process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It could take over now.
    Ready {
        /// It has taken on the instance, too.
        keeps_instance: bool,
    },
    /// It has taken over.
    Serving,
    /// It cannot, and ends.
    Refused {
        /// In a sentence.
        why: String,
    },
}

/// Why no word was heard.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::run) enum Silence {
    /// The other process has ended.
    #[error("it ended without a word")]
    Gone,
    /// It has not said anything in time.
    #[error("it has said nothing within {0:?}")]
    TimedOut(Duration),
    /// It has said something else.
    #[error("it says what makes no sense: {0}")]
    Nonsense(String),
    /// The system does not let us listen.
    #[error("it cannot be heard: {0}")]
    Deaf(String),
}

impl Silence {
    /// A word that does not fit here.
    pub(super) fn nonsense(word: &impl Serialize) -> Self {
        Self::Nonsense(serde_json::to_string(word).unwrap_or_default())
    }
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Line(BufReader<UnixStream>);

impl Line {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The socket beneath, for what is no word.
    pub(super) fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    /// Says something.
    ///
    /// # Errors
    /// The other process is gone.
    pub(super) fn say(&mut self, word: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(word)?;
        text.push(b'\n');
        self.0.get_mut().write_all(&text)
    }

    /// Waits for a word.
    ///
    /// # Errors
    /// See [`Silence`].
    pub(super) fn hear<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T, Silence> {
        self.0.get_ref().set_read_timeout(Some(within)).map_err(|error| Silence::Deaf(error.to_string()))?;
        let mut text = Vec::new();
        match self.0.by_ref().take(WORD_BYTES_MAX).read_until(b'\n', &mut text) {
            Ok(0) => Err(Silence::Gone),
            Ok(_) => serde_json::from_slice(&text).map_err(|error| Silence::Nonsense(error.to_string())),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Silence::TimedOut(within))
            }
            // What it had not read yet when it ended resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Silence::Gone),
            Err(error) => Err(Silence::Deaf(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one), Line::new(other))
    }

    #[test]
    fn words_arrive_one_by_one() {
        let (mut old, mut new) = pair();
        let offer = Offer { services: vec!["orders".into()], ..Offer::default() };
        old.say(&offer).unwrap();
        old.say(&Order::TakeOver).unwrap();
        assert_eq!(new.hear::<Offer>(SOON), Ok(offer));
        assert_eq!(new.hear::<Order>(SOON), Ok(Order::TakeOver));
        let refused = Answer::Refused { why: "two\nlines".into() };
        new.say(&refused).unwrap();
        assert_eq!(old.hear::<Answer>(SOON), Ok(refused));
    }

    #[test]
    fn an_end_and_a_silence_are_told_apart() {
        let (mut old, new) = pair();
        let moment = Duration::from_millis(1);
        assert_eq!(old.hear::<Answer>(moment), Err(Silence::TimedOut(moment)));
        drop(new);
        assert_eq!(old.hear::<Answer>(SOON), Err(Silence::Gone));
        assert!(old.say(&Order::TakeOver).is_err());
    }

    #[test]
    fn an_offer_of_another_version_is_understood_as_far_as_it_goes() {
        let (mut old, mut new) = pair();
        old.say(&serde_json::json!({ "instance": "i1", "weather": "fine" })).unwrap();
        let offer: Offer = new.hear(SOON).unwrap();
        assert_eq!((offer.instance.as_deref(), offer.is_registered), (Some("i1"), false));
        old.say(&"dance").unwrap();
        assert!(matches!(new.hear::<Order>(SOON), Err(Silence::Nonsense(_))));
    }
}
