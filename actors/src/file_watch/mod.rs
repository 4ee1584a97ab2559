//! Notices that files may have changed, for those who read them again then: the registry's file, certificates.
//!
//! The *directories* are watched, not the files: editors and deployments replace a file by renaming another over it,
//! and a ConfigMap changes by renaming the link `..data` beside it. A look at regular times finds what the watch
//! cannot tell of: another file system, or a directory that was not there.

mod directories;
mod next_look;

pub(crate) use directories::Directories;
pub(crate) use next_look::{NextLook, SECOND_LOOK};
