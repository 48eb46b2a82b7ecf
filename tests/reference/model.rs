//! What of a world can be used: what an error in an object, or in one that it names, does to it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::world::{
    Agreement, Footprint, Framework, Object, Org, Product, Purpose, Ref, World, is_blank, state,
};

/// The world, and what of it can be used.
pub struct Model<'a> {
    pub world: &'a World,
    pub footprints: BTreeMap<&'a str, &'a Object<Footprint>>,
    pub orgs: BTreeMap<&'a str, &'a Object<Org>>,
    pub products: BTreeMap<&'a Ref, &'a Object<Product>>,
    pub framework: Framework,
    /// Agreements in which something cannot be right.
    pub invalid: BTreeSet<&'a Ref>,
    /// Every agreement is taken as signed and unsuspended, as local tests are run.
    pub as_signed: bool,
}

/// What a controller or recipient gets or gives in one purpose.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Recipient {
    pub org: String,
    pub function: String,
}

impl<'a> Model<'a> {
    pub fn new(world: &'a World, built_in: &Framework) -> Self {
        let mut model = Self {
            world,
            footprints: BTreeMap::new(),
            orgs: BTreeMap::new(),
            products: BTreeMap::new(),
            framework: world
                .frameworks
                .iter()
                .find(|it| !it.deleted)
                .map_or_else(|| built_in.clone(), |it| it.spec.clone()),
            invalid: BTreeSet::new(),
            as_signed: false,
        };
        model.find_footprints();
        model.find_orgs();
        model.find_products();
        model.find_invalid();
        model
    }

    fn find_footprints(&mut self) {
        let standing = self.world.footprints.iter().filter(|it| !it.deleted);
        let all: BTreeMap<&str, &Object<Footprint>> = standing.map(|it| (it.key.name.as_str(), it)).collect();
        for (name, footprint) in &all {
            if reaches_only_what_is(&all, name, &mut vec![]) {
                self.footprints.insert(name, footprint);
            }
        }
    }

    fn find_orgs(&mut self) {
        for org in &self.world.orgs {
            let spec = &org.spec;
            let namespaces = |it: &Org| {
                let mut namespaces: BTreeSet<String> =
                    it.functions.iter().flat_map(|it| &it.workloads).map(|it| it.namespace.clone()).collect();
                namespaces.insert(it.home_namespace.clone());
                namespaces
            };
            let clash = self.world.orgs.iter().any(|other| {
                other.key != org.key
                    && (other.spec.home_namespace == spec.home_namespace
                        || !namespaces(&other.spec).is_disjoint(&namespaces(spec)))
            });
            let usable = !org.deleted
                && !clash
                && !spec.identifiers.is_empty()
                && (spec.state != "Merged" || spec.successor.is_some())
                && spec.successor.as_ref() != Some(&org.key.name)
                && spec.footprints.iter().all(|it| self.footprints.contains_key(it.as_str()));
            if usable {
                self.orgs.insert(&org.key.name, org);
            }
        }
    }

    fn find_products(&mut self) {
        let by_key: BTreeMap<&Ref, &Object<Product>> =
            self.world.products.iter().filter(|it| !it.deleted).map(|it| (&it.key, it)).collect();
        for product in &self.world.products {
            let spec = &product.spec;
            let flags_agree = (!spec.confidential_patient_info || spec.special_category)
                && (spec.personal_data
                    || !(spec.special_category
                        || spec.confidential_patient_info
                        || spec.legally_restricted
                        || spec.childrens_data));
            let covers_parents = spec.derived_from.iter().all(|parent| {
                by_key.get(parent).is_some_and(|parent| {
                    let parent = &parent.spec;
                    (spec.personal_data || !parent.personal_data)
                        && (spec.special_category || !parent.special_category)
                        && (spec.confidential_patient_info || !parent.confidential_patient_info)
                        && (spec.legally_restricted || !parent.legally_restricted)
                        && (spec.childrens_data || !parent.childrens_data)
                })
            });
            let at_home = self.orgs.get(spec.controller.as_str()).is_some_and(|org| {
                org.spec.home_namespace == product.key.namespace
                    || org
                        .spec
                        .functions
                        .iter()
                        .flat_map(|it| &it.workloads)
                        .any(|it| it.namespace == product.key.namespace)
            });
            if !product.deleted && flags_agree && covers_parents && at_home {
                self.products.insert(&product.key, product);
            }
        }
    }

    fn find_invalid(&mut self) {
        for agreement in &self.world.agreements {
            let supersedes_itself = agreement.spec.supersedes.as_ref() == Some(&agreement.key);
            if is_misshapen(&agreement.spec) || supersedes_itself || self.is_invalid(agreement) {
                self.invalid.insert(&agreement.key);
            }
        }
    }

