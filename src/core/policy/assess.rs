//! The state of each agreement at a moment: who has signed, whether it is compliant, in force, and what flows.
//!
//! A pure function of (model, moment). It is the only place that knows what "in force" and "open" mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::assessment::{Assessment, Assessments};
use super::compliance::Gate;
use super::entities::EntityStore;
use super::gate::QuestionCache;
use super::incremental::Since;
use super::signing::Signing;
use super::succession::{Succession, TookPart, assumed, succession};
use crate::model::{Agreement, FunctionRef, Model};
use crate::parallel;
use concordat_api::{ObjectRef, Standing};

/// Assesses every agreement of the model at `now`. The store is made of the same model; it knows no time.
pub fn assess(model: &Model, store: &Arc<EntityStore>, now: Timestamp, signing: Signing) -> Assessments {
    let assessor = Assessor::new(model, store, now, signing);
    assessor.assess(model.agreements.iter().collect())
}

/// The same as [`assess`] with signatures as they are, in less time: an agreement that reads nothing that has
/// changed since an earlier assessment, at no moment that has been reached since, is as it was.
pub fn reassess(
    model: &Model,
    store: &Arc<EntityStore>,
    now: Timestamp,
    earlier: (&Model, &Assessments),
) -> Assessments {
    let since = Since::new(model, earlier);
    let mut assessor = Assessor::new(model, store, now, Signing::AsSigned);
    assessor.since = since.as_ref();
    assessor.assess(model.agreements.iter().collect())
}

/// Agreements by what they list: what a question about one product can touch.
pub(super) struct Listings<'m> {
    model: &'m Model,
    by_product: BTreeMap<&'m ObjectRef, BTreeSet<&'m ObjectRef>>,
}

impl<'m> Listings<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let mut listings = Self { model, by_product: BTreeMap::new() };
        for (reference, agreement) in &model.agreements {
            for product in agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products) {
                listings.by_product.entry(product).or_default().insert(reference);
            }
        }
        listings
    }

    /// The agreements that list a product.
    pub(super) fn listing(&self, product: &ObjectRef) -> impl Iterator<Item = &'m Agreement> {
        let listed = self.by_product.get(product).into_iter().flatten();
        listed.filter_map(|it| self.model.agreements.get(*it))
    }

    /// Assesses those of the agreements that list a product which count. A question about that product gets the same answer as if all had been
    /// assessed, and comes as close to one.
    ///
    /// Where a recipient is given, only those that list it too: fewer, with the same answer about the two, but not
    /// the same near miss.
    pub(super) fn assess(
        &self,
        product: &ObjectRef,
        recipient: Option<&FunctionRef>,
        counting: &BTreeSet<ObjectRef>,
        store: &Arc<EntityStore>,
        now: Timestamp,
        signing: Signing,
    ) -> Assessments {
        let lists_both = |agreement: &&Agreement| {
            let Some(recipient) = recipient else { return true };
            let mut purposes = agreement.spec.purposes.iter().filter(|it| it.products.contains(product));
            purposes.any(|purpose| agreement.recipients(purpose, &self.model.orgs).contains(recipient))
        };
        let counts = |agreement: &&Agreement| counting.contains(&agreement.reference);
        let agreements = self.listing(product).filter(counts).filter(lists_both);
        let agreements = agreements.map(|it| (&it.reference, it));
        let assessor = Assessor::new(self.model, store, now, signing);
        assessor.assess(agreements.collect())
    }
}

struct Assessor<'a> {
    model: &'a Model,
    store: &'a Arc<EntityStore>,
    now: Timestamp,
    signing: Signing,
    since: Option<&'a Since<'a>>,
    forms: QuestionCache,
}

/// An agreement on the way to its assessment.
enum Pending {
    /// How it was before, unless what its successors have done to it has changed.
    Assessed(Arc<Assessment>),
    Asked(Box<Gate>),
}

