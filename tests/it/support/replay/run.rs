//! Plays a recording against the core of the fake, the clock moved to each step.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::servicecenter::frame::Frame;
use super::super::servicecenter::{Answer, Config, Fake, Output, Request, Response, SocketId, Stop};
use super::compare::{Vars, Varying, difference};
use super::recording::{Recording, pairs, request_body};

/// How long the server had been up when a case began, seen by when its own instance expired.
const UP_BEFORE_MS: u64 = 300;
/// The same of a second node.
const OTHER_UP_BEFORE_MS: u64 = 100;
/// How far an event may be off its recorded time.
const EVENT_OFF_MS: u64 = 300;
/// How far where etcd ends a lease.
const LEASE_EVENT_OFF_MS: u64 = 2000;
/// Events so close were sent by one flush; their order means nothing.
const FLUSH_MS: u64 = 10;
/// How long the clock runs on after the last step, for events that are late but allowed.
const AFTER_MS: u64 = EVENT_OFF_MS;

/// Plays a recording; every difference found, in order.
pub(crate) fn play(recording: &Recording) -> Vec<String> {
    let mut run = Run {
        recording,
        fake: servers(recording),
        varying: Varying::of(recording),
        vars: Vars::default(),
        sockets: BTreeMap::new(),
        events: BTreeMap::new(),
        differences: Vec::new(),
    };
    for (index, step) in recording.steps.iter().enumerate() {
        run.step(index, step);
    }
    let last_ms = recording.steps.last().map_or(0, at_ms);
    run.move_clock(last_ms + AFTER_MS);
    run.compare_events();
    run.differences
}

/// The fake's configuration for what a recording says of the server.
fn config(recording: &Recording) -> Config {
    let mut config = Config::default();
    let set = &recording.server_config;
    config.instance_ttl_ms = set.get("registry.instance.ttl").and_then(Value::as_u64).map(|s| s * 1000);
    let ping = set.get("heartbeat.websocket.pingInterval").and_then(Value::as_str);
    if let Some(seconds) = ping.and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok()) {
        config.heartbeat_ping_ms = seconds * 1000;
    }
    config
}

/// The servers as they were when the case began. Where they listened only their health tells.
fn servers(recording: &Recording) -> Fake {
    let mut config = config(recording);
    let bodies = recording.steps.iter().filter_map(|step| step["response"]["body"].as_str());
    let own = bodies.filter_map(own_endpoints).find(|endpoints| !endpoints.is_empty()).unwrap_or_default();
    let mut own = own.into_iter();
    config.own_endpoint = own.next().unwrap_or(config.own_endpoint);
    let mut fake = Fake::new(config);
    for endpoint in own {
        fake.add_node(endpoint, UP_BEFORE_MS - OTHER_UP_BEFORE_MS);
    }
    fake
}

/// Endpoints in a body that lists instances of service-center.
fn own_endpoints(body: &str) -> Option<Vec<String>> {
    let body: Value = serde_json::from_str(body).ok()?;
    let own = body["instances"].as_array()?.iter().filter(|instance| instance["hostName"] == "vm");
    let mut endpoints: Vec<String> =
        own.filter_map(|i| i["endpoints"][0].as_str().map(str::to_owned)).collect();
    endpoints.sort();
    Some(endpoints)
}

struct Run<'a> {
    recording: &'a Recording,
    fake: Fake,
    varying: Varying,
    vars: Vars,
    /// Connections that were upgraded, by the name the recording gives them.
    sockets: BTreeMap<String, SocketId>,
    /// What came on each, with its time.
    events: BTreeMap<String, Vec<(u64, Value)>>,
    differences: Vec<String>,
}

