//! The statuses: what the plan says of each object, and with it what has become of the plan in this cluster.
//!
//! The plan knows whether an agreement is in force; only here is it known whether that has taken effect. So
//! `Enforced`, `Ready`, `Reconciling` and `Stalled` of an agreement are settled here. A status is written when its
//! meaning has changed and at no other time: `lastTransitionTime` follows from the old status and the moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;

use super::observed::{Observed, ObservedStatus};
use super::{
    Act, PlannedKey, Stage, Step, Wanted, grant_agreement, grant_key, is_closed_for_good, policy_key,
};
use crate::finding::ObjectKey;
use crate::parallel;
use crate::plan::types::{AGREEMENT, PRODUCT, Plan, PlannedObject, PlannedStatus, RECIPIENT, StatusBody};
use crate::report::NOT_IN_THIS_CLUSTER;
use crate::snapshot::reference;
use concordat_api::{
    Condition, ConditionStatus, DataSharingAgreementStatus, GrantRecipient, LocalPolicyStatus, ObjectRef,
    ObjectStatus, Phase,
};

/// The reason of `Enforced` where something that should be closed is not.
pub const STILL_OPEN: &str = "StillOpen";

/// What is said of it, between the policy and why.
const LETS_THROUGH: &str = " lets through what should be closed: ";

/// Why a write did not succeed, by the object that was to be written.
pub type Failures = BTreeMap<ObjectKey, Failure>;

/// Why a write did not succeed. The message must not differ from one try to the next, or statuses would churn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    pub reason: FailureReason,
    pub message: String,
}

/// The cause of a failure, in one word.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FailureReason {
    /// Somebody else wrote at the same moment; the next round sees what.
    Conflict,
    /// What it relies on could not be written.
    Waiting,
    /// Something that is judged cannot be read, and nothing is opened meanwhile.
    CannotRead,
    /// The API server did not answer, or not in time.
    Unreachable,
    /// The API server answered that it could not, or not now: a webhook that fails, or too many requests.
    ServerError,
    NamespaceNotFound,
    NamespaceTerminating,
    Forbidden,
    /// The API server refused the object.
    Rejected,
}

impl FailureReason {
    pub(super) const ALL: [Self; 9] = [
        Self::Conflict,
        Self::Waiting,
        Self::CannotRead,
        Self::Unreachable,
        Self::ServerError,
        Self::NamespaceNotFound,
        Self::NamespaceTerminating,
        Self::Forbidden,
        Self::Rejected,
    ];

    /// The value in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::Waiting => "Waiting",
            Self::CannotRead => "CannotRead",
            Self::Unreachable => "Unreachable",
            Self::ServerError => "ServerError",
            Self::NamespaceNotFound => "NamespaceNotFound",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::Forbidden => "Forbidden",
            Self::Rejected => "Rejected",
        }
    }

    /// Whether the API server refused the object, or its account.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::NamespaceNotFound | Self::NamespaceTerminating | Self::Forbidden | Self::Rejected
        )
    }

    /// Whether it passes by itself.
    pub fn passes(self) -> bool {
        match self {
            Self::Conflict | Self::CannotRead | Self::Unreachable | Self::ServerError => true,
            Self::Waiting
            | Self::NamespaceNotFound
            | Self::NamespaceTerminating
            | Self::Forbidden
            | Self::Rejected => false,
        }
    }
}

/// What an operator has said in the statuses about writes that failed, for whoever looks at its cluster and writes nothing.
pub fn failures_reported(observed: &Observed) -> Failures {
    let statuses = observed.statuses.values().filter_map(|it| it.status.as_ref());
    let grants = observed.grants.values().filter_map(|it| it.status.as_ref());
    let conditions = statuses.flat_map(conditions).chain(grants.flat_map(|it| &it.conditions));
    let failures = conditions.filter_map(|Condition { reason, message, .. }| {
        let (object, message, reason) = if reason == STILL_OPEN {
            let (object, message) = message.split_once(LETS_THROUGH)?;
            (object, message, FailureReason::Rejected)
        } else {
            let reason = FailureReason::ALL.into_iter().find(|it| it.as_str() == reason)?;
            let (object, message) = message.split_once(": ")?;
            (object, message, reason)
        };
        let (kind, name) = object.split_once(' ')?;
        let key = match name.split_once('/') {
            Some((namespace, name)) => ObjectKey::new(kind, Some(namespace), name),
            None => ObjectKey::new(kind, None, name),
        };
        Some((key, Failure { reason, message: message.to_owned() }))
    });
    failures.collect()
}

