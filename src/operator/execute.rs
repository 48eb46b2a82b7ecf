//! Carries steps out. It decides nothing: which write, when and after what, the steps say.
//!
//! Every call has a deadline. A failure is kept, with the object that it is about, and does not stop the others; only
//! when the API server has stopped answering at all is the rest left for the next round. No call is begun while
//! another replica may lead.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join;
use futures::stream::FuturesUnordered;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, Status};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, info};

use super::call::{chain, deadline};
use super::changes::Changes;
use super::event_queue::EventQueue;
use super::events::EventPublisher;
use super::health::Heartbeat;
use super::lease::Leadership;
use super::metrics::Metrics;
use super::tries::Tries;
use super::written_meta::WrittenMeta;
use concordat_api::{
    AgreementSignature, DataAccessGrant, DataProduct, DataSharingAgreement, FrameworkException, LocalPolicy,
    ObjectRef, PartnerOrg, PlaceFootprint, PolicyFramework,
};
use concordat_core::finding::ObjectKey;
use concordat_core::plan::{
    Act, FIELD_MANAGER, Failure, FailureReason, Failures, Observed, Stage, StatusBody, Step, emptied,
    is_owned_alike, owner_reference, says_the_same,
};
use concordat_core::shared::Shared;
use concordat_core::snapshot::Unreadable;

/// How many calls of one stage are under way at once.
const AT_ONCE: usize = 8;
/// A call that has had no answer for so long makes room for another: a webhook that hangs for some namespaces must not hold
/// up what closes in others.
const HANGS: Duration = Duration::from_millis(500);
/// How many are under way at once with those that hang.
const AT_ONCE_AT_MOST: usize = 64;
/// After this many calls in a row without any answer, the rest of a stage in that namespace is left for the next round: a
/// webhook that hangs may be asked about one namespace alone.
const SILENT: usize = 3;

/// Carries steps out, against one cluster.
pub(super) struct Executor {
    client: Client,
    publisher: EventPublisher,
    /// Statuses whose writing had no answer, as they were before: if they have been written all the same, people hear of it.
    unanswered: Mutex<BTreeMap<ObjectKey, Unanswered>>,
    leadership: Leadership,
    /// Takes the versions that were written here.
    changes: Changes,
    metrics: Metrics,
    /// What has failed each time that it was tried.
    pub(super) tries: Tries,
    /// How many writes have begun, for trying again in turns.
    turn: usize,
    /// Objects that cannot be decoded and that have been reported: uid and cause, so that each is reported once.
    undecodable: BTreeMap<ObjectKey, (Option<String>, String)>,
}

/// A status whose writing had no answer.
struct Unanswered {
    uid: Option<String>,
    was: Option<StatusBody>,
    status: StatusBody,
}

/// What one pass over steps has brought so far.
struct Pass<'a> {
    /// The uid of each grant that is there, for the owner references.
    grants: BTreeMap<ObjectRef, String>,
    failures: Failures,
    /// The last calls by namespace, as far as they brought no answer.
    silent: BTreeMap<Option<String>, usize>,
    /// The policies as they stood.
    policies: &'a BTreeMap<ObjectRef, Shared<NetworkPolicy>>,
}

impl<'a> Pass<'a> {
    fn present(&self, object: &ObjectKey) -> Option<&'a NetworkPolicy> {
        let namespace = object.namespace.clone().filter(|_| object.kind == "NetworkPolicy")?;
        self.policies.get(&ObjectRef { namespace, name: object.name.clone() }).map(|it| &**it)
    }
}

