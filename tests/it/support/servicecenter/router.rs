//! From path and verb to handler, and what is the same for all of them.

use super::fake::{Answer, Fake, OWN_TENANT};
use super::reply::{Error, Reply, Request, Stage, path_decode};
use super::rules;
use super::sockets::Purpose;
use super::store::Key;

/// Longest body of most requests.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest body that registers an instance.
const INSTANCE_BYTES_MAX: usize = 5 * 1024;
/// Longest body that sets properties.
const PROPERTIES_BYTES_MAX: usize = 3 * 1024;
/// Longest request target, less one.
const TARGET_BYTES_MAX: usize = 2048;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handler {
    Existence,
    ListServices,
    RegisterService,
    Service,
    DeleteService,
    ServiceProperties,
    Tags,
    AddTags,
    ChangeTag,
    DeleteTags,
    Consumers,
    Providers,
    Schemas,
    AddSchemas,
    Schema,
    AddSchema,
    DeleteSchema,
    Find,
    BatchFind,
    ListInstances,
    Instance,
    RegisterInstance,
    DeleteInstance,
    InstanceProperties,
    InstanceStatus,
    ManyStatuses,
    Heartbeat,
    ManyHeartbeats,
    WatchHeartbeat,
    Watch,
    Health,
    Version,
    Govern,
    /// The real server has it and this one says so.
    NotPlayed,
}

/// Which paths have a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// `/v4/{project}/registry` and `/registry/v3`.
    Both,
    /// `/v4/{project}/registry` only.
    V4,
    /// `/v4/{project}/govern`.
    Govern,
    /// No prefix.
    Root,
}

use Handler as H;
use On::{Both, V4};

const ROUTES: [(&str, On, &str, Handler); 36] = [
    ("GET", Both, "existence", H::Existence),
    ("GET", Both, "microservices", H::ListServices),
    ("POST", Both, "microservices", H::RegisterService),
    ("GET", Both, "microservices/:", H::Service),
    ("DELETE", Both, "microservices/:", H::DeleteService),
    ("PUT", Both, "microservices/:/properties", H::ServiceProperties),
    ("GET", Both, "microservices/:/tags", H::Tags),
    ("POST", Both, "microservices/:/tags", H::AddTags),
    ("PUT", Both, "microservices/:/tags/:", H::ChangeTag),
    ("DELETE", Both, "microservices/:/tags/:", H::DeleteTags),
    ("GET", Both, "microservices/:/consumers", H::Consumers),
    ("GET", Both, "microservices/:/providers", H::Providers),
    ("GET", Both, "microservices/:/schemas", H::Schemas),
    ("POST", Both, "microservices/:/schemas", H::AddSchemas),
    ("GET", Both, "microservices/:/schemas/:", H::Schema),
    ("PUT", Both, "microservices/:/schemas/:", H::AddSchema),
    ("DELETE", Both, "microservices/:/schemas/:", H::DeleteSchema),
    ("GET", Both, "microservices/:/watcher", H::Watch),
    ("GET", Both, "microservices/:/instances", H::ListInstances),
    ("POST", Both, "microservices/:/instances", H::RegisterInstance),
    ("GET", Both, "microservices/:/instances/:", H::Instance),
    ("DELETE", Both, "microservices/:/instances/:", H::DeleteInstance),
    ("PUT", Both, "microservices/:/instances/:/properties", H::InstanceProperties),
    ("PUT", Both, "microservices/:/instances/:/status", H::InstanceStatus),
    ("PUT", Both, "microservices/:/instances/:/heartbeat", H::Heartbeat),
    ("GET", V4, "microservices/:/instances/:/heartbeat", H::WatchHeartbeat),
    ("GET", Both, "instances", H::Find),
    ("POST", V4, "instances/action", H::BatchFind),
    ("PUT", V4, "instances/status", H::ManyStatuses),
    ("PUT", Both, "heartbeats", H::ManyHeartbeats),
    ("GET", V4, "health", H::Health),
    ("GET", V4, "version", H::Version),
    ("GET", On::Govern, "microservices", H::Govern),
    ("GET", On::Root, "health", H::Health),
    ("GET", On::Root, "version", H::Version),
    ("DELETE", Both, "microservices", H::NotPlayed),
];

/// What a handler is given.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    /// `domain/project`.
    pub(super) tenant: String,
    /// The parts of the path that vary, in order, decoded.
    pub(super) parts: Vec<String>,
    /// Is it on the old paths.
    v3: bool,
}

impl Fake {
    /// Answers a request.
    pub(super) fn route(&mut self, request: &Request) -> Answer {
        let head_only = request.method == "HEAD";
        let reply = match early(request) {
            Some(reply) => reply,
            None => match find(request, self.config.one_x) {
                Ok((H::Watch | H::WatchHeartbeat, call)) => return self.upgrade(&call),
                Ok((handler, call)) => refuse_target(request, self.call(handler, &call)),
                Err(reply) => reply,
            },
        };
        let reply = if request.header("Origin").is_empty() || request.method == "OPTIONS" {
            reply
        } else {
            reply.header("Access-Control-Allow-Origin", "*")
        };
        Answer::Response(self.finish(reply, head_only))
    }

