//! What is found wrong in a configuration.

use super::*;

#[test]
fn an_unknown_key_is_a_warning_that_knows_better() {
    check(
        "cse:\n  loadbalance:\n    retryOnNxt: 2\n",
        &["W0103 3:5 unknown key `retryOnNxt` in cse.loadbalance; did you mean `retryOnNext`?"],
    );
    check(
        "servcecomb: {registry: {type: file}}\n",
        &["W0103 1:25 unknown key `type` in servcecomb.registry; did you mean `servicecomb.registry.type`?"],
    );
    check("admin: true\n", &["W0103 1:1 `admin` is a group of keys, not a value"]);
}

#[test]
fn strict_makes_unknown_keys_errors_and_nothing_else() {
    let (_, mut report) = load("cse: {retry: 1, flowcontrol: {Consumer: {qps: {enabled: true}}}}\n");
    report.be_strict();
    assert_eq!((report.errors(), report.warnings()), (1, 1));
}

#[test]
fn wrong_values_are_errors_all_at_once() {
    check(
        "admin: {enable: maybe}\nmesher:\n  shards: 0\n  service: {host: localhost}\nservicecomb:\n  protocols:\n    http: {listenAddress: ':30101'}\n  registry: {refreshInterval: soon, heartbeat: {mode: pingpong}}\nlogLevel: [INFO]\nlocalHealthCheck: rest\n",
        &[
            "E0201 1:17 `admin.enable`: expected true or false, found `maybe`",
            "E0201 3:11 `mesher.shards`: expected a whole number from 1 to 256, found `0`",
            "E0201 4:19 `mesher.service.host`: expected an ip address like 127.0.0.1, found `localhost`",
            "E0201 7:27 `servicecomb.protocols.http.listenAddress`: expected an ip address and a port like 127.0.0.1:30101, found `:30101`",
            "E0201 8:31 `servicecomb.registry.refreshInterval`: expected a duration like 30 (seconds) or 1m30s, found `soon`",
            "E0201 8:55 `servicecomb.registry.heartbeat.mode`: expected one of non-keep-alive, ping-pong, found `pingpong`; did you mean `ping-pong`?",
            "E0201 9:11 `logLevel`: expected a text, found a list",
            "E0201 10:19 `localHealthCheck`: expected a list, each element after a `-`",
        ],
    );
}

#[test]
fn a_reader_and_the_check_report_one_problem() {
    let (config, mut report) = load("admin: {enable: maybe}\n");
    assert!(config.boolean("admin.enable", true, &mut report));
    assert_eq!(report.problems().len(), 1);
}

#[test]
fn what_is_not_served_yet_is_named_once() {
    check(
        "servicecomb: {protocols: {rest: {listenAddress: '127.0.0.1:40101'}}, noRefreshSchema: true}\ncse: {config: {client: {type: kie}}}\n",
        &[
            "W0301 1:34 `servicecomb.protocols.rest.listenAddress` is not served yet; mesher runs as if it were not set",
            "W0302 1:70 `servicecomb.noRefreshSchema` has no effect; it can be removed",
            "W0301 2:25 `servicecomb.config.client.type` is not served yet; mesher runs as if it were not set",
        ],
    );
}

#[test]
fn handlers_are_checked_one_by_one() {
    check(
        "servicecomb:\n  handler:\n    chain:\n      Consumer: {outgoing: 'router, bizkeeper-consumer, loadbalnce, transport'}\n      Provider: {incoming: 'oauth2,tracing-provider'}\n",
        &[
            "W0301 4:28 `servicecomb.handler.chain.Consumer.outgoing`: the handler `bizkeeper-consumer` is not served yet; the chain runs without it",
            "E0304 4:28 `servicecomb.handler.chain.Consumer.outgoing`: no handler is called `loadbalnce`; did you mean `loadbalance`?",
            "E0301 5:28 `servicecomb.handler.chain.Provider.incoming`: the handler `oauth2` is not served yet, and without it everybody would be let in; remove it to accept that",
            "W0301 5:28 `servicecomb.handler.chain.Provider.incoming`: the handler `tracing-provider` is not served yet; the chain runs without it",
            "W0203 5:28 `servicecomb.handler.chain.Provider.incoming` does not end with `transport`; mesher adds it",
        ],
    );
}

#[test]
fn a_chain_is_the_served_handlers_and_ends_with_transport() {
    let (config, _) = load(
        "servicecomb: {handler: {chain: {Consumer: {outgoing: 'router,tracing-consumer,loadbalance'}}}}\n",
    );
    let chain = |key: &str| {
        config.chain(&format!("servicecomb.handler.chain.{key}"), &["router", "loadbalance", "transport"])
    };
    assert_eq!(chain("Consumer.outgoing"), ["router", "loadbalance", "transport"]);
    assert_eq!(chain("Consumer.other"), ["router", "loadbalance", "transport"]);
}

#[test]
fn a_registry_that_is_not_served_is_an_error() {
    check(
        "servicecomb: {registry: {type: pilotv2}}\n",
        &[
            "E0301 1:32 `servicecomb.registry.type`: `pilotv2` is not served yet, and mesher would find no service without it; use servicecenter or file",
        ],
    );
    check(
        "servicecomb: {registry: {type: servicecentre}}\n",
        &[
            "E0304 1:32 `servicecomb.registry.type`: no registry is called `servicecentre`; did you mean `servicecenter`?",
        ],
    );
}

#[test]
fn addresses_of_the_registry_must_be_http_or_https_where_they_are_used() {
    check("servicecomb: {registry: {address: 'http://a:30100, b:30100, https://c:30100'}}\n", &[]);
    check(
        "servicecomb: {registry: {address: 'ftp://me:word@a'}}\n",
        &[
            "E0201 1:35 `servicecomb.registry.address`: expected addresses like http://127.0.0.1:30100, found `ftp://[redacted]@a`",
        ],
    );
    check("servicecomb: {registry: {type: file, address: 'ftp://a:30100'}}\n", &[]);
    check("servicecomb: {registry: {disabled: true, address: 'ftp://a:30100'}}\n", &[]);
}

#[test]
fn strategies_that_are_not_served_are_round_robin() {
    check(
        "cse: {loadbalance: {strategy: {name: Random}, my.svc: {strategy: {name: SessionStickiness}}}}\n",
        &[
            "W0301 1:73 `cse.loadbalance.my.svc.strategy.name`: the strategy `SessionStickiness` is not served yet; RoundRobin is used",
        ],
    );
    check(
        "cse: {loadbalance: {strategy: {name: roundrobin}}}\n",
        &[
            "E0304 1:38 `cse.loadbalance.strategy.name`: no strategy is called `roundrobin`; did you mean `RoundRobin`?",
        ],
    );
}

#[test]
fn a_misspelt_key_of_tls_is_told_from_a_service_that_is_called_so() {
    check(
        "ssl:\n  my.svc.rest.Consumer.caFlie: a\n  caFile: a\n  mode: off\n",
        &[
            "W0103 2:3 unknown key `caFlie` in ssl.my.svc.rest.Consumer; did you mean `caFile`?",
            "E0201 4:9 `ssl.mode`: expected one of disable, permissive, strict, found `off`; known are disable, permissive, strict",
        ],
    );
}

#[test]
fn a_service_without_a_name_is_an_error() {
    let (_, report) = Config::from_files(files(&[("chassis.yaml", "")]), &Sources::default());
    assert_eq!(
        report.problems()[0].to_string(),
        "E0202: `servicecomb.service.name` is not set; name the service beside this mesher in microservice.yaml"
    );
}