/// A policy as planned in the place of the one that is there, provided that it still is.
fn instead_of(present: &NetworkPolicy, planned: &NetworkPolicy) -> NetworkPolicy {
    let mut metadata = present.metadata.clone();
    metadata.labels.get_or_insert_default().extend(planned.metadata.labels.clone().unwrap_or_default());
    let annotations = planned.metadata.annotations.clone().unwrap_or_default();
    metadata.annotations.get_or_insert_default().extend(annotations);
    if planned.metadata.owner_references.is_some() {
        metadata.owner_references.clone_from(&planned.metadata.owner_references);
    }
    NetworkPolicy { metadata, spec: planned.spec.clone() }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // held for a moment, never across a call, and nothing panics meanwhile
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a step can begin, after what has failed in its pass.
fn may_begin(step: &Step, pass: &Pass<'_>) -> Result<(), Failure> {
    if let Some((object, failure)) = step.after.iter().find_map(|it| pass.failures.get_key_value(it)) {
        let message = format!("waits for {object}, which could not be written: {}", failure.message);
        // what passes by itself there passes here
        let reason = if failure.reason.passes() { failure.reason } else { FailureReason::Waiting };
        return Err(Failure { reason, message });
    }
    let namespace = step.object().namespace;
    if pass.silent.get(&namespace).is_some_and(|silent| *silent >= SILENT) {
        let place = namespace.map_or("no namespace".to_owned(), |it| format!("namespace `{it}`"));
        let message = format!("not tried: the last writes in {place} brought no answer");
        return Err(Failure { reason: FailureReason::Unreachable, message });
    }
    Ok(())
}

/// Waits for a call, which gives its place away once it hangs.
async fn until_it_hangs<T>(call: impl Future<Output = T>, busy: &AtomicUsize, freed: &Notify) -> T {
    let mut call = pin!(call);
    let soon = timeout(HANGS, call.as_mut()).await;
    busy.fetch_sub(1, Ordering::Relaxed);
    freed.notify_one();
    match soon {
        Ok(outcome) => outcome,
        Err(_hangs) => call.await,
    }
}

/// How a write went that did not fail.
enum Written {
    Done,
    /// A grant, with its uid.
    Grant(ObjectRef, String),
    /// There was nothing left to write to.
    Gone,
}

impl Executor {
    pub(super) fn new(
        client: Client,
        leadership: Leadership,
        changes: Changes,
        metrics: Metrics,
        events: EventQueue,
    ) -> Self {
        Self {
            publisher: EventPublisher::new(events),
            unanswered: Mutex::default(),
            client,
            leadership,
            changes,
            metrics,
            tries: Tries::default(),
            turn: 0,
            undecodable: BTreeMap::new(),
        }
    }

    /// Tells people of statuses that turn out to have been written although the answer was lost.
    pub(super) fn tell_unanswered(&self, observed: &Observed) {
        lock(&self.unanswered).retain(|object, Unanswered { uid, was, status }| {
            let present = observed.statuses.get(object).filter(|it| it.uid == *uid);
            let Some(present) = present else { return false };
            let is_written = present.status.as_ref() == Some(status);
            if is_written {
                self.publisher.tell(object, uid.as_deref(), was.as_ref(), status);
            }
            !is_written
        });
    }

    /// Tells people of objects that cannot be decoded, of each once.
    pub(super) fn tell_undecodable(&mut self, objects: &[Unreadable]) {
        self.undecodable.retain(|key, _| objects.iter().any(|object| object.key() == *key));
        for object in objects {
            let (key, cause) = (object.key(), (object.meta.uid.clone(), object.error.clone()));
            if self.undecodable.get(&key) == Some(&cause) || !self.leadership.holds() {
                continue;
            }
            let Some(resource) = resource(&key.kind) else { continue };
            self.publisher.tell_undecodable(object, resource.api_version);
            self.undecodable.insert(key, cause);
        }
    }

    /// Carries out all steps, stage by stage, and gives back what failed, beside what is known to have. Once cut short, it
    /// finishes the calls that are under way and begins no more.
    pub(super) async fn carry_out(
        &mut self,
        steps: &[Step],
        observed: &Observed,
        known: Failures,
        heartbeat: &Heartbeat,
        is_cut_short: impl Fn() -> bool,
    ) -> Failures {
        let grants = observed.grants.iter().filter_map(|(at, grant)| Some((at.clone(), grant.uid()?)));
        let pass = Mutex::new(Pass {
            grants: grants.collect(),
            failures: known,
            silent: BTreeMap::new(),
            policies: &observed.policies,
        });
        let (busy, freed) = (AtomicUsize::new(0), Notify::new());
        // the steps of one stage do not rely on each other: as soon as one is done, the next begins
        for stage in steps.chunk_by(|a, b| a.stage == b.stage) {
            // what failed before comes last, and keeps nothing else waiting
            let mut due: Vec<&Step> = stage.iter().collect();
            let has_failed = |step: &&Step| self.tries.has_failed(step);
            due.sort_by_key(has_failed);
            // and in turns, where news keeps cutting the tries short
            let first = due.partition_point(|step| !has_failed(step));
            let again = due.get_mut(first..).unwrap_or_default();
            again.rotate_left(self.turn.checked_rem(again.len()).unwrap_or_default());
            lock(&pass).silent.clear();
            let (mut due, mut under_way) = (due.into_iter().peekable(), FuturesUnordered::new());
            let mut begun: usize = 0;
            loop {
                while busy.load(Ordering::Relaxed) < AT_ONCE
                    && under_way.len() < AT_ONCE_AT_MOST
                    && !is_cut_short()
                    && self.leadership.holds()
                    && let Some(step) = due.next()
                {
                    begun = begun.saturating_add(1);
                    let call = async {
                        let held_up = may_begin(step, &lock(&pass)).err();
                        match held_up {
                            Some(failure) => (Err(failure), false),
                            None => (self.carry_out_one(step, &pass).await, true),
                        }
                    };
                    busy.fetch_add(1, Ordering::Relaxed);
                    let (busy, freed) = (&busy, &freed);
                    under_way.push(async move { (step, until_it_hangs(call, busy, freed).await) });
                }
                heartbeat.turn();
                tokio::select! {
                    done = under_way.next() => {
                        let Some((step, (outcome, is_tried))) = done else { break };
                        self.take(step, outcome, is_tried, &mut lock(&pass));
                    }
                    () = freed.notified() => {}
                }
            }
            drop(under_way);
            self.turn = self.turn.wrapping_add(begun);
            // the next stage relies on the whole of this one
            if due.peek().is_some() {
                break;
            }
        }
        pass.into_inner().unwrap_or_else(PoisonError::into_inner).failures
    }

    fn take(&self, step: &Step, outcome: Result<Written, Failure>, is_tried: bool, pass: &mut Pass<'_>) {
        let object = step.object();
        match outcome {
            Ok(written) => {
                pass.silent.remove(&object.namespace);
                let undone = self.tries.succeeded(step);
                let result = match (&undone, &written) {
                    (Some(_), _) => "undone",
                    (None, Written::Gone) => "gone",
                    (None, Written::Done | Written::Grant(..)) => "done",
                };
                self.metrics.wrote(&object.kind, result);
                match undone {
                    Some(failure) => pass.failures.insert(object.clone(), failure),
                    None => pass.failures.remove(&object),
                };
                match written {
                    Written::Gone => debug!(%object, "is gone already"),
                    Written::Done => log(step, &object),
                    Written::Grant(at, uid) => {
                        pass.grants.insert(at, uid);
                        log(step, &object);
                    }
                }
            }
            Err(failure) => {
                self.metrics.wrote(&object.kind, failure.reason.as_str());
                // what was not tried is neither an answer nor a silence
                if failure == unreachable_server() || failure == no_answer() {
                    *pass.silent.entry(object.namespace.clone()).or_default() += 1;
                } else if failure.reason != FailureReason::Unreachable {
                    pass.silent.remove(&object.namespace);
                }
                let failure = if is_tried {
                    self.tries.failed(step, &failure)
                } else {
                    self.tries.held_up(step, &failure);
                    failure
                };
                pass.failures.insert(object, failure);
            }
        }
    }

    async fn carry_out_one(&self, step: &Step, pass: &Mutex<Pass<'_>>) -> Result<Written, Failure> {
        let _under_way = self.changes.writing(&step.object());
        match &step.act {
            Act::ApplyPolicy { policy, owner } => {
                match self.write_policy(step, policy, owner.as_ref(), pass).await {
                    Err(failure) if step.stage == Stage::Close => {
                        let object = step.object();
                        let present = lock(pass).present(&object);
                        Err(self.delete_instead(failure, &object, present).await)
                    }
                    outcome => outcome,
                }
            }
            Act::ApplyGrant(grant) => self.write_grant(&step.object(), grant).await,
            Act::Delete { object, uid } => {
                match self.delete_or_empty(step, object, uid.clone(), pass).await {
                    Err(failure)
                        if step.stage == Stage::Close && failure.reason != FailureReason::Unreachable =>
                    {
                        let present = lock(pass).present(object);
                        Err(self.close_otherwise(failure, present).await)
                    }
                    // it is still there
                    Ok(written) if step.stage == Stage::Close && self.tries.is_undone(step) => {
                        let present = lock(pass).present(object);
                        self.take_out_what_it_allows(present).await;
                        Ok(written)
                    }
                    outcome => outcome,
                }
            }
            Act::Unlabel { policy, uid, labels } => {
                let labels: BTreeMap<&String, Value> =
                    labels.iter().map(|label| (label, Value::Null)).collect();
                let object = ObjectKey::new("NetworkPolicy", Some(&policy.namespace), &policy.name);
                self.merge(&object, json!({"metadata": {"uid": uid, "labels": labels}})).await
            }
            Act::SetFinalizers { agreement, uid, resource_version, finalizers } => {
                let object =
                    ObjectKey::new("DataSharingAgreement", Some(&agreement.namespace), &agreement.name);
                let meta = json!({"uid": uid, "resourceVersion": resource_version, "finalizers": finalizers});
                self.merge(&object, json!({"metadata": meta})).await
            }
            Act::SetStatus { object, uid, status, was } => {
                let (api, resource) = self.dynamic(object)?;
                let patch = json!({
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "metadata": {"name": object.name, "namespace": object.namespace, "uid": uid},
                    "status": status,
                });
                let params = PatchParams::apply(FIELD_MANAGER).force();
                let written = self.call(api.patch_status(&object.name, &params, &Patch::Apply(&patch))).await;
                let written = unless_gone(self.note(written));
                match &written {
                    Ok(Written::Done) if self.leadership.holds() => {
                        lock(&self.unanswered).remove(object);
                        self.publisher.tell(object, uid.as_deref(), was.as_ref(), status);
                    }
                    Err(failure) if failure.reason == FailureReason::Unreachable => {
                        let (uid, was) = (uid.clone(), was.clone());
                        let unanswered = Unanswered { uid, was, status: status.clone() };
                        lock(&self.unanswered).insert(object.clone(), unanswered);
                    }
                    Ok(_) | Err(_) => {}
                }
                written
            }
        }
    }

    async fn write_policy(
        &self,
        step: &Step,
        policy: &Shared<NetworkPolicy>,
        owner: Option<&ObjectRef>,
        pass: &Mutex<Pass<'_>>,
    ) -> Result<Written, Failure> {
        let mut policy = policy.clone();
        if let Some(at) = owner {
            let uid = lock(pass).grants.get(at).cloned().ok_or_else(|| Failure {
                reason: FailureReason::Waiting,
                message: format!("waits for its grant `{at}`"),
            })?;
            policy.metadata.owner_references = Some(vec![owner_reference(&at.name, &uid)]);
        }
        let object = step.object();
        let present = lock(pass).present(&object);
        // what denies is written all the same, and stays: it denies most of what it should
        let allows = matches!(step.stage, Stage::Close | Stage::Open);
        let changed = changed_on_the_way(if allows { TAKEN_AWAY } else { LEFT_STANDING });
        if self.tries.have_ended(&object, &changed) {
            let would_be = match present {
                // an apply would leave standing what has been put in
                Some(present) if !allows => Some(self.replace_as(instead_of(present, &policy), true).await?),
                None if !allows => None,
                _ => Some(self.apply_as(&*policy, true).await?),
            };
            if would_be.is_some_and(|would_be| !says_the_same(&policy, &would_be)) {
                return Err(changed);
            }
        }
        let written = match self.apply(&*policy).await {
            // an apply keeps what others have put beside our fields, and an admission policy may refuse that very
            // text: then it is taken out in the same write
            Err(failure) if !failure.reason.passes() => match present {
                Some(present) => self.replace(instead_of(present, &policy)).await?,
                None => match self.under_the_name_of(&policy).await {
                    Some(theirs) => self.replace(instead_of(&theirs, &policy)).await?,
                    None => return Err(failure),
                },
            },
            applied => applied?,
        };
        if !(says_the_same(&policy, &written) && is_owned_alike(&policy, &written)) {
            let mut whole = NetworkPolicy { spec: policy.spec.clone(), ..written };
            whole.metadata.owner_references.clone_from(&policy.metadata.owner_references);
            let written = self.replace(whole).await?;
            if !says_the_same(&policy, &written) {
                if allows {
                    self.delete(&object, written.uid()).await?;
                }
                return Err(changed);
            }
        }
        Ok(Written::Done)
    }

    async fn write_grant(
        &self,
        object: &ObjectKey,
        grant: &Shared<DataAccessGrant>,
    ) -> Result<Written, Failure> {
        let changed = changed_on_the_way(TAKEN_AWAY);
        if self.tries.have_ended(object, &changed) && self.apply_as(&**grant, true).await?.spec != grant.spec
        {
            return Err(changed);
        }
        let mut written = self.apply(&**grant).await?;
        if written.spec != grant.spec {
            written.spec.clone_from(&grant.spec);
            written = self.replace(written).await?;
        }
        if written.spec != grant.spec {
            self.delete(object, written.uid()).await?;
            return Err(changed);
        }
        let at = ObjectRef { namespace: written.namespace().unwrap_or_default(), name: written.name_any() };
        Ok(written.uid().map_or(Written::Done, |uid| Written::Grant(at, uid)))
    }

    /// Where a policy cannot be cut down, deletes it: what may stay open is written again, and what may not is closed. What
    /// passes by itself is tried once more before that.
    async fn delete_instead(
        &self,
        failure: Failure,
        object: &ObjectKey,
        present: Option<&NetworkPolicy>,
    ) -> Failure {
        let Some(present) = present.filter(|it| it.metadata.deletion_timestamp.is_none()) else {
            return failure;
        };
        let is_first = self.tries.reason(object) != Some(failure.reason);
        if failure.reason == FailureReason::Unreachable || (failure.reason.passes() && is_first) {
            return failure;
        }
        match self.delete(object, present.uid()).await {
            // reported in the same words, it is tried without being written before it is written again
            Ok(_) if failure == changed_on_the_way(TAKEN_AWAY) => failure,
            Ok(_) => Failure {
                message: format!(
                    "{}; it is deleted, and written again where that is possible",
                    failure.message
                ),
                ..failure
            },
            Err(_) => failure,
        }
    }

    /// Where a policy cannot be deleted, takes out all that it allows, and says what came of it.
    async fn close_otherwise(&self, failure: Failure, present: Option<&NetworkPolicy>) -> Failure {
        if self.take_out_what_it_allows(present).await { and_emptied(failure) } else { failure }
    }

    /// Takes out all that a policy allows; whether it lets nothing through now.
    async fn take_out_what_it_allows(&self, present: Option<&NetworkPolicy>) -> bool {
        let Some(present) = present else { return false };
        match emptied(present) {
            Some(empty) => self.apply(&empty).await.is_ok_and(|written| emptied(&written).is_none()),
            None => true,
        }
    }

    /// What somebody else has put under the name of a policy of ours, which has a digest in it and is no one else's.
    async fn under_the_name_of(&self, policy: &NetworkPolicy) -> Option<NetworkPolicy> {
        let namespace = policy.namespace().unwrap_or_default();
        let api: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), &namespace);
        self.call(api.get_opt(&policy.name_any())).await.ok().flatten()
    }

    async fn apply<K>(&self, object: &K) -> Result<K, Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        self.apply_as(object, false).await
    }

    /// Applies an object, or asks what would be stored.
    async fn apply_as<K>(&self, object: &K, is_dry: bool) -> Result<K, Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let params = PatchParams { dry_run: is_dry, ..PatchParams::apply(FIELD_MANAGER).force() };
        let written = self.call(api.patch(&object.name_any(), &params, &Patch::Apply(object))).await;
        let written = if is_dry { written } else { self.note(written) };
        written.map_err(CallError::failure)
    }

    /// Takes out what others have added beside our fields: an apply leaves that standing.
    async fn replace<K>(&self, object: K) -> Result<K, Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        self.replace_as(object, false).await
    }

    /// Replaces an object, or asks what would be stored.
    async fn replace_as<K>(&self, object: K, is_dry: bool) -> Result<K, Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let params = PostParams { dry_run: is_dry, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let written = self.call(api.replace(&object.name_any(), &params, &object)).await;
        let written = if is_dry { written } else { self.note(written) };
        written.map_err(CallError::failure)
    }

    /// Deletes an object. Where that hangs what closes is emptied meanwhile: it may be a webhook that hangs for deletions alone.
    async fn delete_or_empty(
        &self,
        step: &Step,
        object: &ObjectKey,
        uid: Option<String>,
        pass: &Mutex<Pass<'_>>,
    ) -> Result<Written, Failure> {
        let mut deletion = pin!(self.delete(object, uid));
        match timeout(HANGS, deletion.as_mut()).await {
            Ok(outcome) => return outcome,
            Err(_hangs) if step.stage != Stage::Close => return deletion.await,
            Err(_hangs) => {}
        }
        let present = lock(pass).present(object);
        let (outcome, is_empty) = join(deletion, self.take_out_what_it_allows(present)).await;
        outcome.map_err(|failure| if is_empty { and_emptied(failure) } else { failure })
    }

    async fn delete(&self, object: &ObjectKey, uid: Option<String>) -> Result<Written, Failure> {
        let (api, _) = self.dynamic(object)?;
        let just_this = Preconditions { uid: uid.clone(), resource_version: None };
        let params = DeleteParams::background().preconditions(just_this);
        let outcome = self.call(api.delete(&object.name, &params)).await;
        if let Ok(answer) = &outcome {
            match answer.as_ref().left() {
                // a finalizer holds it
                Some(held) => self.changes.written(held.meta()),
                None => self.changes.deleted(object, uid.as_deref()),
            }
        }
        unless_gone(outcome)
    }

    async fn merge(&self, object: &ObjectKey, patch: Value) -> Result<Written, Failure> {
        let (api, _) = self.dynamic(object)?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.call(api.patch(&object.name, &params, &Patch::Merge(&patch))).await;
        unless_gone(self.note(written))
    }

    /// Makes a call, with its deadline, unless another replica may lead.
    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
        if !self.leadership.holds() {
            return Err(CallError::NotLeading);
        }
        match deadline(call).await {
            None => Err(CallError::Silent),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(kube::Error::Api(status))) => Err(CallError::Refused(status)),
            Some(Err(error)) => Err(CallError::Client(Box::new(error))),
        }
    }

    /// Notes the version that was written, so that its own event is known.
    fn note<K: Resource>(&self, outcome: Result<K, CallError>) -> Result<K, CallError> {
        if let Ok(written) = &outcome {
            self.changes.written(written.meta());
        }
        outcome
    }

    fn dynamic(&self, object: &ObjectKey) -> Result<(Api<WrittenMeta>, ApiResource), Failure> {
        let resource = resource(&object.kind).ok_or_else(|| Failure {
            reason: FailureReason::Rejected,
            message: format!("`{}` is no kind that is written", object.kind),
        })?;
        let client = self.client.clone();
        let api = match &object.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        Ok((api, resource))
    }
}

