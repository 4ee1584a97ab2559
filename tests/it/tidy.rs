//! Rules of the repository that no compiler holds. A rule that is broken says what to do instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What lies at the top beside files whose name begins with a dot. Something new belongs into one of these.
const TOP: [&str; 12] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "actors",
    "benches",
    "conf",
    "deploy",
    "fuzz",
    "src",
    "tests",
];

/// Lines of a product file before its tests: what one can still know one's way about in.
const LINES_MAX: usize = 400;
/// Files that are longer, how long they may be, and why they are not two.
const LONGER: [(&str, usize, &str); 1] = [(
    "actors/src/registry/servicecenter/registrar.rs",
    480,
    "one state machine, from no service to a heartbeat; its states make sense together only",
)];

/// What reads bytes that a stranger wrote, and the fuzz target that does nothing else all day.
const PARSERS: [(&str, &str); 25] = [
    ("src/codec/first_bytes.rs", "first_bytes"),
    ("src/codec/first_bytes.rs", "connect_prologue"),
    ("src/codec/grpc.rs", "grpc_timeout"),
    ("src/codec/grpc.rs", "grpc_message"),
    ("src/codec/grpc.rs", "grpc_frames"),
    ("src/codec/field.rs", "request_fields"),
    ("src/codec/frames.rs", "http2_frames"),
    ("src/codec/request.rs", "request_head"),
    ("src/codec/response.rs", "response_head"),
    ("src/codec/chunked.rs", "chunked_body"),
    ("src/codec/trailers.rs", "chunked_body"),
    ("src/codec/body.rs", "split_invariance"),
    ("src/codec/response.rs", "response_sequence"),
    ("src/net/tls/records.rs", "tls_client_hello"),
    ("src/proxy/message.rs", "request_fields"),
    ("src/proxy/secure.rs", "tls_client_hello"),
    ("src/proxy/text/head.rs", "request_translation"),
    ("src/proxy/forward.rs", "whole_connection"),
    ("actors/src/registry/servicecenter/wire/find.rs", "servicecenter_answers"),
    ("actors/src/registry/servicecenter/wire/frame.rs", "servicecenter_answers"),
    ("actors/src/registry/file/format.rs", "registry_file"),
    ("actors/src/config/yaml.rs", "config_file"),
    ("actors/src/tls/pem.rs", "pem_file"),
    ("actors/src/tls/private_key.rs", "pem_file"),
    ("actors/src/config/flatten.rs", "config_file"),
];

/// Files of the repository, relative to its root.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let mut files = Vec::new();
    match listed {
        Ok(listed) if listed.status.success() => {
            let names = String::from_utf8(listed.stdout).unwrap();
            files.extend(names.split_terminator('\0').map(PathBuf::from));
            files.retain(|file| root().join(file).is_file()); // one may be deleted and not committed yet
        }
        // An unpacked archive.
        _ => walk(root(), &mut files),
    }
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        match path.is_dir() {
            // In a second work tree it is a file.
            _ if name == ".git" => {}
            true if matches!(&*name, "target" | "artifacts") => {}
            true => walk(&path, files),
            false => files.push(path.strip_prefix(root()).unwrap().to_path_buf()),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text files and what they say.
fn texts() -> Vec<(String, String)> {
    let read = |file: PathBuf| Some((name(&file), fs::read_to_string(root().join(file)).ok()?));
    files().into_iter().filter_map(read).collect()
}

fn name(file: &Path) -> String {
    file.to_string_lossy().into_owned()
}

/// Sources that end up in the binary.
fn is_product(file: &str) -> bool {
    let source = (file.starts_with("src/") || file.starts_with("actors/src/")) && file.ends_with(".rs");
    source && !file.ends_with("tests.rs") && !file.contains("/tests/")
}

/// Lines before the tests.
fn length(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

#[test]
fn no_product_file_is_longer_than_one_can_know() {
    let mut wrong = Vec::new();
    let products = texts().into_iter().filter(|(file, _)| is_product(file));
    for (file, text) in products {
        let longer = LONGER.iter().find(|(known, ..)| *known == file).map(|(_, lines, _)| *lines);
        let (lines, max) = (length(&text), longer.unwrap_or(LINES_MAX));
        if lines > max {
            wrong.push(format!("{file}: {lines} lines before its tests, {max} are allowed"));
        }
        if longer.is_some() && lines <= LINES_MAX {
            wrong.push(format!("{file}: {lines} lines; take it out of the list of longer files"));
        }
    }
    let what = "a file that grew holds two nouns: move one of them into a file of its own";
    assert!(wrong.is_empty(), "{what}\n{}", wrong.join("\n"));
}

#[test]
fn every_source_says_first_what_it_is() {
    let sources = texts().into_iter().filter(|(file, _)| file.ends_with(".rs"));
    let silent: Vec<_> = sources.filter(|(_, text)| !text.starts_with("//!")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "begin the file with `//!`: what it is, what it must not know\n{silent:#?}");
}

#[test]
fn the_top_level_has_no_more_doors() {
    let tops: BTreeSet<String> =
        files().iter().filter_map(|file| Some(file.iter().next()?.to_string_lossy().into_owned())).collect();
    let unknown: Vec<_> =
        tops.iter().filter(|top| !top.starts_with('.') && !TOP.contains(&top.as_str())).collect();
    assert!(unknown.is_empty(), "put it into one of {TOP:?}: {unknown:?}");
}

#[test]
fn nothing_is_put_off() {
    // Written in two pieces, so that this file is not found.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["unimple", "mented!("], ["to", "do!("]].map(|m| m.concat());
    let mut found = Vec::new();
    for (file, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "do it now, or file an issue and take the line out\n{}", found.join("\n"));
}

#[test]
fn no_text_knows_the_machine_it_was_written_on() {
    let mut homes = [["/ro", "ot/"], ["/wo", "rk/"], ["/Us", "ers/"]].map(|part| part.concat()).to_vec();
    homes.push(format!("{}/", root().display()));
    let mut found = Vec::new();
    for (file, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home.as_str())) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "write a path that others have too\n{}", found.join("\n"));
}

#[test]
fn every_parser_of_the_wire_is_fuzzed() {
    for (parser, target) in PARSERS {
        assert!(root().join(parser).is_file(), "{parser} has moved; the table must follow");
        let source = format!("fuzz/fuzz_targets/{target}.rs");
        assert!(root().join(&source).is_file(), "{parser} needs its fuzz target {source}");
    }
}

#[test]
fn every_fuzz_target_is_built_and_has_a_corpus_and_a_parser() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let target = path.file_stem().unwrap().to_string_lossy();
        assert!(manifest.contains(&format!("name = \"{target}\"")), "add {target} to fuzz/Cargo.toml");
        let corpus = root().join("fuzz/corpus").join(&*target);
        let inputs = fs::read_dir(&corpus).map_or(0, Iterator::count);
        assert!(inputs > 0, "put some inputs into {}", corpus.display());
        assert!(PARSERS.iter().any(|(_, known)| *known == target), "say in the table what {target} is for");
    }
}

#[test]
fn tests_do_not_count_as_lines_of_the_product() {
    assert_eq!(length("one\ntwo\n#[cfg(test)]\nmod tests {}\n"), 2);
    assert_eq!(length("one\ntwo\n"), 2);
    assert!(is_product("src/a.rs") && is_product("actors/src/a/b.rs"));
    for other in ["src/a/tests.rs", "src/a_tests.rs", "actors/src/a/tests/b.rs", "benches/a.rs", "src/a.md"] {
        assert!(!is_product(other), "{other}");
    }
}
