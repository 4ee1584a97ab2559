//! The messages of `tests/peers/echo.proto`, which says what they mean, by hand: a build needs no compiler of protocols.

/// What is asked of EchoService.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EchoRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) payload: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) reply_bytes: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) replies: u32,
    #[prost(bool, tag = "5")]
    pub(crate) hold: bool,
    #[prost(uint32, tag = "6")]
    pub(crate) fail_code: u32,
    #[prost(string, tag = "7")]
    pub(crate) fail_message: String,
}

/// What it answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EchoReply {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) payload: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) requests: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) request_bytes: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) time_left_ms: u64,
}

/// Asks when another call begins or ends.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WatchRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) ended: bool,
}

/// How it ended.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WatchReply {
    #[prost(bool, tag = "1")]
    pub(crate) cancelled: bool,
}