/// The kinds that are written in any part.
fn resource(kind: &str) -> Option<ApiResource> {
    [
        ApiResource::erase::<PolicyFramework>(&()),
        ApiResource::erase::<FrameworkException>(&()),
        ApiResource::erase::<PlaceFootprint>(&()),
        ApiResource::erase::<PartnerOrg>(&()),
        ApiResource::erase::<DataProduct>(&()),
        ApiResource::erase::<DataSharingAgreement>(&()),
        ApiResource::erase::<AgreementSignature>(&()),
        ApiResource::erase::<LocalPolicy>(&()),
        ApiResource::erase::<DataAccessGrant>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
    ]
    .into_iter()
    .find(|resource| resource.kind == kind)
}

fn log(step: &Step, object: &ObjectKey) {
    match &step.act {
        Act::ApplyPolicy { .. } | Act::ApplyGrant(_) => info!(%object, stage = ?step.stage, "written"),
        Act::Delete { .. } => info!(%object, stage = ?step.stage, "deleted"),
        Act::Unlabel { .. } => info!(%object, "let go: it goes on denying, and is no longer the operator's"),
        Act::SetFinalizers { .. } if step.stage == Stage::Release => info!(%object, "finalizer taken off"),
        Act::SetFinalizers { .. } => info!(%object, stage = ?step.stage, "finalizer set"),
        // what changed in a status is reported where it is known
        Act::SetStatus { .. } => {}
    }
}

