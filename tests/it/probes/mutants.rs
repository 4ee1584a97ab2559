//! Requests that are nearly sound: seeds with a few damages each, the same ones in every run.

/// Numbers from a seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

/// What is damaged. `{H}` is the host, `{P}` what stands in front of a path.
const SEEDS: &[&str] = &[
    "GET {P}/a?b=c HTTP/1.1\r\nHost: {H}\r\nAccept: */*\r\nX-One: 1\r\n\r\n",
    "POST {P}/post HTTP/1.1\r\nHost: {H}\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    "POST {P}/chunks HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
    "PUT {P}/trailer HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    "HEAD {P}/head HTTP/1.1\r\nHost: {H}\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n",
    "GET {P}/old HTTP/1.0\r\nHost: {H}\r\nConnection: keep-alive\r\n\r\n",
    "DELETE {P}/expect HTTP/1.1\r\nHost: {H}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "OPTIONS {P}/o HTTP/1.1\r\nHost: {H}\r\nTE: trailers\r\nX-Text: caf\u{e9} \t x\r\n\r\n",
    "GET {P}/two HTTP/1.1\r\nHost: {H}\r\n\r\nPOST {P}/two HTTP/1.1\r\nHost: {H}\r\nContent-Length: 2\r\n\r\nok",
];

/// Lines to put among the headers.
const LINES: &[&str] = &[
    "Content-Length: 0",
    "Content-Length: 30",
    "Content-Length: 5, 5",
    "Content-Length : 4",
    "Content-Length: +5",
    "content-length: 007",
    "Content_Length: 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding:",
    "transfer-encoding: , chunked",
    "Transfer_Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    " folded: yes",
    "\tfolded",
    "Host: other",
    "Host:",
    "Connection: close",
    "Connection: content-length, host",
    "Connection: transfer-encoding",
    "Connection: upgrade",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAAP__",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic QTpC",
    "Expect: 100-continue",
    "Trailer: Content-Length",
    "X-Nul: a\0b",
    "X-Bell: a\u{7}b",
    "X-Del: a\u{7f}",
    ": nameless",
    "no colon",
    "X[]: brackets",
    "X-Empty:",
];

/// Bytes that mean something.
const BYTES: &[u8] = b"\r\n\0 \t:;,\"%#0aA\x7f\xff\xc0/?*\x0b\x0c\\{}[]|-+_x";

impl Dice {
    /// The next number below `bound`.
    pub(crate) fn roll(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.roll(list.len())]
    }
}

/// A request for `host`, absolute for a forward proxy, with none to three damages.
pub(crate) fn mutant(dice: &mut Dice, host: &str, is_absolute: bool) -> Vec<u8> {
    let prefix = if is_absolute { format!("http://{host}") } else { String::new() };
    let seed = dice.pick(SEEDS).replace("{H}", host).replace("{P}", &prefix);
    let mut bytes = seed.into_bytes();
    for _ in 0..dice.roll(4) {
        damage(&mut bytes, dice);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.roll(bytes.len());
    match dice.roll(8) {
        0 => bytes.insert(at, *dice.pick(BYTES)),
        1 => bytes[at] = *dice.pick(BYTES),
        2 => drop(bytes.remove(at)),
        // A line ending of another kind.
        3 => {
            let ends: Vec<usize> = (1..bytes.len()).filter(|at| bytes[at - 1..=*at] == *b"\r\n").collect();
            if !ends.is_empty() {
                let end = *dice.pick(&ends);
                let other = dice.pick(&["\n", "\r", "\n\r", "\r\r\n", "\r\n\r\n", " \r\n", "\r\n "]);
                bytes.splice(end - 1..=end, other.bytes());
            }
        }
        // Another case.
        4 => bytes[at] ^= if bytes[at].is_ascii_alphabetic() { 0x20 } else { 0 },
        // A header line more.
        _ => {
            let ends: Vec<usize> = (1..bytes.len()).filter(|at| bytes[at - 1..=*at] == *b"\r\n").collect();
            if !ends.is_empty() {
                let end = dice.pick(&ends) + 1;
                let line = format!("{}\r\n", dice.pick(LINES));
                bytes.splice(end..end, line.bytes());
            }
        }
    }
    if bytes.is_empty() {
        bytes.push(b'\n');
    }
}
