//! From a plan and what is in the cluster to the writes that remain, in the order in which they are safe.
//!
//! A pure function: the same plan and the same cluster give the same steps, and a cluster that is as planned gives
//! none. Whoever carries the steps out decides nothing. The order, and why:
//!
//! 1. **Isolate**: write the policies that deny. A network policy only ever adds, so what is not yet denied cannot
//!    be shared in part.
//! 2. **Close**: delete allowing policies that are not in the plan, and write those that allow less than they did.
//!    A policy of which some flows go and some come is first cut down to the flows that stay. One that a finalizer
//!    would keep alive is emptied before it is deleted: an object that is held by a finalizer gives no access.
//! 3. **Revoke**: delete the grants behind them, and write those that grant less than they did.
//! 4. **Hold**: put the finalizer on agreements, before anything is there that would have to be taken away, and on those that
//!    have replaced others, until that is remembered.
//! 5. **Remember**: write into the status of an agreement what has replaced it, before anything opens under that one: what
//!    is signed may be gone a moment later, and the fact stays.
//! 6. **Grant**: write the grants, which own the ingress policies beside them.
//! 7. **Open**: write the policies that allow.
//! 8. **Retire**: let go of isolation that is not in the plan. It outlives its product, or its Managed function: it
//!    loses our labels and goes on denying, and is then no longer ours. A function that is there and is Managed no
//!    longer loses its isolation. That is the only deletion that opens anything, so it comes last, and it asks for
//!    more than absence from the plan: a function whose organisation has become invalid or unreadable, and so has
//!    left the plan, stays isolated.
//! 9. **Release**: take the finalizer off agreements that are deleted, or need it no longer, once nothing is there
//!    that names them, and what they have replaced is remembered.
//! 10. **Report**: write the statuses ([`report`]), knowing what failed.
//!
//! Closing waits for nothing. What opens names in [`Step::after`] the isolation, the finalizer, the memory and the grant that
//! it relies on: where one of those has just failed, it is left for the next round, and only it.

mod narrow;
mod observed;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use self::narrow::{Change, GrantChange};
pub use self::observed::{Observed, ObservedAgreement, ObservedStatus};
use self::report::timeless;
pub use self::report::{Failure, FailureReason, Failures, STILL_OPEN, failures_reported, report, still_open};
use super::types::{
    AGREEMENT, FINALIZER, MANAGED_BY, PART, PRODUCT, Plan, PlannedObject, PlannedStatus, RECIPIENT,
    StatusBody,
};
use crate::finding::ObjectKey;
use crate::shared::Shared;
use crate::snapshot::reference;
use concordat_api::{API_VERSION, DataAccessGrant, DataSharingAgreementStatus, ObjectRef, SupersededFor};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub stage: Stage,
    pub act: Act,
    /// If a write of one of these has failed in the same round, this one is not tried.
    pub after: BTreeSet<ObjectKey>,
}

/// When a step is due. Every step of one stage comes before every step of the next.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    Isolate,
    Close,
    Revoke,
    Hold,
    Remember,
    Grant,
    Open,
    Retire,
    Release,
    Report,
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Server-side apply of a whole policy. `owner` is the grant whose uid becomes its owner reference; without
    /// one, the policy is written as it is.
    ApplyPolicy { policy: Shared<NetworkPolicy>, owner: Option<ObjectRef> },
    /// Server-side apply of a whole grant.
    ApplyGrant(Shared<DataAccessGrant>),
    /// Deletes just this object, not one that somebody made under the same name since.
    Delete { object: ObjectKey, uid: Option<String> },
    /// Takes labels off a policy, and with them our claim to it.
    Unlabel { policy: ObjectRef, uid: Option<String>, labels: Vec<String> },
    /// Writes the list of finalizers, provided that the agreement has not changed since it was read.
    SetFinalizers {
        agreement: ObjectRef,
        uid: Option<String>,
        resource_version: Option<String>,
        finalizers: Vec<String>,
    },
    /// Server-side apply of a status. `was` is for whoever tells people what changed.
    SetStatus { object: ObjectKey, uid: Option<String>, status: StatusBody, was: Option<StatusBody> },
}

