//! The calendar: months, and the next moment at which an agreement's standing changes by itself.

use std::collections::BTreeSet;
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::framework::{Framework, RuleSet};
use super::names;
use super::time_dependence;
use crate::model::{Agreement, Model};
use concordat_api::{DataSharingAgreementSpec, FrameworkRef, PartnerOrgSpec};

/// Calendar months later, in UTC; none where the calendar ends.
pub(super) fn add_months(from: Timestamp, months: i64) -> Option<Timestamp> {
    let span = Span::new().try_months(months).ok()?;
    Some(from.to_zoned(TimeZone::UTC).checked_add(span).ok()?.timestamp())
}

/// From when on a date lies at most so many months ahead. Months are not all alike: from 28 February, a year reaches
/// 28 February, and 29 February only from the day after.
fn near_enough(date: Timestamp, months: i64) -> Option<Timestamp> {
    let before = add_months(date, -months)?;
    if add_months(before, months)? >= date {
        return Some(before);
    }
    let day = before.to_zoned(TimeZone::UTC).tomorrow().ok()?;
    Some(day.start_of_day().ok()?.timestamp())
}

/// A date that bears on an agreement, and where it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenDate<'a> {
    pub(crate) at: Timestamp,
    field: &'static str,
    of: Owner<'a>,
}

/// What a date is written in.
#[derive(Clone, Copy, Debug)]
enum Owner<'a> {
    Agreement,
    Framework(&'a FrameworkRef),
    Org(&'a str),
    Exception(&'a str),
}

impl fmt::Display for WrittenDate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: _, field, of } = self;
        write!(f, "spec.{field}")?;
        match of {
            Owner::Agreement => Ok(()),
            Owner::Framework(reference) => write!(f, " of PolicyFramework {reference}"),
            Owner::Org(name) => write!(f, " of PartnerOrg {name}"),
            Owner::Exception(name) => write!(f, " of FrameworkException {name}"),
        }
    }
}

/// The field of a delegation's end.
const DELEGATED: &str = "delegatedSigning[].until";

