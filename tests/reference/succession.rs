//! Supersession: a fact that nothing undoes, judged at every past moment at which it may have come about.

use std::collections::BTreeSet;

use jiff::{Span, Timestamp, tz::TimeZone};

use super::force::{View, is_over};
use super::model::{Model, circles, is_misshapen};
use super::signing::Kind;
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
        let circles = circles(self.world);
        let controllers: BTreeSet<&str> = role(&old.spec, "Controller");
        for new in &self.world.agreements {
            let named = new.spec.supersedes.as_ref() == Some(&old.key) && new.key != old.key;
            if !named || circles.contains(&new.key) || new.spec.emergency.is_some() {
                continue;
            }
            if is_misshapen(&new.spec) {
                let start = Some(new.spec.term.start);
                self.judge_unreadable(old, (&new.key, start), &controllers, now, &mut found);
                continue;
            }
            for moment in self.moments(&new.spec, now) {
                self.judge(old, new, &controllers, (moment, now), &mut found);
            }
            // before it starts it takes nothing from the old
            let started = new.spec.term.start <= now;
            let withdrawn =
                controllers.iter().filter(|it| started && self.standing(new, it, now).may_have_withdrawn());
            found.closed.extend(withdrawn.map(|it| (*it).to_owned()));
        }
        for broken in self.world.broken.iter().filter(|it| it.kind == "DataSharingAgreement") {
            if may_supersede(broken, &old.key) {
                let start = text(&broken.spec["term"]["start"]).parse::<Timestamp>().ok();
                self.judge_unreadable(old, (&broken.key, start), &controllers, now, &mut found);
            }
        }
        if old.spec.accession && !found.ended_for.is_empty() {
            found.ended |= self.in_old(old, &controllers, now).iter().all(|it| found.ended_for.contains(*it));
        }
        found
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
        (at, now): (Timestamp, Timestamp),
        found: &mut Succession,
    ) {
        let was = self.in_old(old, controllers, at);
        let signed: BTreeSet<&str> =
            was.iter().copied().filter(|it| self.standing(new, it, at).has_signed()).collect();
        let apart = old.spec.accession && new.spec.accession;
        if self.invalid.contains(&new.key)
            || self.lacks_something(new, now)
            || self.terms_have_changed(old, new, at)
        {
            self.judge_changed(old, new, &was, at, found);
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
    fn lacks_something(&self, new: &Object<Agreement>, now: Timestamp) -> bool {
        let mut products = new.spec.purposes.iter().flat_map(|it| &it.products);
        new.spec.parties.iter().any(|it| !self.is_active(&it.org, now))
            || products.any(|it| !self.products.contains_key(it))
    }

    /// Whether somebody has signed the successor on other terms than it has now.
    fn terms_have_changed(&self, old: &Object<Agreement>, new: &Object<Agreement>, at: Timestamp) -> bool {
        let mut parties = old.spec.parties.iter().chain(&new.spec.parties);
        parties.any(|it| self.standing(new, &it.org, at).kind == Kind::OtherTerms)
    }

    /// A successor whose products or organisations are gone, or whose terms have changed since.
    fn judge_changed(
        &self,
        old: &Object<Agreement>,
        new: &Object<Agreement>,
        was: &BTreeSet<&str>,
        at: Timestamp,
        found: &mut Succession,
    ) {
        let said = |org: &str| {
            let standing = self.standing(new, org, at);
            let no = standing.kind == Kind::Declined || (standing.kind == Kind::NotSigned && !standing.doubt);
            (!no).then_some(standing)
        };
        if old.spec.accession && new.spec.accession {
            let recipients = role(&old.spec, "Recipient");
            if recipients.iter().any(|it| said(it).is_some()) {
                found.ended_for.extend(was.iter().filter(|it| said(it).is_some()).map(|it| (*it).to_owned()));
            }
            return;
        }
        let standings = self.standings(old, at, View::Now);
        let mut signed = standings.iter().filter(|(_, it)| it.kind == Kind::Signed).map(|(org, _)| said(org));
        let mut hashes = BTreeSet::new();
        let all = signed.all(|it| {
            it.is_some_and(|it| {
                hashes.extend(it.hash);
                true
            })
        });
        found.ended |= !was.is_empty() && all && hashes.len() <= 1;
    }

    /// A successor that cannot be read, or that cannot be right, is held against the old agreement once every Controller of
    /// it has signed it, from its start on where that can be read.
    fn judge_unreadable(
        &self,
        old: &Object<Agreement>,
        (new, start): (&Ref, Option<Timestamp>),
        controllers: &BTreeSet<&str>,
        now: Timestamp,
        found: &mut Succession,
    ) {
        let was = self.in_old(old, controllers, now);
        let said = |org: &&&str| self.said_of_unreadable(new, org, now);
        let signed: BTreeSet<&str> = was.iter().filter(|it| said(it).0).copied().collect();
        if start.is_some_and(|it| it > now) {
            return;
        }
        let withdrawn = controllers.iter().filter(|it| said(it).1);
        found.closed.extend(withdrawn.map(|it| (*it).to_owned()));
        if old.spec.accession {
            found.ended_for.extend(signed.iter().map(|it| (*it).to_owned()));
        } else if !was.is_empty() && was == signed {
            found.held = true;
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

/// Whether an agreement that cannot be read may say that it supersedes another.
fn may_supersede(broken: &Broken, old: &Ref) -> bool {
    let supersedes = &broken.spec["supersedes"];
    let may_name = |field: &str, expected: &str| {
        supersedes[field].as_str().is_none_or(|it| it.is_empty() || it == expected)
    };
    let absent = broken.spec.is_object() && broken.spec.get("supersedes").is_none();
    !absent && may_name("namespace", &old.namespace) && may_name("name", &old.name) && broken.key != *old
}

fn role<'b>(agreement: &'b Agreement, role: &str) -> BTreeSet<&'b str> {
    agreement.parties.iter().filter(|it| it.role == role).map(|it| it.org.as_str()).collect()
}