    fn call(&mut self, handler: Handler, call: &Call<'_>) -> Reply {
        if call.request.method != "GET" && call.request.body.len() > body_bytes_max(handler) {
            return Error::invalid("http: request body too large").into();
        }
        let result = match handler {
            H::Existence => self.existence(call),
            H::ListServices => self.list_services(call),
            H::RegisterService => self.register_service(call),
            H::Service => self.service(call),
            H::DeleteService => self.delete_service(call),
            H::ServiceProperties => self.set_service_properties(call),
            H::Tags => self.tags(call),
            H::AddTags => self.add_tags(call),
            H::ChangeTag => self.change_tag(call),
            H::DeleteTags => self.delete_tags(call),
            H::Consumers => self.consumers(call),
            H::Providers => self.providers(call),
            H::Schemas => self.schemas(call),
            H::AddSchemas => self.add_schemas(call),
            H::Schema => self.schema(call),
            H::AddSchema => self.add_schema(call),
            H::DeleteSchema => self.delete_schema(call),
            H::Find => self.find(call),
            H::BatchFind => self.batch_find(call),
            H::ListInstances => self.list_instances(call),
            H::Instance => self.instance(call),
            H::RegisterInstance => self.register_instance(call),
            H::DeleteInstance => self.delete_instance(call),
            H::InstanceProperties => self.set_instance_properties(call),
            H::InstanceStatus => self.set_instance_status(call),
            H::ManyStatuses => self.set_many_statuses(call),
            H::Heartbeat => self.beat(call),
            H::ManyHeartbeats => self.beat_many(call),
            H::Health => Ok(self.health()),
            H::Version => Ok(version(call)),
            H::Govern => Ok(self.govern(call)),
            H::NotPlayed => Ok(Reply::plain_error(500, "this fake does not play that")),
            H::Watch | H::WatchHeartbeat => unreachable!("upgrades are answered elsewhere"),
        };
        result.unwrap_or_else(Reply::from)
    }

    /// Opens a connection for watching or heartbeats.
    fn upgrade(&mut self, call: &Call<'_>) -> Answer {
        let bad = |fake: &Self, reply: Reply| Answer::Response(fake.finish(reply, false));
        let request = call.request;
        let wants = |name: &str, word: &str| request.header(name).to_ascii_lowercase().contains(word);
        let key = request.header("Sec-WebSocket-Key");
        let asked = wants("Upgrade", "websocket") && wants("Connection", "upgrade");
        if !asked || request.header("Sec-WebSocket-Version") != "13" || key.is_empty() {
            return bad(self, Reply::plain_error(400, "Bad Request").header("Sec-Websocket-Version", "13"));
        }
        if call.v3 {
            let reply = Reply::plain_error(500, "").header("Sec-Websocket-Version", "13");
            return bad(self, reply.body("v4/instance_watcher.go"));
        }
        let id = match &call.parts[..] {
            [service] => self.open_watch(&call.tenant, service),
            [service, instance] => self.open_heartbeat(&call.tenant, service, instance),
            _ => unreachable!("routes of upgrades have one or two parts"),
        };
        Answer::Upgraded(id, switching(key))
    }

    fn open_watch(&mut self, tenant: &str, service: &str) -> u64 {
        let purpose = Purpose::Watch(tenant.to_owned(), service.to_owned());
        let id = self.sockets.open(self.node_number(), purpose, self.config.watch_ping_ms, self.now_ms);
        if self.catalog.service(tenant, service).is_none() {
            let socket = self.sockets.socket(id).expect("just opened");
            socket.send(super::frame::Frame::Text("service does not exist".into()));
            socket.end();
        }
        id
    }

    fn open_heartbeat(&mut self, tenant: &str, service: &str, instance: &str) -> u64 {
        let key = (tenant.to_owned(), service.to_owned(), instance.to_owned());
        let known = self.cached_or_stored(&key).is_some();
        let purpose = Purpose::Heartbeat(key.0, key.1, key.2);
        let id = self.sockets.open(self.node_number(), purpose, self.config.heartbeat_ping_ms, self.now_ms);
        if !known {
            self.sockets.socket(id).expect("just opened").end_for_lost_instance();
        }
        id
    }
}

/// What is answered before there is a handler.
fn early(request: &Request) -> Option<Reply> {
    if request.path.contains("//") {
        let clean = request.path.replace("//", "/");
        let page = format!("<a href=\"{clean}\">Moved Permanently</a>.\n\n");
        let reply = Reply::bare(301).header("Content-Type", "text/html; charset=utf-8");
        return Some(reply.header("Location", clean).body(page).stage(Stage::Router));
    }
    (request.method == "OPTIONS").then(|| preflight(request))
}

