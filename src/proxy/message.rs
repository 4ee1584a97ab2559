//! Request and response heads as HTTP/2 has them: judged, and made ready for the next hop. Pure.
//!
//! The same head may go on as HTTP/2 or as text, so what could not stand in a text head is refused here, whatever the
//! next hop speaks (RFC 9113 section 8.2 and 8.3). The fields are changed in place: nothing is copied that stays as it is.

use std::net::IpAddr;

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri};

use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::stats::Direction;

use crate::codec::{Authority, Known, Limits, Target, grpc, judge_field, judge_method};
use crate::handler::Reply;
use crate::handler::context::SourceContext;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_CSE_CONTEXT: HeaderName = HeaderName::from_static("x-cse-context");

/// What one look over the fields of a request has found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traits {
    /// It is a call of gRPC.
    pub(super) is_grpc: bool,
    /// How many hops it may still take, if it says so (RFC 9110 section 7.6.2).
    pub(super) hops_left: Option<u64>,
    /// Its answer is wanted in JSON, if it is one of ours.
    pub(super) wants_json: bool,
    has_host: bool,
    has_forwarded_for: bool,
    has_forwarded_host: bool,
    has_forwarded_port: bool,
    has_forwarded_proto: bool,
    has_context: bool,
    /// Fields that concern the hop to mesher only.
    has_hop_by_hop: bool,
}

/// What mesher adds to a request.
#[derive(Debug)]
pub(super) struct Marks<'a> {
    /// Which way it goes.
    pub(super) direction: Direction,
    /// Address of the peer it came from, without port.
    pub(super) peer: &'a HeaderValue,
    /// `http` or `https`: how it came.
    pub(super) scheme: &'static str,
    /// Port that the caller named, for the provider's mesher.
    pub(super) port: Option<u16>,
    /// The service that mesher stands beside.
    pub(super) source: &'a SourceContext,
    /// The same as the whole value of a field.
    pub(super) source_alone: &'a HeaderValue,
}

