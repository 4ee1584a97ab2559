//! Calls of each kind: messages, metadata and outcomes come through as they are.

use futures::StreamExt;
use futures::channel::mpsc;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Code, Request, Status};

use super::client::EchoClient;
use super::messages::{EchoReply, EchoRequest};
use super::way::on_every_way;

/// More than the 4 MiB that libraries take at most unless told otherwise, and than any window.
const LARGE_BYTES: usize = 5 * 1024 * 1024;
/// Bytes that are no text.
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

#[test]
fn a_message_comes_back_be_it_empty_or_large() {
    let large = noise(LARGE_BYTES);
    on_every_way(|client| {
        let large = &large;
        async move {
            assert_eq!(client.unary(EchoRequest::default()).await.unwrap().payload, b"");
            let reply = client.unary(saying(large)).await.unwrap();
            assert!(reply.payload == *large, "{} other bytes came back", reply.payload.len());
        }
    });
}

#[test]
fn calls_share_a_channel_and_each_gets_its_own_answer() {
    on_every_way(|client| async move {
        let calls = (0..50_u32).map(|number| {
            let client = &client;
            let payload = number.to_be_bytes();
            async move { client.unary(saying(&payload)).await.unwrap().payload == payload }
        });
        assert!(futures::future::join_all(calls).await.into_iter().all(|is_its_own| is_its_own));
    });
}

#[test]
fn a_client_streams_and_is_answered_once() {
    on_every_way(|client| async move {
        let sent = [1, 0, 70_000].map(|size| saying(&noise(size)));
        let requests = Request::new(futures::stream::iter(sent));
        let mut replies = client.converse("ClientStream", requests).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!((reply.requests, reply.request_bytes), (3, 70_001));
        assert_eq!(replies.message().await.unwrap(), None);
    });
}

#[test]
fn a_server_streams_all_that_it_was_asked_for() {
    on_every_way(|client| async move {
        let request = EchoRequest { replies: 100, ..saying(&noise(10_000)) };
        let mut replies = client.call("ServerStream", request.clone()).await.unwrap().into_inner();
        let mut count = 0;
        while let Some(reply) = replies.message().await.unwrap() {
            assert!(reply.payload == request.payload);
            count += 1;
        }
        assert_eq!(count, 100);
    });
}

#[test]
fn each_message_of_a_conversation_arrives_before_the_next_is_sent() {
    on_every_way(|client| async move {
        let (send, requests) = mpsc::unbounded();
        // The answer begins before anything was asked.
        let mut replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
        for turn in 1..=50 {
            let said = noise(turn as usize * 100);
            send.unbounded_send(saying(&said)).unwrap();
            let reply = replies.message().await.unwrap().unwrap();
            assert!(reply.requests == turn && reply.payload == said, "turn {turn}");
        }
        drop(send);
        assert_eq!(replies.message().await.unwrap(), None);
    });
}

#[test]
fn a_stream_may_be_empty_in_either_direction() {
    on_every_way(|client| async move {
        let nothing = || Request::new(futures::stream::empty());
        let mut replies = client.converse("ClientStream", nothing()).await.unwrap().into_inner();
        assert_eq!(replies.message().await.unwrap(), Some(EchoReply::default()));
        let mut replies = client.converse("Bidi", nothing()).await.unwrap().into_inner();
        assert_eq!(replies.message().await.unwrap(), None);
        let mut replies = client.call("ServerStream", EchoRequest::default()).await.unwrap().into_inner();
        assert_eq!(replies.message().await.unwrap(), None);
    });
}

#[test]
fn a_stream_that_nobody_reads_holds_up_no_other() {
    on_every_way(|client| async move {
        let flood = EchoRequest { replies: 1000, reply_bytes: 64 * 1024, ..EchoRequest::default() };
        let mut unread = client.call("ServerStream", flood).await.unwrap().into_inner();
        // It has begun, and goes on until windows are full.
        assert!(unread.message().await.unwrap().is_some());
        for _ in 0..50 {
            assert_eq!(client.unary(saying(b"x")).await.unwrap().payload, b"x");
        }
        assert!(unread.message().await.unwrap().is_some(), "the flood goes on where it was");
    });
}