/// Why a call brought nothing.
enum CallError {
    /// The lease is not held, or not for long enough.
    NotLeading,
    Silent,
    Refused(Box<Status>),
    Client(Box<kube::Error>),
}

/// For a write to what may be gone by now, which is then no failure.
fn unless_gone<T>(outcome: Result<T, CallError>) -> Result<Written, Failure> {
    match outcome {
        Ok(_) => Ok(Written::Done),
        Err(CallError::Refused(status)) if status.is_not_found() && !is_denial(&status) => Ok(Written::Gone),
        Err(trouble) => Err(trouble.failure()),
    }
}

/// What becomes of an object that allows and is changed on the way.
const TAKEN_AWAY: &str = "it would allow other than what is agreed: it is taken away";
/// What becomes of one that denies.
const LEFT_STANDING: &str = "what it should deny is let through; nothing is opened beside it";

/// Something between here and the store makes another object of ours: what others add would be open without an agreement.
fn changed_on_the_way(outcome: &str) -> Failure {
    let message = format!(
        "something changes the object as it is written, such as a mutating admission policy, and {outcome}"
    );
    Failure { reason: FailureReason::Rejected, message }
}

/// What came of a closing that failed, where the object lets nothing through any more.
fn and_emptied(failure: Failure) -> Failure {
    let message = format!("{}; it is emptied, and lets nothing through", failure.message);
    Failure { message, ..failure }
}

