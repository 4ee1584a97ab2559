//! Upgrades that fail leave the old process serving; one whose old process fails goes through.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::{Signal, kill_process};

use super::super::support::conf::Conf;
use super::super::support::net::free_address;
use super::super::support::origin::Origin;
use super::super::support::process::{Start, code};
use super::super::support::wait::PATIENCE;
use super::dynasty::{Dynasty, field, quick};

#[test]
fn a_broken_configuration_leaves_the_old_process_serving_and_says_why() {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    let mut client = mesher.founder.connect();
    assert_eq!(client.get("orders", "/").status, 200);
    mesher.founder.conf_mut().change("mesher.yaml", "mesher.drain.graceSeconds", "soon");
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("upgrade failed; this process serves on");
    let output = mesher.founder.output();
    let error = output.lines().find(|line| line.contains("upgrade failed")).unwrap();
    assert!(error.contains("mesher.drain.graceSeconds") && error.contains("mesher.yaml:"), "{error}");
    assert_eq!(client.get("orders", "/").status, 200, "on the same connection");
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.founder.admin("/ready").unwrap().status, 200);

    mesher.founder.conf_mut().change("mesher.yaml", "mesher.drain.graceSeconds", "150ms");
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_outputs("mesher runs", 2);
    mesher.founder.wait_for_output("upgraded; draining");
    assert_eq!(code(mesher.founder.wait(PATIENCE)), 0);
    mesher.crown_next().unwrap();
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
}

#[test]
fn a_program_that_does_not_start_leaves_the_old_process_serving_and_a_link_is_followed_anew() {
    let origin = Origin::answering("hello");
    let conf = quick(Conf::sidecar("caller")).services(&[("orders", &[origin.address()])]);
    let link = conf.path().join("mesher");
    let point_to = |target: &Path| {
        let staged = link.with_extension("new");
        symlink(target, &staged).unwrap();
        std::fs::rename(staged, &link).unwrap();
    };
    let real = Path::new(env!("CARGO_BIN_EXE_mesher"));
    point_to(real);
    let mut mesher = Dynasty::found(Start::new(conf).program(&link));
    for (target, why) in
        [("/bin/false", "exit status: 1"), ("/dev/null/nothing", "there is no such file any more")]
    {
        point_to(Path::new(target));
        mesher.signal(Signal::USR2);
        mesher.founder.wait_for_output(why);
        assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    }
    point_to(real);
    let failed = mesher.founder.output().matches("upgrade failed").count();
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("upgraded; draining");
    assert_eq!(code(mesher.founder.wait(PATIENCE)), 0);
    let output = mesher.founder.output();
    assert_eq!(output.matches("upgrade failed").count(), failed);
    mesher.crown_next().unwrap();
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
}

#[test]
fn a_new_process_that_dies_when_it_should_serve_leaves_the_old_one_serving_with_its_admin() {
    let origin = Origin::answering("hello");
    let conf = quick(Conf::sidecar("caller")).services(&[("orders", &[origin.address()])]);
    let link = conf.path().join("mesher");
    symlink(env!("CARGO_BIN_EXE_mesher"), &link).unwrap();
    let mesher = Dynasty::found(Start::new(conf).program(&link));
    let script = "#!/bin/sh\nprintf '{\"ready\":{\"keeps_instance\":true}}\\n' >&0\nread -r order\nexit 3\n";
    mesher.founder.conf().replace("impostor", script);
    let impostor = mesher.founder.conf().path().join("impostor");
    std::fs::set_permissions(&impostor, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&impostor, &link).unwrap();
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("upgrade failed; this process serves on");
    let output = mesher.founder.output();
    assert!(output.contains("it ended before it was ready: exit status: "), "{output}");
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.founder.admin("/ready").unwrap().status, 200);
}

#[test]
fn a_new_process_whose_old_one_is_killed_takes_over() {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_outputs("registry file read", 2);
    // Two processes write it, in no order.
    mesher.founder.wait_for_output("a new process gets ready");
    let output = mesher.founder.output();
    let begun = output.lines().find(|line| line.contains("a new process gets ready")).unwrap();
    mesher.heirs.push(field(begun, "pid="));
    mesher.founder.kill();
    mesher.founder.wait_for_outputs("mesher runs", 2);
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.founder.admin("/ready").unwrap().status, 200);
}

#[test]
fn a_new_process_that_is_not_ready_in_time_is_ended_and_a_second_signal_is_refused() {
    let nobody = free_address();
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    mesher.founder.conf_mut().change("mesher.yaml", "mesher.upgrade.readySeconds", "1s");
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.type", "servicecenter");
    let address = format!("http://{nobody}");
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.address", address);
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("a new process gets ready");
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("an upgrade is under way already");
    mesher.founder.wait_for_output("upgrade failed; this process serves on");
    let output = mesher.founder.output();
    let error = output.lines().find(|line| line.contains("upgrade failed")).unwrap();
    assert!(error.contains("not ready within 1s") && error.contains(&nobody.to_string()), "{error}");
    let begun = output.lines().find(|line| line.contains("a new process gets ready")).unwrap();
    assert!(kill_process(field(begun, "pid="), Signal::CONT).is_err(), "it is ended");
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
}

#[test]
fn a_shutdown_during_an_upgrade_ends_both() {
    let mut mesher = Dynasty::sidecar("auto", &[]);
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.type", "servicecenter");
    let address = format!("http://{}", free_address());
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.address", address);
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("a new process gets ready");
    mesher.signal(Signal::TERM);
    assert_eq!(code(mesher.founder.wait(PATIENCE)), 0);
    let output = mesher.founder.output();
    let begun = output.lines().find(|line| line.contains("a new process gets ready")).unwrap();
    assert!(kill_process(field(begun, "pid="), Signal::CONT).is_err(), "it is ended");
}