/// The statuses that have to be written, knowing what of this round's steps failed.
pub fn report(plan: &Plan, observed: &Observed, failures: &Failures) -> Vec<Step> {
    let wanted = Wanted::new(plan, observed);
    let Effects { agreements, granted, isolated } = effects(plan, &wanted, observed, failures);
    let settled = parallel::map(&plan.statuses, |PlannedStatus { object, status }| {
        // what the plan judges but the cluster does not hold, such as a built-in framework, has no status
        let present = observed.statuses.get(object)?;
        let name = agreement_name(object);
        if wanted.recreated.contains(&name) {
            return None;
        }
        let effect = agreements.get(&name).or_else(|| isolated.get(object)).unwrap_or(&NOTHING);
        step(object, settle(status, present, effect, plan.at), present)
    });
    let mut steps: Vec<Step> = settled.into_iter().flatten().collect();
    for (at, effect) in &granted {
        let Some(grant) = observed.grants.get(at) else { continue };
        let present = ObservedStatus {
            uid: grant.uid(),
            generation: grant.metadata.generation,
            status: grant.status.clone().map(StatusBody::Simple),
        };
        let status = settle(&StatusBody::Simple(grant_status(effect)), &present, &NOTHING, plan.at);
        steps.extend(step(&grant_key(at), status, &present));
    }
    steps
}

/// The write of a status, if it means something else than the present one.
fn step(object: &ObjectKey, status: StatusBody, present: &ObservedStatus) -> Option<Step> {
    let ObservedStatus { uid, generation: _, status: was } = present;
    let same = match was {
        Some(was) => *was == status,
        None => is_empty(&status),
    };
    if same {
        return None;
    }
    let (object, uid, was) = (object.clone(), uid.clone(), was.clone());
    Some(Step::new(Stage::Report, Act::SetStatus { object, uid, status, was }))
}

/// What has become of the plan.
struct Effects {
    /// By `namespace/name`.
    agreements: BTreeMap<String, Effect>,
    /// The planned grants, with all that opens their paths.
    granted: BTreeMap<ObjectRef, Effect>,
    /// The planned isolation, by the product or organisation that is isolated.
    isolated: BTreeMap<ObjectKey, Effect>,
}

/// What has become of a part of the plan.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Effect {
    grants: usize,
    policies: usize,
    /// Planned, and not there or not as planned.
    missing: usize,
    /// There, and not planned.
    leftover: usize,
    /// The first failure, by what could not be written.
    failure: Option<(ObjectKey, Failure)>,
    /// The first policy that should be closed, or let less through, and could not be written.
    still_open: Option<(ObjectKey, Failure)>,
}

const NOTHING: Effect =
    Effect { grants: 0, policies: 0, missing: 0, leftover: 0, failure: None, still_open: None };

/// How many policies let through what they should not, because a write has failed.
pub fn still_open(plan: &Plan, observed: &Observed, failures: &Failures) -> usize {
    if failures.is_empty() { 0 } else { Wanted::new(plan, observed).still_open(observed, failures).count() }
}

