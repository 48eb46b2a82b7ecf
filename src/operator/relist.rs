//! Reading everything again, for a replica that begins to lead.
//!
//! A replica that stands by watches, and a watch may be behind: by seconds, where it hangs on another API server than
//! the leader did. If it led from what it knows, it might put right what the leader before it has just taken away. So
//! it asks for fresh lists, which the API server gives as of then, and waits until every kind has come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch as signal;

/// Shared by the watches and the leader.
#[derive(Clone, Debug)]
pub(super) struct Relist(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How often everything has been asked for.
    asked: signal::Sender<u64>,
    /// What each kind has been listed for, by its name.
    listed: Mutex<BTreeMap<String, u64>>,
    /// That a kind has been listed.
    news: signal::Sender<()>,
}

impl Default for Relist {
    fn default() -> Self {
        let shared =
            Shared { asked: signal::Sender::new(0), listed: Mutex::default(), news: signal::Sender::new(()) };
        Self(Arc::new(shared))
    }
}

impl Relist {
    /// A kind that takes part.
    pub(super) fn add(&self, kind: &str) -> Reader {
        self.listed().insert(kind.to_owned(), 0);
        Reader { kind: kind.to_owned(), asked: self.0.asked.subscribe(), relist: self.clone() }
    }

    /// Asks for everything.
    pub(super) fn ask(&self) {
        self.0.asked.send_modify(|asked| *asked += 1);
    }

    /// Whether everything has come that was asked for.
    pub(super) fn has_come(&self) -> bool {
        let asked = *self.0.asked.borrow();
        self.listed().values().all(|listed| *listed >= asked)
    }

    /// Waits until everything has come that was asked for.
    pub(super) async fn come(&self) {
        let mut news = self.0.news.subscribe();
        while !self.has_come() {
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn listed(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // nothing panics while it holds the lock, and each change is whole
        self.0.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of one kind.
#[derive(Debug)]
pub(super) struct Reader {
    kind: String,
    asked: signal::Receiver<u64>,
    relist: Relist,
}

impl Reader {
    /// A list begins now; what is asked for from here on asks for another.
    pub(super) fn begin(&mut self) -> u64 {
        *self.asked.borrow_and_update()
    }

    /// A list has been taken that began with this.
    pub(super) fn end(&self, begun: u64) {
        self.relist.listed().insert(self.kind.clone(), begun);
        self.relist.0.news.send_replace(());
    }

    /// Waits until another list is asked for.
    pub(super) async fn asked(&mut self) {
        if self.asked.changed().await.is_err() {
            // no one is left to ask
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_come_once_each_kind_was_listed_after_it_was_asked_for() {
        let relist = Relist::default();
        let (mut orgs, mut products) = (relist.add("PartnerOrg"), relist.add("DataProduct"));
        assert!(relist.has_come());
        // under way already: it may be older than what is asked for
        let begun = orgs.begin();
        relist.ask();
        orgs.end(begun);
        let begun = products.begin();
        products.end(begun);
        assert!(!relist.has_come());
        let begun = orgs.begin();
        orgs.end(begun);
        assert!(relist.has_come());
    }
}