/// A call took too long.
fn no_answer() -> Failure {
    let message = "no answer in time: the API server, or a webhook that it asks, hangs".to_owned();
    Failure { reason: FailureReason::Unreachable, message }
}

fn unreachable_server() -> Failure {
    let message = "the API server does not answer".to_owned();
    Failure { reason: FailureReason::Unreachable, message }
}

impl CallError {
    fn failure(self) -> Failure {
        match self {
            // never reported: who does not lead reports nothing
            Self::NotLeading => unreachable_server(),
            Self::Silent => no_answer(),
            Self::Client(error) => {
                // the text of a connection's error differs from try to try: it is for the log, not for a status
                debug!(error = chain(&*error), "a call has failed");
                unreachable_server()
            }
            Self::Refused(status) => refusal(&status),
        }
    }
}

/// Whether admission has refused it, in the words that the API server puts before a webhook's or a policy's own. They name
/// who refused; that a refusal is none of ours to wait for holds without them.
fn is_denial(status: &Status) -> bool {
    let words = &status.message;
    words.contains("denied the request") || words.contains("denied request")
}

/// How much of the API server's own words goes into a message.
const WORDS: usize = 500;

fn refusal(status: &Status) -> Failure {
    let words: String = status.message.chars().take(WORDS).collect();
    let details = status.details.as_ref();
    let caused =
        |reason: &str| details.is_some_and(|it| it.causes.iter().any(|cause| cause.reason == reason));
    let no_namespace = status.code == 404 && details.is_some_and(|it| it.kind == "namespaces");
    let reason = match status.code {
        404 if no_namespace => FailureReason::NamespaceNotFound,
        403 | 409 if caused("NamespaceTerminating") => FailureReason::NamespaceTerminating,
        401 if !is_denial(status) => FailureReason::Forbidden,
        // a quota or an admission rule refuses the object, and RBAC the account
        403 if words.contains("\" cannot ") => FailureReason::Forbidden,
        // an admission rule may refuse with any code
        _ if is_denial(status) => FailureReason::Rejected,
        409 => FailureReason::Conflict,
        429 | 500.. => FailureReason::ServerError,
        _ => FailureReason::Rejected,
    };
    let message = match reason {
        FailureReason::NamespaceNotFound => "its namespace does not exist".to_owned(),
        FailureReason::NamespaceTerminating => "its namespace is being deleted".to_owned(),
        FailureReason::Conflict => "it was changed at the same moment".to_owned(),
        FailureReason::Forbidden => format!("the operator's account may not: {words}"),
        FailureReason::Unreachable => return unreachable_server(),
        FailureReason::ServerError => format!("the API server could not: {}", without_numbers(&words)),
        FailureReason::Rejected | FailureReason::Waiting | FailureReason::CannotRead => {
            format!("the API server refuses it: {words}")
        }
    };
    Failure { reason, message }
}