impl Run<'_> {
    fn step(&mut self, index: usize, step: &Value) {
        let now_ms = at_ms(step);
        self.move_clock(now_ms);
        if step["request"].is_object() {
            self.exchange(index, step, now_ms);
        } else if step["ws"].is_object() {
            self.socket_event(index, &step["ws"], now_ms);
        } else if let Some(remark) = step["remark"].as_str() {
            self.remark(remark, now_ms);
        }
        self.collect(now_ms);
    }

    fn exchange(&mut self, index: usize, step: &Value, now_ms: u64) {
        let recorded = &step["response"];
        let answer = self.fake.handle(node(step), &self.request(&step["request"]), now_ms);
        let pointer = format!("/steps/{index}/response");
        let refused = recorded["error"].is_string();
        let actual = match answer {
            Answer::Response(response) if !refused => response_json(&response),
            Answer::Nothing if refused => return,
            other => return self.differ(format!("{pointer}: recorded {recorded}, now {other:?}")),
        };
        self.bind_vars(index, &json!({ "response": actual }));
        self.compare(&pointer, &only(recorded, &actual), &actual);
    }

    fn request(&self, recorded: &Value) -> Request {
        let text = |name: &str| self.vars.apply(recorded[name].as_str().unwrap_or_default());
        let headers = pairs(
            recorded.get("request_headers").or_else(|| recorded.get("headers")).unwrap_or(&Value::Null),
        );
        Request {
            method: text("method"),
            path: text("path"),
            query: text("query"),
            headers: headers.into_iter().map(|(name, value)| (name, self.vars.apply(&value))).collect(),
            body: self.vars.apply(&request_body(recorded)).into_bytes(),
        }
    }

    /// Takes the values that this step is the first to show.
    fn bind_vars(&mut self, index: usize, actual: &Value) {
        let start = format!("/steps/{index}/");
        let recorded = &self.recording.steps[index];
        for var in self.recording.vars.iter().filter(|var| var.from.starts_with(&start)) {
            let bound = match self.varying.text_at(&start, recorded, actual, &var.from, &self.vars) {
                Some(actual) => self.vars.bind(var, &actual),
                None => Err(format!("{} is not at {}", var.name, var.from)),
            };
            if let Err(problem) = bound {
                self.differ(problem);
            }
        }
    }

    fn socket_event(&mut self, index: usize, event: &Value, now_ms: u64) {
        let conn = event["conn"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("open") => self.open(index, &conn, event, now_ms),
            Some("send") => match self.sockets.get(&conn) {
                Some(id) => self.fake.receive(*id, &frame(event), now_ms),
                None => self.differ(format!("/steps/{index}: {conn} is not open")),
            },
            Some("client-abort") => {
                if let Some(id) = self.sockets.get(&conn) {
                    self.fake.hang_up(*id, now_ms);
                }
            }
            // What comes from the server is compared at the end, connection by connection.
            Some("recv" | "eof") => {}
            other => self.differ(format!("/steps/{index}: event {other:?} is not understood")),
        }
    }

    fn open(&mut self, index: usize, conn: &str, event: &Value, now_ms: u64) {
        let answer = self.fake.handle(node(event), &self.request(event), now_ms);
        let response = match answer {
            Answer::Response(response) => response,
            Answer::Upgraded(id, response) => {
                self.sockets.insert(conn.to_owned(), id);
                response
            }
            Answer::Nothing => return self.differ(format!("/steps/{index}: {conn} was refused")),
        };
        let mut actual = response_json(&response);
        actual["status_line"] = json!(format!("HTTP/1.1 {} {}", response.status, response.reason));
        let recorded: Vec<&str> =
            ["status_line", "headers", "body"].into_iter().filter(|n| !event[*n].is_null()).collect();
        for name in recorded {
            self.compare(&format!("/steps/{index}/ws/{name}"), &event[name], &actual[name].clone());
        }
    }

    fn remark(&mut self, remark: &str, now_ms: u64) {
        match remark {
            "the server is stopped (SIGTERM), data kept" => self.fake.stop(0, Stop::Orderly, now_ms),
            "the server is stopped (SIGKILL), data kept" | "node A is killed" => {
                self.fake.stop(0, Stop::Killed, now_ms);
            }
            "the server is stopped (SIGKILL) and its data removed" => {
                self.fake.stop(0, Stop::Killed, now_ms);
                self.fake.lose_data();
            }
            "the server answers again" | "node A answers again" => self.fake.start(0, now_ms),
            told if told.contains("is frozen") => {
                self.differ(format!("what {told:?} did is not understood"));
            }
            _ => {}
        }
    }

    /// Lets everything happen that is due, each at its time.
    fn move_clock(&mut self, to_ms: u64) {
        while let Some(due_ms) = self.fake.due_ms().filter(|due_ms| *due_ms <= to_ms) {
            self.fake.advance(due_ms);
            self.collect(due_ms);
        }
        self.fake.advance(to_ms);
    }

    /// Takes what the connections are to send.
    fn collect(&mut self, now_ms: u64) {
        let mut ended = Vec::new();
        for (conn, id) in &self.sockets {
            for output in self.fake.drain(*id) {
                let is_end = output == Output::End;
                self.events.entry(conn.clone()).or_default().push((now_ms, output_json(&output)));
                if is_end {
                    ended.push(conn.clone());
                }
            }
        }
        for conn in ended {
            self.sockets.remove(&conn);
        }
    }

    fn compare_events(&mut self) {
        let mut recorded: BTreeMap<String, Vec<Expected>> = BTreeMap::new();
        for (index, step) in self.recording.steps.iter().enumerate() {
            let event = &step["ws"];
            if matches!(event["event"].as_str(), Some("recv" | "eof")) {
                let conn = event["conn"].as_str().unwrap_or_default().to_owned();
                let expected = Expected { index, at_ms: at_ms(step), event: event.clone() };
                recorded.entry(conn).or_default().push(expected);
            }
        }
        let mut actual = std::mem::take(&mut self.events);
        for (conn, expected) in recorded {
            let actual = actual.remove(&conn).unwrap_or_default();
            self.compare_connection(&conn, &expected, actual);
        }
        for (conn, events) in actual {
            self.differ(format!("{conn}: nothing recorded, now {events:?}"));
        }
    }

    fn compare_connection(&mut self, conn: &str, expected: &[Expected], mut actual: Vec<(u64, Value)>) {
        for flush in expected.chunk_by(|first, second| second.at_ms - first.at_ms <= FLUSH_MS) {
            let size = flush.len().min(actual.len());
            let mut came: Vec<(u64, Value)> = actual.drain(..size).collect();
            // Events with fewer varying places choose first, since they are harder to please.
            let mut flush: Vec<&Expected> = flush.iter().collect();
            flush.sort_by_key(|event| self.varying.count_below(&format!("/steps/{}/", event.index)));
            for event in flush {
                match came.iter().position(|came| self.event_difference(event, came).is_none()) {
                    Some(same) => drop(came.remove(same)),
                    None => {
                        let came: Vec<_> =
                            came.iter().map(|came| self.event_difference(event, came)).collect();
                        self.differ(format!(
                            "{conn}, step {}: {} ms not among {came:?}",
                            event.index, event.at_ms
                        ));
                    }
                }
            }
        }
        for (at_ms, event) in actual {
            self.differ(format!("{conn}: nothing more recorded, but at {at_ms} ms came {event}"));
        }
    }

    fn event_difference(&self, expected: &Expected, (at_ms, event): &(u64, Value)) -> Option<String> {
        let recorded = only(&expected.event, event);
        let pointer = format!("/steps/{}/ws", expected.index);
        let ends_lease =
            expected.event["data"].as_str().is_some_and(|data| data.contains(r#""action":"DELETE""#));
        let allowed = if ends_lease { LEASE_EVENT_OFF_MS } else { EVENT_OFF_MS };
        let off = at_ms.abs_diff(expected.at_ms);
        difference(&pointer, &recorded, event, &self.vars, &self.varying)
            .or_else(|| (off > allowed).then(|| format!("{pointer}: {off} ms off its time")))
    }

    fn compare(&mut self, pointer: &str, recorded: &Value, actual: &Value) {
        if let Some(difference) = difference(pointer, recorded, actual, &self.vars, &self.varying) {
            self.differ(difference);
        }
    }

    fn differ(&mut self, difference: String) {
        self.differences.push(format!("{}: {difference}", self.recording.case));
    }
}

/// A recorded event of the server.
struct Expected {
    index: usize,
    at_ms: u64,
    event: Value,
}

/// When a step happened, on the clock of the fake.
fn at_ms(step: &Value) -> u64 {
    UP_BEFORE_MS + step["at_ms"].as_u64().expect("a step has a time")
}

/// Which node a step or an event concerns: 0 unless it says B.
fn node(step: &Value) -> usize {
    let is_b = step["node"] == "B" || step["conn"].as_str().is_some_and(|conn| conn.ends_with("-B"));
    usize::from(is_b)
}

/// The recorded object, less what the recorder noted beside the answer.
fn only(recorded: &Value, actual: &Value) -> Value {
    const NOTED: [&str; 4] = ["conn", "how", "error", "body_base64"];
    let object = recorded.as_object().cloned().unwrap_or_default();
    let kept = object.into_iter().filter(|(name, value)| {
        !NOTED.contains(&name.as_str()) && (!value.is_null() || actual.get(name).is_some())
    });
    Value::Object(kept.collect())
}

fn response_json(response: &Response) -> Value {
    let headers: Vec<Value> = response.headers.iter().map(|(name, value)| json!([name, value])).collect();
    let body = String::from_utf8_lossy(&response.body);
    json!({ "status": response.status, "reason": response.reason, "headers": headers, "body": body })
}

fn output_json(output: &Output) -> Value {
    let Output::Frame(frame) = output else { return json!({ "event": "eof" }) };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (kind, data) = match frame {
        Frame::Close(Some((code, reason))) => {
            return json!({ "event": "recv", "type": "close", "code": code, "reason": reason });
        }
        Frame::Close(None) => ("close", String::new()),
        Frame::Text(data) => ("text", data.clone()),
        Frame::Binary(data) => ("binary", text(data)),
        Frame::Ping(data) => ("ping", text(data)),
        Frame::Pong(data) => ("pong", text(data)),
    };
    json!({ "event": "recv", "type": kind, "data": data })
}

/// The frame that was sent to the server.
fn frame(event: &Value) -> Frame {
    let data = event["data"].as_str().unwrap_or_default();
    match event["type"].as_str() {
        Some("ping") => Frame::Ping(data.into()),
        Some("pong") => Frame::Pong(data.into()),
        Some("close") => Frame::Close(event["code"].as_u64().map(|code| {
            let reason = event["reason"].as_str().unwrap_or_default().to_owned();
            (u16::try_from(code).expect("a close code"), reason)
        })),
        _ => Frame::Text(data.to_owned()),
    }
}
