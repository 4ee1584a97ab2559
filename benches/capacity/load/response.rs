//! Follows one response through the pieces it arrives in and holds it to what was asked for. Pure.

use memchr::memmem;

/// More head than any proxy here adds: a bound against an answer that never ends.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What has come of a response with a body of known length.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    wanted: u64,
    head: Vec<u8>,
    left: Option<u64>,
}

impl Response {
    /// Waits for status 200 and a body of `bytes`.
    pub(crate) fn expecting(bytes: u64) -> Self {
        Self { wanted: bytes, head: Vec::new(), left: None }
    }

    /// Takes the next piece; true once the response is complete, and then the next one is waited for.
    ///
    /// # Errors
    /// What is wrong with the response: another status, another length, or bytes after its end.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<bool, String> {
        let (left, body) = match self.left {
            Some(left) => (left, piece.len() as u64),
            None => match self.take_head(piece)? {
                Some(body) => (self.wanted, body),
                None => return Ok(false),
            },
        };
        let Some(left) = left.checked_sub(body) else {
            return Err(format!("{} bytes after the end of the response", body - left));
        };
        self.left = (left > 0).then_some(left);
        Ok(left == 0)
    }

    /// Bytes of the body behind the head in this piece, once the head is complete.
    fn take_head(&mut self, piece: &[u8]) -> Result<Option<u64>, String> {
        // Almost always the head comes in one piece: then nothing is copied.
        if self.head.is_empty()
            && let Some(end) = memmem::find(piece, b"\r\n\r\n")
        {
            self.check(&piece[..end + 2])?;
            return Ok(Some((piece.len() - end - 4) as u64));
        }
        self.head.extend_from_slice(piece);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(format!("a response head of more than {HEAD_BYTES_MAX} bytes"));
            }
            return Ok(None);
        };
        self.check(&self.head[..end + 2])?;
        let body = self.head.len() - end - 4;
        self.head.clear();
        Ok(Some(body as u64))
    }

    fn check(&self, head: &[u8]) -> Result<(), String> {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        if !line.starts_with(b"HTTP/1.1 200") {
            return Err(format!("answered `{}`", String::from_utf8_lossy(line)));
        }
        match content_length(head) {
            Some(length) if length == self.wanted => Ok(()),
            Some(length) => Err(format!("Content-Length {length} where {} was asked for", self.wanted)),
            None => Err("an answer without Content-Length".to_owned()),
        }
    }
}

fn content_length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        let value = name.eq_ignore_ascii_case(NAME).then_some(value)?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    })
}
