//! What follows when files change while mesher runs.

use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::status::StatusBoard;
use crate::tls::Keeper;

/// For something to be noticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A keeper and what it tells.
struct Kept {
    status: Arc<StatusBoard>,
    news: flume::Receiver<Tls>,
    keeper: Keeper,
}

impl Kept {
    fn start(tls: &Tls) -> Self {
        let (tell, news) = flume::unbounded();
        let status = StatusBoard::new();
        let changed = Box::new(move |tls| tell.send(tls).unwrap());
        let keeper = Keeper::start(tls.clone(), status.clone(), changed).unwrap();
        let kept = Self { status, news, keeper };
        kept.wait("it to begin", |status| !status.certificates.is_empty());
        kept
    }

    #[track_caller]
    fn next(&self) -> Tls {
        self.news.recv_timeout(PATIENCE).expect("nothing was told in time")
    }

    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&crate::status::Status) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !holds(&self.status.read()) {
            assert!(std::time::Instant::now() < deadline, "waited for {what}: {:?}", self.status.read());
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_new_certificate_is_taken_up_and_what_did_not_change_stays_the_same() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue_until(&["orders"], 2080)).write("ca.crt", &authority.pem);
    let old = home.good(&format!("{LISTENER}{VERIFIED}"));
    let kept = Kept::start(&old);
    home.put("me", &authority.issue_until(&["orders"], 2085));
    let new = kept.next();
    assert!(ends(&new) > ends(&old));
    let (old_table, new_table) = (old.table(), new.table());
    assert_ne!(new_table.external, old_table.external);
    assert_eq!(new_table.rest, old_table.rest, "sessions of clients live on");
    assert!(shake(&external(&new), &rest(&old, "orders")).is_ok());
    kept.wait("the new end", |status| status.certificates == new.expiries());
}

#[test]
fn a_config_map_that_is_swapped_is_noticed() {
    let (home, authority) = (Home::new(), Authority::new());
    home.write("ca.crt", &authority.pem);
    for (dir, year) in [("..1", 2080), ("..2", 2085)] {
        fs::create_dir(home.path().join(dir)).unwrap();
        let issued = authority.issue_until(&["orders"], year);
        home.write(&format!("{dir}/me.crt"), &issued.certificate)
            .write(&format!("{dir}/me.key"), &issued.key);
    }
    symlink("..1", home.path().join("..data")).unwrap();
    for name in ["me.crt", "me.key"] {
        symlink(format!("..data/{name}"), home.path().join(name)).unwrap();
    }
    let old = home.good(LISTENER);
    let kept = Kept::start(&old);
    symlink("..2", home.path().join("..data_tmp")).unwrap();
    fs::rename(home.path().join("..data_tmp"), home.path().join("..data")).unwrap();
    assert!(ends(&kept.next()) > ends(&old));
}

#[test]
fn a_broken_file_keeps_the_last_good_one_and_says_so() {
    let (home, authority) = (Home::new(), Authority::new());
    let good = authority.issue(&["orders"]);
    home.put("me", &good).write("ca.crt", &authority.pem);
    let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
    let kept = Kept::start(&tls);
    home.write("me.crt", "-----BEGIN CERT");
    kept.wait("the fault", |status| {
        status.certificate_faults.iter().any(|fault| fault.starts_with("`ssl.me.rest.Provider.certFile`"))
    });
    home.write("me.crt", &good.certificate);
    kept.wait("its end", |status| status.certificate_faults.is_empty());
    assert!(kept.news.is_empty(), "nothing has changed");
    // A fault of one tag does not keep another from being renewed.
    home.write("me.crt", "").write("ca.crt", &Authority::new().pem);
    let new = kept.next();
    assert_eq!(new.table().external, tls.table().external);
    assert!(shake(&external(&new), &rest(&new, "orders")).is_err());
}

#[test]
fn a_configuration_that_was_read_again_is_watched_from_then_on() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).put("you", &authority.issue_until(&["me"], 2080));
    let old = home.good(LISTENER);
    let kept = Kept::start(&old);
    let fresh = home.good("ssl.me.rest.Provider: {certFile: you.crt, keyFile: you.key}\n");
    kept.keeper.replace(fresh.keeping(&old));
    kept.wait("the other file", |status| status.certificates.iter().all(|e| e.file.ends_with("you.crt")));
    home.put("you", &authority.issue_until(&["me"], 2085));
    kept.next();
}

#[test]
fn a_reload_keeps_what_says_the_same() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("ca.crt", &authority.pem);
    let old = home.good(&format!("{LISTENER}{VERIFIED}"));
    let again = home.good(&format!("{LISTENER}{VERIFIED}"));
    assert_ne!(again.table(), old.table());
    assert_eq!(again.keeping(&old).table(), old.table());
}

#[test]
fn expiries_are_those_of_the_first_to_end_of_a_chain_and_the_last_of_those_to_trust() {
    let (home, authority) = (Home::new(), Authority::new());
    let issued = |year| authority.issue_until(&["me"], year).certificate;
    let me = authority.issue_until(&["me"], 2080);
    home.write("me.crt", &[me.certificate, issued(2070)].concat()).write("me.key", &me.key);
    home.write("ca.crt", &[issued(2020), issued(2085)].concat());
    let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
    let year = |name: &str| {
        let expiries = tls.expiries();
        let at = expiries.iter().find(|expiry| expiry.file.ends_with(name)).unwrap().not_after_s;
        time::OffsetDateTime::from_unix_timestamp(at).unwrap().year()
    };
    assert_eq!((year("me.crt"), year("ca.crt")), (2070, 2085));
}
