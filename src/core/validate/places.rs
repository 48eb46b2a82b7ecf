//! Footprints: their parents exist and make no circle; populations are in the usual band of their tier.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;

use super::check::Check;
use super::{Checked, listed};
use crate::finding::Code;
use crate::model::Footprints;
use crate::snapshot::{Snapshot, Sourced};
use concordat_api::{Geography, PlaceFootprint, PlaceFootprintSpec, Tier};

/// The usual population of a tier. Source: NHS England on neighbourhoods and places; The King's Fund on systems.
fn usual_population(tier: Tier) -> Option<(i64, i64)> {
    match tier {
        Tier::Neighbourhood => Some((30_000, 50_000)),
        Tier::Place => Some((250_000, 500_000)),
        Tier::System => Some((500_000, 3_000_000)),
        Tier::Region | Tier::ProviderCollaborative => None,
    }
}

/// A footprint lists an area once at a time; a code that ends and comes back is another matter.
fn areas_once(check: &mut Check<'_, PlaceFootprint>) {
    let mut seen: BTreeMap<(&str, &str), Vec<&Geography>> = BTreeMap::new();
    for (index, area) in check.object().spec.geographies.iter().enumerate() {
        let earlier = seen.entry((area.scheme.as_str(), &area.code)).or_default();
        let begins_before = |a: &Geography, b: &Geography| match (a.valid_from, b.valid_to) {
            (Some(from), Some(to)) => from < to,
            _ => true,
        };
        if earlier.iter().any(|other| begins_before(area, other) && begins_before(other, area)) {
            check
                .finding(
                    Code::GeographyTwice,
                    &format!("spec.geographies[{index}]"),
                    format!("area `{}` of scheme `{}` is listed twice", area.code, area.scheme.as_str()),
                )
                .help("keep one, with the `share` that is meant");
        }
        earlier.push(area);
    }
}

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let stands = |it: &&Sourced<PlaceFootprint>| it.object.metadata.deletion_timestamp.is_none();
    let names: BTreeSet<String> =
        snapshot.footprints.iter().filter(stands).map(|footprint| footprint.object.name_any()).collect();
    let orgs: BTreeSet<String> = snapshot.orgs.iter().map(|org| org.object.name_any()).collect();
    let mut specs: BTreeMap<String, PlaceFootprintSpec> = BTreeMap::new();
    for sourced in &snapshot.footprints {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let spec = &check.object().spec;
        for (index, parent) in spec.parents.iter().enumerate() {
            if !names.contains(parent) {
                check
                    .finding(
                        Code::FootprintNotFound,
                        &format!("spec.parents[{index}]"),
                        format!("there is no footprint `{parent}`"),
                    )
                    .missing("PlaceFootprint", parent.as_str())
                    .near(
                        parent,
                        names.iter().map(String::as_str),
                        "add a PlaceFootprint of that name, or take the parent out",
                    );
            }
        }
        if !orgs.contains(&spec.lead_org) {
            check
                .finding(
                    Code::OrgNotFound,
                    "spec.leadOrg",
                    format!("there is no organisation `{}`", spec.lead_org),
                )
                .missing("PartnerOrg", spec.lead_org.as_str())
                .near(&spec.lead_org, orgs.iter().map(String::as_str), "add a PartnerOrg of that name")
                .warning();
        }
        if let (Some((least, most)), Some(population)) = (usual_population(spec.tier), &spec.population)
            && !(least..=most).contains(&population.value)
            && spec.population_justification.is_none()
        {
            let message =
                format!("a population of {} is unusual for tier `{:?}`", population.value, spec.tier);
            check.finding(Code::PopulationBand, "spec.population.value", message).help(format!(
                "usual is {least} to {most}; say why in `populationJustification`, and this goes away"
            ));
        }
        areas_once(&mut check);
        let spec = spec.clone();
        if checked.finish(check) {
            specs.insert(sourced.object.name_any(), spec);
        }
    }
    let (footprints, unplaced) = Footprints::new(specs);
    for sourced in &snapshot.footprints {
        let name = sourced.object.name_any();
        if unplaced.contains(&name)
            && let Some(mut check) = checked.start(sourced)
        {
            let parents = listed(sourced.object.spec.parents.iter().map(String::as_str));
            check
                .finding(
                    Code::FootprintCycle,
                    "spec.parents",
                    format!("`{name}` lies in {parents}, on a circle or below what is refused"),
                )
                .help("a footprint may have several parents, and none of them may lie in it");
            checked.finish(check);
        }
    }
    checked.model.footprints = footprints;
}
