//! The registry in a file: however it is changed, the change is seen within a second; what cannot be read changes
//! nothing and is told with its place.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use mesher::net::Driver;

use super::support::conf::{Conf, registry_yaml};
use super::support::mesh::{CALLER, caller, caller_conf};
use super::support::origin::Origin;
use super::support::process::{Mesher, Start};
use super::support::wait::{PATIENCE, wait_until};

/// A change is seen within this.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// What a machine under load may add to it. Together they are less than what the file is read after anyhow.
const LEEWAY: Duration = Duration::from_millis(3500);

/// Who answers for `orders`; the flag of the failure if nobody does.
fn who(mesher: &Mesher) -> String {
    let response = mesher.connect().get("orders", "http://orders/");
    match response.header("x-mesher-error") {
        Some(error) => error.split(';').next().unwrap_or_default().to_owned(),
        None => response.text().to_owned(),
    }
}

/// `expected` answers within a second of now.
#[track_caller]
fn is_seen(mesher: &Mesher, expected: &str) {
    let begun = Instant::now();
    wait_until(&format!("{expected:?} to answer"), SEEN_WITHIN + LEEWAY, || who(mesher) == expected);
    println!("seen after {:?}", begun.elapsed());
}

fn listing(address: SocketAddr) -> String {
    registry_yaml(&[("orders", &[address])])
}

fn start(address: SocketAddr) -> Mesher {
    caller(Driver::Epoll, &[("orders", &[address])])
}

#[test]
fn a_file_that_is_rewritten_in_place_is_read_again() {
    let [one, two] = ["one", "two"].map(Origin::answering);
    let mesher = start(one.address());
    assert_eq!(who(&mesher), "one");
    fs::write(mesher.conf().path().join("registry.yaml"), listing(two.address())).unwrap();
    is_seen(&mesher, "two");
    fs::write(mesher.conf().path().join("registry.yaml"), listing(one.address())).unwrap();
    is_seen(&mesher, "one");
}

#[test]
fn a_file_that_is_replaced_is_read_again() {
    let [one, two] = ["one", "two"].map(Origin::answering);
    let mesher = start(one.address());
    assert_eq!(who(&mesher), "one");
    mesher.conf().replace("registry.yaml", &listing(two.address()));
    is_seen(&mesher, "two");
    mesher.conf().replace("registry.yaml", "services: {}\n");
    is_seen(&mesher, "NC");
    mesher.conf().replace("registry.yaml", &listing(one.address()));
    is_seen(&mesher, "one");
}

