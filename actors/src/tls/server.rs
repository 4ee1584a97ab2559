//! What a listener presents, as a configuration of rustls.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ServerSessionMemoryCache;

use super::credentials::Credentials;
use super::settings::TagSettings;
use super::sni::ByName;
use super::suites;
use super::tags::Tag;
use super::verify::CallerVerifier;

/// Protocols offered by listeners of traffic, in order of preference. A caller that offers others only is refused.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// What the server of the admin speaks.
const ADMIN_ALPN: [&[u8]; 1] = [b"http/1.1"];
/// Sessions kept for callers of TLS 1.2 that take no ticket, some 200 bytes each. The oldest gives way. All others
/// keep their own session, in a ticket: its key changes every six hours, and it is good for twelve.
const SESSIONS_MAX: usize = 1024;

/// The configuration of a listener. Early data is off: it can be sent twice by others.
///
/// # Errors
/// Settings that rustls does not take together.
pub(super) fn config(settings: &TagSettings, credentials: Credentials) -> Result<ServerConfig, String> {
    let provider = suites::provider(&settings.suites);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(suites::versions(settings.tls13_only))
        .map_err(|why| why.to_string())?;
    let builder = match credentials.trust {
        Some(trust) => {
            let verifier = CallerVerifier::try_new(trust, &provider, settings.tag.name());
            builder.with_client_cert_verifier(Arc::new(verifier.map_err(|why| why.to_string())?))
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(credentials.own)));
    let protocols = if settings.tag == Tag::Admin { &ADMIN_ALPN[..] } else { &ALPN };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = Ticketer::new().map_err(|why| why.to_string())?;
    Ok(config)
}
