//! One test binary, a module per theme.

mod codec_vectors;