fn effects(plan: &Plan, wanted: &Wanted<'_>, observed: &Observed, failures: &Failures) -> Effects {
    let grants = Grants::new(plan);
    let mut agreements: BTreeMap<String, Effect> = BTreeMap::new();
    let mut granted: BTreeMap<ObjectRef, Effect> = BTreeMap::new();
    let mut isolated: BTreeMap<ObjectKey, Effect> = BTreeMap::new();
    let mut unisolated: Vec<(&String, &PlannedObject)> = Vec::new();

    for object in &plan.objects {
        let (agreement, of) = match object {
            PlannedObject::Isolation(policy) => {
                if let Some(owner) = isolation_owner(policy) {
                    let stands = wanted.stands(observed, &PlannedKey::of(object));
                    isolated.entry(owner).or_default().count(object, stands, failures);
                    if !stands {
                        unisolated.extend(policy.annotations().get(PRODUCT).map(|product| (product, object)));
                    }
                }
                continue;
            }
            PlannedObject::Grant(grant) => (Some(grant_agreement(grant)), vec![reference(&**grant)]),
            PlannedObject::Allow { policy, grant, products } => {
                let of = match grant {
                    Some(name) => vec![ObjectRef { name: name.clone(), ..reference(&**policy) }],
                    None => grants.reached(policy, products),
                };
                (policy.annotations().get(AGREEMENT).cloned(), of)
            }
        };
        let stands = wanted.stands(observed, &PlannedKey::of(object));
        if let Some(agreement) = agreement {
            agreements.entry(agreement).or_default().count(object, stands, failures);
        }
        for grant in of {
            granted.entry(grant).or_default().count(object, stands, failures);
        }
    }

    // what is not isolated is open to everyone, whatever its agreements say
    let mut shared: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    if !unisolated.is_empty() {
        for object in &plan.objects {
            if let PlannedObject::Grant(grant) = object
                && let Some(product) = grant.annotations().get(PRODUCT)
            {
                shared.entry(product).or_default().insert(grant_agreement(grant));
            }
        }
        for (product, isolation) in unisolated {
            for agreement in shared.get(product).into_iter().flatten() {
                agreements.entry(agreement.clone()).or_default().lack(isolation, failures);
            }
        }
    }

    let policies = observed.policies.iter().filter(|(at, _)| !wanted.allows.contains_key(at));
    // what somebody else's finalizer holds, and lets nothing through, is closed
    let policies = policies.filter(|(_, it)| !is_closed_for_good(it));
    let policies =
        policies.filter_map(|(at, it)| Some((it.annotations().get(AGREEMENT)?.clone(), policy_key(at))));
    let grants = observed.grants.iter().filter(|(at, _)| !wanted.grants.contains_key(at));
    // one that somebody else's finalizer holds, or that may not be deleted, says so itself
    for (at, it) in grants.clone() {
        let key = grant_key(at);
        if it.metadata.deletion_timestamp.is_some() || failures.contains_key(&key) {
            let effect = granted.entry(at.clone()).or_default();
            effect.leftover += 1;
            effect.fail(&key, failures);
        }
    }
    let grants = grants.map(|(at, it)| (grant_agreement(it), grant_key(at)));
    for (agreement, key) in policies.chain(grants) {
        let effect = agreements.entry(agreement).or_default();
        effect.leftover += 1;
        effect.fail(&key, failures);
    }
    for (at, policy, failure) in wanted.still_open(observed, failures) {
        let tell = |effect: &mut Effect| {
            effect.still_open.get_or_insert_with(|| (policy_key(at), failure.clone()));
        };
        if let Some(agreement) = policy.annotations().get(AGREEMENT) {
            tell(agreements.entry(agreement.clone()).or_default());
        } else if let Some(owner) = isolation_owner(policy) {
            tell(isolated.entry(owner).or_default());
            let product = policy.annotations().get(PRODUCT);
            for agreement in product.and_then(|it| shared.get(it)).into_iter().flatten() {
                tell(agreements.entry(agreement.clone()).or_default());
            }
        }
    }
    // a finalizer that could not be set or taken off
    for key in failures.keys().filter(|key| key.kind == "DataSharingAgreement") {
        let effect = agreements.entry(agreement_name(key)).or_default();
        effect.leftover += 1;
        effect.fail(key, failures);
    }
    Effects { agreements, granted, isolated }
}

/// The product, or the organisation of the Managed function, that an isolation is for.
fn isolation_owner(policy: &NetworkPolicy) -> Option<ObjectKey> {
    let annotation = |name: &str| policy.annotations().get(name)?.split_once('/');
    let product =
        annotation(PRODUCT).map(|(namespace, name)| ObjectKey::new("DataProduct", Some(namespace), name));
    product.or_else(|| annotation(RECIPIENT).map(|(org, _)| ObjectKey::new("PartnerOrg", None, org)))
}

impl Effect {
    fn count(&mut self, object: &PlannedObject, stands: bool, failures: &Failures) {
        match object {
            PlannedObject::Grant(_) => self.grants += 1,
            PlannedObject::Allow { .. } | PlannedObject::Isolation(_) => self.policies += 1,
        }
        if !stands {
            self.lack(object, failures);
        }
    }

