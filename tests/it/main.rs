//! The one integration test binary: a file a theme.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

/// Configuration files as they lie on users' disks: the ones we ship, and the ones Mesher shipped.
mod conf;
