//! What tonic is asked to play as a client. A case does not know which way its calls take.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::client::EchoClient;
use super::{calls, ends};

/// Something to play with a channel of its own.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) play: fn(EchoClient) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($($file:ident::$name:ident,)*) => {
        &[$(Case { name: stringify!($name), play: |client| $file::$name(client).boxed() }),*]
    };
}

/// Against any server.
pub(crate) const CASES: &[Case] = cases![
    calls::a_message_comes_back_be_it_empty_or_large,
    calls::calls_share_a_channel_and_each_gets_its_own_answer,
    calls::a_client_streams_and_is_answered_once,
    calls::a_server_streams_all_that_it_was_asked_for,
    calls::each_message_of_a_conversation_arrives_before_the_next_is_sent,
    calls::a_stream_may_be_empty_in_either_direction,
    calls::a_stream_that_nobody_reads_holds_up_no_other,
    calls::status_and_message_come_through_in_any_script,
    calls::a_call_may_fail_after_it_was_answered,
    calls::metadata_comes_through_both_ways_in_order_and_in_bytes,
    calls::metadata_of_a_failure_comes_through,
    calls::a_method_or_a_service_that_is_not_there_is_unimplemented,
    calls::compressed_messages_come_through,
    calls::a_channel_serves_the_next_call_after_all_of_this,
    ends::a_deadline_ends_a_call_at_the_client_and_at_the_server,
    ends::the_server_is_told_what_is_left_of_the_deadline,
    ends::cancelling_before_the_answer_reaches_the_server,
    ends::cancelling_after_an_answer_reaches_the_server,
    ends::cancelling_a_conversation_reaches_the_server,
    ends::a_call_that_ends_in_order_is_not_cancelled,
];
/// Against the server of tonic, which does what the others do not.
pub(crate) const CASES_OF_TONIC: &[Case] = cases![
    calls::an_answer_may_begin_before_anything_was_asked,
    calls::an_answer_may_be_compressed,
    calls::values_of_one_name_stay_apart,
    ends::cancelling_a_conversation_reaches_the_server_that_reads,
];
/// Against a server that ends its connections after a moment.
pub(crate) const CASES_OF_SHORT_CONNECTIONS: &[Case] =
    cases![ends::calls_over_short_connections_are_not_lost,];
