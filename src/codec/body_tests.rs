//! Bodies on their way through, in one piece and in many.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::*;

/// Verdict on a whole chunked body: payload, or why it is refused.
fn payload(text: &str) -> Result<String, &'static str> {
    let mut body = Body::new(Framing::Chunked).outgoing(Outgoing::Payload);
    let mut out = Vec::new();
    let forwarded = body.forward(text.as_bytes(), &mut out).map_err(|reject| reject.why)?;
    body.at_end_of_input().map_err(|reject| reject.why)?;
    if let Forwarded::Verbatim { send, .. } = forwarded {
        out.extend_from_slice(&text.as_bytes()[..send]);
    }
    Ok(String::from_utf8(out).unwrap())
}

/// The lines and the data around them, with `line` as the size line of five bytes.
fn sized(line: &str) -> Result<String, &'static str> {
    payload(&format!("{line}\r\nhello\r\n0\r\n\r\n"))
}

fn forward(body: &mut Body, piece: &str) -> (Forwarded, String) {
    let mut out = Vec::new();
    let forwarded = body.forward(piece.as_bytes(), &mut out).unwrap();
    (forwarded, String::from_utf8(out).unwrap())
}

fn verbatim(taken: usize, send: usize) -> (Forwarded, String) {
    (Forwarded::Verbatim { taken, send }, String::new())
}

fn rewritten(taken: usize, out: &str) -> (Forwarded, String) {
    (Forwarded::Rewritten { taken }, out.to_owned())
}

#[test]
fn a_length_takes_its_bytes_and_no_more() {
    let mut body = Body::new(Framing::Length(5));
    assert_eq!(forward(&mut body, "hel"), verbatim(3, 3));
    assert_eq!(body.remaining_length(), Some(2));
    assert!(body.clone().at_end_of_input().is_err_and(|reject| reject.at == 3));
    assert_eq!(body.take(b"loGET /"), Ok(2));
    assert!(body.is_done());
    assert_eq!(body.take(b"GET /"), Ok(0));
    assert_eq!(body.at_end_of_input(), Ok(()));
}

#[test]
fn no_body_is_done_at_once() {
    assert!(Body::new(Framing::None).is_done() && Body::new(Framing::Length(0)).is_done());
    assert!(!Body::new(Framing::Chunked).is_done() && !Body::new(Framing::UntilClose).is_done());
}

#[test]
fn a_body_until_close_ends_with_the_connection() {
    let mut body = Body::new(Framing::UntilClose);
    assert_eq!(forward(&mut body, "anything"), verbatim(8, 8));
    assert!(!body.is_done());
    let mut out = Vec::new();
    assert_eq!(body.forward_end(&mut out), Ok(()));
    assert!(body.is_done() && out.is_empty());
}

#[test]
fn a_body_until_close_may_leave_in_chunks() {
    let mut body = Body::new(Framing::UntilClose).outgoing(Outgoing::Chunked);
    assert_eq!(forward(&mut body, "hello"), rewritten(5, "5\r\nhello\r\n"));
    assert_eq!(forward(&mut body, ""), rewritten(0, ""));
    let mut out = Vec::new();
    assert_eq!((body.forward_end(&mut out), body.forward_end(&mut out)), (Ok(()), Ok(())));
    assert_eq!(out, b"0\r\n\r\n");
}

#[test]
fn clean_chunks_pass_without_a_copy() {
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(forward(&mut body, "5\r\nhello\r\nA\r\n01234"), verbatim(18, 18));
    assert_eq!(forward(&mut body, "56789"), verbatim(5, 5));
    assert_eq!(forward(&mut body, "\r\n0\r\nX-Sum: 1\r\n\r\nGET"), verbatim(17, 17));
    assert!(body.is_done());
}

#[test]
fn an_element_cut_in_two_is_held_back_and_then_written_whole() {
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(forward(&mut body, "5\r\nhello\r"), verbatim(9, 8));
    assert_eq!(forward(&mut body, "\n1"), rewritten(2, "\r\n"));
    assert_eq!(forward(&mut body, "0"), rewritten(1, ""));
    assert_eq!(
        forward(&mut body, "\r\n0123456789abcdef\r\n0\r\nX-S"),
        rewritten(26, "10\r\n0123456789abcdef\r\n0\r\n")
    );
    assert_eq!(forward(&mut body, "um:1\r\n"), rewritten(6, "X-Sum: 1\r\n"));
    assert_eq!(forward(&mut body, "\r\n"), verbatim(2, 2));
    assert!(body.is_done());
}

#[test]
fn extensions_and_leading_zeros_do_not_leave() {
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(
        forward(&mut body, "1\r\na\r\n05;x=\"y\"\r\nhello\r\n"),
        rewritten(23, "1\r\na\r\n5\r\nhello\r\n")
    );
    assert_eq!(forward(&mut body, "000;z\r\n\r\n"), rewritten(9, "0\r\n\r\n"));
}