impl Act {
    /// Whether it writes the same; the moments that a status carries are those at which it was drawn up.
    pub fn is_same_write(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::SetStatus { object, uid, status, was: _ },
                Self::SetStatus { object: its_object, uid: its_uid, status: its_status, was: _ },
            ) => (object, uid) == (its_object, its_uid) && timeless(status) == timeless(its_status),
            _ => self == other,
        }
    }
}

impl Step {
    /// The object that is written.
    pub fn object(&self) -> ObjectKey {
        match &self.act {
            Act::ApplyPolicy { policy, owner: _ } => policy_key(&reference(&**policy)),
            Act::ApplyGrant(grant) => grant_key(&reference(&**grant)),
            Act::Delete { object, .. } | Act::SetStatus { object, .. } => object.clone(),
            Act::Unlabel { policy, .. } => policy_key(policy),
            Act::SetFinalizers { agreement, .. } => agreement_key(agreement),
        }
    }

    /// Whether it opens anything, or takes away what denies.
    pub fn opens(&self) -> bool {
        matches!(self.stage, Stage::Grant | Stage::Open | Stage::Retire)
    }

    /// Whether an agreement may be let go of afterwards: something is gone, or written down.
    pub fn may_release(&self) -> bool {
        match &self.act {
            Act::Delete { .. } | Act::Unlabel { .. } => true,
            Act::SetStatus { .. } => self.stage == Stage::Remember,
            Act::ApplyPolicy { .. } | Act::ApplyGrant(_) | Act::SetFinalizers { .. } => false,
        }
    }

    fn new(stage: Stage, act: Act) -> Self {
        Self { stage, act, after: BTreeSet::new() }
    }
}

/// The writes that remain before the cluster is as planned; the statuses apart, which [`report`] gives.
pub fn steps(plan: &Plan, observed: &Observed) -> Vec<Step> {
    let wanted = Wanted::new(plan, observed);
    let mut steps = Vec::new();
    isolate(&wanted, observed, &mut steps);
    close(&wanted, observed, &mut steps);
    revoke(&wanted, observed, &mut steps);
    let memories = memories(plan, observed);
    hold(plan, &wanted, observed, &memories, &mut steps);
    remember(memories, &mut steps);
    let dependencies = Dependencies::on(&steps);
    grant(&wanted, observed, &dependencies, &mut steps);
    open(&wanted, observed, &dependencies, &mut steps);
    retire(&wanted, observed, &dependencies, &mut steps);
    release(plan, &wanted, observed, &dependencies, &mut steps);
    steps
}

/// The owner reference that ties an ingress policy to its grant.
pub fn owner_reference(grant: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: "DataAccessGrant".to_owned(),
        name: grant.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Whether no one owns a policy but those that are planned to: with another owner it would go when that one goes, past
/// everything that keeps others from deleting it.
pub fn is_owned_alike(planned: &NetworkPolicy, present: &NetworkPolicy) -> bool {
    owners(planned) == owners(present)
}

fn owners(policy: &NetworkPolicy) -> &[OwnerReference] {
    policy.metadata.owner_references.as_deref().unwrap_or_default()
}

/// Whether a policy says just what another does, whatever else surrounds it.
pub fn says_the_same(planned: &NetworkPolicy, present: &NetworkPolicy) -> bool {
    spec_change(planned, present) == Change::None
}

/// The plan's objects by name, with what only a cluster knows filled in. Of an agreement that was recreated since the
/// plan was, nothing is wanted.
struct Wanted<'a> {
    recreated: BTreeSet<String>,
    isolation: BTreeMap<ObjectRef, &'a Shared<NetworkPolicy>>,
    grants: BTreeMap<ObjectRef, Shared<DataAccessGrant>>,
    allows: BTreeMap<ObjectRef, Allowed<'a>>,
}

