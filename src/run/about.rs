//! The program itself: what it was built from, as the build script found out.

use mesher_actors::admin::Build;

/// Version, commit and time of the build; the latter two empty where they are not known.
#[must_use]
pub fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: env!("MESHER_COMMIT").to_owned(),
        built: env!("MESHER_BUILT").to_owned(),
    }
}
