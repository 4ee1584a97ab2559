//! The core: time and requests in, answers and frames out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cache::{Cache, Change, Event};
use super::catalog::{Catalog, name_of};
use super::finder::{Finder, Sources};
use super::frame::Frame;
use super::model::{Instance, Service};
use super::own::Own;
use super::renewals::Renewals;
use super::reply::{Reply, Request, Response, go_json, http_date};
use super::sockets::{Output, Purpose, SocketId, Sockets};
use super::store::{Entry, Key, Store};

/// Tenant of the server itself, and of requests that name none.
pub(super) const OWN_TENANT: &str = "default/default";
/// How long an orderly stop takes; watchers are cut off at its end.
const STOP_MS: u64 = 5000;
/// Longest head, less the first line, that is read.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How the server is set up.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Time to live of every instance (`registry.instance.ttl`); none: as each asks for, 120 s by default.
    pub(crate) instance_ttl_ms: Option<u64>,
    /// Time between pings to watchers.
    pub(crate) watch_ping_ms: u64,
    /// Time between pings on heartbeat connections (`heartbeat.websocket.pingInterval`).
    pub(crate) heartbeat_ping_ms: u64,
    /// Behave as 1.x where clients notice: a find must name a version, and there is no heartbeat by WebSocket.
    pub(crate) one_x: bool,
    /// What it registers for itself.
    pub(crate) own_endpoint: String,
    /// Seconds since 1970 at time 0.
    pub(crate) epoch_s: u64,
    /// Seed of ids and orders.
    pub(crate) seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance_ttl_ms: None,
            watch_ping_ms: 30_000,
            heartbeat_ping_ms: 30_000,
            one_x: false,
            own_endpoint: "rest://127.0.0.1:30100/".into(),
            epoch_s: 1_700_000_000,
            seed: 1,
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A response.
    Response(Response),
    /// 101: from here on the connection carries frames.
    Upgraded(SocketId, Response),
    /// None: the server is down, or will not read so long a head.
    Nothing,
}

/// How the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGTERM: it takes 5 s, takes back its own instance, and cuts off watchers at the end.
    Orderly,
    /// SIGKILL.
    Killed,
}

/// The server: one node or several on one store. Times are milliseconds from any zero, and must not go back.
pub(crate) struct Fake {
    pub(super) config: Config,
    pub(super) catalog: Catalog,
    pub(super) store: Store,
    pub(super) sockets: Sockets,
    pub(super) now_ms: u64,
    nodes: Vec<Node>,
    /// The node that is at work.
    at: usize,
    random: u64,
    /// Paths whose handlers panic.
    panics: Vec<String>,
}

/// What each node has for itself.
pub(super) struct Node {
    pub(super) cache: Cache,
    pub(super) finder: Finder,
    pub(super) renewals: Renewals,
    up: bool,
    pub(super) own: Option<Own>,
    pub(super) own_endpoint: String,
}

impl Fake {
    /// A server that has just started at time 0, with an empty store.
    pub(crate) fn new(config: Config) -> Self {
        let mut fake = Self {
            random: config.seed,
            catalog: Catalog::default(),
            store: Store::default(),
            sockets: Sockets::default(),
            now_ms: 0,
            nodes: Vec::new(),
            at: 0,
            panics: Vec::new(),
            config,
        };
        fake.add_node(fake.config.own_endpoint.clone(), 0);
        fake
    }

    /// Starts another node on the same store, which registers this endpoint for itself; its number.
    pub(crate) fn add_node(&mut self, own_endpoint: String, now_ms: u64) -> usize {
        self.nodes.push(Node::down(own_endpoint));
        let node = self.nodes.len() - 1;
        self.start(node, now_ms);
        node
    }

    /// Answers a request to a node. What became due before is done first.
    pub(crate) fn handle(&mut self, node: usize, request: &Request, now_ms: u64) -> Answer {
        self.advance(now_ms);
        self.at = node;
        let head_bytes: usize =
            request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        if !self.node().up || head_bytes > HEAD_BYTES_MAX {
            return Answer::Nothing;
        }
        if self.panics.iter().any(|path| request.path.contains(path)) {
            return Answer::Response(self.finish(Reply::bare(200), false));
        }
        self.route(request)
    }

