//! What both ends of an HTTP/2 connection do alike: greet, acknowledge, keep count of the windows. Pure.

use super::frame::{self, ACK, Frame, Kind};

/// Window of each stream that is announced: more than any answer here, so that no stream ever waits.
const STREAM_WINDOW: u32 = 1 << 20;

/// Window of the connection: half of it lasts for millions of answers.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Every window before somebody says otherwise (RFC 9113 section 6.9.2).
const WINDOW_DEFAULT: i64 = 65_535;

/// Streams at once that the origin allows: more than all loads together have.
const STREAMS_MAX: u32 = 1_000;

/// Bytes that this side's fields may take of the other's table (RFC 7541 section 4.1), at most.
const TABLE_BYTES: u32 = 2_048;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Bytes to send.
    pub(crate) out: Vec<u8>,
    /// Body bytes that the other side still takes over all streams.
    window: i64,
    /// Body bytes that came and were not credited yet.
    uncredited: u32,
    /// Streams at once that the other side allows.
    pub(crate) streams_max: u32,
}

impl Link {
    /// The client's end, with its greeting.
    pub(crate) fn client() -> Self {
        let mut link = Self::new();
        link.out.extend_from_slice(frame::PREFACE);
        link.greet(&[(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, STREAM_WINDOW)]);
        link
    }

    /// The server's end, with its greeting.
    pub(crate) fn server() -> Self {
        let mut link = Self::new();
        link.greet(&[(MAX_CONCURRENT_STREAMS, STREAMS_MAX), (INITIAL_WINDOW_SIZE, STREAM_WINDOW)]);
        link
    }

    fn new() -> Self {
        Self { out: Vec::new(), window: WINDOW_DEFAULT, uncredited: 0, streams_max: u32::MAX }
    }

    fn greet(&mut self, settings: &[(u16, u32)]) {
        frame::write_with(&mut self.out, Kind::Settings, 0, 0, |out| {
            for (name, value) in settings {
                out.extend_from_slice(&name.to_be_bytes());
                out.extend_from_slice(&value.to_be_bytes());
            }
        });
        self.credit(CONNECTION_WINDOW - WINDOW_DEFAULT as u32);
    }

    fn credit(&mut self, bytes: u32) {
        frame::write(&mut self.out, Kind::WindowUpdate, 0, 0, &bytes.to_be_bytes());
    }

    /// Appends a piece of a body.
    ///
    /// # Errors
    /// The other side gives no window for it. It gives more long before its window is used up, or it is stuck.
    pub(crate) fn data(&mut self, flags: u8, stream: u32, payload: &[u8]) -> Result<(), String> {
        self.window -= payload.len() as i64;
        if self.window < 0 {
            return Err("the proxy gives no more window".to_owned());
        }
        frame::write(&mut self.out, Kind::Data, flags, stream, payload);
        Ok(())
    }

    /// Follows a frame that belongs to no stream in particular, or is of a kind that nothing depends on here.
    ///
    /// # Errors
    /// Settings with which this side could not do its work.
    pub(crate) fn control(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        match frame.kind {
            Kind::Settings if frame.flags & ACK == 0 => {
                self.settings(frame.payload)?;
                frame::write(&mut self.out, Kind::Settings, ACK, 0, &[]);
            }
            Kind::Ping if frame.flags & ACK == 0 => {
                frame::write(&mut self.out, Kind::Ping, ACK, 0, frame.payload);
            }
            Kind::WindowUpdate if frame.stream == 0 => {
                self.window += i64::from(frame.number(0).unwrap_or(0));
            }
            _ => {}
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), String> {
        for setting in payload.chunks_exact(6) {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match name {
                HEADER_TABLE_SIZE if value < TABLE_BYTES => {
                    return Err(format!(
                        "the proxy wants a table of {value} bytes; {TABLE_BYTES} are needed"
                    ));
                }
                // One body each, none of them longer than this.
                INITIAL_WINDOW_SIZE if value < 1_024 => {
                    return Err(format!("the proxy gives a stream a window of only {value} bytes"));
                }
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                _ => {}
            }
        }
        Ok(())
    }

    /// Counts what came of bodies and gives the other side more window in time.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.uncredited += bytes as u32;
        if self.uncredited > CONNECTION_WINDOW / 2 {
            self.credit(self.uncredited);
            self.uncredited = 0;
        }
    }
}
