//! The `Connection` field: what the peer wants of this connection, and which other fields are only for it (RFC 9110
//! §7.6.1).

use super::bytes;
use super::head::Head;
use super::limits::CONNECTION_OPTIONS_MAX;
use super::names::Known;
use super::reject::Reject;

/// Options of all `Connection` lines together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Names a field that is not hop-by-hop by itself.
    pub(super) names_fields: bool,
}

impl Options {
    /// Reads the options and marks the lines that they name, but for those that no peer may take away
    /// ([`Known::is_end_to_end`]).
    pub(super) fn read(head: &mut Head) -> Result<Options, Reject> {
        let mut options = Options::default();
        let mut count = 0usize;
        for (value, at) in head.values(Known::Connection) {
            for option in bytes::list(value).filter(|option| !option.is_empty()) {
                count = count.saturating_add(1);
                let known = Known::of(option);
                // A name that is known is a token, too.
                let is_token = known != Known::Other || bytes::is_token_text(option);
                if !is_token || count > CONNECTION_OPTIONS_MAX {
                    return Err(Reject::bad("malformed or overlong connection options", at));
                }
                options.add(option, known);
            }
        }
        if options.names_fields {
            mark(head);
        }
        Ok(options)
    }

    fn add(&mut self, option: &[u8], known: Known) {
        match known {
            Known::KeepAlive => self.keep_alive = true,
            Known::Upgrade => self.upgrade = true,
            Known::Other if option.eq_ignore_ascii_case(b"close") => self.close = true,
            known if known.is_hop_by_hop() || known.is_end_to_end() => {}
            _ => self.names_fields = true,
        }
    }
}

fn mark(head: &mut Head) {
    let (bytes, lines) = head.lines_mut();
    for i in 0..lines.len() {
        let named = match lines.get(i) {
            Some(line) if !line.hop_by_hop && !line.known.is_end_to_end() => {
                let name = line.name.of(bytes);
                let mut connection = lines.iter().filter(|line| line.known == Known::Connection);
                connection.any(|line| {
                    bytes::list(line.value.of(bytes)).any(|option| option.eq_ignore_ascii_case(name))
                })
            }
            _ => false,
        };
        if named && let Some(line) = lines.get_mut(i) {
            line.hop_by_hop = true;
        }
    }
}
