//! The calendar: months, and the next moment at which an agreement's standing changes by itself.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::framework::Framework;
use crate::api::FrameworkRef;
use crate::core::model::{Agreement, Model};

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

/// Every date that bears on an agreement: its own, its framework's, its parties' and those of exceptions for its place.
pub(crate) fn written_dates<'a>(model: &'a Model, agreement: &'a Agreement) -> Vec<WrittenDate<'a>> {
    let spec = &agreement.spec;
    let mut dates = Vec::new();
    let mut add = |of: Owner<'a>, field: &'static str, at: Option<Timestamp>| {
        dates.extend(at.map(|at| WrittenDate { at, field, of }));
    };
    add(Owner::Agreement, "term.start", Some(spec.term.start));
    add(Owner::Agreement, "term.end", Some(spec.term.end));
    add(Owner::Agreement, "term.reviewBy", Some(spec.term.review_by));
    add(Owner::Agreement, "confidentiality.validUntil", Some(spec.confidentiality.valid_until));
    add(Owner::Agreement, "emergency.expires", spec.emergency.as_ref().map(|emergency| emergency.expires));
    add(Owner::Agreement, "dpia.approvedOn", spec.dpia.as_ref().map(|dpia| dpia.approved_on));
    add(Owner::Agreement, "dpia.reviewBy", spec.dpia.as_ref().map(|dpia| dpia.review_by));
    if let Some(framework) = model.frameworks.get(&spec.framework) {
        let of = Owner::Framework(&framework.reference);
        add(of, "effectiveFrom", Some(framework.spec.effective_from));
        add(of, "retiresOn", framework.spec.retires_on);
    }
    for org in agreement.orgs().into_iter().filter_map(|org| model.orgs.get(org)) {
        let of = Owner::Org(&org.name);
        let assurance = org.spec.assurance.as_ref();
        let dspt = assurance.and_then(|assurance| assurance.dspt.as_ref()?.valid_until);
        add(of, "assurance.dspt.validUntil", dspt);
        let equivalent = assurance.and_then(|assurance| Some(assurance.equivalent.as_ref()?.valid_until));
        add(of, "assurance.equivalent.validUntil", equivalent);
        add(of, "endsOn", org.spec.ends_on);
        add(of, "ico.validUntil", org.spec.ico.as_ref().and_then(|ico| ico.valid_until));
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
    let dates = written.map(|date| date.at).chain(words).chain(reviewable);
    dates.filter(|date| *date > now).min()
}
