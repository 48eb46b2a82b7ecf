//! What an object says of a moment that has not come as if it had: dates of the past that lie ahead.
//!
//! None of these opens or closes anything. Whoever reads the record would be misled, or the date was mistyped.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::check::Check;
use super::{Checked, reference};
use crate::finding::Code;
use crate::snapshot::Snapshot;
use concordat_api::{DataSharingAgreement, IcoStatus, OrgState, PartnerOrg, RecipientRef};

pub(super) fn check(snapshot: &Snapshot, now: Timestamp, checked: &mut Checked<'_>) {
    for sourced in &snapshot.orgs {
        if let Some(mut check) = checked.start(sourced) {
            org(&mut check, now);
            checked.finish(check);
        }
    }
    for sourced in &snapshot.agreements {
        if let Some(mut check) = checked.start(sourced) {
            agreement(&mut check, now);
            checked.finish(check);
        }
    }
}

/// Lists of an agreement that hold a thing twice, and are too long to compare in CEL.
pub(super) fn doubles(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    for sourced in &snapshot.agreements {
        let Some(mut check) = checked.start(sourced) else { continue };
        let spec = &check.object().spec;
        let mut twice: Vec<(String, String)> = Vec::new();
        for (index, purpose) in spec.purposes.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for (at, RecipientRef { org, function }) in purpose.recipients.iter().flatten().enumerate() {
                if !seen.insert((org, function)) {
                    let recipient =
                        function.as_ref().map_or(org.clone(), |function| format!("{org}/{function}"));
                    twice.push((format!("spec.purposes[{index}].recipients[{at}]"), recipient));
                }
            }
        }
        for (index, measure) in spec.outcome_measures.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for (at, reported) in measure.reported.iter().enumerate() {
                if !seen.insert((reported.on, &reported.value)) {
                    let field = format!("spec.outcomeMeasures[{index}].reported[{at}]");
                    twice.push((field, format!("{} on {}", reported.value, reported.on)));
                }
            }
        }
        for (field, what) in twice {
            check
                .finding(Code::ListedTwice, &field, format!("`{what}` is listed twice"))
                .help("keep one: this list holds nothing twice");
        }
        if !checked.finish(check) {
            checked.model.agreements.remove(&reference(&*sourced.object));
        }
    }
}

/// The moments at which these warnings go away by themselves.
pub(crate) fn moments(snapshot: &Snapshot) -> Vec<Timestamp> {
    let mut moments = Vec::new();
    for org in snapshot.orgs.iter().map(|org| &org.object.spec) {
        moments.extend(org.assurance.as_ref().and_then(|assurance| assurance.dspt.as_ref()?.published_on));
        moments.extend(org.ends_on.filter(|_| has_ended(org.state)));
    }
    for agreement in snapshot.agreements.iter().map(|agreement| &agreement.object.spec) {
        moments.extend(agreement.public_involvement.iter().map(|involvement| involvement.date));
        moments.extend(agreement.outcome_measures.iter().flat_map(|it| &it.reported).map(|it| it.on));
    }
    moments
}

fn has_ended(state: OrgState) -> bool {
    match state {
        OrgState::Dissolved | OrgState::Merged => true,
        OrgState::Active | OrgState::Suspended => false,
    }
}

fn org(check: &mut Check<'_, PartnerOrg>, now: Timestamp) {
    let spec = &check.object().spec;
    let published = spec.assurance.as_ref().and_then(|assurance| assurance.dspt.as_ref()?.published_on);
    if let Some(published) = published.filter(|published| *published > now) {
        check
            .finding(
                Code::AssuranceAhead,
                "spec.assurance.dspt.publishedOn",
                format!("the assurance is said to be published on {published}, which is ahead"),
            )
            .help(format!(
                "write the outcome that is published now, or the right date; at this moment it is `{now}`"
            ));
    }
    if let Some(ends_on) = spec.ends_on.filter(|ends_on| has_ended(spec.state) && *ends_on > now) {
        let state = spec.state.as_str();
        check
            .finding(
                Code::EndAhead,
                "spec.endsOn",
                format!(
                    "`state` is `{state}` already, and `endsOn` says that the organisation ends on {ends_on}"
                ),
            )
            .help("write `state: Active` where it ends then: from that date it counts as ended by itself");
    }
    if let Some(ico) = spec.ico.as_ref().filter(|ico| ico.status == IcoStatus::Exempt)
        && let Some(valid_until) = ico.valid_until
    {
        check
            .finding(
                Code::ExemptLapses,
                "spec.ico.validUntil",
                format!("who is `Exempt` has no registration that could lapse on {valid_until}; the date is not read"),
            )
            .help("leave `validUntil` out, or write `status: Registered` where the fee is paid");
    }
}

fn agreement(check: &mut Check<'_, DataSharingAgreement>, now: Timestamp) {
    let spec = &check.object().spec;
    let involved = spec.public_involvement.iter().enumerate();
    let involved = involved.map(|(index, it)| (format!("spec.publicInvolvement[{index}].date"), it.date));
    let reported = spec.outcome_measures.iter().enumerate().flat_map(|(index, measure)| {
        let reported = measure.reported.iter().enumerate();
        reported.map(move |(at, it)| (format!("spec.outcomeMeasures[{index}].reported[{at}].on"), it.on))
    });
    for (field, date) in involved.chain(reported).filter(|(_, date)| *date > now) {
        check
            .finding(
                Code::RecordAhead,
                &field,
                format!("this is said to have been on {date}, which is ahead"),
            )
            .help(format!("add it once it has been, or write the right date; at this moment it is `{now}`"));
    }
}