/// An address as the value of a field.
pub(super) fn address(ip: IpAddr) -> HeaderValue {
    // Digits, dots and colons are always one.
    HeaderValue::from_str(&ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Judges a request head, and moves a `Host` that stands for `:authority` there. `has_body`: the stream did not end with it.
///
/// # Errors
/// The reply to give: 400, 414, 417 or 431.
pub(super) fn judge(parts: &mut Parts, limits: &Limits, has_body: bool) -> Result<Traits, Reply> {
    if parts.headers.len() > limits.headers {
        return Err(refusal(431, "head has too many header fields"));
    }
    judge_method(parts.method.as_str().as_bytes()).map_err(|why| refusal(400, why))?;
    let traits = look(&parts.headers, &parts.method)?;
    if traits.has_host {
        settle_host(parts)?;
    }
    if let Some(authority) = parts.uri.authority() {
        Authority::parse(authority.as_str().as_bytes()).map_err(|why| refusal(400, why))?;
    }
    if parts.method == Method::CONNECT {
        return Ok(traits);
    }
    let path = parts.uri.path_and_query().map_or("", uri::PathAndQuery::as_str);
    if path.len() > limits.request_line {
        return Err(refusal(414, "path is too long"));
    }
    Target::of_path(parts.method.as_str().as_bytes(), path.as_bytes()).map_err(|why| refusal(400, why))?;
    if has_body && parts.method == Method::TRACE {
        return Err(refusal(400, "body with a method that has none"));
    }
    Ok(traits)
}

/// One look over all fields: each is judged, and those that concern a proxy are noted.
fn look(fields: &HeaderMap, method: &Method) -> Result<Traits, Reply> {
    let mut traits = Traits::default();
    let (mut has_length, mut has_type) = (false, false);
    for (name, value) in fields {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        judge_field(name, value).map_err(|why| refusal(400, why))?;
        match Known::of(name) {
            Known::Other => {}
            Known::ContentLength => {
                if std::mem::replace(&mut has_length, true) {
                    return Err(refusal(400, "more than one content-length"));
                }
            }
            Known::ContentType => {
                if std::mem::replace(&mut has_type, true) {
                    return Err(refusal(400, "more than one content-type"));
                }
                traits.is_grpc = grpc::is_grpc(value);
            }
            Known::Expect if !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(refusal(417, "expectation other than 100-continue"));
            }
            Known::MaxForwards if matches!(*method, Method::TRACE | Method::OPTIONS) => {
                traits.hops_left = number(value);
            }
            Known::Accept => traits.wants_json |= super::reply::accepts_json(value),
            Known::Host => traits.has_host = true,
            Known::XForwardedFor => traits.has_forwarded_for = true,
            Known::XForwardedHost => traits.has_forwarded_host = true,
            Known::XForwardedPort => traits.has_forwarded_port = true,
            Known::XForwardedProto => traits.has_forwarded_proto = true,
            Known::XCseContext => traits.has_context = true,
            Known::Te => {} // `trailers`, or the stream was refused
            known => traits.has_hop_by_hop |= known.is_hop_by_hop(),
        }
    }
    Ok(traits)
}

fn refusal(status: u16, why: &'static str) -> Reply {
    Reply::with_status(Failure::ClientProtocolError, status, why)
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// RFC 9113 section 8.3.1: `Host` says the same as `:authority`, or stands for it.
fn settle_host(parts: &mut Parts) -> Result<(), Reply> {
    let mut values = parts.headers.get_all(header::HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(host), None) => host.as_bytes(),
        _ => return Err(refusal(400, "more than one host header")),
    };
    match parts.uri.authority() {
        Some(authority) if authority.as_str().as_bytes().eq_ignore_ascii_case(host) => {}
        Some(_) => return Err(refusal(400, "host differs from :authority")),
        None => {
            Authority::parse(host).map_err(|why| refusal(400, why))?;
            parts.uri = with_authority(&parts.uri, host).ok_or_else(|| refusal(400, "malformed host"))?;
        }
    }
    parts.headers.remove(header::HOST);
    Ok(())
}

fn with_authority(old: &Uri, authority: &[u8]) -> Option<Uri> {
    let mut parts = old.clone().into_parts();
    parts.authority = Some(uri::Authority::try_from(authority).ok()?);
    parts.scheme.get_or_insert(Scheme::HTTP);
    // A path that is but a fragment, which is not sent, counts as none.
    parts.path_and_query.get_or_insert(uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

/// Gives a request that names no host one, which a request upstream must have.
pub(super) fn name_host(parts: &mut Parts, host: &str) {
    if parts.uri.authority().is_none()
        && let Some(named) = with_authority(&parts.uri, host.as_bytes())
    {
        parts.uri = named;
    }
}

/// Says in a request how the next hop comes, which some servers compare (RFC 9113 section 8.3.1).
pub(super) fn set_scheme(parts: &mut Parts, is_tls: bool) {
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    if parts.uri.scheme().is_some_and(|old| *old != scheme) {
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(scheme);
        // It had a scheme before: another one does not make it less of an address.
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
    }
}

/// Port of the local service that a request from outside names.
pub(super) fn forwarded_port(fields: &HeaderMap, traits: Traits) -> Option<&[u8]> {
    if traits.has_forwarded_port { fields.get(&X_FORWARDED_PORT).map(HeaderValue::as_bytes) } else { None }
}

/// Makes a judged head ready for the next hop: what concerns this hop only goes, what mesher tells is added.
pub(super) fn prepare(parts: &mut Parts, traits: Traits, marks: &Marks<'_>) {
    let fields = &mut parts.headers;
    if traits.has_hop_by_hop {
        remove_hop_by_hop(fields);
    }
    if let Some(left) = traits.hops_left {
        fields.insert(header::MAX_FORWARDS, left.saturating_sub(1).into());
    }
    if traits.has_forwarded_for {
        extend_forwarded_for(fields, marks.peer);
    } else {
        fields.insert(&X_FORWARDED_FOR, marks.peer.clone());
    }
    if !traits.has_forwarded_host
        && let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        fields.insert(&X_FORWARDED_HOST, host);
    }
    if !traits.has_forwarded_proto {
        fields.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(marks.scheme));
    }
    if marks.direction == Direction::Outgoing {
        if let Some(port) = marks.port {
            fields.insert(&X_FORWARDED_PORT, port.into());
        }
        let context = if traits.has_context {
            let existing = fields.get(&X_CSE_CONTEXT).map(HeaderValue::as_bytes);
            HeaderValue::from_bytes(&marks.source.merge(existing)).ok()
        } else {
            None
        };
        fields.insert(&X_CSE_CONTEXT, context.unwrap_or_else(|| marks.source_alone.clone()));
    }
}

fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let is_ours = |name: &&HeaderName| {
        let known = Known::of(name.as_str().as_bytes());
        known.is_hop_by_hop() && known != Known::Te
    };
    let names: Vec<_> = fields.keys().filter(is_ours).cloned().collect();
    for name in names {
        fields.remove(name);
    }
}

/// One field with all addresses, the peer's last (the order in which proxies were passed).
fn extend_forwarded_for(fields: &mut HeaderMap, peer: &HeaderValue) {
    let mut all = Vec::new();
    for value in fields.get_all(&X_FORWARDED_FOR) {
        if !value.is_empty() {
            all.extend_from_slice(value.as_bytes());
            all.extend_from_slice(b", ");
        }
    }
    all.extend_from_slice(peer.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&all) {
        fields.insert(&X_FORWARDED_FOR, value);
    }
}

/// Whether an answer of this status has no body whatever it says (RFC 9110 section 6.4.1).
pub(super) fn is_bodyless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
