//! Supersession: a fact that nothing undoes, judged at every past moment at which it may have come about.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Span, Timestamp, tz::TimeZone};

use super::force::{View, is_over};
use super::model::{Model, circle, is_misshapen, is_party};
use super::signing::Kind;
use super::terms;
use super::world::{Agreement, Broken, Object, Ref, text};

/// What successors have ended or closed.
#[derive(Clone, Debug, Default)]
pub struct Succession {
    /// The agreement has ended.
    pub ended: bool,
    /// A successor that cannot be used may have ended it.
    pub held: bool,
    /// With accession: the controllers for whom it has ended.
    pub ended_for: BTreeSet<String>,
    /// Controllers that have withdrawn from a successor: their flows are closed here too.
    pub closed: BTreeSet<String>,
}

impl Model<'_> {
    pub fn succession(&self, old: &Object<Agreement>, now: Timestamp) -> Succession {
        let mut found = Succession::default();
        if self.as_signed {
            return found;
        }
        found.ended = old.spec.superseded_by.is_some() || old.status["supersededBy"].is_object();
        let controllers: BTreeSet<&str> = role(&old.spec, "Controller");
        for new in &self.world.agreements {
            let named = new.spec.supersedes.as_ref() == Some(&old.key) && new.key != old.key;
            if !named || self.is_void(old, new) {
                continue;
            }
            // what it names is another matter than what it is
            let is_refused = self.invalid.contains(&new.key) && !self.names_what_is_not_there(&new.spec);
            if is_misshapen(&new.spec) || is_refused {
                let start = Some(new.spec.term.start);
                let lost = Lost { key: &new.key, start, accession: new.spec.accession };
                self.judge_unreadable(old, &lost, &controllers, now, &mut found);
                continue;
            }
            for moment in self.moments(&new.spec, now) {
                self.judge(old, new, &controllers, moment, &mut found);
            }
            // before it starts it takes nothing from the old
            let started = new.spec.term.start <= now;
            let was = self.in_old(old, &controllers, now);
            // that a delegation has ended since revives nothing
            let moments = self.moments(&new.spec, now);
            let has_withdrawn =
                |org: &str| moments.iter().any(|at| self.standing_once(new, org, *at).may_have_withdrawn());
            let withdrawn = was.iter().filter(|it| started && has_withdrawn(it));
            found.closed.extend(withdrawn.map(|it| (*it).to_owned()));
        }
        for broken in self.world.broken.iter().filter(|it| it.kind == "DataSharingAgreement") {
            if may_supersede(broken, &old.key) {
                let start = text(&broken.spec["term"]["start"]).parse::<Timestamp>().ok();
                let accession = match broken.spec.get("accession") {
                    Some(said) => *said != false,
                    None => !broken.spec.is_object(),
                };
                let lost = Lost { key: &broken.key, start, accession };
                self.judge_unreadable(old, &lost, &controllers, now, &mut found);
            }
        }
        if old.spec.accession && !found.ended_for.is_empty() {
            // of who cannot be used, or has said what cannot, it is not known that nothing is left
            let exists = |org: &str| {
                let broken = self.world.broken.iter().filter(|it| it.kind == "PartnerOrg");
                self.world
                    .orgs
                    .iter()
                    .map(|it| &it.key)
                    .chain(broken.map(|it| &it.key))
                    .any(|it| it.name == org)
            };
            let in_doubt = controllers.iter().copied().filter(|it| {
                (exists(it) && !self.orgs.contains_key(*it)) || self.standing(old, it, now).doubt
            });
            let mut left = self.in_old(old, &controllers, now).into_iter().chain(in_doubt);
            found.ended |= left.all(|it| found.ended_for.contains(it));
        }
        found
    }

    /// Whether a link ends nothing: in an emergency that no one has signed as anything else, or on a circle whose links are
    /// all signed, or that is not signed itself.
    fn is_void(&self, old: &Object<Agreement>, new: &Object<Agreement>) -> bool {
        let agreement = |key: &Ref| self.world.agreements.iter().find(|it| it.key == *key);
        let signed = |new: &Object<Agreement>, org: &str| {
            let said = self.own_word(&new.key, org)?;
            let hash = terms::hash(new, org, &|it| self.products.get(it).map(|it| (*it).clone()));
            let is_yes = said.spec.state.as_deref() != Some("Declined");
            is_yes.then(|| hash.as_ref() == Some(&said.spec.terms_hash))
        };
        if new.spec.emergency.is_some() {
            return !role(&old.spec, "Controller").into_iter().any(|it| signed(new, it) == Some(false));
        }
        let all_signed = |new: &Ref, old: &Ref| {
            let Some((new, old)) = agreement(new).zip(agreement(old)) else { return false };
            let mut controllers = role(&old.spec, "Controller").into_iter().peekable();
            controllers.peek().is_some() && controllers.all(|it| signed(new, it) == Some(true))
        };
        let world = &self.world.agreements;
        let next: BTreeMap<&Ref, &Ref> =
            world.iter().filter_map(|it| Some((&it.key, it.spec.supersedes.as_ref()?))).collect();
        circle(&next, &new.key).is_some_and(|circle| {
            !all_signed(&new.key, &old.key) || circle.iter().all(|it| all_signed(it, next[it]))
        })
    }

    /// The Controllers that stand signed in the old agreement and are neither dissolved nor merged.
    fn in_old<'b>(
        &self,
        old: &Object<Agreement>,
        controllers: &BTreeSet<&'b str>,
        at: Timestamp,
    ) -> BTreeSet<&'b str> {
        let standing = controllers.iter().filter(|it| {
            self.standing(old, it, at).kind == Kind::Signed
                && self.orgs.get(**it).is_some_and(|it| !is_over(&it.spec, at))
        });
        standing.copied().collect()
    }

    /// Whether one moment shows that one successor has taken over.
    fn judge(
        &self,
        old: &Object<Agreement>,
        new: &Object<Agreement>,
        controllers: &BTreeSet<&str>,
        at: Timestamp,
        found: &mut Succession,
    ) {
        let was = self.in_old(old, controllers, at);
        let signed: BTreeSet<&str> = was
            .iter()
            .copied()
            .filter(|it| is_party(&new.spec, it) && self.standing_then(new, it, at).has_signed())
            .collect();
        let apart = old.spec.accession && new.spec.accession;
        let is_lost = self.invalid.contains(&new.key) || self.lacks_something(new);
        if is_lost || self.terms_have_changed(old, new, &was, at) {
            self.judge_changed((old, new), is_lost, &was, at, found);
            if self.invalid.contains(&new.key) {
                return;
            }
        }
        let standings = self.standings(new, at, View::Past);
        let clauses = self.clauses(new, &standings, at);
        if clauses.phase != "Active" {
            return;
        }
        if apart {
            // for a Controller that a rule keeps out of the new one, it is not in force yet
            let members = signed.into_iter().filter(|it| clauses.refusals.members.contains(*it));
            found.ended_for.extend(members.map(str::to_owned));
        } else if !was.is_empty() && was == signed {
            found.ended = true;
        }
    }

    /// Whether an organisation or product that a successor names is gone or cannot be used.
    fn lacks_something(&self, new: &Object<Agreement>) -> bool {
        // an end that was written down beforehand hides nothing of the past
        let is_active = |org: &str| self.orgs.get(org).is_some_and(|it| it.spec.state == "Active");
        self.names_what_is_not_there(&new.spec) || !new.spec.parties.iter().all(|it| is_active(&it.org))
    }

    /// Whether somebody has signed the successor on other terms than it has now. With accession, each has terms of its own:
    /// only a Controller and the old one's Recipients matter to that Controller.
    fn terms_have_changed(
        &self,
        old: &Object<Agreement>,
        new: &Object<Agreement>,
        was: &BTreeSet<&str>,
        at: Timestamp,
    ) -> bool {
        let on_other_terms = |org: &str| self.has_changed_for(new, org, at);
        if old.spec.accession && new.spec.accession {
            return was.iter().any(|it| on_other_terms(it))
                || role(&old.spec, "Recipient").into_iter().any(on_other_terms);
        }
        old.spec.parties.iter().chain(&new.spec.parties).any(|it| on_other_terms(&it.org))
    }

    /// Whether an organisation has signed other terms than today's, or by a delegate that is not active any more.
    fn has_changed_for(&self, new: &Object<Agreement>, org: &str, at: Timestamp) -> bool {
        let standing = self.standing_then(new, org, at);
        // who has no row in it any more has signed another
        let has_left = !is_party(&new.spec, org) && standing.has_signed();
        standing.kind == Kind::OtherTerms || has_left || self.rests_on_inactive(new, org, at)
    }

    /// Whether an organisation or product is not there, or cannot be used.
    fn names_what_is_not_there(&self, new: &Agreement) -> bool {
        let mut products = new.purposes.iter().flat_map(|it| &it.products);
        new.parties.iter().any(|it| !self.orgs.contains_key(it.org.as_str()))
            || products.any(|it| !self.products.contains_key(it))
    }

    /// A successor whose products or organisations are gone, or whose terms have changed since.
    fn judge_changed(
        &self,
        (old, new): (&Object<Agreement>, &Object<Agreement>),
        is_lost: bool,
        was: &BTreeSet<&str>,
        at: Timestamp,
        found: &mut Succession,
    ) {
        let said = |org: &str| {
            let standing = self.standing_once(new, org, at);
            let no = standing.kind == Kind::Declined || (standing.kind == Kind::NotSigned && !standing.doubt);
            (!no).then_some(standing)
        };
        if old.spec.accession && new.spec.accession {
            let recipients = role(&old.spec, "Recipient");
            let on_other_terms = |org: &str| self.has_changed_for(new, org, at);
            let for_all = is_lost || recipients.iter().any(|it| on_other_terms(it));
            if recipients.iter().any(|it| said(it).is_some() || self.had_signed_at_home(&new.key, it)) {
                let over = was.iter().filter(|it| said(it).is_some() && (for_all || on_other_terms(it)));
                found.ended_for.extend(over.map(|it| (*it).to_owned()));
            }
            return;
        }
        let standings = self.standings(old, at, View::Now);
        let mut signed = standings.iter().filter(|(_, it)| it.kind == Kind::Signed).map(|(org, _)| said(org));
        let mut hashes = BTreeSet::new();
        let all = signed.all(|it| {
            it.is_some_and(|it| {
                // a withdrawal counts on any hash
                hashes.extend(it.hash.filter(|_| it.kind != Kind::Withdrawn));
                true
            })
        });
        found.ended |= !was.is_empty() && all && hashes.len() <= 1;
    }

    /// Whether an organisation that is there and cannot be used, such as one that is being deleted, has signed an agreement
    /// in its home: that it had is a fact.
    fn had_signed_at_home(&self, agreement: &Ref, org: &str) -> bool {
        let is_unusable = !self.orgs.contains_key(org);
        let at_home = |namespace: &str| {
            let mut homes = self.world.orgs.iter().filter(|it| it.key.name == org);
            homes.any(|it| it.spec.home_namespace == namespace) || self.may_have_been_home(namespace, org)
        };
        is_unusable
            && self.world.signatures.iter().any(|signature| {
                at_home(&signature.key.namespace)
                    && signature.spec.agreement == *agreement
                    && signature.spec.party == org
                    && signature.spec.state.as_deref() != Some("Declined")
            })
    }

    /// A successor that cannot be read, or that cannot be right, is held against the old agreement once every Controller of
    /// it has signed it, from its start on where that can be read.
    fn judge_unreadable(
        &self,
        old: &Object<Agreement>,
        lost: &Lost<'_>,
        controllers: &BTreeSet<&str>,
        now: Timestamp,
        found: &mut Succession,
    ) {
        let was = self.in_old(old, controllers, now);
        let Lost { key, start, accession } = *lost;
        let said = |org: &&&str| self.said_of_unreadable(key, org, now);
        let signed: BTreeSet<&str> = was.iter().filter(|it| said(it).0).copied().collect();
        if start.is_some_and(|it| it > now) {
            return;
        }
        let dates = self.world.dates.iter().copied().chain(start);
        let moments: BTreeSet<Timestamp> =
            dates.filter(|at| start.is_none_or(|it| it <= *at) && *at <= now).chain([now]).collect();
        let has_withdrawn = |org: &str| moments.iter().any(|at| self.said_of_unreadable(key, org, *at).1);
        let withdrawn = was.iter().filter(|it| has_withdrawn(it));
        found.closed.extend(withdrawn.map(|it| (*it).to_owned()));
        if old.spec.accession && accession {
            found.ended_for.extend(signed.iter().map(|it| (*it).to_owned()));
        } else {
            // whoever has said no to the old one has no say; who has not signed it yet may have signed this one
            let carries_on = |org: &str| self.orgs.get(org).is_some_and(|it| !is_over(&it.spec, now));
            let left =
                controllers.iter().filter(|it| carries_on(it) && !self.standing(old, it, now).is_out());
            let left: Vec<&&str> = left.collect();
            found.held |= !left.is_empty() && left.iter().all(|it| said(it).0);
        }
    }

    /// The moments from a successor's start until now at which an answer about it may change.
    fn moments(&self, new: &Agreement, now: Timestamp) -> BTreeSet<Timestamp> {
        let mut moments: BTreeSet<Timestamp> = self.world.dates.clone();
        moments.extend(self.may_open(new));
        moments.extend([now, new.term.start]);
        moments.retain(|it| new.term.start <= *it && *it <= now);
        moments
    }

    /// The moments at which an agreement may begin to comply, that are written nowhere in the world.
    pub fn may_open(&self, new: &Agreement) -> BTreeSet<Timestamp> {
        let framework = &self.framework;
        let mut moments: BTreeSet<Timestamp> =
            [Some(framework.effective_from), framework.retires_on].into_iter().flatten().collect();
        // the first moment from which a review lies within the limit, give or take the lengths of months
        let back = Span::new().months(framework.limits.review_months);
        if let Ok(first) = new.term.review_by.to_zoned(TimeZone::UTC).checked_sub(back) {
            for days in -1..=4 {
                moments.extend(first.checked_add(Span::new().days(days)).ok().map(|it| it.timestamp()));
            }
        }
        moments
    }
}

/// A successor that cannot be read, or cannot be right.
struct Lost<'a> {
    key: &'a Ref,
    /// From when on, where that can be read.
    start: Option<Timestamp>,
    /// Whether it has accession, or may have.
    accession: bool,
}

/// Whether an agreement that cannot be read may say that it supersedes another.
fn may_supersede(broken: &Broken, old: &Ref) -> bool {
    let supersedes = &broken.spec["supersedes"];
    let may_name = |field: &str, expected: &str| {
        supersedes[field].as_str().is_none_or(|it| it.is_empty() || it == expected)
    };
    let absent = broken.spec.is_object() && broken.spec.get("supersedes").is_none();
    // an emergency ends no other agreement
    let absent = absent || broken.spec["emergency"].is_object();
    !absent && may_name("namespace", &old.namespace) && may_name("name", &old.name) && broken.key != *old
}

fn role<'b>(agreement: &'b Agreement, role: &str) -> BTreeSet<&'b str> {
    agreement.parties.iter().filter(|it| it.role == role).map(|it| it.org.as_str()).collect()
}
