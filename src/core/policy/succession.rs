//! Whether an agreement has been replaced by another one. A fact once reached stays: it is judged from specs and
//! signatures at every past moment, and undone by nothing that becomes of the successor.
//!
//! Source: design, section 3, *Supersession*.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::dates::{openings, written_dates};
use super::signing::{Signing, party_state, standing_signed};
use crate::model::{Agreement, Model, Remembered, Successor, Words};
use concordat_api::{ObjectRef, OrgState, PartyRole, SignatureState, Standing, SupersededFor};

/// What is left of an agreement after its successors.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Succession {
    /// The agreement that has replaced it as a whole, or of which it says so itself.
    pub by: Option<ObjectRef>,
    /// The same as objects show it or have shown it, which its status remembers: not what it says itself, which closes as
    /// long as it stands.
    pub shown: Option<ObjectRef>,
    /// The Controllers whose flows have ended here, each with the agreement that it has gone over to.
    pub ended: BTreeMap<String, ObjectRef>,
    /// The Controllers that have withdrawn from a successor, each with that one. It closes what they share here, and what
    /// they receive.
    pub withdrawn: BTreeMap<String, ObjectRef>,
    /// Those of them who may have withdrawn: what they have said cannot be used.
    pub in_doubt: BTreeSet<String>,
    /// When the next one that would replace it starts, if that lies ahead.
    pub starts: Option<Timestamp>,
    pub ahead: Ahead,
}

/// What successors will do to an agreement, everything else staying as it is: the first moment of each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ahead {
    /// One replaces it as a whole.
    pub by: Option<Timestamp>,
    /// A Controller goes over.
    pub ended: BTreeMap<String, Timestamp>,
    /// A Controller has withdrawn from one.
    pub withdrawn: BTreeMap<String, Timestamp>,
}

impl Ahead {
    /// When what one organisation shares with another ends.
    pub(super) fn ends(&self, controller: &str, recipient: &str) -> Option<Timestamp> {
        let Self { by, ended, withdrawn } = self;
        let of_one = [ended.get(controller), withdrawn.get(controller), withdrawn.get(recipient)];
        of_one.into_iter().flatten().copied().chain(*by).min()
    }
}

fn sooner(moments: &mut BTreeMap<String, Timestamp>, org: String, at: Timestamp) {
    let known = moments.entry(org).or_insert(at);
    *known = at.min(*known);
}

