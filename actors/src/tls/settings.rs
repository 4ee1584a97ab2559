//! The settings of one tag, read from its keys. Wrong values are in the report, with file, line and key.
//!
//! Reads no file but the configuration: what the named files hold is the business of `material`.

use std::path::PathBuf;

use rustls::CipherSuite;

use super::cipher::Ciphers;
use super::suites;
use super::tags::{Keys, Tag};
use crate::config::{Code, Config, Entry, Origin, Report};

/// How strictly a tag is TLS. The one name that does not ask for TLS by itself.
pub(super) const MODE: &str = "mode";
/// Names of settings, the last part of their keys.
pub(super) const NAMES: [&str; 10] = [
    "cipherPlugin",
    "verifyPeer",
    "cipherSuits",
    "protocol",
    "caFile",
    "certFile",
    "keyFile",
    "certPwdFile",
    "serverName",
    MODE,
];
/// Certificates of one listener. Each costs a key in memory and a look at each handshake.
const PAIRS_MAX: usize = 32;

/// What one tag is to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TagSettings {
    pub(super) tag: Tag,
    /// A listener takes plain connections, too.
    pub(super) permissive: bool,
    /// The peer must show a certificate that `ca` vouches for.
    pub(super) verify_peer: bool,
    /// Suites of TLS 1.2; those of 1.3 are always on.
    pub(super) suites: Vec<CipherSuite>,
    /// TLS 1.2 is not spoken.
    pub(super) tls13_only: bool,
    /// Read only if somebody is verified by it, as with Mesher.
    pub(super) ca: Option<KeyFile>,
    /// Own certificates, the default one first.
    pub(super) pairs: Vec<Pair>,
    /// What the private keys are encrypted with.
    pub(super) passphrase: Option<KeyFile>,
    /// Name of the plug-in that decrypts the passphrase.
    pub(super) cipher: String,
    /// The name to verify instead of the one that is called.
    pub(super) server_name: Option<String>,
}

/// A certificate and its private key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) certificate: KeyFile,
    pub(super) key: KeyFile,
}

/// A file that a key names. Equal if it is the same file, wherever the key stands.
#[derive(Debug, Clone)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// The key.
    pub(super) key: String,
    /// Where its value stands.
    pub(super) origin: Origin,
}

impl TagSettings {
    /// Reads the settings of a tag; none if nothing asks for TLS, or `mode` says not to.
    pub(super) fn read(keys: &Keys<'_>, ciphers: &Ciphers, report: &mut Report) -> Option<Self> {
        let (asking_key, asking) = keys.asks()?;
        let permissive = match mode(keys, report) {
            Mode::Disable => return None,
            Mode::Strict => false,
            Mode::Permissive => true,
        };
        let verify_peer = verify_peer(keys, report);
        let settings = Self {
            permissive,
            verify_peer,
            tls13_only: protocol(keys, report),
            suites: cipher_suites(keys, report),
            ca: files(keys, "caFile").into_iter().next().filter(|_| verify_peer),
            pairs: pairs(keys, report),
            passphrase: files(keys, "certPwdFile").into_iter().next(),
            cipher: cipher(keys, ciphers, report),
            server_name: server_name(keys, report),
            tag: keys.tag.clone(),
        };
        settings.check(&asking_key, asking, keys, report);
        Some(settings)
    }

    /// A client that is asked for nothing: it encrypts, and verifies nothing.
    pub(super) fn unverified(tag: Tag) -> Self {
        Self {
            tag,
            permissive: false,
            verify_peer: false,
            suites: suites::all(),
            tls13_only: false,
            ca: None,
            pairs: Vec::new(),
            passphrase: None,
            cipher: super::cipher::DEFAULT.to_owned(),
            server_name: None,
        }
    }

