//! Where files are looked for, and those that cannot be read.

use super::*;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn conf(dir: &Path, version: &str) {
    write(dir, "chassis.yaml", &format!("servicecomb: {{service: {{version: {version}}}}}\n"));
    write(dir, "microservice.yaml", NAMED);
}

#[test]
fn directories_are_looked_into_in_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut sources = Sources { cwd: at("cwd"), exe_dir: Some(at("exe")), ..Sources::default() };
    let version =
        |sources: &Sources| Config::load(sources).unwrap().0.text("servicecomb.service.version").unwrap();

    let nothing = Config::load(&sources).unwrap_err().to_string();
    assert!(nothing.contains("cwd/conf") && nothing.contains("exe/conf"), "{nothing}");
    conf(&at("exe/conf"), "exe");
    assert_eq!(version(&sources), "exe");
    conf(&at("cwd/conf"), "cwd");
    assert_eq!(version(&sources), "cwd");
    conf(&at("home/conf"), "home");
    sources.env = vec![("CHASSIS_HOME".into(), at("home").display().to_string())];
    assert_eq!(version(&sources), "home");
    conf(&at("dir"), "dir");
    sources.env.push(("CHASSIS_CONF_DIR".into(), at("dir").display().to_string()));
    assert_eq!(version(&sources), "dir");
    let mesher = write(&at("flag"), "mesher.yaml", "mesher: {shards: 7}\n");
    sources.dir_flag = Some(mesher.clone());
    assert_eq!(version(&sources), "dir", "mesher.yaml may lie apart from the other files");
    assert_eq!(Config::load(&sources).unwrap().0.text("mesher.shards").as_deref(), Some("7"));
    conf(&at("flag"), "flag");
    assert_eq!(version(&sources), "flag");
    sources.dir_flag = Some(at("flag"));
    assert_eq!(version(&sources), "flag");
    assert_eq!(Config::load(&sources).unwrap().0.files().last(), Some(&mesher));
}

#[test]
fn a_named_directory_is_taken_as_it_is_and_what_it_lacks_is_told() {
    let root = tempfile::tempdir().unwrap();
    conf(&root.path().join("conf"), "1");
    let lacking = root.path().join("lacking");
    write(&lacking, "router.yaml", "");
    let sources = Sources { cwd: root.path().into(), dir_flag: Some("lacking".into()), ..Sources::default() };
    let (_, report) = Config::load(&sources).unwrap();
    let missing = format!("chassis.yaml is missing in {}", lacking.display());
    assert!(report.problems().iter().any(|p| p.message == missing), "{}", report.render(false));
    let sources = Sources { dir_flag: Some("nowhere".into()), ..sources };
    assert!(matches!(Config::load(&sources), Err(ConfigError::NoSuchPath(_))));
}

#[test]
fn files_that_cannot_be_read_are_told_and_the_rest_is_checked() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    conf(dir, "1");
    fs::write(dir.join("tls.yaml"), b"a: \xff\n").unwrap();
    fs::create_dir(dir.join("auth.yaml")).unwrap();
    write(dir, "router.yaml", &"# long\n".repeat(200_000));
    write(dir, "mesher.yaml", "admin: [\n");
    write(dir, "lager.yaml", "logColorMode: loud\n");
    let sources = Sources { dir_flag: Some(dir.into()), ..Sources::default() };
    let (_, report) = Config::load(&sources).unwrap();
    let text = report.render(false);
    for part in [
        "not UTF-8 at byte 3",
        "not a regular file",
        "larger than 1048576 bytes",
        "mesher.yaml:2:1",
        "found `loud`",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(report.errors(), 5);
}
