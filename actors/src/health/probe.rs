//! One look at the local service.

use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use reqwest::{Client, redirect};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For a check to come to a result. A local service that needs longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer's body that are read for `match.body`; a health page is small, and it is held in memory.
const BODY_MAX: usize = 64 << 10;

/// A check and how often it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The local service.
    pub address: SocketAddr,
    /// What is looked at.
    pub probe: Probe,
    /// From one check to the next, at least 100 ms; after a failure at most 5 s.
    pub interval: Duration,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub enum Probe {
    /// A connection can be made.
    Tcp,
    /// `GET uri` is answered, and as expected. Redirects are answers, not followed.
    Rest {
        /// Begins with `/`.
        uri: String,
        /// The status to be answered; none: any.
        status: Option<u16>,
        /// To be found in the first 64 KiB of the body.
        body: Option<Regex>,
    },
}

/// Why a probe cannot be made as configured.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// `uri` does not begin with `/`.
    #[error("uri {0:?} does not begin with /")]
    Uri(String),
    /// `match.status` is no HTTP status.
    #[error("match.status {0} is not an HTTP status (100 to 599)")]
    Status(u16),
    /// `match.body` is no regular expression.
    #[error("match.body is not a regular expression: {0}")]
    Body(#[from] regex::Error),
}

// === impl Probe ===

/// Equal probes look at the same; a pattern is equal if it reads the same.
impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp, Self::Tcp) => true,
            (Self::Rest { uri, status, body }, Self::Rest { uri: uri2, status: status2, body: body2 }) => {
                let pattern = |body: &Option<Regex>| body.as_ref().map(|regex| regex.as_str().to_owned());
                uri == uri2 && status == status2 && pattern(body) == pattern(body2)
            }
            _ => false,
        }
    }
}

impl Probe {
    /// Checks what the configuration says.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn rest(uri: &str, status: Option<u16>, body: Option<&str>) -> Result<Self, ProbeError> {
        if !uri.starts_with('/') {
            return Err(ProbeError::Uri(uri.to_owned()));
        }
        if let Some(status) = status.filter(|status| !(100..=599).contains(status)) {
            return Err(ProbeError::Status(status));
        }
        Ok(Self::Rest { uri: uri.to_owned(), status, body: body.map(Regex::new).transpose()? })
    }
}

// === impl Check ===

impl Check {
    /// What is checked, for people.
    pub(super) fn target(&self) -> String {
        match &self.probe {
            Probe::Tcp => format!("tcp://{}", self.address),
            Probe::Rest { uri, .. } => format!("http://{}{uri}", self.address),
        }
    }

    /// Makes the check.
    ///
    /// # Errors
    /// Says why the service is not healthy.
    pub(super) async fn run(&self, client: &Client) -> Result<(), String> {
        let result = match &self.probe {
            Probe::Tcp => timeout(TIMEOUT, connect(self.address)).await,
            Probe::Rest { status, body, .. } => {
                timeout(TIMEOUT, request(client, &self.target(), *status, body.as_ref())).await
            }
        };
        result.unwrap_or_else(|_| Err(format!("no result within {} s", TIMEOUT.as_secs())))
    }
}

/// The client that checks are made with: straight to the local service, whatever proxy the environment names.
pub(super) fn client() -> Result<Client, String> {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .tls_backend_preconfigured(crate::tls::unverified())
        .build()
        .map_err(|error| error.to_string())
}

async fn connect(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
}

async fn request(
    client: &Client,
    url: &str,
    status: Option<u16>,
    body: Option<&Regex>,
) -> Result<(), String> {
    let mut response = client.get(url).send().await.map_err(|error| innermost(&error))?;
    let answered = response.status().as_u16();
    if let Some(expected) = status.filter(|expected| *expected != answered) {
        return Err(format!("answered {answered} instead of {expected}"));
    }
    let Some(pattern) = body else { return Ok(()) };
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error))? {
        read.extend_from_slice(&chunk);
        if read.len() >= BODY_MAX {
            read.truncate(BODY_MAX);
            break;
        }
    }
    if pattern.is_match(&String::from_utf8_lossy(&read)) {
        Ok(())
    } else {
        Err(format!("the body does not match {:?}", pattern.as_str()))
    }
}

/// The cause at the bottom: what is above it only repeats the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What a check makes of this answer.
    async fn check(probe: Probe, answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read == 0 || request.starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let check = Check { address, probe, interval: Duration::from_secs(30) };
        let client = client().unwrap();
        futures::join!(check.run(&client), serve).0
    }

    fn rest(status: Option<u16>, body: Option<&str>) -> Probe {
        Probe::rest("/health", status, body).unwrap()
    }

    const FAILING: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 15\r\n\r\nstatus: broken\n";

    #[actix::test]
    async fn without_a_match_any_answer_is_healthy() {
        assert_eq!(check(rest(None, None), FAILING).await, Ok(()));
        assert_eq!(check(Probe::Tcp, "").await, Ok(()));
    }

    #[actix::test]
    async fn status_and_body_must_both_match() {
        let why = check(rest(Some(200), Some("broken")), FAILING).await.unwrap_err();
        assert_eq!(why, "answered 500 instead of 200");
        let why = check(rest(Some(500), Some("^fine$")), FAILING).await.unwrap_err();
        assert_eq!(why, "the body does not match \"^fine$\"");
        assert_eq!(check(rest(Some(500), Some("bro.en")), FAILING).await, Ok(()));
    }

    #[actix::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(check(rest(Some(302), None), redirect).await, Ok(()));
    }

    #[actix::test]
    async fn a_service_that_is_not_there_is_not_healthy() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for probe in [Probe::Tcp, rest(None, None)] {
            let check = Check { address: gone, probe, interval: Duration::from_secs(30) };
            let why = check.run(&client().unwrap()).await.unwrap_err();
            assert!(why.contains("refused"), "{why}");
        }
    }

    #[test]
    fn a_probe_that_makes_no_sense_is_refused() {
        assert!(matches!(Probe::rest("health", None, None), Err(ProbeError::Uri(_))));
        assert!(matches!(Probe::rest("/", Some(700), None), Err(ProbeError::Status(700))));
        assert!(matches!(Probe::rest("/", None, Some("(")), Err(ProbeError::Body(_))));
    }
}