/// Why one organisation's flows have ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended<'a> {
    /// It has gone over to this agreement.
    GoneOver(&'a ObjectRef),
    /// It has withdrawn from this one, which replaces or would replace the old.
    Withdrawn(&'a ObjectRef),
    /// It may have.
    InDoubt(&'a ObjectRef),
}

impl Ended<'_> {
    /// Why the flows of `org` have ended here.
    pub(super) fn reason(self, org: &str) -> String {
        match self {
            Self::Withdrawn(by) => {
                format!("`{org}` has withdrawn from `{by}`, which replaces this agreement")
            }
            Self::InDoubt(by) => format!(
                "what `{org}` has said of `{by}`, which replaces this agreement, cannot be used and may be a withdrawal"
            ),
            Self::GoneOver(by) => format!("`{by}` has replaced this agreement for `{org}`"),
        }
    }

    /// The agreement that has taken the place of this one, or would.
    pub(super) fn by(&self) -> &ObjectRef {
        let (Self::GoneOver(by) | Self::Withdrawn(by) | Self::InDoubt(by)) = self;
        by
    }
}

/// Who took part in a successor at a moment of its life.
#[derive(Debug)]
pub(super) struct TookPart {
    /// Who had signed it.
    pub(super) signed: BTreeSet<String>,
    /// Who of those was in it: with `accession`, a rule may keep some out.
    pub(super) members: BTreeSet<String>,
}

/// What can be asked about a successor at a moment of its life: who took part, if it was in force.
pub(super) type InForce<'a> = dyn Fn(&Agreement, Timestamp, Signing) -> Option<TookPart> + 'a;

/// Looks at everything that says it replaces `old`.
pub(super) fn succession(
    model: &Model,
    old: &Agreement,
    now: Timestamp,
    signing: Signing,
    in_force: &InForce<'_>,
) -> Succession {
    let Remembered { superseded_by, superseded_for, loaded: _ } = &old.remembered;
    let mut found = Succession { by: superseded_by.clone(), ..Succession::default() };
    for SupersededFor { org, by, withdrawn } in superseded_for {
        if !withdrawn {
            found.ended.insert(org.clone(), by.clone());
            continue;
        }
        // for as long as it is there, whatever has become of the successor
        let words = model.words.get(&(by.clone(), org.clone()));
        if words.is_some_and(|words| words.may_have_withdrawn(Timestamp::MIN, now, &old.purposes())) {
            found.withdrawn.insert(org.clone(), by.clone());
        }
    }
    let successors = model.successors.get(&old.reference).map(Vec::as_slice).unwrap_or_default();
    for successor in successors.iter().filter(|it| !it.is_void && it.reference != old.reference) {
        // one that ends before it starts was never in force, unless its dates were others when it was signed
        if successor.ends <= successor.starts
            && !(Replaced { model, old, successor, now, in_force }).is_changed()
        {
            continue;
        }
        if signing == Signing::AsSigned {
            Replaced { model, old, successor, now, in_force }.look_ahead(&mut found.ahead);
        }
        if now < successor.starts {
            found.starts = found.starts.into_iter().chain([successor.starts]).min();
            continue;
        }
        let replaced = Replaced { model, old, successor, now, in_force };
        let controllers = replaced.controllers(now);
        for org in &controllers {
            if replaced.has_withdrawn(org) {
                found.withdrawn.insert(org.clone(), successor.reference.clone());
                if !replaced.has_surely_withdrawn(org) {
                    found.in_doubt.insert(org.clone());
                }
            }
        }
        if old.spec.accession && successor.accession {
            for org in replaced.apart() {
                found.ended.entry(org).or_insert_with(|| successor.reference.clone());
            }
            // also where those who went over are dissolved by now
            let mut left = controllers.iter().map(String::as_str).chain(replaced.in_doubt());
            if !found.ended.is_empty() && left.all(|org| found.ended.contains_key(org)) {
                found.by.get_or_insert_with(|| successor.reference.clone());
            }
        } else if replaced.as_a_whole() {
            found.by.get_or_insert_with(|| successor.reference.clone());
        }
    }
    found.shown.clone_from(&found.by);
    found.by = old.spec.superseded_by.clone().or(found.by);
    found
}

/// What has replaced `old` if everybody has signed everything.
pub(super) fn assumed(
    model: &Model,
    old: &Agreement,
    now: Timestamp,
    in_force: &InForce<'_>,
) -> Option<ObjectRef> {
    let successors = model.successors.get(&old.reference).into_iter().flatten();
    let mut replaced = successors.filter(|it| !it.is_void && it.starts <= now).filter(|it| {
        let until = now.min(before(it.ends));
        model.agreements.get(&it.reference).is_some_and(|new| {
            moments(model, new, it.starts, until)
                .into_iter()
                .any(|at| in_force(new, at, Signing::Assumed).is_some())
        })
    });
    replaced.next().map(|it| it.reference.clone())
}

/// One agreement, and one that says it replaces it.
#[derive(Clone, Copy)]
struct Replaced<'a> {
    model: &'a Model,
    old: &'a Agreement,
    successor: &'a Successor,
    now: Timestamp,
    in_force: &'a InForce<'a>,
}

