//! How a problem is shown.

use super::*;

#[test]
fn a_problem_shows_its_line_a_caret_and_what_was_meant() {
    let (_, report) = load("cse:\n  loadbalance:\n    retryOnNxt: 2 # twice\n");
    let expected = "  warning[W0103]: unknown key `retryOnNxt` in cse.loadbalance
   ╭─[/conf/chassis.yaml:3:5]
 3 │     retryOnNxt: 2 # twice
   ·     ─────┬────
   ·          ╰── did you mean `retryOnNext`?
   ╰────
1 warning
";
    assert_eq!(report.render(false), expected);
    assert!(report.render(true).contains("\x1b["));
}

#[test]
fn a_file_with_old_ends_of_lines_is_told_the_right_line_without_a_drawing() {
    let (_, report) = load("a: 1\rnet: {driver: epoll}\r\nretries: 1\nlogLevel: info\r\n");
    let text = report.render(false);
    assert!(text.contains("unknown key `retries`") && text.contains("chassis.yaml:3:1)"), "{text}");
    assert!(!text.contains("─["), "{text}");
}

#[test]
fn both_places_of_a_duplicate_are_shown() {
    let (_, report) = load("a.b: 1\nnet: {polling: true}\na: {b: 2}\n");
    let text = report.render(false);
    assert!(text.contains("error[E0105]: the key `a.b` stands here twice"), "{text}");
    assert!(text.contains("first here") && text.contains("keep one of the two"), "{text}");
    let (_, report) = load(&format!("net: {{polling: true}}\n{}net: {{}}\n", "# line\n".repeat(50)));
    let text = report.render(false);
    assert!(text.contains("first here") && text.lines().count() < 20, "{text}");
}

#[test]
fn a_secret_is_not_shown_anywhere() {
    let text = "cse:\n  credentials:\n    secretKey: s3cr3t\nlocalHealthCheck:\n- {port: 1, token: s3cr3t}\n";
    let (config, report) = load(text);
    assert_eq!(report.warnings(), 1);
    assert!(!report.render(false).contains("s3cr3t"), "{}", report.render(false));
    assert!(!report.to_json().to_string().contains("s3cr3t"));
    let shown: Vec<_> = config.entries().into_iter().map(|e| format!("{} {}", e.key, e.value)).collect();
    assert!(shown.contains(&"servicecomb.credentials.secretKey [redacted]".to_owned()), "{shown:?}");
    assert!(shown.contains(&r#"localHealthCheck [{"port":1,"token":"[redacted]"}]"#.to_owned()), "{shown:?}");
}

#[test]
fn a_secret_is_not_shown_beside_a_mistake_in_the_same_line() {
    let (_, report) = load("cse: {credentials: {secretKey: s3cr3t, acessKey: x}, nmae: y}\n");
    assert_eq!(report.warnings(), 3);
    let text = report.render(false);
    assert!(
        !text.contains("s3cr3t") && text.contains("unknown key `nmae` in cse (/conf/chassis.yaml:1:54)"),
        "{text}"
    );
}

#[test]
fn problems_from_elsewhere_than_files_name_their_source() {
    let (_, report) = load_with("", &[("PAAS_CSE_SC_ENDPOINT", "ftp://a:1")], &[("mesher.shards", "x")]);
    let text = report.render(false);
    assert!(text.contains("found `x` (command line (mesher.shards))"), "{text}");
    assert!(text.contains("(environment variable PAAS_CSE_SC_ENDPOINT)"), "{text}");
}

#[test]
fn entries_show_defaults_too() {
    let (config, _) = load("net: {driver: epoll}\n");
    let shown = |key: &str| {
        config.entries().into_iter().find(|e| e.key == key).map(|e| (e.value, e.origin.to_string()))
    };
    assert_eq!(shown("net.driver"), Some(("epoll".into(), "/conf/chassis.yaml:1:15".into())));
    assert_eq!(shown("net.polling"), Some(("true".into(), "default".into())));
    let keys: Vec<String> = config.entries().into_iter().map(|e| e.key).collect();
    assert!(keys.is_sorted());
}

#[test]
fn problems_are_bounded_and_an_error_is_never_crowded_out() {
    let mut text: String = (0..1500).map(|n| format!("unknown{n}: 1\n")).collect();
    text.push_str("zzz: &a [*a]\nlogLevel: x\n");
    let (_, report) = load(&text);
    assert_eq!(report.errors(), 1);
    let text: String =
        (0..1500).map(|n| format!("unknown{n}: 1\n")).chain(["net: {polling: x}\n".to_owned()]).collect();
    let (_, report) = load(&text);
    assert_eq!((report.errors(), report.warnings()), (1, 1000));
}
