//! Field blocks of HPACK (RFC 7541) without an encoder's work: the fields are known beforehand. Pure.
//!
//! As a real client's or server's, a field that is the same each time is sent whole once on a connection and as one
//! byte from then on. What real ones do not put into the table, paths and lengths of GET, is sent as text each time.

use std::sync::Arc;

/// A field that will be sent.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    name: &'static str,
    value: String,
    /// It goes into the table when it is sent first.
    is_kept: bool,
}

impl Field {
    /// A field that is the same each time.
    pub(crate) fn kept(name: &'static str, value: &str) -> Self {
        Self { name, value: value.to_owned(), is_kept: true }
    }

    /// A field that a real peer would not keep.
    pub(crate) fn passing(name: &'static str, value: &str) -> Self {
        Self { name, value: value.to_owned(), is_kept: false }
    }
}

/// Pairs of the static table that are of use here (RFC 7541 appendix A).
const STATIC_PAIRS: [(&str, &str, u8); 4] =
    [(":method", "GET", 2), (":method", "POST", 3), (":scheme", "http", 6), (":status", "200", 8)];

/// Names of the static table that are of use here.
const STATIC_NAMES: [(&str, u8); 6] = [
    (":authority", 1),
    (":path", 4),
    ("content-length", 28),
    ("content-type", 31),
    ("server", 54),
    ("user-agent", 58),
];

/// Entries of the static table; those of the dynamic table count from here, the newest first.
const STATIC_ENTRIES: usize = 61;

/// `:status: 200` as the static table has it.
pub(crate) const STATUS_200: u8 = 0x88;

/// The longest string whose length is one byte (RFC 7541 section 5.1).
const STRING_BYTES_MAX: usize = 126;

/// A connection's sending side: which of its fields are in the table. They are few and short: no entry ever leaves it.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    fields: Arc<[Field]>,
    /// Places in `fields` of the table's entries, the oldest first.
    entries: Vec<usize>,
}

impl Encoder {
    /// For a connection on which nothing but these fields is sent.
    pub(crate) fn new(fields: Arc<[Field]>) -> Self {
        let entries = Vec::with_capacity(fields.len());
        Self { fields, entries }
    }

    /// Appends the block of these fields, by their places.
    pub(crate) fn block(&mut self, out: &mut Vec<u8>, places: impl IntoIterator<Item = usize>) {
        for place in places {
            let field = &self.fields[place];
            if let Some((.., index)) =
                STATIC_PAIRS.iter().find(|(name, value, _)| *name == field.name && *value == field.value)
            {
                out.push(0x80 | index);
            } else if let Some(age) = self.entries.iter().rev().position(|entry| *entry == place) {
                out.push(0x80 | (STATIC_ENTRIES + 1 + age) as u8);
            } else {
                literal(out, field);
                self.entries.extend(field.is_kept.then_some(place));
            }
        }
    }
}

/// A literal, with or without indexing (RFC 7541 sections 6.2.1 and 6.2.2).
fn literal(out: &mut Vec<u8>, field: &Field) {
    let (form, index_max) = if field.is_kept { (0x40, 62) } else { (0x00, 14) };
    match STATIC_NAMES.iter().find(|(name, _)| *name == field.name).map(|(_, index)| *index) {
        Some(index) if index <= index_max => out.push(form | index),
        // The index goes on in a second byte (RFC 7541 section 5.1).
        Some(index) => out.extend_from_slice(&[form | (index_max + 1), index - index_max - 1]),
        None => {
            out.push(form);
            string(out, field.name);
        }
    }
    string(out, &field.value);
}

fn string(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= STRING_BYTES_MAX, "{text}");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// The block begins with `:status: 200`, maybe behind changes of the table's size (RFC 7541 section 6.3), as every
/// proxy here sends it.
pub(crate) fn begins_with_200(block: &[u8]) -> bool {
    let mut rest = block;
    while let [first @ 0x20..=0x3f, behind @ ..] = rest {
        rest = behind;
        if first & 0x1f == 0x1f {
            let more = rest.iter().take_while(|byte| *byte & 0x80 != 0).count();
            rest = rest.get(more + 1..).unwrap_or_default();
        }
    }
    rest.first() == Some(&STATUS_200)
}
