//! Which program to start: the file that stands now where the running one was started from.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the kernel puts behind the path of a running program whose file was replaced or removed (proc(5)).
const DELETED: &[u8] = b" (deleted)";

/// The path to start, from the program's first argument and what `/proc/self/exe` says. A path that was given with its
/// directory is taken as given, so that a symbolic link to the current release is followed anew; else it is where the
/// running file was.
///
/// # Errors
/// The path where there is no file any more.
pub(super) fn find(
    first: Option<&OsStr>,
    running: &Path,
    is_file: impl Fn(&Path) -> bool,
) -> Result<PathBuf, PathBuf> {
    let replaced = running.as_os_str().as_bytes().strip_suffix(DELETED);
    let replaced = replaced.map(|path| Path::new(OsStr::from_bytes(path)));
    let places = match first.filter(|first| first.as_bytes().contains(&b'/')) {
        Some(given) => [Some(Path::new(given)), None],
        None => [Some(running), replaced],
    };
    let mut places = places.into_iter().flatten();
    let named = places.clone().last().unwrap_or(running);
    places.find(|path| is_file(path)).map(Path::to_path_buf).ok_or_else(|| named.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: &str, running: &str, files: &[&str], found: Result<&str, &str>) {
        let is_file = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        let answer = find(Some(OsStr::new(first)), Path::new(running), is_file);
        assert_eq!(answer, found.map(PathBuf::from).map_err(PathBuf::from));
    }

    #[test]
    fn a_path_that_was_given_is_followed_anew() {
        let link = "/opt/current/mesher";
        check(link, "/opt/v1/mesher", &[link, "/opt/v1/mesher"], Ok(link));
        check("./mesher", "/opt/v1/mesher", &["./mesher"], Ok("./mesher"));
        check(link, "/opt/v1/mesher", &["/opt/v1/mesher"], Err(link));
    }

    #[test]
    fn a_name_without_directory_stands_for_the_running_file() {
        check("mesher", "/bin/mesher", &["mesher", "/bin/mesher"], Ok("/bin/mesher"));
    }

    #[test]
    fn a_replaced_file_is_found_where_the_old_one_was() {
        let deleted = "/bin/mesher (deleted)";
        check("mesher", deleted, &["/bin/mesher"], Ok("/bin/mesher"));
        check("mesher", deleted, &[], Err("/bin/mesher"));
        // A file may be called so.
        check("mesher", deleted, &[deleted, "/bin/mesher"], Ok(deleted));
    }
}