/// A planned policy that opens something.
struct Allowed<'a> {
    policy: &'a Shared<NetworkPolicy>,
    /// The grant that owns it.
    owner: Option<ObjectRef>,
    /// What it opens.
    products: &'a BTreeSet<ObjectRef>,
}

impl<'a> Wanted<'a> {
    fn new(plan: &'a Plan, observed: &Observed) -> Self {
        let mut wanted = Self {
            recreated: recreated(plan, observed),
            isolation: BTreeMap::new(),
            grants: BTreeMap::new(),
            allows: BTreeMap::new(),
        };
        for object in &plan.objects {
            match object {
                PlannedObject::Grant(grant) if wanted.recreated.contains(&grant_agreement(grant)) => {}
                PlannedObject::Allow { policy, .. } if wanted.is_of_recreated(policy) => {}
                PlannedObject::Isolation(policy) => {
                    wanted.isolation.insert(reference(&**policy), policy);
                }
                PlannedObject::Grant(grant) => {
                    wanted.grants.insert(reference(&**grant), stamped(grant, observed));
                }
                PlannedObject::Allow { policy, grant, products } => {
                    let at = reference(&**policy);
                    let owner = grant.clone().map(|name| ObjectRef { namespace: at.namespace.clone(), name });
                    wanted.allows.insert(at, Allowed { policy, owner, products });
                }
            }
        }
        wanted
    }

    fn is_of_recreated(&self, policy: &NetworkPolicy) -> bool {
        policy.annotations().get(AGREEMENT).is_some_and(|agreement| self.recreated.contains(agreement))
    }

    /// The policies that are there, let through more than is planned, and could not be written; each with why.
    fn still_open<'f>(
        &'f self,
        observed: &'f Observed,
        failures: &'f Failures,
    ) -> impl Iterator<Item = (&'f ObjectRef, &'f NetworkPolicy, &'f Failure)> {
        observed.policies.iter().filter_map(|(at, present)| {
            // after a conflict the next round is on its way
            let failure = failures.get(&policy_key(at)).filter(|it| it.reason != FailureReason::Conflict)?;
            let planned = self.allows.get(at).map(|it| it.policy).or_else(|| self.isolation.get(at).copied());
            let lets_more = match planned {
                None => !is_isolation(present) && present.spec.as_ref().is_some_and(narrow::allows),
                Some(planned) => {
                    matches!(
                        spec_change(planned, present),
                        Change::Narrower | Change::Mixed(_) | Change::Other
                    )
                }
            };
            lets_more.then_some((at, &**present, failure))
        })
    }

    /// Whether a planned object is there as planned, and is not being deleted.
    fn stands(&self, observed: &Observed, key: &PlannedKey) -> bool {
        let policy = |at| observed.policies.get(at).filter(|it| it.metadata.deletion_timestamp.is_none());
        let grant = |at| observed.grants.get(at).filter(|it| it.metadata.deletion_timestamp.is_none());
        match key {
            PlannedKey::Isolation(at) => match (self.isolation.get(at), policy(at)) {
                (Some(planned), Some(present)) => isolation_stands(planned, present),
                _ => false,
            },
            PlannedKey::Grant(at) => match (self.grants.get(at), grant(at)) {
                (Some(planned), Some(present)) => grant_stands(planned, present),
                _ => false,
            },
            PlannedKey::Allow(at) => match (self.allows.get(at), policy(at)) {
                (Some(planned), Some(present)) => allow_stands(planned, present, observed),
                _ => false,
            },
        }
    }
}

/// The name of a planned object, with what it is planned as.
enum PlannedKey {
    Isolation(ObjectRef),
    Grant(ObjectRef),
    Allow(ObjectRef),
}

impl PlannedKey {
    fn of(object: &PlannedObject) -> Self {
        match object {
            PlannedObject::Isolation(policy) => Self::Isolation(reference(&**policy)),
            PlannedObject::Grant(grant) => Self::Grant(reference(&**grant)),
            PlannedObject::Allow { policy, .. } => Self::Allow(reference(&**policy)),
        }
    }
}

