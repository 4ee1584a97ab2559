//! How much memory the process may hold: what its control group says. The texts are read by pure functions.
//!
//! Version 2 of control groups names a group's directory in `/proc/self/cgroup` by its path below the mount; version 1
//! has a hierarchy, and a line, for each controller. In a container the path may be that of the host, of which the mount
//! shows a part only (the fourth field of `/proc/self/mountinfo`); what cannot be found is looked for at the mount itself.
//! Sources: cgroups(7), proc_pid_mountinfo(5), the kernel's admin-guide/cgroup-v2.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Version 1 says "no limit" by a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// Where the limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// `mesher.limit.memoryBytes`: of the resident memory.
    Configured,
    /// The control group's: of the resident memory and the group's socket buffers, which the kernel charges it too.
    ControlGroup,
}

/// The control group that accounts for the memory of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    version: Version,
    /// From its own directory up to the mount: the smallest limit of all holds.
    directories: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// That of this process, if control groups are to be seen.
    pub(super) fn find() -> Option<Self> {
        let text = |path: &str| fs::read_to_string(path).ok();
        let groups = Self::candidates(&text("/proc/self/cgroup")?, &text("/proc/self/mountinfo")?);
        groups.into_iter().find(|group| group.limit().is_some())
    }

    /// Bytes that the group may hold; none if there is no limit.
    pub(super) fn limit(&self) -> Option<u64> {
        let files: &[&str] = match self.version {
            Version::One => &["memory.limit_in_bytes"],
            // Beyond `high` the group is throttled, which is no state to serve in either.
            Version::Two => &["memory.max", "memory.high"],
        };
        let files =
            self.directories.iter().flat_map(|directory| files.iter().map(|file| directory.join(file)));
        files.filter_map(|file| limit(&fs::read_to_string(file).ok()?)).min()
    }

    /// Bytes in buffers of sockets; none where the kernel does not say.
    pub(super) fn socket_bytes(&self) -> Option<u64> {
        let own = self.directories.first()?;
        match self.version {
            Version::One => {
                fs::read_to_string(own.join("memory.kmem.tcp.usage_in_bytes")).ok()?.trim().parse().ok()
            }
            Version::Two => socket_bytes(&fs::read_to_string(own.join("memory.stat")).ok()?),
        }
    }

    /// Groups by the kernel's texts, that of version 1 first: where both are mounted it has the memory.
    fn candidates(groups: &str, mounts: &str) -> Vec<Self> {
        let mut found = Vec::new();
        for version in [Version::One, Version::Two] {
            let Some(path) = groups.lines().find_map(|line| path_of(line, version)) else { continue };
            for (root, mount) in mounts.lines().filter_map(|line| mount_of(line, version)) {
                found.push(Self { version, directories: directories(path, root, mount) });
            }
        }
        found
    }
}

/// The path in a line of `/proc/self/cgroup`: `number:controllers:path`.
fn path_of(line: &str, version: Version) -> Option<&str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_it = match version {
        Version::One => controllers.split(',').any(|controller| controller == "memory"),
        Version::Two => number == "0" && controllers.is_empty(),
    };
    is_it.then_some(path)
}

/// Root and mount point in a line of `/proc/self/mountinfo`, if it is of the wanted hierarchy.
fn mount_of(line: &str, version: Version) -> Option<(&str, &str)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let (kind, options) = (file_system.next()?, file_system.nth(1).unwrap_or_default());
    let is_it = match version {
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => kind == "cgroup2",
    };
    is_it.then_some((root, point))
}

/// The directories of a group, its own first, its mount last.
fn directories(path: &str, root: &str, mount: &str) -> Vec<PathBuf> {
    let mount = Path::new(mount);
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    // A path with `..` is that of a group outside of the namespace.
    let is_inside = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let below = if is_inside { below.components() } else { Path::new("").components() };
    let mut own = mount.to_owned();
    own.extend(below);
    own.ancestors().take_while(|directory| directory.starts_with(mount)).map(Path::to_owned).collect()
}

fn limit(text: &str) -> Option<u64> {
    // `max` is no number.
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

fn socket_bytes(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("sock "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";

    fn check(groups: &str, mounts: &str, expected: &[&[&str]]) {
        let found = Group::candidates(groups, mounts);
        let found: Vec<Vec<_>> = found
            .iter()
            .map(|group| group.directories.iter().map(|path| path.to_str().unwrap()).collect())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_group_is_found_below_its_mount_with_all_groups_around_it() {
        let service =
            ["/sys/fs/cgroup/system.slice/m.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"];
        check("0::/system.slice/m.service\n", V2, &[&service]);
        check("4:memory:/pod\n1:cpu:/x\n", V1, &[&["/sys/fs/cgroup/memory/pod", "/sys/fs/cgroup/memory"]]);
        check("3:cpu,memory:/\n", V1, &[&["/sys/fs/cgroup/memory"]]);
    }

    #[test]
    fn in_a_container_the_mount_shows_the_group_itself() {
        // A namespace of its own; the host's path with a mount of just that part; the host's path, seen from inside.
        check("0::/\n", V2, &[&["/sys/fs/cgroup"]]);
        let part = "9 1 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw";
        check("0::/docker/abc\n", part, &[&["/sys/fs/cgroup"]]);
        check("0::/docker/abc/inner\n", part, &[&["/sys/fs/cgroup/inner", "/sys/fs/cgroup"]]);
        check("0::/../other\n", V2, &[&["/sys/fs/cgroup"]]);
    }

    #[test]
    fn version_1_has_the_memory_where_both_are_mounted() {
        let both = format!("{V2}\n{V1}");
        check(
            "4:memory:/a\n0::/b\n",
            &both,
            &[&["/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"], &["/sys/fs/cgroup/b", "/sys/fs/cgroup"]],
        );
    }

    #[test]
    fn texts_of_another_kind_name_no_group() {
        check("", "", &[]);
        check("nonsense\n1:2\n", "nonsense - \n - cgroup2\n", &[]);
    }

    #[test]
    fn the_smallest_limit_around_a_group_holds() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let group = Group { version: Version::Two, directories: vec![inner.clone(), dir.path().to_owned()] };
        assert_eq!(group.limit(), None);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(group.limit(), None);
        fs::write(dir.path().join("memory.max"), "4096\n").unwrap();
        assert_eq!(group.limit(), Some(4096));
        fs::write(inner.join("memory.high"), "1024\n").unwrap();
        assert_eq!(group.limit(), Some(1024));
        fs::write(inner.join("memory.stat"), "anon 7\nsock 99\nsocket 1\n").unwrap();
        assert_eq!(group.socket_bytes(), Some(99));
    }

    #[test]
    fn version_1_says_no_limit_by_a_huge_number() {
        assert_eq!(limit("9223372036854771712\n"), None);
        assert_eq!(limit("134217728\n"), Some(134_217_728));
        assert_eq!(limit(""), None);
    }
}