/// A target that the server does not like is refused, and then answered all the same, in the same body.
fn refuse_target(request: &Request, reply: Reply) -> Reply {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let target = format!("{}{query}", request.path);
    if target.len() < TARGET_BYTES_MAX && !target.ends_with([';', '&', '?', '+', '@']) {
        return reply;
    }
    let text = format!("Invalid Request URI {target}");
    reply.preceded_by(400, &text)
}

fn preflight(request: &Request) -> Reply {
    let method = request.header("Access-Control-Request-Method");
    if request.header("Origin").is_empty() || method.is_empty() {
        return Reply::bare(200);
    }
    Reply::bare(200)
        .header("Access-Control-Allow-Methods", method)
        .header("Access-Control-Allow-Origin", "*")
        .header("Vary", "Access-Control-Request-Method")
        .header("Vary", "Access-Control-Request-Headers")
}

/// The handler of a request, or why there is none.
fn find(request: &Request, one_x: bool) -> Result<(Handler, Call<'_>), Reply> {
    let (on, project, rest) = prefix(request.path.trim_end_matches('?'));
    let domain = [request.header("X-Domain-Name"), request.header("X-Tenant-Name")];
    let domain = domain.into_iter().find(|name| !name.is_empty());
    let tenant = match (on, domain) {
        (_, Some(domain)) => format!("{domain}/{project}"),
        _ => format!("{}/{project}", OWN_TENANT.split('/').next().unwrap_or_default()),
    };
    let v3 = on == Both;
    let fits = |route: &(&str, On, &str, Handler)| {
        let here = route.1 == on || (route.1 == Both && on == V4);
        here && !(one_x && route.3 == H::WatchHeartbeat)
    };
    let matching =
        ROUTES.iter().filter(|route| fits(route)).filter_map(|route| Some((route, parts(route.2, rest)?)));
    let matching: Vec<_> = matching.collect();
    if matching.is_empty() {
        return Err(Reply::plain_error(404, "404 page not found"));
    }
    let allowed: Vec<&str> = matching.iter().map(|(route, _)| route.0).collect();
    match matching.into_iter().find(|(route, _)| route.0 == request.method) {
        Some((route, parts)) => Ok((route.3, Call { request, tenant, parts, v3 })),
        None => Err(Reply::plain_error(405, "Method Not Allowed").header("Allow", allowed.join(", "))),
    }
}

/// Which family of paths, which project, and the rest.
fn prefix(path: &str) -> (On, &str, &str) {
    if let Some(rest) = path.strip_prefix("/registry/v3/") {
        return (Both, "default", rest);
    }
    let v4 = path.strip_prefix("/v4/").and_then(|rest| rest.split_once('/'));
    match v4.map(|(project, rest)| (project, rest.split_once('/').unwrap_or((rest, "")))) {
        Some((project, ("registry", rest))) => (V4, project, rest),
        Some((project, ("govern", rest))) => (On::Govern, project, rest),
        _ => (On::Root, "default", path.trim_start_matches('/')),
    }
}

/// The varying parts of `path` if it has this form.
fn parts(form: &str, path: &str) -> Option<Vec<String>> {
    let mut given = path.split('/');
    let mut parts = Vec::new();
    for wanted in form.split('/') {
        match (wanted, given.next()?) {
            (":", part) if !part.is_empty() => parts.push(path_decode(part)),
            (fixed, part) if fixed == part => {}
            _ => return None,
        }
    }
    given.next().is_none().then_some(parts)
}

fn body_bytes_max(handler: Handler) -> usize {
    match handler {
        H::RegisterInstance => INSTANCE_BYTES_MAX,
        H::ServiceProperties | H::InstanceProperties => PROPERTIES_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

fn version(call: &Call<'_>) -> Reply {
    let of_api = if call.request.path == "/version" { "3.0.0" } else { "4.0.0" };
    let text = format!(
        concat!(
            r#"{{"version":"0.0.1","buildTag":"Not provided","goVersion":"go1.26.8","#,
            r#""os":"linux","arch":"amd64","apiVersion":"{}"}}"#
        ),
        of_api
    );
    Reply::json(&serde_json::Map::new()).body(text)
}

/// The answer to a good handshake (RFC 6455, section 4.2.2).
fn switching(key: &str) -> super::reply::Response {
    use base64::Engine;
    use sha1::{Digest, Sha1};
    let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(accept);
    let headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", &accept)];
    super::reply::Response {
        status: 101,
        reason: "Switching Protocols",
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: Vec::new(),
    }
}

/// Which instance a path names, checked as a request of this type is.
pub(super) fn instance_key(call: &Call<'_>, request: &str) -> Result<Key, Error> {
    let [service, instance] = &call.parts[..] else { unreachable!("routes of instances have two parts") };
    rules::instance_key(request, service, instance)?;
    Ok((call.tenant.clone(), service.clone(), instance.clone()))
}