/// Agreements, `namespace/name`, that do not have the uid that the plan knows: gone, or others, which no one has
/// judged yet.
fn recreated(plan: &Plan, observed: &Observed) -> BTreeSet<String> {
    let grants = plan.objects.iter().filter_map(|object| match object {
        PlannedObject::Grant(grant) => Some(grant),
        PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => None,
    });
    let others = grants.filter(|grant| {
        let planned = &grant.spec.agreement.uid;
        let present = observed.agreements.get(&agreement_of(grant)).map(|present| &present.uid);
        planned.is_some() && present != Some(planned)
    });
    others.map(|grant| grant_agreement(grant)).collect()
}

/// A grant bound to the very object that it comes from, as far as the plan does not know it: one made offline knows
/// neither uid nor generation.
fn stamped(grant: &Shared<DataAccessGrant>, observed: &Observed) -> Shared<DataAccessGrant> {
    let mut grant = grant.clone();
    let agreement = &grant.spec.agreement;
    if (agreement.uid.is_none() || agreement.generation.is_none())
        && let Some(present) = observed.agreements.get(&agreement_of(&grant))
    {
        let agreement = &mut grant.spec.agreement;
        agreement.uid = agreement.uid.take().or_else(|| present.uid.clone());
        agreement.generation = agreement.generation.or(present.generation);
    }
    grant
}

fn isolation_stands(planned: &NetworkPolicy, present: &NetworkPolicy) -> bool {
    says_the_same(planned, present)
        && is_owned_alike(planned, present)
        && carries(&planned.metadata, &present.metadata)
}

fn grant_stands(planned: &DataAccessGrant, present: &DataAccessGrant) -> bool {
    planned.spec == present.spec && carries(&planned.metadata, &present.metadata)
}

fn allow_stands(
    Allowed { policy: planned, owner, products: _ }: &Allowed<'_>,
    present: &NetworkPolicy,
    observed: &Observed,
) -> bool {
    let uid = |at: &ObjectRef| observed.grants.get(at).and_then(|grant| grant.uid());
    let owned = match owner {
        Some(at) => uid(at).is_some_and(|uid| owners(present) == [owner_reference(&at.name, &uid)]),
        None => owners(present).is_empty(),
    };
    owned && says_the_same(planned, present) && carries(&planned.metadata, &present.metadata)
}

/// Whether an object carries our labels and annotations; other people's are no business of ours.
fn carries(planned: &ObjectMeta, present: &ObjectMeta) -> bool {
    let within = |planned: &Option<BTreeMap<String, String>>, present: &Option<BTreeMap<String, String>>| {
        planned
            .iter()
            .flatten()
            .all(|(key, value)| present.as_ref().is_some_and(|map| map.get(key) == Some(value)))
    };
    within(&planned.labels, &present.labels) && within(&planned.annotations, &present.annotations)
}

fn spec_change(planned: &NetworkPolicy, present: &NetworkPolicy) -> Change {
    match (&planned.spec, &present.spec) {
        (Some(planned), Some(present)) => narrow::change(present, planned),
        (None, None) => Change::None,
        _ => Change::Other,
    }
}

fn is_isolation(policy: &NetworkPolicy) -> bool {
    policy.labels().get(PART).is_some_and(|part| part == "isolation")
}

fn policy_key(at: &ObjectRef) -> ObjectKey {
    ObjectKey::new("NetworkPolicy", Some(&at.namespace), &at.name)
}

fn grant_key(at: &ObjectRef) -> ObjectKey {
    ObjectKey::new("DataAccessGrant", Some(&at.namespace), &at.name)
}

fn agreement_key(at: &ObjectRef) -> ObjectKey {
    ObjectKey::new("DataSharingAgreement", Some(&at.namespace), &at.name)
}

fn agreement_of(grant: &DataAccessGrant) -> ObjectRef {
    let agreement = &grant.spec.agreement;
    ObjectRef { namespace: agreement.namespace.clone(), name: agreement.name.clone() }
}

/// The agreement that a grant comes from, `namespace/name`.
fn grant_agreement(grant: &DataAccessGrant) -> String {
    format!("{}/{}", grant.spec.agreement.namespace, grant.spec.agreement.name)
}

