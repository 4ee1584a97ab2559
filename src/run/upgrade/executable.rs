//! Which program to start: the file that stands now where the running one was started from.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the kernel puts behind the path of a running program whose file was replaced or removed (proc(5)).
const DELETED: &[u8] = b" (deleted)";

/// The path to start, from the program's first argument and what `/proc/self/exe` says. A path that was given with its
/// directory is taken as given, so that a symbolic link to the current release is followed anew; else it is where the
/// running file was. None if there is no file.
pub(super) fn find(
    first: Option<&OsStr>,
    running: &Path,
    is_file: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let given = first.map(Path::new).filter(|path| path.components().count() > 1);
    let bytes = running.as_os_str().as_bytes();
    let replaced = bytes.strip_suffix(DELETED).map(|path| Path::new(OsStr::from_bytes(path)));
    [given, Some(running), replaced].into_iter().flatten().find(|path| is_file(path)).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(first: &str, running: &str, files: &[&str]) -> Option<String> {
        let is_file = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        find(Some(OsStr::new(first)), Path::new(running), is_file).map(|path| path.display().to_string())
    }

    #[test]
    fn a_path_that_was_given_is_followed_anew() {
        let files = ["/opt/current/mesher", "/opt/v1/mesher"];
        assert_eq!(
            found("/opt/current/mesher", "/opt/v1/mesher", &files).as_deref(),
            Some("/opt/current/mesher")
        );
        assert_eq!(found("./mesher", "/opt/v1/mesher", &["./mesher"]).as_deref(), Some("./mesher"));
    }

    #[test]
    fn a_name_without_directory_stands_for_the_running_file() {
        assert_eq!(
            found("mesher", "/bin/mesher", &["mesher", "/bin/mesher"]).as_deref(),
            Some("/bin/mesher")
        );
    }

    #[test]
    fn a_replaced_file_is_found_where_the_old_one_was() {
        assert_eq!(
            found("mesher", "/bin/mesher (deleted)", &["/bin/mesher"]).as_deref(),
            Some("/bin/mesher")
        );
        let odd = ["/bin/mesher (deleted)", "/bin/mesher"];
        assert_eq!(found("mesher", odd[0], &odd).as_deref(), Some(odd[0]), "a file may be called so");
    }

    #[test]
    fn no_file_is_no_program() {
        assert_eq!(found("/gone/mesher", "/bin/mesher (deleted)", &[]), None);
    }
}