    /// Takes a frame that came on a connection.
    pub(crate) fn receive(&mut self, id: SocketId, frame: &Frame, now_ms: u64) {
        self.advance(now_ms);
        let Some(socket) = self.sockets.socket(id) else { return };
        self.at = socket.node;
        let purpose = socket.purpose.clone();
        let is_heartbeat = socket.receive(frame, now_ms);
        if let (true, Purpose::Heartbeat(tenant, service, instance)) = (is_heartbeat, purpose) {
            let alive = self.heartbeat(&(tenant, service, instance)).is_ok();
            if let Some(socket) = self.sockets.socket(id).filter(|_| !alive) {
                socket.end_for_lost_instance();
            }
        }
    }

    /// Takes the end of a connection by the client.
    pub(crate) fn hang_up(&mut self, id: SocketId, now_ms: u64) {
        self.advance(now_ms);
        if let Some(socket) = self.sockets.socket(id) {
            socket.end();
        }
    }

    /// Takes what a connection is to send.
    pub(crate) fn drain(&mut self, id: SocketId) -> Vec<Output> {
        self.sockets.drain(id)
    }

    /// When something will happen by itself.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let nodes = self.nodes.iter().filter(|node| node.up).filter_map(Node::due_ms);
        nodes.chain(self.store.due_ms()).chain(self.sockets.due_ms()).min()
    }

    /// Does everything that is due up to now, each at its time.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        assert!(now_ms >= self.now_ms, "time went back from {} to {now_ms}", self.now_ms);
        while let Some(due_ms) = self.due_ms().filter(|due_ms| *due_ms <= now_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.run();
        }
        self.now_ms = now_ms;
    }

    fn run(&mut self) {
        let now_ms = self.now_ms;
        for (key, entry) in self.store.expire(now_ms) {
            self.note(Change::Delete, key, entry);
        }
        let catalog = &self.catalog;
        self.sockets.run(now_ms, |tenant, id| catalog.service(tenant, id).is_some());
        for node in 0..self.nodes.len() {
            self.at = node;
            if self.node().up {
                self.run_node(now_ms);
            }
        }
    }

    fn run_node(&mut self, now_ms: u64) {
        let node = &mut self.nodes[self.at];
        node.renewals.run(&mut self.store, now_ms);
        let events = node.cache.run(now_ms);
        if self.own().is_some_and(|own| own.heartbeat_ms <= now_ms) {
            self.keep_own_instance();
        }
        for event in events {
            self.publish(&event);
        }
    }

    /// Stops a node; the data stay, and leases go on ending.
    pub(crate) fn stop(&mut self, node: usize, how: Stop, now_ms: u64) {
        self.advance(now_ms);
        self.at = node;
        self.node_mut().up = false;
        let orderly = how == Stop::Orderly;
        self.sockets.end_all_at(node, if orderly { now_ms + STOP_MS } else { now_ms });
        if let Some(own) = self.node_mut().own.take().filter(|_| orderly) {
            self.take_away(&own.key);
        }
        self.advance(now_ms);
    }

    /// Removes all data; every node must have been stopped.
    pub(crate) fn lose_data(&mut self) {
        assert!(self.nodes.iter().all(|node| !node.up), "stop the server first");
        self.store.clear();
        self.catalog.clear();
    }

    /// Starts a stopped node from the data there are. It loads its cache first and registers itself then.
    pub(crate) fn start(&mut self, node: usize, now_ms: u64) {
        self.advance(now_ms);
        self.at = node;
        let cache = Cache::loaded(self.store.all().clone(), now_ms);
        let down = Node::down(self.node().own_endpoint.clone());
        *self.node_mut() = Node { up: true, cache, renewals: Renewals::new(now_ms), ..down };
        self.register_own();
    }

    /// Has handlers of paths that contain `path` panic: 200 with nothing.
    pub(crate) fn panic_on(&mut self, path: &str) {
        self.panics.push(path.to_owned());
    }

    /// No more panics.
    pub(crate) fn calm_down(&mut self) {
        self.panics.clear();
    }

    /// Sends `EXPIRE` of a provider (default environment and application) to the watchers of a consumer.
    pub(crate) fn push_expire(&mut self, consumer: &str, provider: &str, version: &str, now_ms: u64) {
        self.advance(now_ms);
        let key = serde_json::json!({
            "tenant": OWN_TENANT, "appId": "default", "serviceName": provider, "version": version,
        });
        let text = serde_json::json!({ "action": "EXPIRE", "key": key }).to_string();
        for node in 0..self.nodes.len() {
            self.sockets.publish(node, OWN_TENANT, consumer, &text);
        }
    }

    /// How many instances a service has in the store (default tenant).
    pub(crate) fn instances_of(&self, service: &str) -> usize {
        let listed =
            self.catalog.services(OWN_TENANT).filter(|listing| listing.service.service_name == service);
        listed.map(|l| self.store.with_prefix(OWN_TENANT, &l.service.service_id, "").len()).sum()
    }

    // What handlers use.

    /// Ends an answer with what every answer carries.
    pub(super) fn finish(&self, reply: Reply, head_only: bool) -> Response {
        reply.finish(http_date(self.unix_s()), head_only)
    }

    /// Now, as the server writes time stamps.
    pub(super) fn timestamp(&self) -> String {
        self.unix_s().to_string()
    }

    fn unix_s(&self) -> u64 {
        self.config.epoch_s + self.now_ms / 1000
    }

    /// The node at work.
    pub(super) fn node(&self) -> &Node {
        &self.nodes[self.at]
    }

    /// The node at work, to be changed.
    pub(super) fn node_mut(&mut self) -> &mut Node {
        &mut self.nodes[self.at]
    }

    /// Which node is at work.
    pub(super) fn node_number(&self) -> usize {
        self.at
    }

    /// The server's own service and instance.
    pub(super) fn own(&self) -> Option<&Own> {
        self.node().own.as_ref()
    }

    /// A new instance id, 32 hexadecimal digits.
    pub(super) fn new_instance_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.draw(), self.draw())
    }

    /// Mixes a list, as Go's maps do.
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let choice = self.draw() % (u64::try_from(last).unwrap() + 1);
            list.swap(last, usize::try_from(choice).unwrap());
        }
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Tells every node of a change in the store. A node that is down learns of nothing.
    pub(super) fn note(&mut self, change: Change, key: Key, entry: Entry) {
        let event = Event { change, key, entry };
        for node in self.nodes.iter_mut().filter(|node| node.up) {
            node.cache.note(event.clone(), self.now_ms);
        }
    }

    /// Finder and what it reads, borrowed together.
    pub(super) fn finding(&mut self) -> (&mut Finder, Sources<'_>) {
        let node = &mut self.nodes[self.at];
        (&mut node.finder, Sources { catalog: &self.catalog, cache: &node.cache, store: &self.store })
    }

    /// Keeps a lease alive; false when it is gone as far as the node knows.
    pub(super) fn keep_alive(&mut self, key: &Key, lease: u64) -> bool {
        self.nodes[self.at].renewals.keep_alive(key, lease, &mut self.store, self.now_ms)
    }

    /// Drops on every node what was found of a service.
    pub(super) fn forget_everywhere(&mut self, tenant: &str, service: &Service) {
        let name = name_of(tenant, service);
        self.nodes.iter_mut().for_each(|node| node.finder.forget(&name, &service.alias));
    }

    /// Tells consumers of a change and drops what was found before. Of a service that is gone nobody is told.
    fn publish(&mut self, event: &Event) {
        let (tenant, service, _) = &event.key;
        let Some(listing) = self.catalog.service(tenant, service) else { return };
        let service = &listing.service;
        let name = name_of(tenant, service);
        let action = match event.change {
            Change::Create => "CREATE",
            Change::Update => "UPDATE",
            Change::Delete => "DELETE",
        };
        let key = watch_key(tenant, service);
        let text = go_json(&WatchEvent { action, key, instance: &event.entry.instance });
        let text = String::from_utf8(text).expect("JSON is UTF-8");
        for consumer in self.catalog.consumers(&name) {
            self.sockets.publish(self.at, tenant, &consumer, &text);
        }
        let (name, alias) = (name, service.alias.clone());
        self.node_mut().finder.forget(&name, &alias);
    }

    /// Writes a new instance and tells the cache.
    pub(super) fn register(&mut self, key: Key, instance: Arc<Instance>) {
        let asked_ms = u64::try_from(instance.patience_s()).unwrap_or(0) * 1000;
        let ttl_ms = self.config.instance_ttl_ms.unwrap_or(asked_ms);
        let entry = self.store.register(key.clone(), instance, ttl_ms, self.now_ms);
        self.note(Change::Create, key, entry);
    }
}

