//! The calendar: months, and the next moment at which an agreement's standing changes by itself.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::framework::Framework;
use crate::core::model::{Agreement, Model, Signature};

/// Calendar months later, in UTC; none where the calendar ends.
pub(crate) fn add_months(from: Timestamp, months: i64) -> Option<Timestamp> {
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

/// Every moment that an agreement's standing reads, and the first of them that lies ahead.
pub(super) fn next_transition(
    model: &Model,
    agreement: &Agreement,
    framework: Option<&Framework>,
    now: Timestamp,
) -> Option<Timestamp> {
    let spec = &agreement.spec;
    let review_months = framework.and_then(|framework| framework.spec.limits.review_months);
    let mut dates = vec![
        Some(spec.term.start),
        Some(spec.term.end),
        Some(spec.term.review_by),
        review_months.and_then(|months| near_enough(spec.term.review_by, months)),
        Some(spec.confidentiality.valid_until),
        spec.emergency.as_ref().map(|emergency| emergency.expires),
        spec.dpia.as_ref().map(|dpia| dpia.approved_on),
        spec.dpia.as_ref().map(|dpia| dpia.review_by),
        framework.map(|framework| framework.spec.effective_from),
        framework.and_then(|framework| framework.spec.retires_on),
    ];
    for org in agreement.orgs().into_iter().filter_map(|org| model.orgs.get(org)) {
        let assurance = org.spec.assurance.as_ref();
        dates.push(assurance.and_then(|assurance| assurance.dspt.as_ref()?.valid_until));
        dates.push(assurance.and_then(|assurance| Some(assurance.equivalent.as_ref()?.valid_until)));
        dates.push(org.spec.ico.as_ref().and_then(|ico| ico.valid_until));
    }
    for signer in agreement.signers.values() {
        if let Signature::Signed { until, .. } = &signer.signature {
            dates.push(*until);
        }
    }
    for exception in &model.exceptions {
        if model.footprints.lies_in(&spec.footprint, &exception.footprint) {
            dates.extend([Some(exception.from), Some(exception.until)]);
        }
    }
    dates.into_iter().flatten().filter(|date| *date > now).min()
}
