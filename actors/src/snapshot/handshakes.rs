//! What became of TLS handshakes, counted.

use super::stats::Counter;

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TlsFailure {
    /// It was not complete in time.
    TimedOut,
    /// The connection ended or broke in the middle.
    Closed,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer presents no certificate, and one is wanted.
    NoCertificate,
    /// The peer's certificate is not accepted.
    BadCertificate,
    /// No version, cipher or protocol (ALPN) that both speak.
    Incompatible,
    /// The peer refused, by an alert.
    Refused,
    /// The peer broke the protocol.
    Protocol,
    /// As many handshakes as allowed were under way.
    Overloaded,
    /// The listener is not told to speak TLS.
    NotConfigured,
}

impl TlsFailure {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::TimedOut,
        Self::Closed,
        Self::NotTls,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Incompatible,
        Self::Refused,
        Self::Protocol,
        Self::Overloaded,
        Self::NotConfigured,
    ];

    /// Label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::Incompatible => "incompatible",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::Overloaded => "overloaded",
            Self::NotConfigured => "not_configured",
        }
    }
}

/// TLS handshakes of one side of a shard.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// Complete ones that began afresh.
    pub full: Counter,
    /// Complete ones that resumed a session.
    pub resumed: Counter,
    /// Failed ones, by their [`TlsFailure`].
    pub failed: [Counter; TlsFailure::ALL.len()],
}

impl Handshakes {
    /// Counts a handshake: whether it was a resumption, or why it failed.
    pub fn count(&self, outcome: Result<bool, TlsFailure>) {
        let counter = match outcome {
            Ok(true) => Some(&self.resumed),
            Ok(false) => Some(&self.full),
            Err(failure) => self.failed.get(failure as usize),
        };
        if let Some(counter) = counter {
            counter.add(1);
        }
    }
}