/// What of this round's steps others rely on.
struct Dependencies {
    /// Isolation that is being written, of products, by `namespace/name`.
    products: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// Isolation that is being written, of functions, by namespace.
    functions: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// Agreements that are getting the finalizer, by `namespace/name`.
    held: BTreeMap<String, ObjectKey>,
    /// Agreements into whose statuses it is being written what another has taken from them, by that one's `namespace/name`.
    remembered: BTreeMap<String, BTreeSet<ObjectKey>>,
}

impl Dependencies {
    fn on(steps: &[Step]) -> Self {
        let (products, functions) = (BTreeMap::new(), BTreeMap::new());
        let mut dependencies =
            Self { products, functions, held: BTreeMap::new(), remembered: BTreeMap::new() };
        for step in steps {
            match (&step.act, step.stage) {
                (Act::ApplyPolicy { policy, .. }, Stage::Isolate) => {
                    let isolation = match policy.annotations().get(PRODUCT) {
                        Some(product) => dependencies.products.entry(product.clone()).or_default(),
                        None => {
                            dependencies.functions.entry(policy.namespace().unwrap_or_default()).or_default()
                        }
                    };
                    isolation.insert(step.object());
                }
                (Act::SetFinalizers { agreement, .. }, Stage::Hold) => {
                    dependencies.held.insert(agreement.to_string(), step.object());
                }
                (Act::SetStatus { status: StatusBody::Agreement(status), .. }, Stage::Remember) => {
                    for by in successors(status) {
                        dependencies.remembered.entry(by.to_string()).or_default().insert(step.object());
                    }
                }
                _ => {}
            }
        }
        dependencies
    }

    /// What an object that opens these products relies on: their isolation, its function's, its agreement's finalizer, and
    /// the memory of what its agreement has replaced.
    fn of<'p>(
        &self,
        object: &impl Resource,
        products: impl IntoIterator<Item = &'p ObjectRef>,
    ) -> BTreeSet<ObjectKey> {
        let annotations = object.annotations();
        let products = products.into_iter().filter_map(|product| self.products.get(&product.to_string()));
        let function = self.functions.get(&object.namespace().unwrap_or_default());
        let agreement = annotations.get(AGREEMENT);
        let held = agreement.and_then(|agreement| self.held.get(agreement));
        let remembered = agreement.and_then(|agreement| self.remembered.get(agreement));
        products.chain(function).chain(remembered).flatten().chain(held).cloned().collect()
    }

    /// The isolation that is being written in a namespace.
    fn isolation_in(&self, namespace: &str) -> BTreeSet<ObjectKey> {
        let isolation = self.products.values().chain(self.functions.values()).flatten();
        isolation.filter(|key| key.namespace.as_deref() == Some(namespace)).cloned().collect()
    }
}

/// The agreements that have taken something from the one with this status.
fn successors(status: &DataSharingAgreementStatus) -> impl Iterator<Item = &ObjectRef> {
    status.superseded_by.iter().chain(status.superseded_for.iter().map(|it| &it.by))
}

/// What has replaced an agreement and its status does not say yet: that status, and nothing else of it changed.
struct Memory {
    object: ObjectKey,
    uid: Option<String>,
    status: Box<DataSharingAgreementStatus>,
    was: Option<StatusBody>,
}

fn memories(plan: &Plan, observed: &Observed) -> Vec<Memory> {
    let mut memories = Vec::new();
    for PlannedStatus { object, status } in &plan.statuses {
        let (StatusBody::Agreement(planned), Some(present)) = (&**status, observed.statuses.get(object))
        else {
            continue;
        };
        if planned.superseded_by.is_none() && planned.superseded_for.is_empty() {
            continue;
        }
        let known = match &present.status {
            Some(StatusBody::Agreement(known)) => (**known).clone(),
            _ => DataSharingAgreementStatus::default(),
        };
        let more = planned.superseded_for.iter().filter(|it| !known.superseded_for.contains(it));
        let more: Vec<SupersededFor> = more.cloned().collect();
        if more.is_empty()
            && (planned.superseded_by.is_none() || planned.superseded_by == known.superseded_by)
        {
            continue;
        }
        let mut status = known;
        status.superseded_by = planned.superseded_by.clone().or(status.superseded_by);
        status.superseded_for.extend(more);
        memories.push(Memory {
            object: object.clone(),
            uid: present.uid.clone(),
            status: Box::new(status),
            was: present.status.clone(),
        });
    }
    memories
}