/// The dates of an agreement that rules can read, under the names of the fields.
fn agreement_dates(spec: &DataSharingAgreementSpec) -> [(&'static str, Option<Timestamp>); 6] {
    let DataSharingAgreementSpec { term, confidentiality, dpia, .. } = spec;
    [
        ("term.start", Some(term.start)),
        ("term.end", Some(term.end)),
        ("term.reviewBy", Some(term.review_by)),
        ("confidentiality.validUntil", Some(confidentiality.valid_until)),
        ("dpia.approvedOn", dpia.as_ref().map(|dpia| dpia.approved_on)),
        ("dpia.reviewBy", dpia.as_ref().map(|dpia| dpia.review_by)),
    ]
}

/// The dates of an organisation that rules can read, under the names of the fields.
fn org_dates(spec: &PartnerOrgSpec) -> [(&'static str, Option<Timestamp>); 3] {
    let assurance = spec.assurance.as_ref();
    [
        ("assurance.dspt.validUntil", assurance.and_then(|assurance| assurance.dspt.as_ref()?.valid_until)),
        (
            "assurance.equivalent.validUntil",
            assurance.and_then(|assurance| Some(assurance.equivalent.as_ref()?.valid_until)),
        ),
        ("ico.validUntil", spec.ico.as_ref().and_then(|ico| ico.valid_until)),
    ]
}

/// Every date that bears on an agreement: its own, its framework's, its parties' and those of exceptions for its place.
pub(crate) fn written_dates<'a>(model: &'a Model, agreement: &'a Agreement) -> Vec<WrittenDate<'a>> {
    let spec = &agreement.spec;
    let mut dates = Vec::new();
    let mut add = |of: Owner<'a>, field: &'static str, at: Option<Timestamp>| {
        dates.extend(at.map(|at| WrittenDate { at, field, of }));
    };
    for (field, at) in agreement_dates(spec) {
        add(Owner::Agreement, field, at);
    }
    add(Owner::Agreement, "emergency.expires", spec.emergency.as_ref().map(|emergency| emergency.expires));
    if let Some(framework) = model.frameworks.get(&spec.framework) {
        let of = Owner::Framework(&framework.reference);
        add(of, "effectiveFrom", Some(framework.spec.effective_from));
        add(of, "retiresOn", framework.spec.retires_on);
    }
    for org in agreement.orgs().into_iter().filter_map(|org| model.orgs.get(org)) {
        let of = Owner::Org(&org.name);
        for (field, at) in org_dates(&org.spec) {
            add(of, field, at);
        }
        add(of, "endsOn", org.spec.ends_on);
        for delegation in &org.spec.delegated_signing {
            add(of, DELEGATED, Some(delegation.until));
        }
    }
    for exception in model.exceptions_for(agreement) {
        add(Owner::Exception(&exception.name), "from", Some(exception.from));
        add(Owner::Exception(&exception.name), "until", Some(exception.until));
    }
    dates
}

/// The moments after `now` and before `until` at which the answer of these rules may change, in order: the dates that
/// they read of the agreement, of these organisations and of those that they name, the dates that they hold
/// themselves, and those of exceptions. Superfluous ones do no harm, as the rules are asked at each.
pub(super) fn dates_read(
    model: &Model,
    agreement: &Agreement,
    rules: &RuleSet,
    orgs: &[&str],
    (now, until): (Timestamp, Timestamp),
) -> BTreeSet<Timestamp> {
    if rules.is_empty() {
        return BTreeSet::new();
    }
    let within = |at: &Timestamp| now < *at && *at < until;
    let read = |(field, at): (&'static str, Option<Timestamp>)| {
        let turns = at.filter(|_| rules.reads.may_read_date(field)).map(|at| rules.reads.turns(at));
        turns.into_iter().flatten().filter(within)
    };
    let named = rules.named_orgs.iter().map(String::as_str).chain(orgs.iter().copied());
    let of_orgs = named.filter_map(|org| model.orgs.get(org)).flat_map(|org| org_dates(&org.spec));
    let mut dates: BTreeSet<Timestamp> =
        agreement_dates(&agreement.spec).into_iter().chain(of_orgs).flat_map(read).collect();
    let literals = rules.reads.literal_dates().filter_map(time_dependence::parse);
    dates.extend(literals.flat_map(|at| rules.reads.turns(at)).filter(within));
    let lifts = model.exceptions_for(agreement).filter(|it| rules.by_rule.contains_key(&it.rule));
    dates.extend(lifts.flat_map(|exception| [exception.from, exception.until]).filter(within));
    dates
}

/// The moments, from its start on, at which rules may begin to let an agreement through. At every other date that it
/// reads they can only begin to refuse it.
pub(super) fn openings(model: &Model, agreement: &Agreement) -> Vec<Timestamp> {
    const OPEN: [&str; 3] = ["dpia.approvedOn", "effectiveFrom", "from"];
    let start = agreement.spec.term.start;
    let framework = model.frameworks.get(&agreement.spec.framework);
    let reviewable = framework.and_then(|framework| {
        near_enough(agreement.spec.term.review_by, framework.spec.limits.review_months)
    });
    let written = written_dates(model, agreement).into_iter();
    let opening = written.filter(|date| OPEN.contains(&date.field)).map(|date| date.at);
    let mut openings: Vec<Timestamp> =
        [start].into_iter().chain(opening).chain(reviewable).map(|at| at.max(start)).collect();
    openings.sort();
    openings.dedup();
    openings
}

/// The first moment ahead that an agreement's standing reads.
pub(super) fn next_transition(
    model: &Model,
    agreement: &Agreement,
    framework: Option<&Framework>,
    now: Timestamp,
) -> Option<Timestamp> {
    // a delegation counts where a signature rests on it
    let written = written_dates(model, agreement).into_iter().filter(|date| date.field != DELEGATED);
    let words = agreement.signers.values().flat_map(|signer| signer.words.moments());
    let review_months = framework.map(|framework| framework.spec.limits.review_months);
    let reviewable = review_months.and_then(|months| near_enough(agreement.spec.term.review_by, months));
    let held = framework.into_iter().flat_map(Framework::dates);
    // rules may name organisations that are no parties
    let named = framework.into_iter().flat_map(|framework| &framework.literals).filter_map(names::org_of);
    let named = named.filter_map(|org| model.orgs.get(org)).flat_map(|org| org_dates(&org.spec));
    let held = held.chain(named.filter_map(|(_, at)| at));
    let dates = written.map(|date| date.at).chain(words).chain(reviewable).chain(held);
    // a rule may turn only after a date that it reads
    let late = framework.is_some_and(Framework::turns_late);
    let turns = |at: Timestamp| {
        let after = at.checked_add(SignedDuration::from_millis(1)).ok().filter(|_| late);
        [at].into_iter().chain(after)
    };
    dates.flat_map(turns).filter(|date| *date > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::schema::SCHEMA_TEXT;

    /// The dates of an entity in the schema.
    fn dates_of(entity: &str) -> BTreeSet<String> {
        fn look(shape: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
            let is_date = |key: &str| {
                shape.get(key).is_some_and(|name| name == "datetime" || name == "__cedar::datetime")
            };
            if is_date("name") || is_date("type") {
                found.insert(path.trim_start_matches('.').to_owned());
            }
            let fields = shape.get("attributes").and_then(|it| it.as_object()).into_iter().flatten();
            fields.for_each(|(name, inner)| look(inner, &format!("{path}.{name}"), found));
        }
        let (fragment, _) = cedar_policy::SchemaFragment::from_cedarschema_str(SCHEMA_TEXT).unwrap();
        let json = fragment.to_json_value().unwrap();
        let mut found = BTreeSet::new();
        look(&json["Concordat"]["entityTypes"][entity]["shape"], "", &mut found);
        found
    }

    #[test]
    fn every_date_of_the_schema_is_known_here() {
        let snapshot = crate::policy::test_world::england();
        let names = |dates: &[(&'static str, Option<Timestamp>)]| -> BTreeSet<String> {
            dates.iter().map(|(field, _)| (*field).to_owned()).collect()
        };
        let agreement = &snapshot.agreements.first().unwrap().object.spec;
        assert_eq!(names(&agreement_dates(agreement)), dates_of("Agreement"));
        let org = &snapshot.orgs.first().unwrap().object.spec;
        assert_eq!(names(&org_dates(org)), dates_of("PartnerOrg"));
        for other in ["DataProduct", "Footprint", "OrgFunction", "Workload"] {
            assert_eq!(dates_of(other), BTreeSet::new(), "{other}");
        }
    }
}
