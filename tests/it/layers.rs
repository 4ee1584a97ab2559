//! Imports point one way. The table below is the architecture; the test reads the sources and holds them to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of the root crate and the rooms each may name, itself aside.
const ROOMS: [(&str, &[&str]); 9] = [
    ("codec", &[]),
    ("balance", &[]),
    ("handler", &["codec", "balance"]),
    ("net", &[]),
    ("upstream", &["codec", "handler", "net"]),
    ("proxy", &["codec", "balance", "handler", "net", "upstream"]),
    ("shard", &["balance", "handler", "net", "proxy"]),
    ("run", &["codec", "handler", "net", "proxy", "shard", "upstream"]),
    ("cmd", &["net", "run"]),
];

/// Crates that only these rooms may name.
const CRATES: [(&str, &[&str]); 4] =
    [("glommio", &["net"]), ("rustix", &["net"]), ("rustls", &["net"]), ("clap", &["cmd"])];

/// What several threads write to. Shards share nothing of the kind on the path of a request: they take turns with no one.
const SHARED: [&str; 6] = ["Atomic", "Mutex", "RwLock", "Condvar", "fetch_", "compare_exchange"];
/// Where a shard, or whoever starts it, meets another thread all the same.
const MEETINGS: [(&str, &str); 2] = [
    (
        "net/wake.rs",
        "another thread wakes a task: a snapshot is published, a command given, a name looked up",
    ),
    ("net/thread.rs", "a shard is started"),
];
/// Rooms of the control side; what they share is not on the path of a request.
const BESIDE: [&str; 2] = ["run", "cmd"];

/// Rooms that see the whole control plane; the others see its snapshots only.
const SEE_CONTROL: [&str; 2] = ["run", "cmd"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: without comments, and without what only tests see.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every identifier that follows `path` in the code, as `a` in `crate::a` and in `crate::{a, b::c}`.
fn named_after<'c>(code: &'c str, path: &str) -> Vec<&'c str> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(path) {
        let rest = &code[at + path.len()..];
        let list = match rest.strip_prefix('{') {
            Some(group) => top_level(group),
            None => vec![rest],
        };
        names.extend(list.into_iter().map(|item| {
            let item = item.trim_start();
            &item[..item.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(item.len())]
        }));
    }
    names
}

/// Items of a brace group, up to its closing brace, not split within inner groups.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn forbidden(room: &str, code: &str) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let mut wrong = Vec::new();
    for name in named_after(code, "crate::") {
        let other = allowed.contains_key(name) && name != room;
        if other && !allowed[room].contains(&name) {
            wrong.push(format!("`{room}` names `{name}`, which is not below it"));
        }
    }
    for (name, rooms) in CRATES {
        if code.contains(&format!("{name}::")) && !rooms.contains(&room) {
            wrong.push(format!("`{room}` names the crate `{name}`; only {rooms:?} may"));
        }
    }
    if !SEE_CONTROL.contains(&room) {
        for name in named_after(code, "mesher_actors::") {
            if name != "snapshot" {
                wrong.push(format!(
                    "`{room}` names `mesher_actors::{name}`; the data plane sees `snapshot` only"
                ));
            }
        }
    }
    wrong
}

#[test]
fn every_import_points_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_path_buf();
        let first = relative.iter().next().unwrap().to_string_lossy();
        let room = first.trim_end_matches(".rs");
        if !ROOMS.iter().any(|(name, _)| *name == room) {
            assert!(
                matches!(room, "lib" | "main" | "build"),
                "{}: no such room in the table",
                relative.display()
            );
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&file).unwrap();
        wrong
            .extend(forbidden(room, &code(&text)).iter().map(|why| format!("{}: {why}", relative.display())));
    }
    assert!(seen > 20, "only {seen} files were looked at");
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn a_forbidden_import_is_found_in_every_form() {
    for code in [
        "use crate::proxy::serve;",
        "use crate::{codec::Limits, proxy::{self, serve}};",
        "fn f() { crate::proxy::serve() }",
        "use mesher_actors::config::Config;",
        "use mesher_actors::{snapshot::Service, config};",
        "fn f() { rustix::net::bind() }",
    ] {
        assert_eq!(forbidden("handler", code).len(), 1, "{code}");
    }
    assert!(forbidden("handler", "use crate::{codec::Limits, balance::Tried};").is_empty());
}

/// What of [`SHARED`] the code of a file names.
fn shared(code: &str) -> Vec<&'static str> {
    SHARED.into_iter().filter(|word| code.contains(word)).collect()
}

#[test]
fn no_request_writes_to_memory_that_shards_share() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let is_beside = BESIDE.iter().any(|room| relative.starts_with(&format!("{room}/")));
        if is_beside || relative.contains("/tests/") || MEETINGS.iter().any(|(known, _)| *known == relative) {
            continue;
        }
        let found = shared(&code(&fs::read_to_string(&file).unwrap()));
        if !found.is_empty() {
            wrong.push(format!("{relative} names {found:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "shards share nothing; use cells, or say in the table why not\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_counter_is_written_by_a_load_and_a_store() {
    let stats = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src/snapshot/stats.rs");
    let stats = code(&fs::read_to_string(stats).unwrap());
    let words = ["fetch_", "compare_exchange", "swap(", ".lock()"];
    let found: Vec<_> = words.iter().filter(|word| stats.contains(**word)).collect();
    assert!(found.is_empty(), "{found:?}: each counter has one writer, which needs none of it");
    assert!(stats.contains("Ordering::Relaxed"), "counters have moved; look there");
}

#[test]
fn shared_memory_is_found_in_code_and_not_in_words_about_it() {
    assert_eq!(shared("use std::sync::Mutex; x.fetch_add(1)"), ["Mutex", "fetch_"]);
    assert!(
        shared(&code("// An AtomicBool would do.\nfn f() {}\n#[cfg(test)]\nmod tests { AtomicU64 }"))
            .is_empty()
    );
}
