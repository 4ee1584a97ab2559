//! Keeps things running: starts them from a factory, and again when they die.
//!
//! ```text
//!   started --- error | panic | ended ---> dead --- wait (doubles with each death, jittered) ---> started
//!                                            a life of Backoff::max or longer starts the doubling anew
//! ```
//!
//! actix restarts an actor that stops and catches no panic; here all three causes of death are met in one way and
//! counted apart. What must outlive a death is held by the factory, never by the life. Knows nothing of what it
//! runs; whoever drops the future of [`supervise`] ends it for good.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix::{Actor, Context};
use futures::FutureExt as _;
use serde::Serialize;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// How long to wait before starting again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait after a first death.
    pub first: Duration,
    /// Longest wait after any death; also how long a life must last to be called a good one.
    pub max: Duration,
}

/// Why a life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// It returned an error.
    Error(String),
    /// It panicked.
    Panic(String),
    /// It returned although nobody told it to.
    Ended,
}

/// What happened to a life, for whoever keeps count.
#[derive(Debug)]
pub enum Report<'d> {
    /// One begins.
    Started,
    /// One ended; the next begins after `wait`.
    Died {
        /// Why.
        death: &'d Death,
        /// Until the next.
        wait: Duration,
    },
}

/// Lives counted, a counter for each cause of death.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lives {
    /// Begun.
    pub started: u64,
    /// Ended with an error.
    pub errors: u64,
    /// Ended with a panic.
    pub panics: u64,
    /// Ended for no reason.
    pub ended: u64,
    /// The last death in words.
    pub last_death: Option<String>,
}

/// Actors that live and die together: the first to end takes the others with it, so that none is left with the
/// address of a dead one.
#[derive(Debug, Default)]
pub struct Together(JoinSet<()>);