    fn lack(&mut self, object: &PlannedObject, failures: &Failures) {
        self.missing += 1;
        self.fail(&object.key(), failures);
    }

    fn fail(&mut self, key: &ObjectKey, failures: &Failures) {
        // after a conflict the next round is on its way, and would only take this back
        let failure = failures.get(key).filter(|failure| failure.reason != FailureReason::Conflict);
        if self.failure.is_none() {
            self.failure = failure.map(|failure| (key.clone(), failure.clone()));
        }
    }
}

/// The planned grants, by agreement, product and recipient.
struct Grants<'a>(BTreeMap<(String, &'a ObjectRef, String), ObjectRef>);

impl<'a> Grants<'a> {
    fn new(plan: &'a Plan) -> Self {
        let grants = plan.objects.iter().filter_map(|object| match object {
            PlannedObject::Grant(grant) => Some(grant),
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => None,
        });
        let each = grants.flat_map(|grant| {
            let of = |it: &GrantRecipient| {
                (grant_agreement(grant), &grant.spec.product, format!("{}/{}", it.org, it.function))
            };
            grant.spec.recipients.iter().map(move |it| (of(it), reference(&**grant)))
        });
        Self(each.collect())
    }

    /// The grants whose paths to these products a policy of a recipient opens.
    fn reached(&self, policy: &NetworkPolicy, products: &'a BTreeSet<ObjectRef>) -> Vec<ObjectRef> {
        let annotation = |name: &str| policy.annotations().get(name).cloned().unwrap_or_default();
        let grant = |product| self.0.get(&(annotation(AGREEMENT), product, annotation(RECIPIENT)));
        products.iter().filter_map(grant).cloned().collect()
    }
}

/// A grant is ready when it is there, and all that opens its flow.
fn grant_status(effect: &Effect) -> ObjectStatus {
    let (reason, message) = cause(effect, true);
    let ready = effect.missing + effect.leftover == 0;
    let mut conditions = Vec::new();
    set(&mut conditions, "Ready", ready, reason, &message);
    ObjectStatus { observed_generation: None, conditions }
}

fn agreement_name(object: &ObjectKey) -> String {
    match (object.kind.as_str(), &object.namespace) {
        ("DataSharingAgreement", Some(namespace)) => format!("{namespace}/{}", object.name),
        _ => String::new(),
    }
}

/// The status as it is to be written: a function of the planned one, the present one and the moment.
fn settle(planned: &StatusBody, present: &ObservedStatus, effect: &Effect, now: Timestamp) -> StatusBody {
    let generation = present.generation;
    let mut status = planned.clone();
    let old = present.status.as_ref().map(conditions).unwrap_or_default();
    match &mut status {
        StatusBody::Agreement(agreement) => {
            enforce(agreement, effect);
            agreement.observed_generation = agreement.observed_generation.or(generation);
            merge(&mut agreement.conditions, old, generation, now);
        }
        StatusBody::Policy(LocalPolicyStatus { observed_generation, loaded: _, conditions })
        | StatusBody::Simple(ObjectStatus { observed_generation, conditions }) => {
            // what cannot be isolated is not in place
            let is_ready = |it: &Condition| it.type_ == "Ready" && it.status == ConditionStatus::True;
            if (effect.failure.is_some() || effect.still_open.is_some()) && conditions.iter().any(is_ready) {
                let (reason, message) = cause(effect, true);
                set(conditions, "Ready", false, reason, &message);
            }
            *observed_generation = observed_generation.or(generation);
            merge(conditions, old, generation, now);
        }
    }
    status
}

fn is_empty(status: &StatusBody) -> bool {
    match status {
        StatusBody::Agreement(_) => false,
        StatusBody::Policy(LocalPolicyStatus { observed_generation: _, loaded, conditions }) => {
            loaded.is_none() && conditions.is_empty()
        }
        StatusBody::Simple(ObjectStatus { observed_generation: _, conditions }) => conditions.is_empty(),
    }
}

