//! One call to service-center at a time, as HTTP. Knows addresses and time-outs; what a call is for, when to make
//! it and what follows from its outcome is not decided here.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use rustls::ClientConfig;
use tracing::{debug, warn};

use super::call::{Call, Outcome};
use super::discovery::{Find, Node};
use super::error::CallError;
use super::settings::{Address, ServiceCenterSettings};
use super::wire::{self, Code, FindAnswer};
use crate::snapshot::TlsReason;
use crate::tls::SharedClient;

/// Longest time for a connection: on a network that works it takes milliseconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for a call: service-center with a dead store behind it never answers.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest time for taking an instance out: two tries fit into the whole deadline of it.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time after which an unused connection is closed: longer than the refresh interval, so that one serves them all.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Header and value that name the tenant, as Mesher sends them.
pub(super) const TENANT: (&str, &str) = ("x-domain-name", "default");
/// How we introduce ourselves.
pub(super) const USER_AGENT: &str = concat!("mesher/", env!("CARGO_PKG_VERSION"));

/// A client of one service-center with one or more addresses. It stays with an address until that fails.
#[derive(Debug)]
pub(super) struct Client {
    http: RefCell<Http>,
    tls: SharedClient,
    addresses: Vec<Address>,
    current: Cell<Node>,
    project: Arc<str>,
    heartbeat_interval: Duration,
}

/// The library, set up for one configuration of TLS.
#[derive(Debug)]
struct Http {
    client: reqwest::Client,
    tls: Arc<ClientConfig>,
}

