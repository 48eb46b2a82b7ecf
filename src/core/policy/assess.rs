//! How each agreement stands at a moment: who has signed, whether it is compliant, in force, and what flows.
//!
//! A pure function of (model, moment). It is the only place that knows what "in force" and "open" mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::Entity;
use jiff::Timestamp;

use super::compliance::{BrokenRule, Gate};
use super::entities::{EntityStore, Signed};
use super::flows::{ClosedFlow, Flow};
use super::gate::Forms;
use super::moments::openings;
use super::since::Since;
use crate::api::{ObjectRef, PartyRole, Phase, Standing};
use crate::core::model::{Agreement, FunctionRef, Model, Signature};
use crate::core::parallel;

/// Whose word is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signing {
    /// Signatures as they stand.
    AsSigned,
    /// Every agreement is taken as signed by all and unsuspended: for the tests of local policies.
    Assumed,
    /// Likewise, but who takes whose place is as signed: a draft that nobody has signed takes nobody's.
    AssumedInPlace,
}

/// How one organisation stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartyState {
    pub standing: Standing,
    /// The purposes it stands signed for.
    pub purposes: BTreeSet<String>,
    /// The hash that its signature needs.
    pub terms_hash: String,
    /// Whether two signatures void each other.
    pub twice: bool,
    /// Whether something that cannot be used may be its word, such as a withdrawal.
    pub in_doubt: bool,
    /// Per-party rules that it breaks; with `accession` they keep it out.
    pub broken: Vec<String>,
}

/// How an agreement stands.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The moment that it was made for. It holds from then on until `next`.
    pub at: Timestamp,
    pub phase: Phase,
    pub parties: BTreeMap<String, PartyState>,
    pub signed: Signed,
    /// Whether signatures suffice: the signature clause of "in force" (NF-01).
    pub fully_signed: bool,
    pub broken: Vec<BrokenRule>,
    /// Rules that, with `accession`, keep a party out and nobody else.
    pub kept_out: Vec<BrokenRule>,
    /// When it ends unless something ends it first.
    pub ends: Timestamp,
    /// The next moment at which something about it changes by itself.
    pub next: Option<Timestamp>,
    pub superseded_by: Option<ObjectRef>,
    /// When the next one that would take its place starts, if that lies ahead.
    pub successor_starts: Option<Timestamp>,
    pub flows: Vec<Flow>,
    pub closed: Vec<ClosedFlow>,
    /// The agreement as Cedar sees it.
    pub entity: Option<Entity>,
    /// Rules lifted here by an exception.
    pub lifted: BTreeSet<String>,
}

impl Assessment {
    /// Whether the agreement is in force.
    pub fn in_force(&self) -> bool {
        self.phase == Phase::Active
    }
}

/// How every agreement stands, with an index of those in force.
#[derive(Clone, Debug, Default)]
pub struct Assessments {
    pub agreements: BTreeMap<ObjectRef, Arc<Assessment>>,
    /// Agreements in force by what they list: product and recipient function.
    pub candidates: BTreeMap<(ObjectRef, FunctionRef), BTreeSet<ObjectRef>>,
    /// Entities of everything but agreements.
    pub store: Arc<EntityStore>,
}

/// Assesses every agreement of the model at `now`. The store is made of the same model; it knows no time.
pub fn assess(model: &Model, store: &Arc<EntityStore>, now: Timestamp, signing: Signing) -> Assessments {
    let assessor = Assessor::new(model, store, now, signing);
    assessor.assess(model.agreements.iter().collect())
}

/// The same as [`assess`] with signatures as they stand, in less time: an agreement that reads nothing that has
/// changed since an earlier assessment, at no moment that has been reached since, stands as it stood.
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
    successors: BTreeMap<&'m ObjectRef, BTreeSet<&'m ObjectRef>>,
}

impl<'m> Listings<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let mut listings = Self { model, by_product: BTreeMap::new(), successors: BTreeMap::new() };
        for (reference, agreement) in &model.agreements {
            for product in agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products) {
                listings.by_product.entry(product).or_default().insert(reference);
            }
            if let Some(old) = &agreement.spec.supersedes {
                listings.successors.entry(old).or_default().insert(reference);
            }
        }
        listings
    }

    /// Assesses the agreements that list a product, and with them those that may have taken their place. A question
    /// about that product gets the same answer as if all had been assessed, and comes as close to one.
    ///
    /// Where a recipient is given, only those that list it too: fewer, with the same answer about the two, but not
    /// the same near miss.
    pub(super) fn assess(
        &self,
        product: &ObjectRef,
        recipient: Option<&FunctionRef>,
        store: &Arc<EntityStore>,
        now: Timestamp,
        signing: Signing,
    ) -> Assessments {
        let lists_both = |reference: &&&ObjectRef| {
            let Some((agreement, recipient)) = self.model.agreements.get(**reference).zip(recipient) else {
                return recipient.is_none();
            };
            let mut purposes = agreement.spec.purposes.iter().filter(|it| it.products.contains(product));
            purposes.any(|purpose| agreement.recipients(purpose, &self.model.orgs).contains(recipient))
        };
        let listed = self.by_product.get(product).into_iter().flatten();
        let mut touched: BTreeSet<&ObjectRef> = listed.filter(lists_both).copied().collect();
        let successors = touched.iter().filter_map(|listed| self.successors.get(*listed)).flatten();
        let successors: Vec<&ObjectRef> = successors.copied().collect();
        touched.extend(successors);
        let agreements = touched.into_iter().filter_map(|it| self.model.agreements.get_key_value(it));
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
    forms: Forms,
}

