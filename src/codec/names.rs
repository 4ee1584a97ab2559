//! The header names that a proxy cares for. A name is matched once, when its line is read.

/// A header name that somebody in mesher asks for, or [`Known::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each variant is the header of that name")]
pub enum Known {
    Other,
    Accept,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    Location,
    MaxForwards,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    RetryAfter,
    Server,
    Te,
    Traceparent,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    XCseContext,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XRequestId,
}

/// A set of names; [`Known::Other`] may be a member like any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KnownSet(u64);

impl Known {
    /// Which name this is, whatever its case. By length first, so that most names cost one comparison or none.
    pub fn of(name: &[u8]) -> Known {
        match name.len() {
            2 => one_of(name, &[(b"te", Known::Te)]),
            3 => one_of(name, &[(b"via", Known::Via)]),
            4 => one_of(name, &[(b"host", Known::Host), (b"date", Known::Date)]),
            6 => one_of(
                name,
                &[(b"accept", Known::Accept), (b"server", Known::Server), (b"expect", Known::Expect)],
            ),
            7 => one_of(name, &[(b"upgrade", Known::Upgrade), (b"trailer", Known::Trailer)]),
            8 => one_of(name, &[(b"location", Known::Location)]),
            9 => one_of(name, &[(b"forwarded", Known::Forwarded)]),
            10 => one_of(
                name,
                &[
                    (b"connection", Known::Connection),
                    (b"user-agent", Known::UserAgent),
                    (b"keep-alive", Known::KeepAlive),
                ],
            ),
            11 => one_of(name, &[(b"traceparent", Known::Traceparent), (b"retry-after", Known::RetryAfter)]),
            12 => one_of(
                name,
                &[
                    (b"content-type", Known::ContentType),
                    (b"x-request-id", Known::XRequestId),
                    (b"max-forwards", Known::MaxForwards),
                ],
            ),
            13 => one_of(
                name,
                &[(b"authorization", Known::Authorization), (b"x-cse-context", Known::XCseContext)],
            ),
            14 => one_of(
                name,
                &[(b"content-length", Known::ContentLength), (b"http2-settings", Known::Http2Settings)],
            ),
            15 => one_of(name, &[(b"x-forwarded-for", Known::XForwardedFor)]),
            16 => one_of(
                name,
                &[
                    (b"x-forwarded-host", Known::XForwardedHost),
                    (b"x-forwarded-port", Known::XForwardedPort),
                    (b"proxy-connection", Known::ProxyConnection),
                ],
            ),
            17 => one_of(
                name,
                &[
                    (b"transfer-encoding", Known::TransferEncoding),
                    (b"x-forwarded-proto", Known::XForwardedProto),
                ],
            ),
            18 => one_of(name, &[(b"proxy-authenticate", Known::ProxyAuthenticate)]),
            19 => one_of(name, &[(b"proxy-authorization", Known::ProxyAuthorization)]),
            _ => Known::Other,
        }
    }

    /// Whether the field is about this connection only and never forwarded, named by `Connection` or not (RFC 9110
    /// §7.6.1). Proxy credentials are among them: they are for this proxy and would leak to a service.
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::Http2Settings
                | Known::KeepAlive
                | Known::ProxyAuthenticate
                | Known::ProxyAuthorization
                | Known::ProxyConnection
                | Known::Te
                | Known::TransferEncoding
                | Known::Upgrade
        )
    }

    /// Whether the field is forwarded even if `Connection` names it. Framing, routing and identity are not a peer's to
    /// take away from the next hop: naming them is an attack, not an option.
    pub(super) fn is_end_to_end(self) -> bool {
        matches!(
            self,
            Known::Authorization
                | Known::ContentLength
                | Known::ContentType
                | Known::Forwarded
                | Known::Host
                | Known::Via
                | Known::XCseContext
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedPort
                | Known::XForwardedProto
        )
    }
}

impl KnownSet {
    pub(super) fn contains(self, known: Known) -> bool {
        self.0 & Self::bit(known) != 0
    }

    pub(super) fn insert(&mut self, known: Known) {
        self.0 |= Self::bit(known);
    }

    fn bit(known: Known) -> u64 {
        1u64.wrapping_shl(u32::from(known as u8))
    }
}

/// Names that look like a framing field to an origin that maps `-` to `_` (CGI and its descendants). Nobody sends them
/// in good faith.
pub(super) fn is_framing_lookalike(name: &[u8]) -> bool {
    matches!(name.len(), 14 | 17)
        && name.contains(&b'_')
        && (looks_like(name, b"content-length") || looks_like(name, b"transfer-encoding"))
}

/// Fields that must not come in a trailer section, where they are read after the decision they belong to (RFC 9110
/// §6.5.1): framing, routing, request modifiers, authentication, response control, payload processing. And what this
/// proxy vouches for itself.
pub(super) fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    const OTHERS: [&[u8]; 26] = [
        b"accept",
        b"accept-encoding",
        b"age",
        b"cache-control",
        b"content-encoding",
        b"content-location",
        b"content-range",
        b"cookie",
        b"expires",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"origin",
        b"pragma",
        b"range",
        b"referer",
        b"set-cookie",
        b"upgrade-insecure-requests",
        b"vary",
        b"warning",
        b"www-authenticate",
        b"x-http-method-override",
        b"x-original-url",
        b"x-rewrite-url",
    ];
    match Known::of(name) {
        Known::Other => {
            OTHERS.iter().any(|other| name.eq_ignore_ascii_case(other)) || is_framing_lookalike(name)
        }
        Known::Server | Known::Traceparent | Known::XRequestId => false,
        _ => true,
    }
}

/// Which of some names of one length this is. The length is known to the compiler, which compares in a step or two.
fn one_of<const N: usize>(name: &[u8], candidates: &[(&[u8; N], Known)]) -> Known {
    let Some(name) = name.first_chunk::<N>() else { return Known::Other };
    for (text, known) in candidates {
        if name.iter().zip(*text).fold(true, |same, (a, b)| same & (a.to_ascii_lowercase() == *b)) {
            return *known;
        }
    }
    Known::Other
}

fn looks_like(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len()
        && name.iter().zip(other).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Known::of(b"Host"), Known::Host);
        assert_eq!(Known::of(b"TRANSFER-ENCODING"), Known::TransferEncoding);
        assert_eq!(Known::of(b"x-cse-context"), Known::XCseContext);
        assert_eq!(Known::of(b"hosts"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let mut set = KnownSet::default();
        set.insert(Known::XRequestId);
        set.insert(Known::Other);
        assert!(set.contains(Known::XRequestId) && set.contains(Known::Other));
        assert!(!set.contains(Known::Host));
    }

    #[test]
    fn underscores_do_not_hide_a_framing_field() {
        assert!(is_framing_lookalike(b"Content_Length"));
        assert!(is_framing_lookalike(b"TRANSFER_ENCODING"));
        assert!(!is_framing_lookalike(b"Content-Length"), "that one is the field itself");
        assert!(!is_framing_lookalike(b"Content_Lengths"));
    }

    #[test]
    fn trailers_may_describe_the_body_but_not_steer_the_message() {
        for name in
            ["Content-Length", "host", "Authorization", "Set-Cookie", "X-Forwarded-For", "Content-Type"]
        {
            assert!(is_forbidden_in_trailers(name.as_bytes()), "{name}");
        }
        for name in ["X-Checksum", "Server-Timing", "grpc-status", "Digest", "ETag"] {
            assert!(!is_forbidden_in_trailers(name.as_bytes()), "{name}");
        }
    }
}