#[test]
fn trailers_can_be_dropped_but_not_smuggled() {
    let mut body = Body::new(Framing::Chunked).keep_trailers(false);
    assert_eq!(forward(&mut body, "0\r\nX-Sum: 1\r\n\r\n"), rewritten(15, "0\r\n\r\n"));
    assert_eq!(payload("0\r\nContent-Length: 5\r\n\r\n"), Err("field that must not come as a trailer"));
}

#[test]
fn a_receiver_that_speaks_1_0_gets_the_payload_alone() {
    let mut body = Body::new(Framing::Chunked).outgoing(Outgoing::Payload);
    assert_eq!(forward(&mut body, "b\r\nhello"), rewritten(8, "hello"));
    assert_eq!(forward(&mut body, " world"), verbatim(6, 6));
    assert_eq!(forward(&mut body, "\r\n3;x\r\nfoo\r\n0\r\nX: y\r\n\r\n"), rewritten(23, "foo"));
    assert!(body.is_done());
    assert_eq!(Outgoing::Payload.framing(Framing::Chunked), Framing::UntilClose);
    assert_eq!(Outgoing::Payload.framing(Framing::Length(3)), Framing::Length(3));
    assert_eq!(Outgoing::Chunked.framing(Framing::UntilClose), Framing::Chunked);
}

#[test]
fn sizes_are_hexadecimal_digits_and_nothing_else() {
    for line in ["5", "0005", "5;a", "5;a=b;c", "5 ; a = \"b c\\\"\" ;d", "5;foo=\"bar baz\""] {
        assert_eq!(sized(line).as_deref(), Ok("hello"), "{line}");
    }
    assert_eq!(sized(""), Err("chunk without a size"));
    assert_eq!(sized(" 5"), Err("chunk without a size"));
    assert_eq!(sized("+5"), Err("chunk without a size"));
    assert_eq!(sized("-5"), Err("chunk without a size"));
    assert_eq!(sized(";a"), Err("chunk without a size"));
    assert_eq!(sized("0x5"), Err("byte that no chunk size may have"));
    assert_eq!(sized("5_0"), Err("byte that no chunk size may have"));
    assert_eq!(sized("5\0"), Err("byte that no chunk size may have"));
    assert_eq!(sized("5 "), Err("blank at the end of a chunk size line"));
    assert_eq!(sized("5\t"), Err("blank at the end of a chunk size line"));
    assert_eq!(sized("8000000000000000"), Err("chunk size is too large"));
    assert_eq!(sized("FFFFFFFFFFFFFFFF0"), Err("chunk size is too large"));
    assert_eq!(sized(&"0".repeat(40)), Err("chunk size is too large"));
}

#[test]
fn extensions_obey_their_grammar_though_they_are_dropped() {
    assert_eq!(sized("5;"), Err("chunk extension without a name"));
    assert_eq!(sized("5;;a"), Err("chunk extension without a name"));
    assert_eq!(sized("5;\0ext"), Err("chunk extension without a name"));
    assert_eq!(sized("5;bad[=x"), Err("byte that no chunk extension may have"));
    assert_eq!(sized("5;a="), Err("chunk extension with a malformed value"));
    assert_eq!(sized("5;a=\"b"), Err("control byte in a chunk extension"));
    assert_eq!(sized("5;a=\"b\"c"), Err("byte that no chunk extension may have"));
    assert_eq!(sized("5;a b"), Err("byte that no chunk extension may have"));
    assert_eq!(sized("5;a "), Err("blank at the end of a chunk size line"));
    assert_eq!(sized("5;a\rX"), Err("carriage return without line feed"));
    assert_eq!(sized("5;a\nX"), Err("byte that no chunk extension may have"));
    assert_eq!(sized(&format!("5;{}", "a".repeat(1100))), Err("chunk size line is too long"));
}

#[test]
fn data_ends_where_its_size_says() {
    assert_eq!(payload("5\r\nhello!!\r\n0\r\n\r\n"), Err("chunk is longer than its size"));
    assert_eq!(payload("5\r\nhello0\r\n\r\n"), Err("chunk is longer than its size"));
    assert_eq!(payload("5\r\nhello\n0\r\n\r\n"), Err("line feed without carriage return"));
    assert_eq!(payload("5\r\nhello\r0\r\n\r\n"), Err("carriage return without line feed"));
    assert_eq!(payload("5\rhello\r\n0\r\n\r\n"), Err("carriage return without line feed"));
    assert_eq!(payload("5\nhello\r\n0\r\n\r\n"), Err("byte that no chunk size may have"));
    assert_eq!(payload("0\r\n\n"), Err("line feed without carriage return"));
    for cut in ["5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\nX: y\r\n", ""] {
        assert_eq!(payload(cut), Err("body ended early"), "{cut:?}");
    }
}

#[test]
fn a_reject_is_final_names_its_byte_and_sends_nothing() {
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(body.take(b"1\r\na\r\n"), Ok(6));
    let mut out = b"kept".to_vec();
    let reject = body.forward(b"2;x\r\nbc\r\nz", &mut out).unwrap_err();
    assert_eq!((reject.at, reject.status, &out[..]), (15, 400, &b"kept"[..]));
    assert_eq!(body.take(b"0\r\n\r\n"), Err(reject));
    assert_eq!(body.at_end_of_input(), Err(reject));
}