/// An agreement on the way to its assessment.
enum Found {
    /// How it stands, unless another one has come to take its place, or is gone from there.
    Assessed(Arc<Assessment>),
    /// Another one may take its place, and what the gate says of that one decides.
    Asked(Box<Gate>),
}

impl<'a> Assessor<'a> {
    fn new(model: &'a Model, store: &'a Arc<EntityStore>, now: Timestamp, signing: Signing) -> Self {
        Self { model, store, now, signing, since: None, forms: Forms::default() }
    }

    fn gate(&self, agreement: &Agreement, now: Timestamp, signing: Signing) -> Gate {
        Gate::ask(self.model, self.store, &self.forms, agreement, now, signing)
    }

    fn assess(&self, agreements: Vec<(&ObjectRef, &Agreement)>) -> Assessments {
        let Self { model, store, now, signing, since, forms: _ } = *self;
        let ask = |agreement: &Agreement| self.gate(agreement, now, signing);
        let contested: BTreeSet<&ObjectRef> =
            agreements.iter().filter_map(|(_, agreement)| agreement.spec.supersedes.as_ref()).collect();
        let found = parallel::map(&agreements, |(reference, agreement)| {
            if let Some(kept) = since.and_then(|since| since.kept(agreement, now)) {
                return Found::Assessed(kept);
            }
            let gate = ask(agreement);
            if contested.contains(reference) {
                return Found::Asked(Box::new(gate));
            }
            let successor = remembered(agreement, signing).cloned();
            Found::Assessed(Arc::new(gate.conclude(model, store, agreement, successor, now, signing)))
        });
        let mut successions: BTreeMap<&ObjectRef, Succession<'_>> = BTreeMap::new();
        for ((reference, agreement), found) in agreements.iter().zip(&found) {
            let Some(old) = agreement.spec.supersedes.as_ref().and_then(|old| model.agreements.get(old))
            else {
                continue;
            };
            let succession = successions.entry(&old.reference).or_default();
            if self.supersedes(agreement, found, old) {
                succession.by.get_or_insert(*reference);
            }
            let start = Some(agreement.spec.term.start).filter(|start| *start > now);
            succession.starts = succession.starts.into_iter().chain(start).min();
        }
        let found: Vec<_> = agreements.into_iter().zip(found).collect();
        let concluded = parallel::map(&found, |((reference, agreement), found)| {
            let Succession { by, starts } = successions.get(reference).copied().unwrap_or_default();
            let successor = by.or_else(|| remembered(agreement, signing));
            let conclude = |gate: Gate| {
                let mut assessment = gate.conclude(model, store, agreement, successor.cloned(), now, signing);
                assessment.successor_starts = starts;
                assessment.next = assessment.next.into_iter().chain(starts).min();
                Arc::new(assessment)
            };
            match found {
                Found::Assessed(stands)
                    if stands.superseded_by.as_ref() == successor && stands.successor_starts == starts =>
                {
                    Arc::clone(stands)
                }
                Found::Assessed(_) => conclude(ask(agreement)),
                Found::Asked(gate) => conclude(Gate::clone(gate)),
            }
        });
        let mut assessments = Assessments { store: Arc::clone(store), ..Assessments::default() };
        for (((reference, agreement), _), assessment) in found.into_iter().zip(concluded) {
            if assessment.in_force() {
                for purpose in &agreement.spec.purposes {
                    for recipient in agreement.recipients(purpose, &model.orgs) {
                        for product in &purpose.products {
                            let listed = (product.clone(), recipient.clone());
                            assessments.candidates.entry(listed).or_default().insert(reference.clone());
                        }
                    }
                }
            }
            assessments.agreements.insert(reference.clone(), assessment);
        }
        assessments
    }
}

/// Who has taken an agreement's place, and when the next one that would starts.
#[derive(Clone, Copy, Default)]
struct Succession<'a> {
    by: Option<&'a ObjectRef>,
    starts: Option<Timestamp>,
}

impl Found {
    /// Whether signatures suffice, no rule refuses it, and every Controller of `old` has signed.
    fn takes_over(&self, old: &Agreement) -> bool {
        let (broken, fully_signed, signed) = match self {
            Self::Assessed(stands) => (&stands.broken, stands.fully_signed, &stands.signed),
            Self::Asked(gate) => (&gate.broken, gate.fully_signed, &gate.signed),
        };
        let has_signed = |org: &&str| signed.orgs.contains(*org);
        broken.is_empty() && fully_signed && old.orgs_as(PartyRole::Controller).iter().all(has_signed)
    }

