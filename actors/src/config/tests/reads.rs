//! Values as they are read by type.

use super::*;

#[test]
fn typed_reads_give_values_or_defaults() {
    let text = "admin: {enable: 'off'}\nmesher: {limit: {headers: '64'}, drain: {graceSeconds: 250ms}, service: {host: 127.0.0.2}}\n\
                servicecomb: {protocols: {http: {listenAddress: '127.0.0.1:0'}}}\n";
    let (config, mut report) = load(text);
    let report = &mut report;
    assert!(!config.boolean("admin.enable", true, report));
    assert!(config.boolean("net.polling", true, report));
    assert_eq!(config.integer("mesher.limit.headers", 8..=4096, 128, report), 64);
    let seconds = |key: &str, default, report: &mut Report| {
        config.duration(key, Unit::Seconds, Duration::from_secs(default), report)
    };
    assert_eq!(seconds("mesher.drain.graceSeconds", 5, report), Duration::from_millis(250));
    assert_eq!(seconds("mesher.drain.timeoutSeconds", 25, report), Duration::from_secs(25));
    assert_eq!(
        config.socket("servicecomb.protocols.http.listenAddress", report),
        Some(([127, 0, 0, 1], 0).into())
    );
    assert_eq!(config.ip("mesher.service.host", report), Some([127, 0, 0, 2].into()));
    assert!(report.is_empty());
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "`admin.enable` is read with the default false and shown with Some(true)")]
fn a_default_that_differs_from_the_table_is_noticed() {
    let (config, mut report) = load("");
    config.boolean("admin.enable", false, &mut report);
}
