//! The one failure vocabulary: every reply that mesher makes up itself has one of these causes.
//!
//! One enum drives the HTTP status, the gRPC status, the `x-mesher-error` header, the log flag, the metric label
//! and the documentation. Codes are those of Envoy's response flags wherever one fits, so that dashboards port.

/// Why mesher answered instead of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Failure {
    /// No rule or local port says where the request goes.
    NoRoute,
    /// The registry does not know the service.
    UnknownService,
    /// The service is known, none of its instances can be called.
    NoHealthyInstance,
    /// No connection to any instance could be made.
    ConnectFailed,
    /// The upstream closed a connection before its answer began.
    UpstreamClosed,
    /// The upstream reset the exchange after its answer began.
    UpstreamReset,
    /// The upstream's response head did not come in time.
    UpstreamTimeout,
    /// What the upstream sent is not HTTP.
    UpstreamProtocolError,
    /// A bound of this mesher (connections, requests, lookups) is reached.
    Overloaded,
    /// The client went away before the answer was complete. Seen in logs and metrics only.
    ClientGone,
    /// What the client sent is not HTTP, or is ambiguous.
    ClientProtocolError,
    /// The client was too slow to send its request.
    ClientTimeout,
    /// This mesher is shutting down.
    Draining,
}

/// What a [`Failure`] looks like on the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Face {
    /// Short code, Envoy's where it has one.
    pub flag: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// HTTP status unless the cause carries a more precise one (a 431 for [`Failure::ClientProtocolError`], say).
    pub status: u16,
    /// gRPC status.
    pub grpc: u8,
}

impl Failure {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 13] = [
        Self::NoRoute,
        Self::UnknownService,
        Self::NoHealthyInstance,
        Self::ConnectFailed,
        Self::UpstreamClosed,
        Self::UpstreamReset,
        Self::UpstreamTimeout,
        Self::UpstreamProtocolError,
        Self::Overloaded,
        Self::ClientGone,
        Self::ClientProtocolError,
        Self::ClientTimeout,
        Self::Draining,
    ];

    /// How it shows in replies, logs and metrics.
    #[must_use]
    pub const fn face(self) -> Face {
        const fn face(flag: &'static str, name: &'static str, status: u16, grpc: u8) -> Face {
            Face { flag, name, status, grpc }
        }
        match self {
            Self::NoRoute => face("NR", "NoRoute", 404, 12),
            Self::UnknownService => face("NC", "UnknownService", 503, 14),
            Self::NoHealthyInstance => face("UH", "NoHealthyInstance", 503, 14),
            Self::ConnectFailed => face("UF", "ConnectFailed", 503, 14),
            Self::UpstreamClosed => face("UC", "UpstreamClosed", 503, 14),
            Self::UpstreamReset => face("UR", "UpstreamReset", 502, 14),
            Self::UpstreamTimeout => face("UT", "UpstreamTimeout", 504, 4),
            Self::UpstreamProtocolError => face("UPE", "UpstreamProtocolError", 502, 13),
            Self::Overloaded => face("OM", "Overloaded", 503, 8),
            Self::ClientGone => face("DC", "ClientGone", 499, 1),
            Self::ClientProtocolError => face("DPE", "ClientProtocolError", 400, 3),
            Self::ClientTimeout => face("DT", "ClientTimeout", 408, 4),
            Self::Draining => face("LR", "Draining", 503, 14),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_failure_once_in_discriminant_order() {
        for (i, failure) in Failure::ALL.iter().enumerate() {
            assert_eq!(*failure as usize, i);
        }
    }

    #[test]
    fn flags_and_names_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for failure in Failure::ALL {
            assert!(seen.insert(failure.face().flag) && seen.insert(failure.face().name));
        }
    }
}
