//! The context of the access gate, put together in one place: by `decide`, for flows before there is a request, and for
//! permits that may have no effect.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::entities::{Value, flag, long, moment, text, texts};
use super::framework::Framework;
use super::names;
use concordat_api::{Identifiability, ObjectRef};

/// What a rule of the access gate can read beside principal, action and resource. The schema says what each field means.
#[derive(Clone, Debug)]
pub(super) struct AccessContext<'a> {
    pub(super) agreement: &'a ObjectRef,
    pub(super) framework: &'a Framework,
    pub(super) now: Timestamp,
    pub(super) purpose: &'a str,
    pub(super) identifiability: Identifiability,
    pub(super) roles: Vec<String>,
    pub(super) legitimate_relationship: bool,
    pub(super) explicit_consent: bool,
    pub(super) opt_outs_applied: bool,
    pub(super) min_cell_count: i64,
    pub(super) case_reference: String,
    pub(super) break_glass: bool,
    pub(super) region: String,
    pub(super) onward_to: Option<&'a str>,
}

impl AccessContext<'_> {
    /// The attributes under the names of the schema.
    pub(super) fn pairs(self) -> Vec<(&'static str, Value)> {
        let Self {
            agreement,
            framework,
            now,
            purpose,
            identifiability,
            roles,
            legitimate_relationship,
            explicit_consent,
            opt_outs_applied,
            min_cell_count,
            case_reference,
            break_glass,
            region,
            onward_to,
        } = self;
        let (weekday, minute) = local_time(now, &framework.time_zone);
        let mut context = vec![
            ("agreement", Value::new_entity_uid(names::agreement(agreement))),
            ("framework", framework.terms.clone()),
            ("now", moment(now)),
            ("weekday", long(weekday)),
            ("localMinute", long(minute)),
            ("purpose", text(purpose)),
            ("identifiability", long(identifiability.rank())),
            ("roles", texts(roles)),
            ("legitimateRelationship", flag(legitimate_relationship)),
            ("explicitConsent", flag(explicit_consent)),
            ("optOutsApplied", flag(opt_outs_applied)),
            ("minCellCount", long(min_cell_count)),
            ("caseReference", text(case_reference)),
            ("breakGlass", flag(break_glass)),
            ("region", text(region)),
        ];
        context.extend(onward_to.map(|org| ("onwardTo", Value::new_entity_uid(names::org(org)))));
        context
    }
}

/// The day of the week, 1 Monday to 7 Sunday, and the minute of the day, 0 to 1439, as clocks on the wall show them.
fn local_time(now: Timestamp, zone: &TimeZone) -> (i64, i64) {
    let local = zone.to_datetime(now);
    let weekday = i64::from(local.weekday().to_monday_one_offset());
    (weekday, i64::from(local.hour()) * 60 + i64::from(local.minute()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::built_in;

    #[test]
    fn the_local_time_follows_the_zone_of_the_framework() {
        let zone = &built_in().time_zone;
        let at = |text: &str| local_time(text.parse().unwrap(), zone);
        assert_eq!(at("2026-11-28T23:59:59Z"), (6, 1439), "a Saturday in winter");
        assert_eq!(at("2026-06-07T23:30:00Z"), (1, 30), "summer time: Monday has begun");
    }
}