fn remember(memories: Vec<Memory>, steps: &mut Vec<Step>) {
    let held: BTreeSet<ObjectKey> =
        steps.iter().filter(|step| step.stage == Stage::Hold).map(Step::object).collect();
    for Memory { object, uid, status, was } in memories {
        // one object has one outcome in a round
        let after = held.get(&object).cloned().into_iter().collect();
        let act = Act::SetStatus { object, uid, status: StatusBody::Agreement(status), was };
        steps.push(Step { stage: Stage::Remember, act, after });
    }
}

fn isolate(wanted: &Wanted<'_>, observed: &Observed, steps: &mut Vec<Step>) {
    for (at, planned) in &wanted.isolation {
        if observed.policies.get(at).is_some_and(|present| isolation_stands(planned, present)) {
            continue;
        }
        let act = Act::ApplyPolicy { policy: (*planned).clone(), owner: None };
        steps.push(Step::new(Stage::Isolate, act));
    }
}

fn close(wanted: &Wanted<'_>, observed: &Observed, steps: &mut Vec<Step>) {
    for (at, present) in &observed.policies {
        if wanted.isolation.contains_key(at) {
            continue;
        }
        let Some(Allowed { policy: planned, .. }) = wanted.allows.get(at) else {
            if !is_isolation(present) {
                remove_policy(at, present, steps);
            }
            continue;
        };
        match spec_change(planned, present) {
            Change::None | Change::Wider => {}
            Change::Narrower => cut(planned, present, planned.spec.clone(), steps),
            Change::Mixed(kept) => cut(planned, present, Some(kept), steps),
            Change::Other => remove_policy(at, present, steps),
        }
    }
}

/// Writes a policy with less in it. Its owner stays who it was until the grants are written.
fn cut(
    planned: &NetworkPolicy,
    present: &NetworkPolicy,
    spec: Option<k8s_openapi::api::networking::v1::NetworkPolicySpec>,
    steps: &mut Vec<Step>,
) {
    let mut policy = NetworkPolicy { spec, ..planned.clone() };
    policy.metadata.owner_references.clone_from(&present.metadata.owner_references);
    steps.push(Step::new(Stage::Close, Act::ApplyPolicy { policy: policy.into(), owner: None }));
}

/// A policy with nothing allowed, for one that cannot be deleted; none where it allows nothing as it is.
pub fn emptied(present: &NetworkPolicy) -> Option<NetworkPolicy> {
    let spec = present.spec.as_ref().filter(|spec| narrow::allows(spec))?;
    let meta = &present.metadata;
    Some(NetworkPolicy {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            labels: meta.labels.clone(),
            annotations: meta.annotations.clone(),
            owner_references: meta.owner_references.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(narrow::voided(spec)),
    })
}

fn remove_policy(at: &ObjectRef, present: &NetworkPolicy, steps: &mut Vec<Step>) {
    let meta = &present.metadata;
    let held = meta.finalizers.as_ref().is_some_and(|list| !list.is_empty());
    if let Some(policy) = emptied(present).filter(|_| held) {
        steps.push(Step::new(Stage::Close, Act::ApplyPolicy { policy: policy.into(), owner: None }));
    }
    if meta.deletion_timestamp.is_none() {
        let act = Act::Delete { object: policy_key(at), uid: meta.uid.clone() };
        steps.push(Step::new(Stage::Close, act));
    }
}

