//! What has changed since an earlier assessment, and which agreements read nothing of it.
//!
//! Whatever an assessment reads is named here. On any doubt an agreement is assessed from nothing, which is always right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::assessment::{Assessment, Assessments};
use super::framework::Framework;
use super::names;
use crate::model::{Agreement, Model};
use concordat_api::{FrameworkRef, ObjectRef};

/// An assessment by a framework that calculates with the moment is not kept for longer.
const NOT_PLAIN: SignedDuration = SignedDuration::from_secs(30);

/// The differences between two models.
pub(super) struct Since<'a> {
    model: &'a Model,
    earlier: &'a Model,
    assessments: &'a Assessments,
    /// Organisations that have come, gone or changed.
    orgs: BTreeSet<&'a str>,
    /// Products that have.
    products: BTreeSet<&'a ObjectRef>,
    /// Frameworks that are what they were, and whether only dates of entities can change what they say.
    frameworks: BTreeMap<&'a FrameworkRef, bool>,
}

impl<'a> Since<'a> {
    /// Compares two models; nothing where something has changed that every agreement may read.
    pub(super) fn new(
        model: &'a Model,
        (earlier, assessments): (&'a Model, &'a Assessments),
    ) -> Option<Self> {
        if model.footprints != earlier.footprints
            || model.exceptions != earlier.exceptions
            || model.unknown_texts != earlier.unknown_texts
            || model.homeless != earlier.homeless
        {
            return None;
        }
        let orgs: BTreeSet<&str> = changed(&model.orgs, &earlier.orgs).map(String::as_str).collect();
        let products: BTreeSet<&ObjectRef> = changed(&model.products, &earlier.products).collect();
        // rules may name organisations and products that are no part of an agreement
        let named_is_same = |framework: &Framework| {
            !framework.literals.iter().any(|uid| {
                names::org_of(uid).is_some_and(|org| orgs.contains(org))
                    || products.iter().any(|product| names::product(product) == *uid)
            })
        };
        let frameworks = model.frameworks.iter().filter_map(|(reference, framework)| {
            if !named_is_same(framework) {
                return None;
            }
            let before = earlier.frameworks.get(reference)?;
            is_same(framework, before).then(|| (reference, framework.is_plain()))
        });
        Some(Self { model, earlier, assessments, frameworks: frameworks.collect(), orgs, products })
    }

    /// The earlier assessment of an agreement, if nothing that it reads has changed, and the moment is not one at
    /// which it changes by itself.
    pub(super) fn kept(&self, agreement: &Agreement, now: Timestamp) -> Option<Arc<Assessment>> {
        let assessment = self.assessments.agreements.get(&agreement.reference)?;
        let is_plain = self.frameworks.get(&agreement.spec.framework)?;
        let in_time = assessment.at <= now
            && assessment.next.is_none_or(|next| now < next)
            && (*is_plain || now.duration_since(assessment.at) < NOT_PLAIN);
        if !in_time || self.earlier.agreements.get(&agreement.reference) != Some(agreement) {
            return None;
        }
        // a controller is a party, but nothing here relies on that
        let mut products = agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products);
        let touched = agreement.spec.parties.iter().any(|party| self.orgs.contains(party.org.as_str()))
            || products.any(|product| {
                let controller = self.model.products.get(product).map(|it| it.spec.controller.as_str());
                self.products.contains(product) || controller.is_some_and(|org| self.orgs.contains(org))
            });
        (!touched).then(|| Arc::clone(assessment))
    }
}

fn is_same(framework: &Arc<Framework>, before: &Arc<Framework>) -> bool {
    // without a digest nothing is known of a framework
    Arc::ptr_eq(framework, before) || (framework.digest == before.digest && !framework.digest.is_empty())
}

/// The keys whose values differ, and those that only one of two maps has.
fn changed<'a, K: Ord, V: PartialEq>(
    now: &'a BTreeMap<K, V>,
    before: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let fresh = now.iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key);
    fresh.chain(before.keys().filter(|key| !now.contains_key(key)))
}
