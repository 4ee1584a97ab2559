//! The bytes of service-center's API v4, translated into mesher's own types. Pure, and the only place that knows
//! the field names. Everything that came off the wire is checked here: ids and revisions that leave this module can
//! be used in a path or a header, texts of errors in a log line. What cannot be read is reported one by one; the rest
//! of an answer stays good.

mod failure;
mod find;
mod frame;
pub mod fuzzing;
mod id;
mod lenient;
mod offer;
mod register;

pub use failure::{Code, ErrorAnswer, error_answer};
pub use find::{Failed, FindAnswer, Updated, find_answer, find_request};
pub use frame::{Change, Frame, FrameError, watch_frame};
pub use id::{could_be_service, usable_in_path};
pub use offer::Offer;
pub(super) use register::status_word;
pub use register::{instance_request, registered_instance, registered_service, service_request};

/// Largest answer that is read, in bytes. A full instance is at most 5 KiB (service-center's own limit), so this
/// holds three thousand of the fattest kind; more must be an error of the peer, or be asked for in parts.
pub const ANSWER_LENGTH_MAX: usize = 16 << 20;
/// Largest frame of the watch socket: one instance of at most 5 KiB, its key, and room.
pub const FRAME_LENGTH_MAX: usize = 256 << 10;
/// Longest id or revision: service-center's are 32 to 64 characters, and they stand in paths of at most 2 KiB.
pub const ID_LENGTH_MAX: usize = 160;
/// Longest text of the peer that is shown: enough for its longest sentence, too short to flood a log.
pub const TEXT_LENGTH_MAX: usize = 512;