impl<'a> Assessor<'a> {
    fn new(model: &'a Model, store: &'a Arc<EntityStore>, now: Timestamp, signing: Signing) -> Self {
        Self { model, store, now, signing, since: None, forms: QuestionCache::default() }
    }

    fn gate(&self, agreement: &Agreement, now: Timestamp, signing: Signing) -> Gate {
        Gate::ask(self.model, self.store, &self.forms, agreement, now, signing)
    }

    fn assess(&self, agreements: Vec<(&ObjectRef, &Agreement)>) -> Assessments {
        let Self { model, store, now, signing, since, forms: _ } = *self;
        let concluded = parallel::map(&agreements, |(_, agreement)| {
            let succession = self.succession(agreement, now);
            let pending = match since.and_then(|since| since.kept(agreement, now)) {
                Some(kept) if kept.succession == succession => Pending::Assessed(kept),
                _ => Pending::Asked(Box::new(self.gate(agreement, now, signing))),
            };
            match pending {
                Pending::Assessed(kept) => kept,
                Pending::Asked(gate) => {
                    let mut assessment = gate.conclude(model, store, agreement, succession, now, signing);
                    if assessment.in_force() && signing == Signing::AsSigned {
                        assessment.ends_by(self.first_end(agreement, &assessment));
                        assessment.ends_ahead(model);
                    }
                    Arc::new(assessment)
                }
            }
        });
        let mut assessments = Assessments { store: Arc::clone(store), ..Assessments::default() };
        for ((reference, agreement), assessment) in agreements.into_iter().zip(concluded) {
            if assessment.in_force() {
                for purpose in &agreement.spec.purposes {
                    let recipients = agreement.recipients(purpose, &model.orgs);
                    for product in &purpose.products {
                        for recipient in &recipients {
                            if assessment.ended(model, product, recipient).is_none() {
                                let listed = (product.clone(), recipient.clone());
                                assessments.candidates.entry(listed).or_default().insert(reference.clone());
                            }
                        }
                    }
                }
            }
            assessments.agreements.insert(reference.clone(), assessment);
        }
        assessments
    }

    /// What successors have done to an agreement by a moment.
    fn succession(&self, agreement: &Agreement, at: Timestamp) -> Succession {
        let in_force = |new: &Agreement, at: Timestamp, signing: Signing| {
            let gate = self.gate(new, at, signing);
            let in_force = gate.broken.is_empty() && gate.fully_signed;
            in_force.then(|| {
                let signed = gate.parties.iter().filter(|(_, it)| it.standing == Standing::Signed);
                TookPart { signed: signed.map(|(org, _)| org.clone()).collect(), members: gate.signed.orgs }
            })
        };
        let mut found = succession(self.model, agreement, at, self.signing, &in_force);
        if self.signing == Signing::Assumed && found.by.is_none() {
            found.by = assumed(self.model, agreement, at, &in_force);
        }
        found
    }

    /// The first moment at which an agreement in force is so no more, everything else staying as it is.
    fn first_end(&self, agreement: &Agreement, assessment: &Assessment) -> Timestamp {
        let latest = agreement.held_from.map_or(agreement.ends(), |held| held.min(agreement.ends()));
        // whatever a rule reads that ends it is among its lapses
        let written = assessment.lapses.iter().map(|lapse| lapse.at);
        let orgs = agreement.orgs().into_iter().filter_map(|org| self.model.orgs.get(org)?.spec.ends_on);
        let words = agreement.signers.values().flat_map(|signer| signer.words.moments());
        let latest = assessment.succession.ahead.by.map_or(latest, |by| by.min(latest));
        let dates: BTreeSet<Timestamp> =
            written.chain(orgs).chain(words).filter(|at| self.now < *at && *at < latest).collect();
        let ended = |at: &Timestamp| {
            let gate = self.gate(agreement, *at, Signing::AsSigned);
            !gate.broken.is_empty() || !gate.fully_signed
        };
        dates.into_iter().find(ended).unwrap_or(latest)
    }
}