    /// All files it reads.
    pub(super) fn files(&self) -> impl Iterator<Item = &KeyFile> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        self.ca.iter().chain(pairs).chain(&self.passphrase)
    }

    /// What a single value cannot tell.
    fn check(&self, asking_key: &str, asking: &Entry, keys: &Keys<'_>, report: &mut Report) {
        let tag = self.tag.name();
        let verify = keys.find("verifyPeer");
        if self.verify_peer && self.ca.is_none() {
            let origin = verify.map(|(_, entry)| entry.origin.clone()).unwrap_or_default();
            let message = format!("`ssl.{tag}.verifyPeer` is true and `ssl.{tag}.caFile` is not set");
            report
                .error(Code::MISSING_VALUE, &origin, message)
                .help("name a PEM file with the certificates to trust; those of the system are not used");
        }
        let names_pair = keys.find("certFile").is_some() || keys.find("keyFile").is_some();
        if self.tag.is_server() && !names_pair {
            let message = format!(
                "`{asking_key}` asks for TLS on the listener {tag}, and `ssl.{tag}.certFile` and \
                 `ssl.{tag}.keyFile` are not set"
            );
            report
                .error(Code::MISSING_VALUE, &asking.origin, message)
                .help(format!("name a certificate and its private key, or set `ssl.{tag}.mode: disable`"));
        }
        let ca = keys.find("caFile").filter(|(key, _)| *key == format!("ssl.{tag}.caFile"));
        if let Some((key, entry)) = ca.filter(|_| self.tag.is_server() && !self.verify_peer) {
            let message = format!(
                "`{key}` has no effect: `ssl.{tag}.verifyPeer` is not true, so callers are not asked for a \
                 certificate"
            );
            report
                .warning(Code::NO_EFFECT, &entry.key_origin, message)
                .help(format!("set `ssl.{tag}.verifyPeer: true`, or remove it"));
        }
        if !self.tag.is_server() && !self.verify_peer {
            // A key without a tag is warned of once, not for each tag that it reaches.
            let is_global = asking_key.strip_prefix("ssl.").is_some_and(|name| NAMES.contains(&name));
            let (whom, scope) = match is_global {
                true => ("all that is called".to_owned(), "ssl".to_owned()),
                false => (tag.clone(), format!("ssl.{tag}")),
            };
            let message = format!(
                "`{asking_key}` asks for TLS with {whom}, and `{scope}.verifyPeer` is not true: the certificate \
                 that is shown is not verified"
            );
            report
                .warning(Code::UNVERIFIED, &asking.key_origin, message)
                .help(format!("set `{scope}.verifyPeer: true` and `{scope}.caFile`"));
        }
    }
}

impl PartialEq for KeyFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

enum Mode {
    Disable,
    Permissive,
    Strict,
}

/// Istio's words. A client has nothing to permit, and a mode without a tag that says so does not speak of it.
fn mode(keys: &Keys<'_>, report: &mut Report) -> Mode {
    let Some((key, entry)) = keys.find(MODE) else { return Mode::Strict };
    if keys.tag == Tag::Registry {
        // Its address says what it is.
        return Mode::Strict;
    }
    match entry.text().unwrap_or_default() {
        "disable" => Mode::Disable,
        "permissive" if matches!(keys.tag, Tag::Local | Tag::External(_)) => Mode::Permissive,
        "permissive" if key != format!("ssl.{MODE}") => {
            let message = format!("`{key}`: only a listener of traffic can be permissive");
            report.error(Code::WRONG_VALUE, &entry.origin, message).help("use strict or disable");
            Mode::Strict
        }
        // A word that is none of the three has been reported by the check of single values.
        _ => Mode::Strict,
    }
}

fn verify_peer(keys: &Keys<'_>, report: &mut Report) -> bool {
    keys.find("verifyPeer").is_some_and(|(key, _)| keys.config.boolean(&key, false, report))
}

/// Whether TLS 1.3 is the least.
fn protocol(keys: &Keys<'_>, report: &mut Report) -> bool {
    let Some((key, entry)) = keys.find("protocol") else { return false };
    match entry.text().unwrap_or_default() {
        "TLSv1.3" => true,
        old @ ("TLSv1.0" | "TLSv1.1") => {
            let message = format!("`{key}`: {old} is broken and not spoken; it is read as TLSv1.2");
            report.warning(Code::OLD_SPELLING, &entry.origin, message).help("write TLSv1.2 or TLSv1.3");
            false
        }
        _ => false,
    }
}