/// Runs what `life` makes, again and again, and tells `report` each time. Never returns.
pub async fn supervise<F, L>(backoff: Backoff, mut report: impl FnMut(Report<'_>), mut life: F)
where
    F: FnMut() -> L,
    L: Future<Output = Result<(), String>>,
{
    let mut deaths = 0_u32;
    loop {
        report(Report::Started);
        let started = Instant::now();
        let death = live(&mut life).await;
        deaths = if started.elapsed() >= backoff.max { 1 } else { deaths.saturating_add(1) };
        let wait = backoff.wait(deaths, fastrand::f64());
        report(Report::Died { death: &death, wait });
        tokio::time::sleep(wait).await;
    }
}

/// One life, from the factory on.
async fn live<F, L>(life: &mut F) -> Death
where
    F: FnMut() -> L,
    L: Future<Output = Result<(), String>>,
{
    // Unwind safe: nothing of this life is looked at after its panic; what the factory shares with the next one is
    // changed in steps that each leave it whole.
    match AssertUnwindSafe(async { life().await }).catch_unwind().await {
        Ok(Ok(())) => Death::Ended,
        Ok(Err(why)) => Death::Error(why),
        Err(panic) => Death::Panic(panic_text(&*panic)),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked without a message".to_owned())
}

// === impl Backoff ===

impl Backoff {
    /// How long to wait after this many deaths in a row; `random` is in `0.0..1.0`. Between half and the whole of a
    /// time that doubles with each death up to [`Backoff::max`].
    #[must_use]
    pub fn wait(&self, deaths: u32, random: f64) -> Duration {
        let doublings = deaths.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.max);
        whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

// === impl Death ===

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(why) => f.write_str(why),
            Self::Panic(text) => write!(f, "panicked: {text}"),
            Self::Ended => f.write_str("ended without being told to"),
        }
    }
}

// === impl Lives ===

impl Lives {
    /// Counts a report.
    pub fn count(&mut self, report: &Report<'_>) {
        let Report::Died { death, .. } = report else {
            self.started += 1;
            return;
        };
        match death {
            Death::Error(_) => self.errors += 1,
            Death::Panic(_) => self.panics += 1,
            Death::Ended => self.ended += 1,
        }
        self.last_death = Some(death.to_string());
    }
}

// === impl Together ===

impl Together {
    /// Starts an actor; it lives until [`Together::first_death`] has returned or is dropped.
    pub fn add<A: Actor<Context = Context<A>>>(&mut self, ctx: Context<A>, actor: A) {
        self.0.spawn_local(ctx.into_future(actor));
    }

    /// Runs an actor whose death concerns nobody else, and counts it. That it ends when nobody has its address any
    /// more is as it should be.
    pub(crate) async fn alone<A>(ctx: Context<A>, actor: A, mut report: impl FnMut(Report<'_>))
    where
        A: Actor<Context = Context<A>>,
    {
        report(Report::Started);
        if let Err(panic) = AssertUnwindSafe(ctx.into_future(actor)).catch_unwind().await {
            let death = Death::Panic(panic_text(&*panic));
            report(Report::Died { death: &death, wait: Duration::ZERO });
        }
    }

    /// Waits for the first of them to end.
    ///
    /// # Panics
    /// With the panic of the actor that died of one.
    ///
    /// # Errors
    /// When an actor ended without one: none of them is meant to.
    pub async fn first_death(mut self) -> Result<(), String> {
        match self.0.join_next().await.map(|joined| joined.map_err(JoinError::try_into_panic)) {
            Some(Err(Ok(panic))) => std::panic::resume_unwind(panic),
            Some(Ok(()) | Err(Err(_))) => Err("an actor stopped".to_owned()),
            None => Err("there are no actors".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::cell::RefCell;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) };

    /// Runs `life` (told which life it is, from 1) until its third start, then says what was counted.
    async fn three_lives<L>(life: impl Fn(u64) -> L) -> Lives
    where
        L: Future<Output = Result<(), String>>,
    {
        let lives = Rc::new(RefCell::new(Lives::default()));
        let (count, number) = (lives.clone(), lives.clone());
        let begun = move || {
            let number = number.borrow().started;
            let life = life(number);
            async move { if number == 3 { std::future::pending().await } else { life.await } }
        };
        let forever = supervise(BACKOFF, move |report| count.borrow_mut().count(&report), begun);
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, forever).await.is_err(), "supervise must not return");
        lives.take()
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_started_again() {
        let lives = three_lives(|n| async move { Err(format!("no luck {n}")) }).await;
        let last_death = Some("no luck 2".to_owned());
        assert_eq!(lives, Lives { started: 3, errors: 2, last_death, ..Lives::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_started_again() {
        let lives = three_lives(|n| async move {
            tokio::task::yield_now().await;
            panic!("bug {n}");
        })
        .await;
        let last_death = Some("panicked: bug 2".to_owned());
        assert_eq!(lives, Lives { started: 3, panics: 2, last_death, ..Lives::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_factory_that_panics_is_tried_again() {
        let lives = three_lives(|n| {
            assert!(n == 3, "no parts for {n}");
            async { Ok(()) }
        })
        .await;
        assert_eq!((lives.started, lives.panics, lives.errors, lives.ended), (3, 2, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_untold_is_started_again() {
        let lives = three_lives(|_| async { Ok(()) }).await;
        let last_death = Some("ended without being told to".to_owned());
        assert_eq!(lives, Lives { started: 3, ended: 2, last_death, ..Lives::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_until_a_good_life_resets_them() {
        let (begun, waits) = (RefCell::new(0), Rc::new(RefCell::new(Vec::new())));
        let seen = waits.clone();
        let report = move |report: Report<'_>| {
            if let Report::Died { wait, .. } = report {
                seen.borrow_mut().push(wait);
            }
        };
        let life = || {
            *begun.borrow_mut() += 1;
            let long = if *begun.borrow() == 6 { BACKOFF.max } else { Duration::ZERO };
            async move {
                tokio::time::sleep(long).await;
                Err(String::new())
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(40), supervise(BACKOFF, report, life)).await;
        let waits = waits.borrow();
        assert!(waits[4] >= Duration::from_millis(800), "the fifth death waits up to 1.6 s: {waits:?}");
        assert!(waits[5] <= BACKOFF.first, "a long life forgives the deaths before: {waits:?}");
    }

    struct Idle;
    impl Actor for Idle {
        type Context = Context<Self>;
    }

    struct Doomed;
    impl Actor for Doomed {
        type Context = Context<Self>;
        fn started(&mut self, _: &mut Self::Context) {
            panic!("doomed");
        }
    }

    #[actix::test]
    async fn an_actor_that_panics_takes_its_companions_along_and_is_counted_as_a_panic() {
        let idle = Rc::new(RefCell::new(None));
        let kept = idle.clone();
        let death = live(&mut move || {
            let (ctx, mut together) = (Context::new(), Together::default());
            *kept.borrow_mut() = Some(actix::AsyncContext::address(&ctx));
            together.add(ctx, Idle);
            together.add(Context::new(), Doomed);
            together.first_death()
        })
        .await;
        assert_eq!(death, Death::Panic("doomed".to_owned()));
        // The companion is aborted at the next turn of the executor.
        tokio::task::yield_now().await;
        assert!(!idle.borrow().as_ref().is_some_and(actix::Addr::<Idle>::connected));
    }

    proptest! {
        #[test]
        fn a_wait_is_between_half_and_the_whole_of_its_bound(deaths: u32, random in 0.0..1.0_f64) {
            let wait = BACKOFF.wait(deaths, random);
            prop_assert!(wait >= BACKOFF.first / 2 && wait <= BACKOFF.max);
            prop_assert!(BACKOFF.wait(deaths.saturating_add(1), random) >= wait);
        }
    }
}