    /// Whether some rule refuses it, or keeps a party out of it.
    fn breaks_a_rule(&self) -> bool {
        match self {
            Self::Assessed(stands) => !(stands.broken.is_empty() && stands.kept_out.is_empty()),
            Self::Asked(gate) => !(gate.broken.is_empty() && gate.kept_out.is_empty()),
        }
    }
}

impl Assessor<'_> {
    /// Whether an agreement takes the place of `old`, or has taken it: from specs and signatures alone, so that
    /// suspending it, a date of it that passes, or its expiry revives nothing.
    fn supersedes(&self, agreement: &Agreement, found: &Found, old: &Agreement) -> bool {
        let Self { model, now, signing, .. } = *self;
        let (start, ends) = (agreement.spec.term.start, agreement.ends());
        if old.reference == agreement.reference || now < start || ends <= start {
            return false;
        }
        // what a rule refuses now may have been in force before a date passed that the rule reads
        let whose = if signing == Signing::Assumed { signing } else { Signing::AsSigned };
        let asked = |at| Found::Asked(Box::new(self.gate(agreement, at, whose)));
        let stood = |at: &Timestamp| asked(*at).takes_over(old);
        let as_signed = (signing != whose).then(|| asked(now));
        let found = as_signed.as_ref().unwrap_or(found);
        found.takes_over(old)
            || (found.breaks_a_rule()
                && openings(model, agreement).iter().filter(|at| **at <= now && **at < ends).any(stood))
    }
}

/// A successor that the status remembers counts also after it is gone: status may close, and never open.
fn remembered(agreement: &Agreement, signing: Signing) -> Option<&ObjectRef> {
    match signing {
        Signing::AsSigned => agreement.remembered_successor.as_ref(),
        Signing::Assumed | Signing::AssumedInPlace => None,
    }
}

pub(super) fn party_state(agreement: &Agreement, org: &str, signing: Signing) -> PartyState {
    let all = || agreement.spec.purposes.iter().map(|purpose| purpose.code.clone()).collect::<BTreeSet<_>>();
    let Some(signer) = agreement.signers.get(org) else {
        return PartyState {
            standing: Standing::NotSigned,
            purposes: BTreeSet::new(),
            terms_hash: String::new(),
            twice: false,
            in_doubt: false,
            broken: Vec::new(),
        };
    };
    let (standing, purposes) = match (&signer.signature, signing) {
        (_, Signing::Assumed | Signing::AssumedInPlace) => (Standing::Signed, all()),
        (Signature::Signed { purposes: None, .. }, _) => (Standing::Signed, all()),
        (Signature::Signed { purposes: Some(named), .. }, _) => {
            (Standing::Signed, all().intersection(named).cloned().collect())
        }
        (Signature::Withdrawn { until: _ }, _) => (Standing::Withdrawn, BTreeSet::new()),
        (Signature::OtherTerms, _) => (Standing::OtherTerms, BTreeSet::new()),
        (Signature::Missing | Signature::Twice | Signature::InDoubt, _) => {
            (Standing::NotSigned, BTreeSet::new())
        }
    };
    let as_signed = signing == Signing::AsSigned;
    let twice = signer.signature == Signature::Twice;
    PartyState {
        standing,
        purposes,
        terms_hash: signer.terms_hash.clone(),
        twice: twice && as_signed,
        in_doubt: (twice || signer.signature == Signature::InDoubt) && as_signed,
        broken: Vec::new(),
    }
}

/// Who stands signed, for what.
pub(super) fn standing_signed(agreement: &Agreement, parties: &BTreeMap<String, PartyState>) -> Signed {
    let spec = &agreement.spec;
    let controllers = agreement.orgs_as(PartyRole::Controller);
    let mut signed = Signed::default();
    for (org, party) in parties {
        // in an emergency a recipient counts as signed unless it withdrew, or may have
        let assumed = spec.emergency.is_some()
            && !controllers.contains(org.as_str())
            && !party.in_doubt
            && !matches!(party.standing, Standing::Signed | Standing::Withdrawn);
        let kept_out = spec.accession && !party.broken.is_empty();
        if kept_out || !(party.standing == Standing::Signed || assumed) {
            continue;
        }
        signed.orgs.insert(org.clone());
        for purpose in &spec.purposes {
            if assumed || party.purposes.contains(&purpose.code) {
                signed.by_purpose.entry(purpose.code.clone()).or_default().insert(org.clone());
            }
        }
    }
    signed
}

/// The signature clause of "in force" (NF-01).
pub(super) fn fully_signed(
    agreement: &Agreement,
    parties: &BTreeMap<String, PartyState>,
    signed: &Signed,
) -> bool {
    let has = |role| agreement.orgs_as(role).iter().any(|org| signed.orgs.contains(*org));
    let controllers = agreement.orgs_as(PartyRole::Controller);
    let is_asked = |org: &str| agreement.spec.emergency.is_none() || controllers.contains(org);
    let everybody = agreement.spec.accession
        || parties
            .iter()
            .filter(|(org, _)| is_asked(org))
            .all(|(org, party)| party.standing == Standing::Withdrawn || signed.orgs.contains(org));
    everybody && has(PartyRole::Controller) && has(PartyRole::Recipient)
}
