//! Whether service-center answers, as the watcher is told. Pure.
//!
//! Registering and finding fail apart: with its store in trouble service-center still finds, from its cache. It
//! counts as reachable when neither fails, so that the word does not change with every call.

/// What calls are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Our own registration.
    Registering,
    /// Other services.
    Finding,
}

/// How both kinds of work went last.
#[derive(Debug, Default)]
pub(super) struct Reach {
    registering: Option<String>,
    finding: Option<String>,
    told: Option<Result<(), String>>,
}

impl Reach {
    /// Notes how a call went, or that this work is no longer done. True if it failed before and does not now.
    pub(super) fn note(&mut self, work: Work, failure: Option<String>) -> bool {
        let last = match work {
            Work::Registering => &mut self.registering,
            Work::Finding => &mut self.finding,
        };
        let failed = std::mem::replace(last, failure).is_some();
        failed && last.is_none()
    }

    /// What is to be told, if it differs from what was told last.
    pub(super) fn news(&mut self) -> Option<Result<(), String>> {
        let failure = self.registering.as_ref().or(self.finding.as_ref());
        let reachable = failure.map_or(Ok(()), |why| Err(why.clone()));
        (self.told.as_ref() != Some(&reachable)).then(|| self.told.insert(reachable).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_per_change() {
        let mut reach = Reach::default();
        reach.note(Work::Finding, None);
        assert_eq!(reach.news(), Some(Ok(())));
        assert_eq!(reach.news(), None);
        reach.note(Work::Finding, Some("refused".into()));
        assert_eq!(reach.news(), Some(Err("refused".into())));
        reach.note(Work::Finding, Some("refused".into()));
        assert_eq!(reach.news(), None);
    }

    #[test]
    fn one_kind_of_work_going_well_does_not_hide_that_the_other_fails() {
        let mut reach = Reach::default();
        reach.note(Work::Registering, Some("refused".into()));
        assert_eq!(reach.news(), Some(Err("refused".into())));
        assert!(!reach.note(Work::Finding, None));
        assert_eq!(reach.news(), None);
        assert!(reach.note(Work::Registering, None), "now it is back");
        assert_eq!(reach.news(), Some(Ok(())));
    }
}