impl Node {
    fn down(own_endpoint: String) -> Self {
        let (cache, finder, renewals) = (Cache::default(), Finder::default(), Renewals::new(0));
        Self { cache, finder, renewals, up: false, own: None, own_endpoint }
    }

    fn due_ms(&self) -> Option<u64> {
        let own = self.own.as_ref().map(|own| own.heartbeat_ms);
        [self.cache.due_ms(), self.renewals.due_ms(), own].into_iter().flatten().min()
    }
}

#[derive(serde::Serialize)]
struct WatchEvent<'a> {
    action: &'a str,
    key: BTreeMap<&'a str, &'a str>,
    instance: &'a Instance,
}

fn watch_key<'a>(tenant: &'a str, service: &'a Service) -> BTreeMap<&'a str, &'a str> {
    let parts = [
        ("tenant", tenant),
        ("environment", &service.environment),
        ("appId", &service.app_id),
        ("serviceName", &service.service_name),
        ("alias", &service.alias),
        ("version", &service.version),
    ];
    parts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(fake: &mut Fake, method: &str, path: &str, query: &str, body: &str) -> Response {
        let request = Request {
            method: method.into(),
            path: format!("/v4/default/registry/{path}"),
            query: query.into(),
            headers: Vec::new(),
            body: body.into(),
        };
        match fake.handle(0, &request, fake.now_ms) {
            Answer::Response(response) => response,
            other => panic!("no response but {other:?}"),
        }
    }

    /// A fake that knows the service `s` with three instances; the service id.
    fn with_three_instances(config: Config) -> (Fake, String) {
        let mut fake = Fake::new(config);
        let response = send(&mut fake, "POST", "microservices", "", r#"{"service":{"serviceName":"s"}}"#);
        let id = response.json()["serviceId"].as_str().unwrap().to_owned();
        for _ in 0..3 {
            let path = format!("microservices/{id}/instances");
            assert_eq!(send(&mut fake, "POST", &path, "", r#"{"instance":{"hostName":"h"}}"#).status, 200);
        }
        (fake, id)
    }

    #[test]
    fn the_order_of_a_list_changes_but_not_its_content() {
        let (mut fake, _) = with_three_instances(Config::default());
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let found = send(&mut fake, "GET", "instances", "appId=default&serviceName=s", "").json();
            let ids = found["instances"].as_array().unwrap().iter();
            let ids: Vec<String> = ids.map(|instance| instance["instanceId"].to_string()).collect();
            orders.insert(ids);
        }
        let sets: std::collections::BTreeSet<Vec<String>> = orders.iter().cloned().map(sorted).collect();
        assert!(orders.len() > 1, "always the same order");
        assert_eq!(sets.len(), 1);
    }

    fn sorted(mut ids: Vec<String>) -> Vec<String> {
        ids.sort();
        ids
    }

    #[test]
    fn as_1_x_it_wants_a_version_and_has_no_heartbeat_sockets() {
        let (mut fake, id) = with_three_instances(Config { one_x: true, ..Config::default() });
        let query = "appId=default&serviceName=s";
        let refused = send(&mut fake, "GET", "instances", query, "");
        assert_eq!((refused.status, refused.json()["errorCode"].as_str()), (400, Some("400001")));
        assert_eq!(send(&mut fake, "GET", "instances", &format!("{query}&version=0%2B"), "").status, 200);
        let path = format!("microservices/{id}/instances/i/heartbeat");
        assert_eq!(send(&mut fake, "GET", &path, "", "").status, 405);
    }

    #[test]
    fn a_panic_answers_200_with_nothing() {
        let mut fake = Fake::new(Config::default());
        fake.panic_on("health");
        let response = send(&mut fake, "GET", "health", "", "");
        assert_eq!(
            (response.status, response.header("Content-Type"), &*response.body),
            (200, None, &b""[..])
        );
        fake.calm_down();
        assert!(!send(&mut fake, "GET", "health", "", "").body.is_empty());
    }

    #[test]
    fn an_expire_frame_names_the_provider_and_no_instance() {
        let (mut fake, id) = with_three_instances(Config::default());
        let socket = fake.sockets.open(0, Purpose::Watch(OWN_TENANT.into(), id.clone()), 30_000, 0);
        fake.push_expire(&id, "other", "1.0.0", 0);
        let [Output::Frame(Frame::Text(text))] = &fake.drain(socket)[..] else { panic!("no frame") };
        let event: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            (event["action"].as_str(), event["key"]["serviceName"].as_str()),
            (Some("EXPIRE"), Some("other"))
        );
        assert_eq!(event.get("instance"), None);
    }
}