fn revoke(wanted: &Wanted<'_>, observed: &Observed, steps: &mut Vec<Step>) {
    for (at, present) in &observed.grants {
        if present.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let less = match wanted.grants.get(at) {
            Some(planned) => narrow::grant_change(&present.spec, &planned.spec),
            None => GrantChange::Other,
        };
        match (less, wanted.grants.get(at)) {
            (GrantChange::Narrower(spec), Some(planned)) => {
                let grant = DataAccessGrant { spec: *spec, ..(**planned).clone() };
                steps.push(Step::new(Stage::Revoke, Act::ApplyGrant(grant.into())));
            }
            (GrantChange::Other, _) => {
                let act = Act::Delete { object: grant_key(at), uid: present.uid() };
                steps.push(Step::new(Stage::Revoke, act));
            }
            (GrantChange::Wider | GrantChange::Narrower(_), _) => {}
        }
    }
    // whatever it says, it is not what is planned
    for (at, uid) in &observed.undecodable_grants {
        let act = Act::Delete { object: grant_key(at), uid: uid.clone() };
        steps.push(Step::new(Stage::Revoke, act));
    }
}

fn hold(plan: &Plan, wanted: &Wanted<'_>, observed: &Observed, memories: &[Memory], steps: &mut Vec<Step>) {
    let opens = plan.finalizers.iter().filter(|at| !wanted.recreated.contains(&at.to_string()));
    let replaces = memories.iter().flat_map(|it| successors(&it.status));
    for at in opens.chain(replaces).collect::<BTreeSet<_>>() {
        let Some(present) = observed.agreements.get(at) else {
            continue;
        };
        // the API server refuses a new finalizer on what is being deleted
        if present.deleting || present.finalizers.iter().any(|it| it == FINALIZER) {
            continue;
        }
        let finalizers = present.finalizers.iter().cloned().chain([FINALIZER.to_owned()]).collect();
        steps.push(Step::new(Stage::Hold, set_finalizers(at, present, finalizers)));
    }
}

fn set_finalizers(at: &ObjectRef, present: &ObservedAgreement, finalizers: Vec<String>) -> Act {
    Act::SetFinalizers {
        agreement: at.clone(),
        uid: present.uid.clone(),
        resource_version: present.resource_version.clone(),
        finalizers,
    }
}

fn grant(wanted: &Wanted<'_>, observed: &Observed, dependencies: &Dependencies, steps: &mut Vec<Step>) {
    let narrowed: BTreeMap<ObjectRef, Shared<DataAccessGrant>> = steps
        .iter()
        .filter_map(|step| match &step.act {
            Act::ApplyGrant(grant) => Some((reference(&**grant), grant.clone())),
            _ => None,
        })
        .collect();
    for (at, planned) in &wanted.grants {
        let present = observed.grants.get(at);
        // what only narrows has been written once
        if present.is_some_and(|present| grant_stands(planned, present)) || narrowed.get(at) == Some(planned)
        {
            continue;
        }
        let after = dependencies.of(&**planned, [&planned.spec.product]);
        let act = Act::ApplyGrant(planned.clone());
        steps.push(Step { stage: Stage::Grant, act, after });
    }
}

fn open(wanted: &Wanted<'_>, observed: &Observed, dependencies: &Dependencies, steps: &mut Vec<Step>) {
    let granting: BTreeSet<ObjectKey> =
        steps.iter().filter(|step| step.stage == Stage::Grant).map(Step::object).collect();
    let cut: BTreeMap<ObjectRef, Shared<NetworkPolicy>> = steps
        .iter()
        .filter_map(|step| match &step.act {
            Act::ApplyPolicy { policy, .. } if step.stage == Stage::Close => {
                Some((reference(&**policy), policy.clone()))
            }
            _ => None,
        })
        .collect();
    for (at, planned) in &wanted.allows {
        let stands = |present: &NetworkPolicy| allow_stands(planned, present, observed);
        // what only narrows has been written once
        if observed.policies.get(at).is_some_and(|it| stands(it)) || cut.get(at).is_some_and(|it| stands(it))
        {
            continue;
        }
        let Allowed { policy, owner, products } = planned;
        let mut after = dependencies.of(&***policy, products.iter());
        after.extend(owner.as_ref().map(grant_key).filter(|key| granting.contains(key)));
        let act = Act::ApplyPolicy { policy: (*policy).clone(), owner: owner.clone() };
        steps.push(Step { stage: Stage::Open, act, after });
    }
}

