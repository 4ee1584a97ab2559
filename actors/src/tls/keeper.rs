//! Keeps what is made of certificates as new as their files.
//!
//! ```text
//!   directories ~~~> look: read all files, make the parts that changed ──> changed(new Tls)
//!   Keeper::replace ────> (a reload of the configuration)                  broken file: said once, last good part stays
//!                         expiries: told at each change, and twice a day
//! ```
//!
//! On a thread of its own, since an encrypted key may take a second to read. Supervised like everything else: what
//! outlives a panic is in [`Kept`].

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::all::Tls;
use super::fault::Fault;
use crate::file_watch::{Directories, NextLook, SECOND_LOOK};
use crate::status::StatusBoard;
use crate::supervisor::{Backoff, Report, supervise};

/// How often it is said that a certificate ends soon.
const EXPIRY_TOLD_EVERY: Duration = Duration::from_secs(12 * 3600);
/// Reloads that may wait; they are made by people.
const ORDERS_WAITING_MAX: usize = 16;
/// Between two lives, after a bug.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// Who is told of new configurations; called on the keeper's thread.
pub type Changed = Box<dyn FnMut(Tls) + Send>;

/// A thread that watches certificates. Dropping it stops it.
#[derive(Debug)]
pub struct Keeper {
    orders: Option<flume::Sender<Tls>>,
    thread: Option<JoinHandle<()>>,
}

/// What outlives a death.
struct Kept {
    tls: Tls,
    /// The last faults, so that they are not said with each look.
    faults: Vec<Fault>,
    changed: Changed,
    status: Arc<StatusBoard>,
}

// === impl Keeper ===

impl Keeper {
    /// Watches the files of `tls`, which is in force already, and tells `changed` of what follows it.
    ///
    /// # Errors
    /// When the system refuses a thread or its event loop.
    pub fn start(tls: Tls, status: Arc<StatusBoard>, changed: Changed) -> io::Result<Self> {
        let (orders, given) = flume::bounded(ORDERS_WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name("tls".to_owned()).spawn(move || {
            let kept = Rc::new(RefCell::new(Kept { tls, faults: Vec::new(), changed, status }));
            runtime.block_on(keep(&kept, &given));
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Goes over to what was made of a configuration that was read again, and is in force already.
    pub fn replace(&self, tls: Tls) {
        if self.orders.as_ref().is_none_or(|orders| orders.try_send(tls).is_err()) {
            error!("the thread that watches certificates is stuck; it goes on with the old configuration");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            error!("the thread that watches certificates panicked");
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Takes what was made elsewhere.
    fn replace(&mut self, tls: Tls) {
        self.tls = tls;
        self.faults.clear();
        self.show();
    }

    /// Reads the files. False if some cannot be used: a writer may be in the middle of them.
    fn look(&mut self, is_last_word: bool) -> bool {
        let (fresh, faults) = self.tls.renewed();
        if !faults.is_empty() && !is_last_word {
            return false;
        }
        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
            warn!(%fault, "a certificate cannot be renewed; the last good one stays");
        }
        let tags = fresh.changed_since(&self.tls);
        if faults.is_empty() && !self.faults.is_empty() {
            info!("all certificates and keys can be used again");
        }
        let is_news = faults != self.faults || !tags.is_empty();
        self.faults = faults;
        self.tls = fresh;
        if !tags.is_empty() {
            info!(tags = tags.join(", "), "certificates renewed");
            (self.changed)(self.tls.clone());
            self.tell_expiries();
        }
        if is_news {
            self.show();
        }
        true
    }

    fn show(&self) {
        let certificates = self.tls.expiries();
        let faults = self.faults.iter().map(ToString::to_string).collect();
        self.status.update(|status| {
            status.certificates = certificates;
            status.certificate_faults = faults;
        });
    }

    fn tell_expiries(&self) {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        self.tls.expiries().iter().for_each(|expiry| expiry.tell(now_s));
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.files().into_iter().collect()
    }
}

/// Returns when the keeper is dropped.
async fn keep(kept: &Rc<RefCell<Kept>>, orders: &flume::Receiver<Tls>) {
    let status = kept.borrow().status.clone();
    let report = |report: Report<'_>| {
        if let Report::Died { death, wait } = &report {
            error!(%death, ?wait, "the watch on certificates died and is started again; this is a bug");
        }
        status.count("certificates", &report);
    };
    let (ended, end) = flume::bounded(1);
    let lives = supervise(BACKOFF, report, || live(kept.clone(), orders.clone(), ended.clone()));
    futures::pin_mut!(lives);
    futures::future::select(lives, end.into_recv_async()).await;
}

/// One life. Says so when the keeper is dropped.
async fn live(
    kept: Rc<RefCell<Kept>>,
    orders: flume::Receiver<Tls>,
    ended: flume::Sender<()>,
) -> Result<(), String> {
    let mut directories = Directories::new("certificates");
    let watch = |directories: &mut Directories| {
        directories.watch(kept.borrow().files().iter().map(|file| -> &Path { file }));
    };
    watch(&mut directories);
    kept.borrow().show();
    kept.borrow().tell_expiries();
    let mut next_look = NextLook::after(Instant::now());
    // A file may have changed between its being read and its being watched.
    next_look.something_happened(Instant::now());
    let mut told_at = Instant::now();
    loop {
        tokio::select! {
            order = orders.recv_async() => match order {
                Ok(tls) => {
                    kept.borrow_mut().replace(tls);
                    watch(&mut directories);
                    kept.borrow().tell_expiries();
                }
                Err(_) => {
                    // Whoever waits for it drops this life.
                    let _ = ended.try_send(());
                    return std::future::pending().await;
                }
            },
            () = directories.happened() => next_look.something_happened(Instant::now()),
            () = sleep_until(next_look.at) => {
                watch(&mut directories);
                if !kept.borrow_mut().look(false) {
                    sleep(SECOND_LOOK).await;
                    kept.borrow_mut().look(true);
                }
                next_look = NextLook::after(Instant::now());
            }
            () = sleep_until(told_at + EXPIRY_TOLD_EVERY) => {
                kept.borrow().tell_expiries();
                told_at = Instant::now();
            }
        }
    }
}
