//! Footprints and what lies in them: an acyclic graph with many parents.

use std::collections::{BTreeMap, BTreeSet};

use concordat_api::{DataSharingAgreementSpec, PartnerOrgSpec, PlaceFootprintSpec};

/// The footprints, with every footprint that each lies in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Footprints {
    specs: BTreeMap<String, PlaceFootprintSpec>,
    ancestors: BTreeMap<String, BTreeSet<String>>,
}

impl Footprints {
    /// Builds the graph. Footprints that lie on a cycle, or above which one does, are returned beside it and left
    /// out, as are those with a parent that is not there.
    pub fn new(mut specs: BTreeMap<String, PlaceFootprintSpec>) -> (Self, BTreeSet<String>) {
        let mut ancestors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // a footprint is placed once all its parents are; what is never placed lies on or below a cycle
        loop {
            let ready: Vec<(String, BTreeSet<String>)> = specs
                .iter()
                .filter(|(name, _)| !ancestors.contains_key(*name))
                .filter_map(|(name, spec)| {
                    let mut above = BTreeSet::new();
                    for parent in &spec.parents {
                        above.extend(ancestors.get(parent)?.iter().cloned());
                        above.insert(parent.clone());
                    }
                    Some((name.clone(), above))
                })
                .collect();
            if ready.is_empty() {
                break;
            }
            ancestors.extend(ready);
        }
        let unplaced: BTreeSet<String> =
            specs.keys().filter(|name| !ancestors.contains_key(*name)).cloned().collect();
        specs.retain(|name, _| !unplaced.contains(name));
        (Self { specs, ancestors }, unplaced)
    }

    /// One footprint.
    pub fn get(&self, name: &str) -> Option<&PlaceFootprintSpec> {
        self.specs.get(name)
    }

    /// All footprints, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &PlaceFootprintSpec)> {
        self.specs.iter()
    }

    /// Whether `inner` is `outer` or lies in it.
    pub fn lies_in(&self, inner: &str, outer: &str) -> bool {
        inner == outer || self.ancestors.get(inner).is_some_and(|above| above.contains(outer))
    }

    /// Whether one of an organisation's footprints is `outer` or lies in it.
    pub fn org_lies_in(&self, org: &PartnerOrgSpec, outer: &str) -> bool {
        org.footprints.iter().any(|inner| self.lies_in(inner, outer))
    }

    /// Whether an agreement's footprint, or one that it declares across the boundary, is `outer` or lies in it.
    pub fn agreement_lies_in(&self, agreement: &DataSharingAgreementSpec, outer: &str) -> bool {
        Self::of_agreement(agreement).any(|inner| self.lies_in(inner, outer))
    }

    /// An agreement's footprint, and those that it declares across the boundary.
    pub fn of_agreement(agreement: &DataSharingAgreementSpec) -> impl Iterator<Item = &str> {
        let across = agreement.cross_boundary.iter().flat_map(|cross| &cross.footprints);
        std::iter::once(&agreement.footprint).chain(across).map(String::as_str)
    }
}