/// Puts a new version of a ConfigMap in place as the kubelet does: a new directory, and `..data` renamed onto it.
fn mount(volume: &Path, version: &str, registry: &str) {
    let data = volume.join(version);
    fs::create_dir(&data).unwrap();
    fs::write(data.join("registry.yaml"), registry).unwrap();
    symlink(version, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

#[test]
fn a_config_map_that_is_swapped_is_read_again() {
    let instances = ["one", "two", "three"].map(Origin::answering);
    let volume = tempfile::tempdir().unwrap();
    mount(volume.path(), "..2030_1", &listing(instances[0].address()));
    symlink("..data/registry.yaml", volume.path().join("registry.yaml")).unwrap();
    let path = volume.path().join("registry.yaml").display().to_string();
    let conf = caller_conf(Driver::Epoll, &[]).set("chassis.yaml", "servicecomb.registry.configPath", path);
    let mesher = Start::new(conf).ready();
    assert_eq!(who(&mesher), "one");
    for (n, name) in [(1, "two"), (2, "three"), (0, "one")] {
        mount(volume.path(), &format!("..2031_{n}"), &listing(instances[n].address()));
        if n == 1 {
            fs::remove_dir_all(volume.path().join("..2030_1")).unwrap();
        }
        is_seen(&mesher, name);
    }
}

#[test]
fn a_broken_file_keeps_the_last_good_one_and_says_where_it_is_broken() {
    let [one, two] = ["one", "two"].map(Origin::answering);
    let mesher = start(one.address());
    assert_eq!(who(&mesher), "one");
    let broken = format!(
        "services:\n  orders:\n    - version: 0.0.1\n      endpoint: [\"rest://{}\"]\n",
        two.address()
    );
    mesher.conf().replace("registry.yaml", &broken);
    mesher.wait_for_output("unknown field `endpoint`");
    mesher.wait_for_output("registry.yaml:4:7");
    mesher.wait_for_output("4 |       endpoint: [\"rest://");
    mesher.wait_for_output("  |       ^");
    assert_eq!(who(&mesher), "one");
    let status = mesher.admin("/ready?verbose").unwrap();
    assert!(status.status == 200 && status.text().contains("unknown field `endpoint`"), "{}", status.text());
    mesher.conf().replace("registry.yaml", &listing(two.address()));
    is_seen(&mesher, "two");
    let status = mesher.admin("/ready?verbose").unwrap();
    assert!(!status.text().contains("unknown field"), "{}", status.text());
}

#[test]
fn every_kind_of_broken_file_leaves_the_answers_as_they_were() {
    let one = Origin::answering("one");
    let mesher = start(one.address());
    assert_eq!(who(&mesher), "one");
    let cases = [
        ("services: [", "registry.yaml:1:"),
        ("services:\n  orders:\n    - version: 1\n", "missing field `endpoints`"),
        ("services:\n  orders: []\n  orders: []\n", "`orders` is there twice"),
        ("service: {}\n", "unknown field `service`"),
    ];
    for (text, says) in cases {
        mesher.conf().replace("registry.yaml", text);
        mesher.wait_for_output(says);
        assert_eq!(who(&mesher), "one", "{text:?}");
    }
    fs::write(mesher.conf().path().join("registry.yaml"), b"services: {}\n#\xff\n").unwrap();
    mesher.wait_for_output("is not UTF-8");
    assert_eq!(who(&mesher), "one");
    fs::remove_file(mesher.conf().path().join("registry.yaml")).unwrap();
    mesher.wait_for_output("does not exist");
    assert_eq!(who(&mesher), "one");
}

#[test]
fn an_address_that_cannot_be_used_is_left_out_and_named() {
    let one = Origin::answering("one");
    let registry = format!(
        "services:\n  orders:\n    - endpoints: [\"rest//nowhere\"]\n    - endpoints: [\"rest://{}\"]\n",
        one.address()
    );
    let mesher = Start::new(caller_conf(Driver::Epoll, &[]).file("registry.yaml", &registry)).ready();
    assert_eq!([who(&mesher), who(&mesher)], ["one", "one"]);
    mesher.wait_for_output("address \"rest//nowhere\" is skipped");
    mesher.wait_for_output("registry.yaml:3:");
}

#[test]
fn without_the_file_mesher_serves_says_why_it_is_not_ready_and_gets_ready_when_it_comes() {
    let one = Origin::answering("one");
    let conf = caller_conf(Driver::Epoll, &[]);
    fs::remove_file(conf.path().join("registry.yaml")).unwrap();
    let mesher = Start::new(conf).spawn();
    wait_until("the reason to be told", PATIENCE, || {
        mesher.admin("/ready").is_some_and(|r| r.status == 503 && r.text().contains("does not exist"))
    });
    assert_eq!(mesher.admin("/live").unwrap().status, 200);
    mesher.conf().replace("registry.yaml", &listing(one.address()));
    wait_until("it to be ready", SEEN_WITHIN + LEEWAY, || mesher.admin("/ready").unwrap().status == 200);
    is_seen(&mesher, "one");
}

#[test]
fn a_change_loses_no_request_that_is_under_way() {
    let [one, two] = ["one", "two"].map(Origin::answering);
    let mesher = start(one.address());
    let mut client = mesher.connect();
    let mut changes = 0;
    while changes < 6 {
        let next = if changes % 2 == 0 { &two } else { &one };
        mesher.conf().replace("registry.yaml", &listing(next.address()));
        let before = next.requests();
        wait_until("the change", SEEN_WITHIN + LEEWAY, || {
            assert_eq!(client.get("orders", "http://orders/").status, 200);
            next.requests() > before
        });
        changes += 1;
    }
}

#[test]
fn application_environment_and_status_decide_who_is_called() {
    let instances = ["mine", "other app", "other environment", "down"].map(Origin::answering);
    let [mine, app, environment, down] = instances.each_ref().map(Origin::address);
    let registry = format!(
        "services:\n  orders:\n\
         \x20   - endpoints: [\"rest://{mine}\"]\n\
         \x20   - {{app: shop, endpoints: [\"rest://{app}\"]}}\n\
         \x20   - {{environment: testing, endpoints: [\"rest://{environment}\"]}}\n\
         \x20   - {{status: DOWN, endpoints: [\"rest://{down}\"]}}\n"
    );
    let mesher = Start::new(Conf::sidecar(CALLER).file("registry.yaml", &registry)).ready();
    assert_eq!([(); 6].map(|()| who(&mesher)), ["mine"; 6]);
}