    fn is_invalid(&self, agreement: &Object<Agreement>) -> bool {
        let spec = &agreement.spec;
        let apart = spec.accession;
        let place = |name: &String| self.footprints.contains_key(name.as_str());
        let places =
            place(&spec.footprint) && spec.cross_boundary.iter().flat_map(|it| &it.footprints).all(place);
        let usable_rows = spec.parties.iter().all(|row| match self.orgs.get(row.org.as_str()) {
            None => apart,
            Some(org) => row
                .function
                .as_ref()
                .is_none_or(|function| apart || org.spec.functions.iter().any(|it| it.name == *function)),
        });
        let purposes = spec.purposes.iter().all(|purpose| {
            let products = purpose.products.iter().all(|it| match self.products.get(it) {
                None => apart,
                Some(product) => apart || has_role(spec, &product.spec.controller, "Controller"),
            });
            let recipients = purpose.recipients.iter().flatten().all(|it| {
                spec.parties.iter().any(|row| {
                    row.org == it.org
                        && row.role == "Recipient"
                        && (row.function.is_none() || it.function.is_none() || row.function == it.function)
                }) && self.orgs.get(it.org.as_str()).map_or(apart, |org| {
                    it.function.as_ref().is_none_or(|function| {
                        apart || org.spec.functions.iter().any(|known| known.name == *function)
                    })
                })
            });
            let known = self.framework.vocabulary.purposes.iter().any(|it| it.code == purpose.code);
            known && products && recipients
        });
        let onward = spec.onward_sharing.to.iter().all(|it| apart || self.orgs.contains_key(it.as_str()));
        let framework =
            spec.framework.name == self.framework.name && spec.framework.version == self.framework.version;
        !(places
            && usable_rows
            && purposes
            && onward
            && framework
            && !(spec.supersedes.is_some() && spec.emergency.is_some()))
    }

    /// Whether a footprint lies in another, or is it.
    pub fn lies_in(&self, inner: &str, outer: &str) -> bool {
        inner == outer
            || self
                .footprints
                .get(inner)
                .is_some_and(|it| it.spec.parents.iter().any(|parent| self.lies_in(parent, outer)))
    }

    /// Whether any footprint of an organisation lies in a footprint.
    pub fn org_lies_in(&self, org: &str, outer: &str) -> bool {
        self.orgs.get(org).is_some_and(|it| it.spec.footprints.iter().any(|it| self.lies_in(it, outer)))
    }

    pub fn is_active(&self, org: &str, at: Timestamp) -> bool {
        self.orgs.get(org).is_some_and(|it| state(&it.spec, at) == "Active")
    }

    /// The functions that receive for a purpose.
    pub fn recipients(&self, agreement: &Agreement, purpose: &Purpose) -> BTreeSet<Recipient> {
        let mut recipients = BTreeSet::new();
        for row in agreement.parties.iter().filter(|it| it.role == "Recipient") {
            let Some(org) = self.orgs.get(row.org.as_str()) else { continue };
            for function in &org.spec.functions {
                let of_row = row.function.as_ref().is_none_or(|it| *it == function.name);
                let listed = purpose.recipients.as_ref().is_none_or(|listed| {
                    listed.iter().any(|it| {
                        it.org == row.org && it.function.as_ref().is_none_or(|it| *it == function.name)
                    })
                });
                if of_row && listed {
                    recipients.insert(Recipient { org: row.org.clone(), function: function.name.clone() });
                }
            }
        }
        recipients
    }
}

/// Whether something in an agreement cannot be right, whatever else there is.
pub fn is_misshapen(spec: &Agreement) -> bool {
    let rows: BTreeSet<_> = spec.parties.iter().map(|it| (&it.org, &it.role, &it.function)).collect();
    let codes: BTreeSet<&str> = spec.purposes.iter().map(|it| it.code.as_str()).collect();
    let dates = spec.term.start < spec.term.end
        && spec.term.start <= spec.term.review_by
        && spec.emergency.as_ref().is_none_or(|it| spec.term.start < it.expires)
        && spec.dpia.as_ref().is_none_or(|it| it.approved_on <= it.review_by);
    !(spec.parties.len() >= 2
        && rows.len() == spec.parties.len()
        && ["Controller", "Recipient"].iter().all(|role| spec.parties.iter().any(|it| it.role == *role))
        && codes.len() == spec.purposes.len()
        && dates
        && !is_blank(Some(&spec.title))
        && spec.cross_boundary.iter().all(|it| !it.footprints.contains(&spec.footprint))
        && (spec.onward_sharing.allowed || spec.onward_sharing.to.is_empty()))
}

/// Whether an organisation has a row in an agreement.
pub fn is_party(agreement: &Agreement, org: &str) -> bool {
    agreement.parties.iter().any(|it| it.org == org)
}

pub fn has_role(agreement: &Agreement, org: &str, role: &str) -> bool {
    agreement.parties.iter().any(|it| it.org == org && it.role == role)
}

/// Whether every ancestor of a footprint is there, and none of them is below itself.
fn reaches_only_what_is<'a>(
    all: &BTreeMap<&'a str, &'a Object<Footprint>>,
    name: &'a str,
    path: &mut Vec<&'a str>,
) -> bool {
    if path.contains(&name) {
        return false;
    }
    let Some(footprint) = all.get(name) else { return false };
    path.push(name);
    let reached = footprint.spec.parents.iter().all(|parent| reaches_only_what_is(all, parent, path));
    path.pop();
    reached
}

/// The agreements that following `supersedes` leads over before it leads back.
pub fn circle<'a>(next: &BTreeMap<&'a Ref, &'a Ref>, start: &'a Ref) -> Option<Vec<&'a Ref>> {
    let (mut here, mut seen) = (start, Vec::new());
    for _ in 0..=next.len() {
        here = next.get(here)?;
        seen.push(here);
        if here == start {
            return Some(seen);
        }
    }
    None
}