/// A status without the moments of its conditions.
pub(super) fn timeless(status: &StatusBody) -> StatusBody {
    let mut status = status.clone();
    let conditions = match &mut status {
        StatusBody::Agreement(status) => &mut status.conditions,
        StatusBody::Policy(status) => &mut status.conditions,
        StatusBody::Simple(status) => &mut status.conditions,
    };
    for condition in conditions {
        condition.last_transition_time = None;
    }
    status
}

fn conditions(status: &StatusBody) -> &[Condition] {
    match status {
        StatusBody::Agreement(status) => &status.conditions,
        StatusBody::Policy(status) => &status.conditions,
        StatusBody::Simple(status) => &status.conditions,
    }
}

/// Stamps what only the cluster and the clock know. The moment of a transition is kept while the status is, and so is
/// the order of the conditions: the API server keeps them as a map, in an order of its own.
fn merge(conditions: &mut [Condition], old: &[Condition], generation: Option<i64>, now: Timestamp) {
    // conditions carry whole seconds, as everywhere in Kubernetes
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    for condition in conditions.iter_mut() {
        condition.observed_generation = condition.observed_generation.or(generation);
        let kept = old.iter().find(|it| it.type_ == condition.type_ && it.status == condition.status);
        condition.last_transition_time = kept.and_then(|it| it.last_transition_time).or(Some(now));
    }
    let place = |condition: &Condition| old.iter().position(|it| it.type_ == condition.type_);
    conditions.sort_by_key(|condition| place(condition).unwrap_or(old.len()));
}

/// Says of an agreement what has become of it here.
fn enforce(status: &mut DataSharingAgreementStatus, effect: &Effect) {
    let active = status.phase == Some(Phase::Active);
    let settled = effect.missing + effect.leftover == 0;
    let (reason, message) = cause(effect, active);
    let enforced = active && settled;
    let elsewhere = status.conditions.iter().any(|it| it.reason == NOT_IN_THIS_CLUSTER);
    if elsewhere && settled {
        return;
    }
    set(&mut status.conditions, "Enforced", enforced, reason, &message);

    // what is out of force and closed is as the plan says; the rest is known only here
    if active && !elsewhere {
        set(&mut status.conditions, "Ready", enforced, reason, &message);
    }
    if active || !settled {
        let failures = effect.failure.iter().chain(&effect.still_open);
        let stalled = failures.into_iter().any(|(_, failure)| !failure.reason.passes());
        let reconciling = !enforced && !stalled;
        let quiet = |holds: bool, quiet: &'static str| {
            if holds { (reason, message.as_str()) } else { ("Settled", quiet) }
        };
        let (why, text) = quiet(reconciling, "nothing is under way");
        set(&mut status.conditions, "Reconciling", reconciling, why, text);
        let (why, text) = quiet(stalled, "nothing is in the way");
        set(&mut status.conditions, "Stalled", stalled, why, text);
    }
}

/// Why a part of the plan is as it is, in one word and in plain English.
fn cause(effect: &Effect, active: bool) -> (&'static str, String) {
    let Effect { grants, policies, missing, leftover, failure, still_open } = effect;
    if let Some((key, Failure { message, .. })) = still_open {
        return (STILL_OPEN, format!("{key}{LETS_THROUGH}{message}"));
    }
    match failure {
        Some((key, failure)) => (failure.reason.as_str(), format!("{key}: {}", failure.message)),
        None if missing + leftover == 0 && active => ("Written", written(*grants, *policies)),
        None if missing + leftover == 0 => ("NotInForce", "nothing is open".to_owned()),
        None if *missing > 0 => {
            ("Progressing", format!("{} of its objects are being written", missing + leftover))
        }
        None => ("Closing", format!("{leftover} of its objects are being taken away")),
    }
}

fn written(grants: usize, policies: usize) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let policy = if policies == 1 { "policy" } else { "policies" };
    match (grants, policies) {
        (0, 0) => "none of its paths is open here".to_owned(),
        _ => format!("{grants} grant{} and {policies} network {policy} are written", plural(grants)),
    }
}

fn set(conditions: &mut Vec<Condition>, type_: &str, holds: bool, reason: &str, message: &str) {
    let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
    let fresh = |observed_generation| Condition {
        type_: type_.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: None,
    };
    match conditions.iter_mut().find(|it| it.type_ == type_) {
        Some(condition) => *condition = fresh(condition.observed_generation),
        None => conditions.push(fresh(None)),
    }
}