impl Replaced<'_> {
    /// The Controllers that are Signed in the old one at a moment and are neither dissolved nor merged.
    fn controllers(&self, at: Timestamp) -> BTreeSet<String> {
        let Self { model, old, .. } = self;
        let carries_on = |org: &str| {
            model
                .orgs
                .get(org)
                .is_some_and(|org| !matches!(org.state(at), OrgState::Dissolved | OrgState::Merged))
        };
        let controllers = old.orgs_as(PartyRole::Controller).into_iter();
        controllers
            .filter(|org| {
                let voice = old.signers.get(*org).map(|it| it.words.at(at, &old.purposes(), &it.terms_hash));
                voice.is_some_and(|it| it.standing == Standing::Signed) && carries_on(org)
            })
            .map(str::to_owned)
            .collect()
    }

    /// The Controllers of which it is not known whether they still share under the old one: they, or what they said, cannot
    /// be used.
    fn in_doubt(&self) -> impl Iterator<Item = &str> {
        let Self { model, old, now, .. } = *self;
        old.orgs_as(PartyRole::Controller).into_iter().filter(move |org| {
            let is_unusable = model.has_org(org) && !model.orgs.contains_key(*org);
            is_unusable || old.signers.get(*org).is_some_and(|it| it.words.in_doubt(now))
        })
    }

    /// Whether an organisation has withdrawn from the successor, or may have.
    fn has_withdrawn(&self, org: &str) -> bool {
        let words = self.model.words.get(&(self.successor.reference.clone(), org.to_owned()));
        words.is_some_and(|words| self.withdraws(words, self.now))
    }

    /// Whether what an organisation has said is a withdrawal from the successor, or was one.
    fn has_surely_withdrawn(&self, org: &str) -> bool {
        let words = self.model.words.get(&(self.successor.reference.clone(), org.to_owned()));
        words.is_some_and(|words| {
            let purposes = self.usable().map_or_else(|| words.delegated_purposes(), Agreement::purposes);
            words.has_withdrawn(self.successor.starts, self.now, &purposes)
        })
    }

    /// Whether by these words somebody has withdrawn from the successor until a moment, or may have.
    fn withdraws(&self, words: &Words, until: Timestamp) -> bool {
        let purposes = self.usable().map_or_else(|| words.delegated_purposes(), Agreement::purposes);
        words.may_have_withdrawn(self.successor.starts, until, &purposes)
    }

    /// The successor, where it can be used.
    fn usable(&self) -> Option<&Agreement> {
        self.model.agreements.get(&self.successor.reference)
    }

    /// The state and hash of what an organisation once signed of the successor. What cannot be read counts as a
    /// withdrawal, which counts on any hash: corruption never opens.
    fn signed_once(&self, org: &str) -> Option<(SignatureState, &str)> {
        let words = self.model.words.get(&(self.successor.reference.clone(), org.to_owned()))?;
        if self.has_withdrawn(org) {
            return Some((SignatureState::Withdrawn, ""));
        }
        if let Some(said) = words.signed_once(self.successor.starts).or_else(|| words.signed_once(self.now)) {
            return Some((said.state, &said.terms_hash));
        }
        let in_doubt = words.in_doubt(self.successor.starts) || words.in_doubt(self.now);
        in_doubt.then_some((SignatureState::Withdrawn, ""))
    }

    /// Whether a moment shows that the successor has taken over: it is in force, and every Controller has signed it.
    fn takes_over(&self, new: &Agreement, at: Timestamp) -> bool {
        let controllers = self.controllers(at);
        !controllers.is_empty()
            && (self.in_force)(new, at, Signing::Past).is_some_and(|it| controllers.is_subset(&it.signed))
    }

    /// The Controllers that a moment shows to have gone over, where each may for itself.
    fn gone_over(&self, new: &Agreement, at: Timestamp) -> BTreeSet<String> {
        let members = (self.in_force)(new, at, Signing::Past).map(|it| it.members).unwrap_or_default();
        self.controllers(at).intersection(&members).cloned().collect()
    }

    /// Notes what the successor will do from now on.
    fn look_ahead(&self, ahead: &mut Ahead) {
        let Self { model, old, successor, now, in_force } = *self;
        let last = before(old.ends());
        for org in old.orgs_as(PartyRole::Controller) {
            let words = model.words.get(&(successor.reference.clone(), org.to_owned()));
            let Some(words) = words else { continue };
            let dates: BTreeSet<Timestamp> = words.moments().chain([successor.starts]).collect();
            let later = dates.into_iter().filter(|at| now < *at && successor.starts <= *at && *at <= last);
            let mut no = later.filter(|at| self.withdraws(words, *at));
            if let Some(at) = no.next().filter(|at| self.controllers(*at).contains(org)) {
                sooner(&mut ahead.withdrawn, org.to_owned(), at);
            }
        }
        if now < successor.starts && successor.starts <= last {
            let then = Replaced { now: successor.starts, ..*self };
            if old.spec.accession && successor.accession {
                then.apart().into_iter().for_each(|org| sooner(&mut ahead.ended, org, successor.starts));
            } else if then.as_a_whole() {
                ahead.by = ahead.by.into_iter().chain([successor.starts]).min();
            }
        }
        let Some(new) = self.usable().filter(|_| self.may_have_been_signed()) else { return };
        let later = Replaced { model, old, successor, now: last, in_force };
        for at in later.moments(new).into_iter().filter(|at| now < *at) {
            if old.spec.accession && successor.accession {
                for org in self.gone_over(new, at) {
                    sooner(&mut ahead.ended, org, at);
                }
            } else if self.takes_over(new, at) {
                ahead.by = ahead.by.into_iter().chain([at]).min();
                return;
            }
        }
    }

    /// Whether the successor has been in force with every Controller of the old one having signed it.
    fn as_a_whole(&self) -> bool {
        if !self.may_have_been_signed() {
            return false;
        }
        if self.usable().is_some_and(|new| self.moments(new).into_iter().any(|at| self.takes_over(new, at))) {
            return true;
        }
        self.is_changed() && self.own_moments().into_iter().any(|at| self.had_been_signed_by_all(at))
    }

    /// Whether, where it is not known any more what the successor was, those who shared and received under the old one at a
    /// moment have all signed one and the same of it.
    fn had_been_signed_by_all(&self, at: Timestamp) -> bool {
        let controllers = self.controllers(at);
        if controllers.is_empty() || controllers.iter().any(|org| self.signed_once(org).is_none()) {
            return false;
        }
        let state = |org: &str| (org.to_owned(), party_state(self.old, org, Signing::AsSigned, at));
        let signed_in_old = standing_signed(self.old, &self.old.orgs().into_iter().map(state).collect()).orgs;
        let mut hashes = BTreeSet::new();
        for org in &signed_in_old {
            match self.signed_once(org) {
                None => return false,
                // a withdrawal counts on any hash
                Some((SignatureState::Withdrawn, _)) => {}
                Some((_, hash)) => {
                    hashes.insert(hash);
                }
            }
        }
        hashes.len() <= 1
    }

    /// The Controllers that have gone over, where each may for itself.
    fn apart(&self) -> BTreeSet<String> {
        let mut over = BTreeSet::new();
        if let Some(new) = self.usable().filter(|_| self.may_have_been_signed()) {
            over.extend(self.moments(new).into_iter().flat_map(|at| self.gone_over(new, at)));
        }
        let recipients = self.old.orgs_as(PartyRole::Recipient);
        // of one that cannot be used for another reason it is enough that a Controller has signed it
        let is_refused = self.usable().is_none() && !self.successor.lacks_something;
        if is_refused || recipients.iter().any(|org| self.signed_once(org).is_some()) {
            let then = self.own_moments().into_iter().flat_map(|at| self.controllers(at));
            let signed: BTreeSet<String> = then.filter(|org| self.signed_once(org).is_some()).collect();
            over.extend(signed.into_iter().filter(|org| self.is_changed_for(org)));
        }
        over
    }

    /// Whether any Controller of the old one may have signed it. Most have not, and nothing more is asked.
    fn may_have_been_signed(&self) -> bool {
        let words = |org: &str| self.model.words.get(&(self.successor.reference.clone(), org.to_owned()));
        self.old
            .orgs_as(PartyRole::Controller)
            .into_iter()
            .any(|org| words(org).is_some_and(Words::may_have_signed))
    }

    /// The moments of its life until now at which an answer about it may change.
    fn moments(&self, new: &Agreement) -> BTreeSet<Timestamp> {
        let mut moments = moments(self.model, new, self.successor.starts, self.until());
        moments.extend(self.own_moments());
        moments
    }

    /// Those of them at which it may change who is signed in the old one.
    fn own_moments(&self) -> BTreeSet<Timestamp> {
        let Self { model, old, successor, .. } = self;
        let until = self.until();
        let said = old.signers.values().flat_map(|signer| signer.words.moments());
        let ends = old.orgs().into_iter().filter_map(|org| model.orgs.get(org)?.spec.ends_on);
        let all = said.chain(ends).chain([successor.starts, until]);
        all.filter(|at| (successor.starts..=until).contains(at)).collect()
    }

    /// Now, or its last moment where its dates leave it one.
    fn until(&self) -> Timestamp {
        let Self { successor, now, .. } = *self;
        if successor.ends <= successor.starts { now } else { before(successor.ends).min(now) }
    }

    /// Whether the successor today is not what it was signed as: it or something that it names is gone or cannot be used,
    /// or its terms have changed.
    fn is_changed(&self) -> bool {
        self.usable().is_none_or(|new| {
            let orgs = new.orgs().into_iter().chain(self.old.orgs());
            self.lacks_something(new) || orgs.into_iter().any(|org| self.is_changed_in(new, org))
        })
    }

    /// Whether an organisation or product that it names is gone or cannot be used, and it is not written since when.
    fn lacks_something(&self, new: &Agreement) -> bool {
        // an end that was written down beforehand hides nothing of the past
        let is_active =
            |org: &str| self.model.orgs.get(org).is_some_and(|org| org.spec.state == OrgState::Active);
        self.successor.lacks_something || !new.orgs().into_iter().all(is_active)
    }

    /// The same for one Controller: what it signed, or what a Recipient of the old one did, are other terms than today's.
    fn is_changed_for(&self, org: &str) -> bool {
        self.usable().is_none_or(|new| {
            let mut recipients = self.old.orgs_as(PartyRole::Recipient).into_iter();
            self.lacks_something(new)
                || self.is_changed_in(new, org)
                || recipients.any(|org| self.is_changed_in(new, org))
        })
    }

    /// Whether an organisation has signed other terms of it than today's, or by a delegate that is not active any more.
    fn is_changed_in(&self, new: &Agreement, org: &str) -> bool {
        let hash = new.signers.get(org).map(|signer| signer.terms_hash.as_str());
        let words = self.model.words.get(&(self.successor.reference.clone(), org.to_owned()));
        if words.is_some_and(Words::rests_on_inactive) {
            return true;
        }
        // who has no row in it any more has signed another
        let (Some(hash), Some(words)) = (hash, words) else { return self.signed_once(org).is_some() };
        // an end that comes later undoes nothing
        let Self { successor, now, .. } = *self;
        let said = words.signed_once(successor.starts).or_else(|| words.signed_once(now));
        said.is_some_and(|said| said.state == SignatureState::Signed && said.terms_hash != hash)
            && !self.withdraws(words, successor.starts)
    }
}

/// A millisecond earlier: dates in Cedar have no more.
fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(jiff::SignedDuration::from_millis(1)).unwrap_or(at)
}

/// The moments of a stretch of an agreement's life at which something that its questions read may be different: its
/// beginning and its end, each date that is read, and what comes right after that.
fn moments(model: &Model, agreement: &Agreement, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    let written = written_dates(model, agreement).into_iter().map(|date| date.at);
    let words = agreement.signers.values().flat_map(|signer| signer.words.moments());
    let after = |at: Timestamp| at.checked_add(jiff::SignedDuration::from_millis(1)).ok();
    let written = written.chain(openings(model, agreement));
    let dates = written.chain(words).flat_map(|at| [Some(at), after(at)]).flatten();
    dates.chain([from, to]).filter(|at| (from..=to).contains(at)).collect()
}