#[test]
fn status_and_message_come_through_in_any_script() {
    const MESSAGE: &str = "kein K\u{e4}se: 100% weg \u{20ac}\n\u{1f600}";
    on_every_way(|client| async move {
        let status = client.unary(failing(Code::NotFound, MESSAGE)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, MESSAGE));
        let status = client.unary(failing(Code::Unauthenticated, "")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, ""));
    });
}

#[test]
fn a_call_may_fail_after_it_was_answered() {
    on_every_way(|client| async move {
        let request = EchoRequest { replies: 2, ..failing(Code::FailedPrecondition, "sp\u{e4}ter") };
        let mut replies = client.call("ServerStream", request).await.unwrap().into_inner();
        assert!(replies.message().await.unwrap().is_some());
        assert!(replies.message().await.unwrap().is_some());
        let status = replies.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "sp\u{e4}ter"));
    });
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

#[track_caller]
fn assert_echoed(metadata: &MetadataMap, prefix: &str) {
    let values: Vec<_> = metadata.get_all(format!("{prefix}a")).iter().collect();
    assert_eq!(values, ["one", "two, three", "", "one"]);
    let values = metadata.get_all_bin(format!("{prefix}b-bin")).iter().map(|value| value.to_bytes().unwrap());
    assert!(values.eq([BINARY, b"", BINARY]), "{metadata:?}");
}

#[test]
fn metadata_comes_through_both_ways_in_order_and_in_bytes() {
    on_every_way(|client| async move {
        let request = with_metadata(EchoRequest { replies: 1, ..EchoRequest::default() });
        let response = client.call("ServerStream", request).await.unwrap();
        assert_echoed(response.metadata(), "x-echo-");
        let mut replies = response.into_inner();
        assert!(replies.message().await.unwrap().is_some());
        assert_echoed(&replies.trailers().await.unwrap().unwrap(), "x-trailer-");
    });
}

#[test]
fn metadata_of_a_failure_comes_through() {
    on_every_way(|client| async move {
        let request = with_metadata(failing(Code::PermissionDenied, "no"));
        let status: Status = client.unary(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no"));
        assert_echoed(status.metadata(), "x-trailer-");
    });
}

#[test]
fn a_method_or_a_service_that_is_not_there_is_unimplemented() {
    on_every_way(|client| async move {
        let status = client.call("Unserved", EchoRequest::default()).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, "EchoService has no such method"),
            "the server itself says so"
        );
        let path = "/mesher.peers.Nobody/Unary";
        let request = Request::new(EchoRequest::default());
        let answer: Result<EchoReply, Status> = client.once(path, request).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    });
}

#[test]
fn compressed_messages_come_through() {
    on_every_way(|client| async move {
        let payload = b"again and again ".repeat(10_000);
        let response = client.compressing().call("Unary", saying(&payload)).await.unwrap();
        assert_eq!(response.metadata().get("grpc-encoding").unwrap(), "gzip");
        let mut replies = response.into_inner();
        assert!(replies.message().await.unwrap().unwrap().payload == payload);
        assert_eq!(replies.message().await.unwrap(), None);
    });
}

#[test]
fn a_channel_serves_the_next_call_after_all_of_this() {
    async fn all(client: &EchoClient) {
        let (send, requests) = mpsc::unbounded();
        let replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
        send.unbounded_send(saying(b"x")).unwrap();
        // Abandoned on both sides while messages are on their way.
        drop((replies.into_future(), send));
        client.unary(failing(Code::Internal, "x")).await.unwrap_err();
        client.call("Unserved", EchoRequest::default()).await.unwrap_err();
    }
    on_every_way(|client| async move {
        for _ in 0..100 {
            all(&client).await;
        }
        assert_eq!(client.unary(saying(b"x")).await.unwrap().payload, b"x");
    });
}