/// A request but for the address.
struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    query: &'a [(&'a str, &'a str)],
    consumer: Option<&'a str>,
    timeout: Duration,
    body: Option<Vec<u8>>,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The HTTP library cannot be set up on this system.
    pub(super) fn try_new(settings: &ServiceCenterSettings) -> Result<Self, String> {
        Ok(Self {
            http: RefCell::new(Http::try_new(settings.tls.current())?),
            tls: settings.tls.clone(),
            addresses: settings.addresses.clone(),
            current: Cell::new(0),
            project: Arc::clone(&settings.project),
            heartbeat_interval: settings.heartbeat_interval,
        })
    }

    /// Carries out one call of the registrar.
    pub(super) async fn register(&self, call: Call) -> Outcome {
        match call {
            Call::FindService(registration) => {
                let service = &registration.service;
                let mut query = vec![
                    ("type", "microservice"),
                    ("appId", &*service.app),
                    ("serviceName", &*service.name),
                    ("version", &*service.version),
                ];
                if !service.environment.is_empty() {
                    query.push(("env", &*service.environment));
                }
                let request = Request { query: &query, ..Request::new(Method::GET, &["existence"]) };
                match self.call(|_| request.clone()).await {
                    Ok((_, body)) => self.read(wire::registered_service(&body)).map(Some),
                    Err(error) if error.is(Code::NO_SERVICE) || error.is(Code::NO_VERSION) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Call::CreateService(registration) => {
                let body = wire::service_request(&registration);
                let body = self.post(&["microservices"], body).await?;
                self.read(wire::registered_service(&body)).map(Some)
            }
            Call::CreateInstance { service, instance, registration, status } => {
                let body = wire::instance_request(&registration, &instance, status, self.heartbeat_interval);
                let body = self.post(&["microservices", &service, "instances"], body).await?;
                self.read(wire::registered_instance(&body)).map(Some)
            }
            Call::Heartbeat { service, instance } => {
                let path = ["microservices", &service, "instances", &instance, "heartbeat"];
                self.done(Request::new(Method::PUT, &path)).await
            }
            Call::SetStatus { service, instance, status } => {
                let path = ["microservices", &service, "instances", &instance, "status"];
                let query = [("value", wire::status_word(status))];
                self.done(Request { query: &query, ..Request::new(Method::PUT, &path) }).await
            }
            Call::Confirm { service } => {
                self.done(Request::new(Method::GET, &["microservices", &service])).await
            }
            Call::Remove { service, instance } => {
                let path = ["microservices", &service, "instances", &instance];
                self.done(Request { timeout: REMOVE_TIMEOUT, ..Request::new(Method::DELETE, &path) }).await
            }
        }
    }

    /// Carries out a find; says which address answered.
    pub(super) async fn find(&self, find: Find) -> Result<(Node, FindAnswer), CallError> {
        let request = |node| {
            // Revisions of one address mean nothing to another.
            let revision = |revision: &Option<Arc<str>>| revision.clone().filter(|_| node == find.node);
            let names: Vec<_> = find.names.iter().map(|(name, rev)| (&**name, revision(rev))).collect();
            let names = names.iter().map(|(name, revision)| (*name, revision.as_deref()));
            Request {
                query: &[("type", "query")],
                consumer: find.consumer.as_deref(),
                body: Some(wire::find_request(find.consumer.as_deref(), &find.app, &find.environment, names)),
                ..Request::new(Method::POST, &["instances", "action"])
            }
        };
        let (node, body) = self.call(request).await?;
        Ok((node, self.read(wire::find_answer(&body))?))
    }

    /// Where to open the watch socket of a service.
    pub(super) fn watcher(&self, service: &str) -> Option<(Node, &Address, Url)> {
        let node = self.current.get();
        let address = self.addresses.get(node)?;
        Some((node, address, self.url(address, &["microservices", service, "watcher"], &[])))
    }

    /// How to connect to addresses that say https.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.current()
    }

    /// An address failed: later calls go to the next one. Returns that, if there is another.
    pub(super) fn failed(&self, node: Node) -> Option<Node> {
        if self.current.get() == node {
            self.current.set((node + 1) % self.addresses.len().max(1));
        }
        Some(self.current.get()).filter(|current| *current != node)
    }

    async fn post(&self, path: &[&str], body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let request = Request { body: Some(body), ..Request::new(Method::POST, path) };
        Ok(self.call(|_| request.clone()).await?.1)
    }

    async fn done(&self, request: Request<'_>) -> Outcome {
        self.call(|_| request.clone()).await.map(|_| None)
    }

    /// Calls the current address, and once the next one if the first fails: every call may be repeated.
    async fn call<'a>(&self, request: impl Fn(Node) -> Request<'a>) -> Result<(Node, Vec<u8>), CallError> {
        let first = self.current.get();
        let error = match self.attempt(first, request(first)).await {
            Err(error @ CallError::Unavailable(_)) => error,
            other => return other.map(|body| (first, body)),
        };
        let Some(second) = self.failed(first) else { return Err(error) };
        debug!(%error, "trying the next address of service-center");
        let answer = self.attempt(second, request(second)).await;
        if matches!(answer, Err(CallError::Unavailable(_))) {
            self.failed(second);
        }
        answer.map(|body| (second, body))
    }

    async fn attempt(&self, node: Node, request: Request<'_>) -> Result<Vec<u8>, CallError> {
        let Some(address) = self.addresses.get(node) else {
            return Err(CallError::Unavailable("service-center has no address".into()));
        };
        let mut builder = self
            .http()
            .request(request.method, self.url(address, request.path, request.query))
            .timeout(request.timeout)
            .header(TENANT.0, TENANT.1)
            .header("content-type", "application/json");
        if let Some(consumer) = request.consumer {
            builder = builder.header("x-consumerid", consumer);
        }
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let response = builder.send().await.map_err(|e| unavailable(address, &e, request.timeout))?;
        let status = response.status();
        let body = read_body(response, address, request.timeout).await?;
        judge(status, body, address)
    }

    /// Set up for the configuration of TLS that counts now.
    fn http(&self) -> reqwest::Client {
        let tls = self.tls.current();
        let mut http = self.http.borrow_mut();
        if !Arc::ptr_eq(&http.tls, &tls) {
            match Http::try_new(tls) {
                Ok(renewed) => *http = renewed,
                Err(why) => warn!(why, "service-center is called with the old certificates"),
            }
        }
        http.client.clone()
    }

    fn url(&self, address: &Address, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = address.base().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["v4", &*self.project, "registry"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn read<T>(&self, answer: Result<T, String>) -> Result<T, CallError> {
        let address = self.addresses.get(self.current.get()).map_or("", Address::authority);
        answer.map_err(|problem| CallError::Unavailable(format!("service-center at {address}: {problem}")))
    }
}

impl Http {
    fn try_new(tls: Arc<ClientConfig>) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            // The environment names mesher itself as the proxy: never go through it.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tls_backend_preconfigured((*tls).clone())
            .build()
            .map_err(|e| format!("the HTTP client cannot be set up: {e}"))?;
        Ok(Self { client, tls })
    }
}

