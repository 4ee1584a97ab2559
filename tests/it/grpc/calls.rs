//! Calls of each kind: messages, metadata and outcomes come through as they are.
//!
//! These are cases for `cases.rs`, which says of which servers each can be asked.

use std::sync::LazyLock;

use futures::StreamExt;
use futures::channel::mpsc;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Code, Request, Status};

use super::client::EchoClient;
use super::messages::{EchoReply, EchoRequest};

/// More than any window on the way.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| noise(3 * 1024 * 1024));
/// Bytes that are no text, as they are on the wire and as they are.
const BINARY_BASE64: &str = "AP+Abm9ib2R5";
const BINARY: &[u8] = b"\0\xff\x80nobody";

fn saying(payload: &[u8]) -> EchoRequest {
    EchoRequest { payload: payload.to_vec(), ..EchoRequest::default() }
}

fn failing(code: Code, message: &str) -> EchoRequest {
    EchoRequest { fail_code: code as u32, fail_message: message.into(), ..EchoRequest::default() }
}

/// Bytes that differ from their neighbours and do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) async fn a_message_comes_back_be_it_empty_or_large(client: EchoClient) {
    assert_eq!(client.unary(EchoRequest::default()).await.unwrap().payload, b"");
    let reply = client.unary(saying(&LARGE)).await.unwrap();
    assert!(reply.payload == *LARGE, "{} other bytes came back", reply.payload.len());
}

pub(crate) async fn calls_share_a_channel_and_each_gets_its_own_answer(client: EchoClient) {
    let calls = (0..50_u32).map(|number| {
        let client = &client;
        let payload = number.to_be_bytes();
        async move { client.unary(saying(&payload)).await.unwrap().payload == payload }
    });
    assert!(futures::future::join_all(calls).await.into_iter().all(|is_its_own| is_its_own));
}

pub(crate) async fn a_client_streams_and_is_answered_once(client: EchoClient) {
    let sent = [1, 0, 70_000].map(|size| saying(&noise(size)));
    let requests = Request::new(futures::stream::iter(sent));
    let mut replies = client.converse("ClientStream", requests).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    assert_eq!((reply.requests, reply.request_bytes), (3, 70_001));
    assert_eq!(replies.message().await.unwrap(), None);
}

pub(crate) async fn a_server_streams_all_that_it_was_asked_for(client: EchoClient) {
    let request = EchoRequest { replies: 100, ..saying(&noise(10_000)) };
    let mut replies = client.call("ServerStream", request.clone()).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(reply) = replies.message().await.unwrap() {
        assert!(reply.payload == request.payload);
        count += 1;
    }
    assert_eq!(count, 100);
}

pub(crate) async fn each_message_of_a_conversation_arrives_before_the_next_is_sent(client: EchoClient) {
    let (send, requests) = mpsc::unbounded();
    let say = |turn: u32| send.unbounded_send(saying(&noise(turn as usize * 100))).unwrap();
    // Not every server begins its answer before it was asked something.
    say(1);
    let mut replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
    for turn in 1..=50 {
        let reply = replies.message().await.unwrap().unwrap();
        assert!(reply.requests == turn && reply.payload == noise(turn as usize * 100), "turn {turn}");
        say(turn + 1);
    }
    drop(send);
    assert_eq!(replies.message().await.unwrap().unwrap().requests, 51);
    assert_eq!(replies.message().await.unwrap(), None);
}

pub(crate) async fn an_answer_may_begin_before_anything_was_asked(client: EchoClient) {
    let (send, requests) = mpsc::unbounded::<EchoRequest>();
    let mut replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
    drop(send);
    assert_eq!(replies.message().await.unwrap(), None);
}

pub(crate) async fn a_stream_may_be_empty_in_either_direction(client: EchoClient) {
    let nothing = || Request::new(futures::stream::empty());
    let mut replies = client.converse("ClientStream", nothing()).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap(), Some(EchoReply::default()));
    let mut replies = client.converse("Bidi", nothing()).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap(), None);
    let mut replies = client.call("ServerStream", EchoRequest::default()).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap(), None);
}

pub(crate) async fn a_stream_that_nobody_reads_holds_up_no_other(client: EchoClient) {
    let flood = EchoRequest { replies: 100, reply_bytes: 64 * 1024, ..EchoRequest::default() };
    let mut unread = client.call("ServerStream", flood).await.unwrap().into_inner();
    // It has begun, and goes on until windows are full.
    assert!(unread.message().await.unwrap().is_some());
    for _ in 0..50 {
        assert_eq!(client.unary(saying(b"x")).await.unwrap().payload, b"x");
    }
    assert!(unread.message().await.unwrap().is_some(), "the flood goes on where it was");
}