/// A text without what differs from try to try: numbers, but for those in names, which are quoted.
pub(super) fn without_numbers(text: &str) -> String {
    let mut is_quoted = false;
    let mut kept = String::new();
    for c in text.chars() {
        is_quoted ^= c == '"';
        if is_quoted || !c.is_ascii_digit() {
            kept.push(c);
        } else if !kept.ends_with('#') {
            kept.push('#');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: Value) -> (FailureReason, String) {
        let Failure { reason, message } = refusal(&serde_json::from_value(status).unwrap());
        (reason, message)
    }

    #[test]
    fn a_refusal_is_named_by_its_cause() {
        // as the API server writes them
        let missing = json!({
            "code": 404, "reason": "NotFound", "message": "namespaces \"pcn\" not found",
            "details": {"name": "pcn", "kind": "namespaces"},
        });
        assert_eq!(
            refused(missing),
            (FailureReason::NamespaceNotFound, "its namespace does not exist".to_owned())
        );
        let terminating = json!({
            "code": 403, "reason": "Forbidden", "message": "forbidden: unable to create new content",
            "details": {"name": "x", "kind": "networkpolicies", "causes": [{"reason": "NamespaceTerminating"}]},
        });
        assert_eq!(
            refused(terminating),
            (FailureReason::NamespaceTerminating, "its namespace is being deleted".to_owned())
        );
        let words = "grants \"x\" is forbidden: User \"operator\" cannot patch resource \"grants\"";
        let forbidden = json!({"code": 403, "reason": "Forbidden", "message": words});
        assert_eq!(
            refused(forbidden),
            (FailureReason::Forbidden, format!("the operator's account may not: {words}"))
        );
        // a quota and an admission rule have the same code, and are about the object
        let words = "policies \"x\" is forbidden: exceeded quota: few, used: 3, limited: 3";
        let over = json!({"code": 403, "reason": "Forbidden", "message": words});
        assert_eq!(refused(over), (FailureReason::Rejected, format!("the API server refuses it: {words}")));
        let invalid = json!({"code": 422, "reason": "Invalid", "message": "spec: bad"});
        assert_eq!(
            refused(invalid),
            (FailureReason::Rejected, "the API server refuses it: spec: bad".to_owned())
        );
        let busy = json!({"code": 503, "reason": "ServiceUnavailable", "message": "try 17 of 20"});
        assert_eq!(
            refused(busy),
            (FailureReason::ServerError, "the API server could not: try # of #".to_owned())
        );
        let hook = json!({
            "code": 500, "reason": "InternalError",
            "message": "failed calling webhook \"v1.hook\": dial tcp 10.0.0.7:443: connection refused",
        });
        assert_eq!(
            refused(hook).1,
            "the API server could not: failed calling webhook \"v1.hook\": dial tcp #.#.#.#:#: connection refused"
        );
        let conflict = json!({"code": 409, "reason": "Conflict", "message": "version 17 is not 18"});
        assert_eq!(
            refused(conflict),
            (FailureReason::Conflict, "it was changed at the same moment".to_owned())
        );
    }

    #[test]
    fn every_kind_of_ours_can_be_written_and_no_other() {
        for definition in concordat_api::custom_resource_definitions() {
            let kind = definition.spec.names.kind;
            let resource = resource(&kind).map(|it| (it.group, it.plural));
            assert_eq!(resource, Some((definition.spec.group, definition.spec.names.plural)), "{kind}");
        }
        assert_eq!(resource("Secret"), None);
    }
}