fn cipher_suites(keys: &Keys<'_>, report: &mut Report) -> Vec<CipherSuite> {
    let Some((key, entry)) = keys.find("cipherSuits") else { return suites::all() };
    let mut chosen = Vec::new();
    for name in entry.words() {
        match suites::by_name(&name) {
            Some(suite) if chosen.contains(&suite) => {}
            Some(suite) => chosen.push(suite),
            None => {
                let message = format!("`{key}`: no cipher suite is called `{}`", name.escape_debug());
                let known = format!("known are {}", suites::names().collect::<Vec<_>>().join(", "));
                report.error(Code::UNKNOWN_NAME, &entry.origin, message).help(known);
            }
        }
    }
    chosen
}

fn cipher(keys: &Keys<'_>, ciphers: &Ciphers, report: &mut Report) -> String {
    let Some((key, entry)) = keys.find("cipherPlugin") else { return super::cipher::DEFAULT.to_owned() };
    let name = entry.text().unwrap_or_default();
    if ciphers.find(name).is_none() {
        let message = format!("`{key}`: no cipher plug-in is called `{}`", name.escape_debug());
        let known = format!("registered are {}", ciphers.names().collect::<Vec<_>>().join(", "));
        report.error(Code::UNKNOWN_NAME, &entry.origin, message).help(known);
    }
    name.to_owned()
}

/// A service must show its own name, as with Mesher.
fn server_name(keys: &Keys<'_>, report: &mut Report) -> Option<String> {
    let (key, entry) = keys.find("serverName")?;
    if keys.tag == Tag::Registry {
        return entry.text().map(str::to_owned);
    }
    if key != "ssl.serverName" {
        let message = format!("`{key}` has no effect: a service is verified by its own name");
        report.warning(Code::NO_EFFECT, &entry.key_origin, message).help("it can be removed");
    }
    None
}

/// Certificates and keys, one of each for the other.
fn pairs(keys: &Keys<'_>, report: &mut Report) -> Vec<Pair> {
    let (certificates, private_keys) = (files(keys, "certFile"), files(keys, "keyFile"));
    let named = certificates.first().or(private_keys.first());
    if let Some(named) = named.filter(|_| certificates.len() != private_keys.len()) {
        let tag = keys.tag.name();
        let message = match (certificates.len(), private_keys.len()) {
            (_, 0) => format!("`ssl.{tag}.certFile` is set and `ssl.{tag}.keyFile` is not"),
            (0, _) => format!("`ssl.{tag}.keyFile` is set and `ssl.{tag}.certFile` is not"),
            (certificates, keys) => {
                format!("`ssl.{tag}.certFile` names {certificates} files and `ssl.{tag}.keyFile` {keys}")
            }
        };
        report
            .error(Code::CONFLICT, &named.origin, message)
            .help("each certificate needs its private key, in the same order");
    }
    if let Some(beyond) = certificates.get(PAIRS_MAX) {
        let message = format!("`{}` names more than {PAIRS_MAX} certificates", beyond.key);
        report.error(Code::WRONG_VALUE, &beyond.origin, message);
    }
    let pair = |(certificate, key)| Pair { certificate, key };
    certificates.into_iter().zip(private_keys).map(pair).take(PAIRS_MAX).collect()
}

/// Files that a key names, `certFile` and `keyFile` more than one. Relative paths begin at the home directory.
fn files(keys: &Keys<'_>, name: &str) -> Vec<KeyFile> {
    let Some((key, entry)) = keys.find(name) else { return Vec::new() };
    let home = |config: &Config, path: &str| config.home().join(path);
    let paths = match name {
        "certFile" | "keyFile" => entry.words(),
        _ => entry.text().map(str::to_owned).into_iter().collect(),
    };
    let file = |path: String| KeyFile {
        path: home(keys.config, &path),
        key: key.clone(),
        origin: entry.origin.clone(),
    };
    paths.into_iter().map(file).collect()
}