impl<'a> Request<'a> {
    const fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: &[], consumer: None, timeout: CALL_TIMEOUT, body: None }
    }
}

impl Clone for Request<'_> {
    fn clone(&self) -> Self {
        Self { method: self.method.clone(), body: self.body.clone(), ..*self }
    }
}

/// What status and body come to.
fn judge(status: StatusCode, body: Vec<u8>, address: &Address) -> Result<Vec<u8>, CallError> {
    if status.is_success() {
        return Ok(body);
    }
    match wire::error_answer(&body) {
        Some(answer) if !answer.code.server_fault() && !status.is_server_error() => {
            Err(CallError::Refused(answer))
        }
        Some(answer) => {
            Err(CallError::Unavailable(format!("service-center at {address} is in trouble: {answer}")))
        }
        None => Err(CallError::Unavailable(format!(
            "{address} answers {status} without an error code; check that it is service-center"
        ))),
    }
}

async fn read_body(
    mut response: reqwest::Response,
    address: &Address,
    timeout: Duration,
) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| unavailable(address, &e, timeout))? {
        if body.len() + chunk.len() > wire::ANSWER_LENGTH_MAX {
            let limit = wire::ANSWER_LENGTH_MAX;
            return Err(CallError::TooLarge(format!(
                "service-center at {address} answers more than {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says most: the outer ones repeat the address. Of TLS it is in words of our own.
fn unavailable(address: &Address, error: &reqwest::Error, timeout: Duration) -> CallError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let tls = TlsReason::among(error).map(|reason| format!("TLS: {reason}"));
    let cause = tls.unwrap_or_else(|| cause.to_string());
    CallError::Unavailable(if error.is_connect() {
        format!("service-center at {address} cannot be reached: {cause}")
    } else if error.is_timeout() {
        format!("service-center at {address} does not answer within {timeout:?}")
    } else {
        format!("the call to service-center at {address} failed: {cause}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::peer::{Peer, nobody};
    use super::*;
    use crate::registry::instance::Identity;
    use crate::tls::bench::{Authority, Home};

    fn find(revision: Option<&str>) -> Find {
        Find {
            consumer: Some("c1".into()),
            app: "default".into(),
            environment: "".into(),
            names: vec![("a".into(), revision.map(Into::into))],
            node: 0,
        }
    }

    fn found() -> (u16, String) {
        (200, r#"{"services":{"notModified":[0]}}"#.into())
    }

    fn client(addresses: &str) -> Client {
        let service =
            Identity { app: "default".into(), name: "a".into(), version: "1".into(), environment: "".into() };
        let interval = Duration::from_secs(30);
        let settings = ServiceCenterSettings::try_new(addresses, "p%1", &service, interval, interval, true);
        Client::try_new(&settings.unwrap()).unwrap()
    }

    #[test]
    fn ids_are_escaped_in_paths_and_values_in_queries() {
        let client = client("127.0.0.1:30100");
        let url = client.url(&client.addresses[0], &["microservices", "a/b?c#d"], &[("value", "0+ &")]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:30100/v4/p%251/registry/microservices/a%2Fb%3Fc%23d?value=0%2B+%26"
        );
    }

    #[test]
    fn addresses_take_turns_when_they_fail() {
        let client = client("a:1,b:1,c:1");
        assert_eq!(client.failed(0), Some(1));
        assert_eq!(client.failed(0), Some(1), "two calls that fail on one address move on once");
        assert_eq!(client.failed(1), Some(2));
        assert_eq!(client.failed(2), Some(0));
    }

    #[test]
    fn a_single_address_has_no_other() {
        assert_eq!(client("a:1").failed(0), None);
    }

    #[test]
    fn answers_are_sorted_by_who_is_at_fault() {
        let client = client("a:1");
        let judged = |status, body: &str| {
            judge(StatusCode::from_u16(status).unwrap(), body.into(), &client.addresses[0])
        };
        assert_eq!(judged(200, "x"), Ok(b"x".to_vec()));
        assert!(judged(400, r#"{"errorCode":"400017"}"#).unwrap_err().is(Code::NO_INSTANCE));
        for (status, body) in
            [(500, r#"{"errorCode":"500011"}"#), (404, "404 page not found"), (302, ""), (502, "<html>")]
        {
            assert!(matches!(judged(status, body), Err(CallError::Unavailable(_))), "{status}");
        }
        assert!(judged(401, r#"{"errorCode":"401204"}"#).unwrap_err().unreachable());
    }

    #[tokio::test]
    async fn a_find_goes_out_with_the_headers_of_mesher() {
        let peer = Peer::start(|_| found());
        let (node, answer) = client(&peer.address).find(find(Some("r1"))).await.unwrap();
        assert_eq!((node, answer.not_modified), (0, vec![0]));
        let request = peer.request();
        assert!(
            request.starts_with("POST /v4/p%251/registry/instances/action?type=query HTTP/1.1\r\n"),
            "{request}"
        );
        for header in [
            "x-domain-name: default",
            "x-consumerid: c1",
            "user-agent: mesher/",
            "content-type: application/json",
        ] {
            assert!(request.contains(&format!("\r\n{header}")), "{header} in {request}");
        }
        assert!(request.contains(r#""rev":"r1""#), "{request}");
    }

    #[tokio::test]
    async fn the_next_address_is_asked_once_and_without_the_revisions_of_the_first() {
        let broken = Peer::start(|_| (500, r#"{"errorCode":"500011","errorMessage":"store"}"#.into()));
        for first in [nobody(), broken.address.clone()] {
            let second = Peer::start(|_| found());
            let client = client(&format!("{first},{}", second.address));
            let (node, _) = client.find(find(Some("r1"))).await.unwrap();
            assert_eq!(node, 1);
            assert!(!second.request().contains("rev"), "a revision of one address means nothing to another");
            assert_eq!(client.current.get(), 1, "it stays with the one that answers");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_not_taken_to_another_address() {
        let first = Peer::start(|_| (400, r#"{"errorCode":"400001","errorMessage":"no"}"#.into()));
        let client = client(&format!("{},{}", first.address, nobody()));
        assert!(client.find(find(None)).await.unwrap_err().is(Code::INVALID));
        assert_eq!(client.current.get(), 0);
    }

    #[tokio::test]
    async fn a_success_without_the_body_it_needs_is_a_failure() {
        let peer = Peer::start(|_| (200, String::new()));
        let client = client(&peer.address);
        let why = client.find(find(None)).await.unwrap_err().to_string();
        assert!(why.contains("empty") && why.contains(&peer.address), "{why}");
        let heartbeat = Call::Heartbeat { service: "s1".into(), instance: "i/1".into() };
        assert_eq!(client.register(heartbeat).await, Ok(None), "a heartbeat needs none");
        peer.request();
        assert!(
            peer.request().starts_with("PUT /v4/p%251/registry/microservices/s1/instances/i%2F1/heartbeat ")
        );
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up() {
        let peer = Peer::start(|_| (200, " ".repeat(wire::ANSWER_LENGTH_MAX + 1)));
        assert!(matches!(client(&peer.address).find(find(None)).await, Err(CallError::TooLarge(_))));
    }

    #[tokio::test]
    async fn a_refused_connection_is_reported_with_address_and_cause() {
        let address = nobody();
        let why = client(&address).find(find(None)).await.unwrap_err().to_string();
        assert!(why.contains(&address) && why.contains("Connection refused"), "{why}");
    }

    #[tokio::test]
    async fn service_center_behind_tls_is_verified_by_the_certificates_that_count_now() {
        let (home, authority, stranger) = (Home::new(), Authority::new(), Authority::new());
        home.put("sc", &authority.issue(&["localhost"]));
        home.write("good.crt", &authority.pem).write("bad.crt", &stranger.pem);
        let server = home.good("ssl.me.rest.Provider: {certFile: sc.crt, keyFile: sc.key}\n");
        let peer = Peer::start_tls(server.table().external.unwrap().config.clone(), |_| found());
        let port = peer.address.rsplit(':').next().unwrap().to_owned();
        let client = client(&format!("https://localhost:{port}"));
        assert!(client.find(find(None)).await.is_ok(), "without keys nothing is verified");
        let verify = |ca: &str| {
            let yaml = format!("ssl.registrator.Consumer: {{verifyPeer: 'true', caFile: {ca}}}\n");
            client.tls.replace(home.good(&yaml).registry().unwrap());
        };
        verify("bad.crt");
        let refused = client.find(find(None)).await.unwrap_err().to_string();
        assert!(
            refused
                .contains("cannot be reached: TLS: the peer's certificate is not from an issuer in caFile"),
            "{refused}"
        );
        verify("good.crt");
        assert!(client.find(find(None)).await.is_ok());
    }
}