fn retire(wanted: &Wanted<'_>, observed: &Observed, dependencies: &Dependencies, steps: &mut Vec<Step>) {
    for (at, present) in &observed.policies {
        let planned = wanted.isolation.contains_key(at) || wanted.allows.contains_key(at);
        if planned || !is_isolation(present) {
            continue;
        }
        let meta = &present.metadata;
        if let Some(product) = present.annotations().get(PRODUCT) {
            // it is there, only no one can read it
            if observed.undecodable_products.contains(product) {
                continue;
            }
            steps.push(let_go(at, present));
        } else if meta.deletion_timestamp.is_none() {
            match left(present, wanted, observed) {
                Left::Managed => {}
                Left::Gone => steps.push(let_go(at, present)),
                Left::Free => {
                    let act = Act::Delete { object: policy_key(at), uid: meta.uid.clone() };
                    let after = dependencies.isolation_in(&at.namespace);
                    steps.push(Step { stage: Stage::Retire, act, after });
                }
            }
        }
    }
}

/// Whether a policy is on its way out and lets nothing through any more.
fn is_closed_for_good(policy: &NetworkPolicy) -> bool {
    policy.metadata.deletion_timestamp.is_some() && !policy.spec.as_ref().is_some_and(narrow::allows)
}

/// Isolation that goes on denying and is no longer ours.
fn let_go(at: &ObjectRef, isolation: &NetworkPolicy) -> Step {
    let labels = vec![MANAGED_BY.0.to_owned(), PART.to_owned()];
    let act = Act::Unlabel { policy: at.clone(), uid: isolation.metadata.uid.clone(), labels };
    Step::new(Stage::Retire, act)
}

/// What has become of a function whose isolation is not in the plan.
enum Left {
    /// It may still be Managed.
    Managed,
    /// It is there, and not Managed any more, or no longer on these pods.
    Free,
    /// It is not there.
    Gone,
}

fn left(isolation: &NetworkPolicy, wanted: &Wanted<'_>, observed: &Observed) -> Left {
    let Some(function) = isolation.annotations().get(RECIPIENT) else {
        return Left::Gone;
    };
    let org = function.split('/').next().unwrap_or_default();
    if observed.undecodable_orgs.contains(org) {
        return Left::Managed;
    }
    let is_planned = || wanted.isolation.values().any(|it| it.annotations().get(RECIPIENT) == Some(function));
    match observed.functions.get(function) {
        None => Left::Gone,
        Some(true) if !is_planned() => Left::Managed,
        Some(_) => Left::Free,
    }
}

fn release(
    plan: &Plan,
    wanted: &Wanted<'_>,
    observed: &Observed,
    dependencies: &Dependencies,
    steps: &mut Vec<Step>,
) {
    // what somebody else's finalizer holds, and lets nothing through, is closed
    let policies = observed.policies.values().filter(|it| !is_closed_for_good(it));
    let policies = policies.filter_map(|it| it.annotations().get(AGREEMENT).cloned());
    let grants = observed.grants.values().map(|it| grant_agreement(it));
    let named: BTreeSet<String> = policies.chain(grants).collect();
    for (at, present) in &observed.agreements {
        let holds = present.finalizers.iter().any(|it| it == FINALIZER);
        let name = at.to_string();
        let needed = plan.finalizers.contains(at) && !present.deleting && !wanted.recreated.contains(&name);
        let is_remembered = !dependencies.remembered.contains_key(&name);
        if !holds || needed || named.contains(&name) || !is_remembered {
            continue;
        }
        let finalizers = present.finalizers.iter().filter(|it| *it != FINALIZER).cloned().collect();
        steps.push(Step::new(Stage::Release, set_finalizers(at, present, finalizers)));
    }
}

#[cfg(test)]
mod tests;
