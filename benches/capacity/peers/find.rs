//! Which proxies there are on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::peer::{Kind, Peer};
use crate::args::Args;

/// The proxies to compare, and a line about each that is missing.
///
/// # Errors
/// A proxy that `--peers` names and that is unknown or not installed; a `--variant` that cannot be read.
pub(crate) fn find(args: &Args) -> Result<(Vec<Peer>, Vec<String>), String> {
    let candidates = candidates(args)?;
    let known = |wanted: &str| candidates.iter().any(|candidate| candidate.name == wanted);
    if let Some(unknown) = args.peers.iter().find(|wanted| !known(wanted)) {
        let names: Vec<_> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        return Err(format!("no proxy `{unknown}`; there are {}", names.join(", ")));
    }
    let order = |candidate: &Peer| args.peers.iter().position(|wanted| *wanted == candidate.name);
    let mut wanted: Vec<Peer> = candidates;
    if !args.peers.is_empty() {
        wanted.retain(|candidate| order(candidate).is_some());
        wanted.sort_by_key(|candidate| order(candidate));
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for peer in wanted {
        match version(&peer) {
            Ok(version) => found.push(Peer { version, ..peer }),
            Err(error) if args.peers.is_empty() && !matches!(peer.kind, Kind::Mesher) => missing.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok((found, missing))
}

fn candidates(args: &Args) -> Result<Vec<Peer>, String> {
    let peer = |name: &str, kind, program: &Path, settings| Peer {
        name: name.to_owned(),
        version: String::new(),
        kind,
        program: program.to_owned(),
        settings,
    };
    let own = args.mesher.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mesher")));
    let none = String::new;
    let mut all = vec![
        peer("direct", Kind::Direct, Path::new(""), none()),
        peer("mesher", Kind::Mesher, &own, none()),
        peer("haproxy", Kind::Haproxy, &args.haproxy, none()),
        peer("nginx", Kind::Nginx, &args.nginx, none()),
        peer("envoy", Kind::Envoy, &args.envoy, none()),
    ];
    for (index, variant) in args.variant.iter().enumerate() {
        let (name, settings) = variant_of(variant)?;
        if all.iter().any(|other| other.name == name) {
            return Err(format!("--variant {variant}: the name `{name}` is taken"));
        }
        all.insert(2 + index, peer(name, Kind::Mesher, &own, settings));
    }
    Ok(all)
}

/// `NAME=KEY:VALUE,...` as a name and lines of YAML.
fn variant_of(text: &str) -> Result<(&str, String), String> {
    let wrong = || format!("--variant {text}: NAME=KEY:VALUE,... is needed");
    let (name, pairs) = text.split_once('=').ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("--variant {text}: a name has letters, digits and `-`"));
    }
    let lines: Result<String, String> = pairs
        .split(',')
        .map(|pair| pair.split_once(':').map(|(key, value)| format!("{key}: {value}\n")).ok_or_else(wrong))
        .collect();
    Ok((name, lines?))
}

fn version(peer: &Peer) -> Result<String, String> {
    let argument = match peer.kind {
        Kind::Direct => return Ok("no proxy".to_owned()),
        Kind::Mesher | Kind::Envoy => "--version",
        Kind::Haproxy | Kind::Nginx => "-v",
    };
    let output = Command::new(&peer.program)
        .arg(argument)
        .output()
        .map_err(|error| format!("{}: {}: {error}", peer.name, peer.program.display()))?;
    // nginx prints it on stderr.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()));
    let line = line.filter(|_| output.status.success());
    // `nginx version: nginx/1.22.1`, `HAProxy version 2.6.12 ...`, `/usr/bin/envoy  version: ...`
    let version = line
        .map(|line| line.split_once("version").map_or(line, |(_, rest)| rest.trim_start_matches([':', ' '])));
    version
        .map(str::to_owned)
        .ok_or_else(|| format!("{}: `{} {argument}` tells no version", peer.name, peer.program.display()))
}