pub(crate) async fn status_and_message_come_through_in_any_script(client: EchoClient) {
    const MESSAGE: &str = "kein K\u{e4}se: 100% weg \u{20ac}\n\u{1f600}";
    let status = client.unary(failing(Code::NotFound, MESSAGE)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, MESSAGE));
    let status = client.unary(failing(Code::Unauthenticated, "")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, ""));
}

pub(crate) async fn a_call_may_fail_after_it_was_answered(client: EchoClient) {
    let request = EchoRequest { replies: 2, ..failing(Code::FailedPrecondition, "sp\u{e4}ter") };
    let mut replies = client.call("ServerStream", request).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    assert!(replies.message().await.unwrap().is_some());
    let status = replies.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "sp\u{e4}ter"));
}

/// Metadata that repeats a name, in text and in bytes.
fn with_metadata(request: EchoRequest) -> Request<EchoRequest> {
    let mut request = Request::new(request);
    for value in ["one", "two, three", "", "one"] {
        request.metadata_mut().append("x-echo-a", value.parse().unwrap());
    }
    for value in [BINARY, b"", BINARY] {
        request.metadata_mut().append_bin("x-echo-b-bin", BinaryMetadataValue::from_bytes(value));
    }
    request
}

/// Commas join values of a name as well as fields do, and some libraries do it.
#[track_caller]
fn assert_echoed(metadata: &MetadataMap, prefix: &str) {
    let fields = metadata.clone().into_headers();
    let values = |name: &str| -> Vec<String> {
        let values = fields.get_all(format!("{prefix}{name}")).iter().map(|value| value.to_str().unwrap());
        values.flat_map(|value| value.split(',').map(|value| value.trim().to_owned())).collect()
    };
    assert_eq!(values("a"), ["one", "two", "three", "", "one"]);
    assert_eq!(values("b-bin"), [BINARY_BASE64, "", BINARY_BASE64]);
}

pub(crate) async fn metadata_comes_through_both_ways_in_order_and_in_bytes(client: EchoClient) {
    let request = with_metadata(EchoRequest { replies: 1, ..EchoRequest::default() });
    let response = client.call("ServerStream", request).await.unwrap();
    assert_echoed(response.metadata(), "x-echo-");
    let mut replies = response.into_inner();
    assert!(replies.message().await.unwrap().is_some());
    assert_echoed(&replies.trailers().await.unwrap().unwrap(), "x-trailer-");
}

pub(crate) async fn metadata_of_a_failure_comes_through(client: EchoClient) {
    let request = with_metadata(failing(Code::PermissionDenied, "no"));
    let status: Status = client.unary(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no"));
    assert_echoed(status.metadata(), "x-trailer-");
}

pub(crate) async fn values_of_one_name_stay_apart(client: EchoClient) {
    let response = client.call("Unary", with_metadata(EchoRequest::default())).await.unwrap();
    let metadata = response.metadata();
    let values: Vec<_> = metadata.get_all("x-echo-a").iter().collect();
    assert_eq!(values, ["one", "two, three", "", "one"]);
    let values = metadata.get_all_bin("x-echo-b-bin").iter().map(|value| value.to_bytes().unwrap());
    assert!(values.eq([BINARY, b"", BINARY]), "{metadata:?}");
}

pub(crate) async fn a_method_or_a_service_that_is_not_there_is_unimplemented(client: EchoClient) {
    let status = client.call("Unserved", EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().to_lowercase().contains("method"), "the server itself says so: {status:?}");
    let path = "/mesher.peers.Nobody/Unary";
    let request = Request::new(EchoRequest::default());
    let answer: Result<EchoReply, Status> = client.once(path, request).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}

pub(crate) async fn compressed_messages_come_through(client: EchoClient) {
    compressed(client).await;
}

pub(crate) async fn an_answer_may_be_compressed(client: EchoClient) {
    assert_eq!(compressed(client).await.get("grpc-encoding").unwrap(), "gzip");
}

/// Sends a compressed message and gets it back; what came before it.
async fn compressed(client: EchoClient) -> MetadataMap {
    let payload = b"again and again ".repeat(10_000);
    let response = client.compressing().call("Unary", saying(&payload)).await.unwrap();
    let (metadata, mut replies, _) = response.into_parts();
    assert!(replies.message().await.unwrap().unwrap().payload == payload);
    assert_eq!(replies.message().await.unwrap(), None);
    metadata
}

pub(crate) async fn a_channel_serves_the_next_call_after_all_of_this(client: EchoClient) {
    for _ in 0..20 {
        let (send, requests) = mpsc::unbounded();
        send.unbounded_send(saying(b"x")).unwrap();
        let replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
        send.unbounded_send(saying(b"x")).unwrap();
        // Abandoned on both sides while messages are on their way.
        drop((replies.into_future(), send));
        client.unary(failing(Code::Internal, "x")).await.unwrap_err();
        client.call("Unserved", EchoRequest::default()).await.unwrap_err();
    }
    assert_eq!(client.unary(saying(b"x")).await.unwrap().payload, b"x");
}
