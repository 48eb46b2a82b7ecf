use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::plan::{PlannedStatus, RECIPIENT};
use concordat_api::{Condition, ConditionStatus, DataSharingAgreementStatus, ObjectStatus, Phase};

const AGREEMENT_NAME: &str = "council/bins";

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn policy(namespace: &str, name: &str, part: &str, annotations: Value, spec: Value) -> Shared<NetworkPolicy> {
    let labels = json!({"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": part});
    let meta = json!({"namespace": namespace, "name": name, "labels": labels, "annotations": annotations});
    parse::<NetworkPolicy>(json!({"metadata": meta, "spec": spec})).into()
}

fn isolation() -> Shared<NetworkPolicy> {
    let spec = json!({"podSelector": {"matchLabels": {"app": "bins"}}, "policyTypes": ["Ingress"]});
    policy("council", "isolate-bins", "isolation", json!({PRODUCT: "council/bins-data"}), spec)
}

fn managed_isolation() -> Shared<NetworkPolicy> {
    let dns = json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]);
    let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": dns}]});
    policy("pcn", "isolate-team", "isolation", json!({RECIPIENT: "pcn/team"}), spec)
}

fn ingress_from(namespaces: &[&str]) -> Shared<NetworkPolicy> {
    let peers: Vec<Value> = namespaces
        .iter()
        .map(|name| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}))
        .collect();
    let rule = json!({"from": peers, "ports": [{"protocol": "TCP", "port": 8443}]});
    let selector = json!({"matchLabels": {"app": "bins"}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [rule]});
    let annotations = json!({AGREEMENT: AGREEMENT_NAME, PRODUCT: "council/bins-data"});
    policy("council", "bins-ingress", "ingress", annotations, spec)
}

fn egress() -> Shared<NetworkPolicy> {
    let peer = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "council"}}});
    let rule = json!({"to": [peer], "ports": [{"protocol": "TCP", "port": 8443}]});
    let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]});
    let annotations = json!({AGREEMENT: AGREEMENT_NAME, RECIPIENT: "pcn/team"});
    policy("pcn", "bins-egress", "egress", annotations, spec)
}

fn data_grant() -> Shared<DataAccessGrant> {
    parse::<DataAccessGrant>(json!({
        "apiVersion": "concordat.dev/v1alpha1",
        "kind": "DataAccessGrant",
        "metadata": {
            "namespace": "council", "name": "bins-grant",
            "labels": {"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "grant"},
            "annotations": {AGREEMENT: AGREEMENT_NAME, PRODUCT: "council/bins-data"},
        },
        "spec": {
            "agreement": {"namespace": "council", "name": "bins", "termsHash": "sha256:00"},
            "product": {"namespace": "council", "name": "bins-data"},
            "recipients": [{
                "org": "pcn", "function": "team", "notAfter": "2027-01-01T00:00:00Z",
                "purposes": [{
                    "code": "ProactiveCare", "actions": ["readRecord"], "maxIdentifiability": "Identifiable",
                    "notAfter": "2027-01-01T00:00:00Z", "contextFree": false,
                }],
            }],
            "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2027-01-01T00:00:00Z",
            "framework": {"name": "england", "version": "1.0.0", "digest": "sha256:11"},
        },
    }))
    .into()
}

fn bins() -> ObjectRef {
    ObjectRef { namespace: "council".to_owned(), name: "bins".to_owned() }
}

fn bins_key() -> ObjectKey {
    agreement_key(&bins())
}

fn planned_status(phase: Phase) -> PlannedStatus {
    let condition = |type_: &str| Condition {
        type_: type_.to_owned(),
        status: ConditionStatus::Unknown,
        reason: "Offline".to_owned(),
        message: "only a cluster knows".to_owned(),
        observed_generation: None,
        last_transition_time: None,
    };
    let status = DataSharingAgreementStatus {
        phase: Some(phase),
        conditions: vec![condition("Enforced"), condition("Ready")],
        ..DataSharingAgreementStatus::default()
    };
    PlannedStatus { object: bins_key(), status: StatusBody::Agreement(Box::new(status)).into() }
}

fn plan(phase: Phase, objects: Vec<PlannedObject>) -> Plan {
    Plan {
        at: "2026-11-22T10:00:00.5Z".parse().unwrap(),
        cluster: None,
        finalizers: if objects.is_empty() { BTreeSet::new() } else { BTreeSet::from([bins()]) },
        objects,
        statuses: vec![planned_status(phase)],
        waiting: Vec::new(),
        findings: Vec::new(),
        next: None,
    }
}

/// The agreement in force: isolation at both ends, the grant, and both ways through.
fn open_plan() -> Plan {
    open_plan_to(&["pcn"])
}

/// The same, where the gateway lets in these namespaces.
fn open_plan_to(recipients: &[&str]) -> Plan {
    let data = ObjectRef { namespace: "council".to_owned(), name: "bins-data".to_owned() };
    let allow = |policy, grant: Option<&str>| PlannedObject::Allow {
        policy,
        grant: grant.map(str::to_owned),
        products: BTreeSet::from([data.clone()]),
    };
    let objects = vec![
        PlannedObject::Isolation(isolation()),
        PlannedObject::Isolation(managed_isolation()),
        PlannedObject::Grant(data_grant()),
        allow(ingress_from(recipients), Some("bins-grant")),
        allow(egress(), None),
    ];
    plan(Phase::Active, objects)
}

/// The agreement out of force: only the isolation is left.
fn closed_plan() -> Plan {
    let objects = vec![PlannedObject::Isolation(isolation()), PlannedObject::Isolation(managed_isolation())];
    plan(Phase::AwaitingSignatures, objects)
}

/// A cluster with the agreement and nothing else.
fn bare() -> Observed {
    let mut observed = Observed::default();
    let agreement = ObservedAgreement {
        uid: Some("uid-bins".to_owned()),
        generation: Some(3),
        resource_version: Some("7".to_owned()),
        ..ObservedAgreement::default()
    };
    observed.agreements.insert(bins(), agreement);
    let status = ObservedStatus { uid: Some("uid-bins".to_owned()), generation: Some(3), status: None };
    observed.statuses.insert(bins_key(), status);
    observed
}

/// An API server in miniature: what is there after the steps.
fn carried_out(observed: &Observed, steps: &[Step]) -> Observed {
    let mut after = observed.clone();
    for step in steps {
        match &step.act {
            Act::ApplyPolicy { policy, owner } => {
                let at = reference(&**policy);
                let mut policy = policy.clone();
                if let Some(owner) = owner {
                    let uid = after.grants[owner].uid().unwrap();
                    policy.metadata.owner_references = Some(vec![owner_reference(&owner.name, &uid)]);
                }
                policy.spec = policy.spec.as_ref().map(narrow::normal);
                let present = after.policies.get(&at).map(|it| it.metadata.clone()).unwrap_or_default();
                policy.metadata.uid = Some(format!("uid-{}", at.name));
                policy.metadata.finalizers = present.finalizers;
                policy.metadata.deletion_timestamp = present.deletion_timestamp;
                after.policies.insert(at, policy);
            }
            Act::ApplyGrant(grant) => {
                let mut grant = grant.clone();
                grant.metadata.uid = Some(format!("uid-{}", grant.name_any()));
                after.grants.insert(reference(&*grant), grant);
            }
            Act::Delete { object, uid } => {
                let at =
                    ObjectRef { namespace: object.namespace.clone().unwrap(), name: object.name.clone() };
                if object.kind == "NetworkPolicy" {
                    let present = after.policies.get_mut(&at).unwrap();
                    assert_eq!(&present.uid(), uid);
                    if present.finalizers().is_empty() {
                        after.policies.remove(&at);
                    } else {
                        present.metadata.deletion_timestamp =
                            Some(Time("2026-11-22T10:00:00Z".parse().unwrap()));
                    }
                } else {
                    let gone = after.grants.remove(&at).unwrap();
                    assert_eq!(&gone.uid(), uid);
                }
            }
            // it leaves the watch, which asks for the label
            Act::Unlabel { policy, .. } => {
                after.policies.remove(policy).unwrap();
            }
            Act::SetFinalizers { agreement, finalizers, .. } => {
                after.agreements.get_mut(agreement).unwrap().finalizers.clone_from(finalizers);
            }
            Act::SetStatus { object, status, .. } => {
                if let (StatusBody::Simple(status), Some(namespace)) = (status, &object.namespace) {
                    let at = ObjectRef { namespace: namespace.clone(), name: object.name.clone() };
                    after.grants.get_mut(&at).unwrap().status = Some(status.clone());
                } else {
                    after.statuses.get_mut(object).unwrap().status = Some(status.clone());
                }
            }
        }
    }
    after
}

/// What the steps do, in few words.
fn listed(steps: &[Step]) -> Vec<String> {
    let tell = |step: &Step| {
        let object = step.object();
        let verb = match &step.act {
            Act::ApplyPolicy { .. } | Act::ApplyGrant(_) => "apply",
            Act::Delete { .. } => "delete",
            Act::Unlabel { .. } => "unlabel",
            Act::SetFinalizers { finalizers, .. } => {
                return format!("{:?}: finalizers {finalizers:?}", step.stage);
            }
            Act::SetStatus { .. } => "status",
        };
        format!("{:?}: {verb} {}", step.stage, object.name)
    };
    steps.iter().map(tell).collect()
}

fn enforced(observed: &Observed) -> (ConditionStatus, String) {
    let condition = condition(observed, "Enforced").unwrap();
    (condition.status, condition.reason)
}

fn condition(observed: &Observed, type_: &str) -> Option<Condition> {
    let status = observed.statuses[&bins_key()].status.as_ref()?;
    let StatusBody::Agreement(status) = status else { panic!("an agreement has its own status") };
    status.conditions.iter().find(|it| it.type_ == type_).cloned()
}

/// Plans, writes and reports until nothing is left to do.
fn settled(plan: &Plan, mut observed: Observed) -> Observed {
    for _ in 0..5 {
        let mut steps = steps(plan, &observed);
        steps.extend(report(plan, &observed, &Failures::new()));
        if steps.is_empty() {
            return observed;
        }
        observed = carried_out(&observed, &steps);
    }
    panic!("still writing after five rounds");
}

#[test]
fn opens_in_the_order_isolation_finalizer_grant_policies() {
    assert_eq!(
        listed(&steps(&open_plan(), &bare())),
        [
            "Isolate: apply isolate-bins",
            "Isolate: apply isolate-team",
            "Hold: finalizers [\"concordat.dev/grants\"]",
            "Grant: apply bins-grant",
            "Open: apply bins-ingress",
            "Open: apply bins-egress",
        ]
    );
}

#[test]
fn what_opens_relies_on_its_isolation_its_finalizer_and_its_grant() {
    let steps = steps(&open_plan(), &bare());
    let after = |name: &str| {
        let step = steps.iter().find(|step| step.object().name == name).unwrap();
        step.after.iter().map(|key| key.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(after("bins-grant"), ["bins", "isolate-bins"]);
    assert_eq!(after("bins-ingress"), ["bins-grant", "bins", "isolate-bins"]);
    assert_eq!(after("bins-egress"), ["bins", "isolate-bins", "isolate-team"]);
}

#[test]
fn nothing_is_written_when_nothing_has_changed() {
    let settled = settled(&open_plan(), bare());
    assert_eq!(steps(&open_plan(), &settled), []);
    let mut later = open_plan();
    later.at = "2026-11-23T10:00:00Z".parse().unwrap();
    assert_eq!(report(&later, &settled, &Failures::new()), []);
}

#[test]
fn what_the_api_server_and_others_add_is_no_difference() {
    let mut observed = settled(&open_plan(), bare());
    for policy in observed.policies.values_mut() {
        policy.metadata.resource_version = Some("99".to_owned());
        policy.metadata.generation = Some(1);
        policy
            .metadata
            .annotations
            .get_or_insert_default()
            .insert("example.org/note".to_owned(), "x".to_owned());
    }
    assert_eq!(steps(&open_plan(), &observed), []);
}

#[test]
fn a_grant_is_bound_to_the_very_agreement_and_generation() {
    let observed = settled(&open_plan(), bare());
    let agreement = &observed.grants.values().next().unwrap().spec.agreement;
    assert_eq!((agreement.uid.as_deref(), agreement.generation), (Some("uid-bins"), Some(3)));

    let mut recreated = observed;
    recreated.agreements.get_mut(&bins()).unwrap().uid = Some("uid-of-another".to_owned());
    assert_eq!(listed(&steps(&open_plan(), &recreated)), ["Grant: apply bins-grant"]);
}

#[test]
fn a_plan_of_one_agreement_opens_nothing_for_another_of_its_name() {
    let known = |uid: &str| {
        let mut plan = open_plan();
        for object in &mut plan.objects {
            if let PlannedObject::Grant(grant) = object {
                grant.spec.agreement.uid = Some(uid.to_owned());
            }
        }
        plan
    };
    let isolated = ["Isolate: apply isolate-bins", "Isolate: apply isolate-team"];
    assert_eq!(listed(&steps(&known("uid-of-another"), &bare())), isolated);
    assert_eq!(report(&known("uid-of-another"), &bare(), &Failures::new()), []);
    assert_eq!(listed(&steps(&known("uid-bins"), &bare())), listed(&steps(&open_plan(), &bare())));

    // what stands for the one that was there before is taken away, and the one that is there now is not held for it
    let mut recreated = settled(&known("uid-bins"), bare());
    recreated.agreements.get_mut(&bins()).unwrap().uid = Some("uid-of-another".to_owned());
    assert_eq!(
        listed(&steps(&known("uid-bins"), &recreated)),
        ["Close: delete bins-ingress", "Close: delete bins-egress", "Revoke: delete bins-grant"]
    );
}

#[test]
fn closes_policies_before_grants_and_keeps_the_isolation() {
    let open = settled(&open_plan(), bare());
    let mut closing = closed_plan();
    closing.finalizers = BTreeSet::from([bins()]);
    assert_eq!(
        listed(&steps(&closing, &open)),
        ["Close: delete bins-ingress", "Close: delete bins-egress", "Revoke: delete bins-grant"]
    );
    let closed = settled(&closing, open);
    let left: Vec<&str> = closed.policies.keys().map(|at| at.name.as_str()).collect();
    assert_eq!(left, ["isolate-bins", "isolate-team"]);
}

#[test]
fn closing_waits_for_nothing() {
    let open = settled(&open_plan(), bare());
    let mut broken = open.clone();
    broken.policies.retain(|at, _| at.name != "isolate-bins");
    let steps = steps(&closed_plan(), &broken);
    let closing = steps.iter().filter(|step| matches!(step.stage, Stage::Close | Stage::Revoke));
    assert!(closing.clone().count() == 3 && closing.into_iter().all(|step| step.after.is_empty()));
}

#[test]
fn the_finalizer_goes_when_nothing_names_the_agreement() {
    let mut observed = settled(&open_plan(), bare());
    let agreement = observed.agreements.get_mut(&bins()).unwrap();
    agreement.deleting = true;
    agreement.finalizers.insert(0, "example.org/other".to_owned());
    let mut deleted = closed_plan();
    // a plan that still lists the agreement does not hold it any longer
    deleted.finalizers = BTreeSet::from([bins()]);

    let first = steps(&deleted, &observed);
    assert!(first.iter().all(|step| step.stage != Stage::Release));
    let second = steps(&deleted, &carried_out(&observed, &first));
    assert_eq!(listed(&second), ["Release: finalizers [\"example.org/other\"]"]);
}

#[test]
fn an_agreement_that_is_being_deleted_gets_no_finalizer() {
    let mut observed = bare();
    observed.agreements.get_mut(&bins()).unwrap().deleting = true;
    assert!(steps(&open_plan(), &observed).iter().all(|step| step.stage != Stage::Hold));
}

#[test]
fn a_policy_that_allows_less_is_written_while_closing_and_one_that_allows_more_while_opening() {
    let plan_with = |namespaces: &[&str]| {
        let mut plan = open_plan();
        plan.objects[3] = PlannedObject::Allow {
            policy: ingress_from(namespaces),
            grant: Some("bins-grant".to_owned()),
            products: BTreeSet::new(),
        };
        plan
    };
    let one = settled(&plan_with(&["pcn"]), bare());
    let two = settled(&plan_with(&["pcn", "charity"]), bare());
    assert_eq!(listed(&steps(&plan_with(&["pcn", "charity"]), &one)), ["Open: apply bins-ingress"]);
    assert_eq!(listed(&steps(&plan_with(&["pcn"]), &two)), ["Close: apply bins-ingress"]);

    // some go and some come: first what stays, then the rest
    let mixed = steps(&plan_with(&["pcn", "housing"]), &two);
    assert_eq!(listed(&mixed), ["Close: apply bins-ingress", "Open: apply bins-ingress"]);
    let Act::ApplyPolicy { policy, .. } = &mixed[0].act else { panic!("a policy is applied") };
    assert!(says_the_same(policy, &ingress_from(&["pcn"])));

    // none stays
    let other = steps(&plan_with(&["housing"]), &two);
    assert_eq!(listed(&other), ["Close: delete bins-ingress", "Open: apply bins-ingress"]);
    assert_eq!(steps(&plan_with(&["housing"]), &settled(&plan_with(&["housing"]), two)), []);
}

/// A grant to these recipients, `org` and the actions that it may do.
fn granted(recipients: &[(&str, &[&str])]) -> Plan {
    let mut plan = open_plan();
    let PlannedObject::Grant(grant) = &mut plan.objects[2] else { panic!("the third is the grant") };
    let mut recipient = grant.spec.recipients[0].clone();
    grant.spec.recipients = recipients
        .iter()
        .map(|(org, actions)| {
            recipient.org = (*org).to_owned();
            recipient.purposes[0].actions = parse(json!(actions));
            recipient.clone()
        })
        .collect();
    plan
}

/// The recipients of the grant that a step applies, with their actions.
fn applied(step: &Step) -> String {
    let Act::ApplyGrant(grant) = &step.act else { panic!("{step:?}") };
    let recipients = grant.spec.recipients.iter();
    let each = recipients.map(|it| format!("{} {}", it.org, json!(it.purposes[0].actions)));
    format!("{:?}: {}", step.stage, each.collect::<Vec<_>>().join(", "))
}

#[test]
fn of_a_grant_what_goes_goes_before_what_comes_comes() {
    type Granted = (&'static str, &'static [&'static str]);
    let both: Granted = ("pcn", &["readRecord", "extract"]);
    let read: Granted = ("pcn", &["readRecord"]);
    let trust: Granted = ("trust", &["extract"]);
    let charity: Granted = ("charity", &["extract"]);
    let change = |from: &[Granted], to: &[Granted]| {
        let stands = settled(&granted(from), bare());
        let steps = steps(&granted(to), &stands);
        let grants = steps.iter().filter(|step| step.object().kind == "DataAccessGrant");
        let acts = grants.map(|step| match &step.act {
            Act::Delete { .. } => format!("{:?}: delete", step.stage),
            _ => applied(step),
        });
        acts.collect::<Vec<_>>()
    };
    // what only narrows is written once
    assert_eq!(change(&[both, trust], &[read, trust]), [r#"Revoke: pcn ["readRecord"], trust ["extract"]"#]);
    assert_eq!(
        change(&[both], &[both, trust]),
        [r#"Grant: pcn ["readRecord","extract"], trust ["extract"]"#]
    );
    assert_eq!(
        change(&[both, trust], &[charity, read]),
        [r#"Revoke: pcn ["readRecord"]"#, r#"Grant: charity ["extract"], pcn ["readRecord"]"#,]
    );
    assert_eq!(change(&[trust], &[charity]), ["Revoke: delete", r#"Grant: charity ["extract"]"#]);
}

#[test]
fn an_edited_policy_is_restored() {
    let settled = settled(&open_plan(), bare());
    let mut edited = settled.clone();
    for policy in edited.policies.values_mut() {
        policy.spec.as_mut().unwrap().ingress = Some(vec![parse(json!({}))]);
    }
    let steps = steps(&open_plan(), &edited);
    assert_eq!(carried_out(&edited, &steps).policies, settled.policies);
    assert_eq!(steps.iter().filter(|step| step.stage == Stage::Isolate).count(), 2);
}

#[test]
fn a_policy_that_a_finalizer_holds_is_emptied_before_it_is_deleted() {
    let mut open = settled(&open_plan(), bare());
    let at = reference(&*ingress_from(&["pcn"]));
    let held = Some(vec!["example.org/hold".to_owned()]);
    open.policies.get_mut(&at).unwrap().metadata.finalizers = held;
    let first = steps(&closed_plan(), &open);
    assert_eq!(listed(&first)[..2], ["Close: apply bins-ingress", "Close: delete bins-ingress"]);
    let after = carried_out(&open, &first);
    let spec: &NetworkPolicySpec = after.policies[&at].spec.as_ref().unwrap();
    assert!(!narrow::allows(spec) && spec.pod_selector.is_some());
    assert_eq!(steps(&closed_plan(), &after), []);
}

#[test]
fn what_others_hold_and_lets_nothing_through_holds_nothing() {
    let mut open = settled(&open_plan(), bare());
    let at = reference(&*ingress_from(&["pcn"]));
    open.policies.get_mut(&at).unwrap().metadata.finalizers = Some(vec!["example.org/hold".to_owned()]);
    open.agreements.get_mut(&bins()).unwrap().deleting = true;
    let mut after = carried_out(&open, &steps(&closed_plan(), &open));
    let held = after.policies.get_mut(&at).unwrap();
    held.metadata.deletion_timestamp = Some(Time("2026-11-22T10:00:00Z".parse().unwrap()));
    assert_eq!(listed(&steps(&closed_plan(), &after)), ["Release: finalizers []"]);
    // but not as long as it lets something through
    let spec = ingress_from(&["pcn"]).spec.clone();
    after.policies.get_mut(&at).unwrap().spec = spec;
    assert!(steps(&closed_plan(), &after).iter().all(|step| step.stage != Stage::Release));
}

#[test]
fn an_owner_that_others_have_added_is_taken_off() {
    let settled = settled(&open_plan(), bare());
    let other = OwnerReference { kind: "ConfigMap".to_owned(), ..owner_reference("theirs", "uid-theirs") };
    for at in settled.policies.keys() {
        let mut owned = settled.clone();
        let owners = &mut owned.policies.get_mut(at).unwrap().metadata.owner_references;
        owners.get_or_insert_default().push(other.clone());
        let steps = steps(&open_plan(), &owned);
        assert_eq!(steps.iter().map(Step::object).collect::<Vec<_>>(), [policy_key(at)]);
        assert_eq!(carried_out(&owned, &steps).policies, settled.policies);
    }
}

#[test]
fn isolation_outlives_what_is_gone_and_that_of_a_function_that_is_free_is_deleted_last() {
    let mut open = settled(&open_plan(), bare());
    let gone = steps(&plan(Phase::Terminating, Vec::new()), &open);
    assert_eq!(listed(&gone)[3..], ["Retire: unlabel isolate-bins", "Retire: unlabel isolate-team"]);
    open.functions = BTreeMap::from([("pcn/team".to_owned(), false)]);
    let steps = steps(&plan(Phase::Terminating, Vec::new()), &open);
    assert_eq!(listed(&steps)[3..], ["Retire: unlabel isolate-bins", "Retire: delete isolate-team"]);
    let Act::Unlabel { labels, .. } = &steps[3].act else { panic!("a label is taken off") };
    assert_eq!(labels, &["app.kubernetes.io/managed-by", "concordat.dev/part"]);
}

#[test]
fn a_function_stays_isolated_while_its_organisation_cannot_be_used() {
    let open = settled(&open_plan(), bare());
    let unplanned = plan(Phase::Invalid, vec![PlannedObject::Isolation(isolation())]);
    let retired = |observed: &Observed| {
        let steps = steps(&unplanned, observed);
        steps.iter().filter(|step| step.stage == Stage::Retire).count()
    };
    assert_eq!(retired(&open), 1);
    let invalid = Observed { functions: BTreeMap::from([("pcn/team".to_owned(), true)]), ..open.clone() };
    assert_eq!(retired(&invalid), 0);
    let undecodable = Observed { undecodable_orgs: BTreeSet::from(["pcn".to_owned()]), ..open };
    assert_eq!(retired(&undecodable), 0);
}

#[test]
fn isolation_of_pods_that_a_managed_function_has_left_is_deleted() {
    let mut observed = settled(&open_plan(), bare());
    let mut old = managed_isolation();
    old.metadata.name = Some("isolate-team-before".to_owned());
    observed.policies.insert(reference(&*old), old);
    observed.functions = BTreeMap::from([("pcn/team".to_owned(), true)]);
    assert_eq!(listed(&steps(&open_plan(), &observed)), ["Retire: delete isolate-team-before"]);
}

#[test]
fn orphans_are_swept() {
    let mut observed = settled(&closed_plan(), bare());
    let mut orphan = egress();
    orphan.metadata.uid = Some("uid-orphan".to_owned());
    observed.policies.insert(reference(&*orphan), orphan);
    assert_eq!(listed(&steps(&closed_plan(), &observed)), ["Close: delete bins-egress"]);
}

#[test]
fn an_owner_that_was_made_anew_is_taken_over() {
    let mut observed = settled(&open_plan(), bare());
    observed.grants.values_mut().next().unwrap().metadata.uid = Some("uid-of-another".to_owned());
    assert_eq!(listed(&steps(&open_plan(), &observed)), ["Open: apply bins-ingress"]);
}

#[test]
fn enforced_is_true_only_when_all_is_seen_to_stand() {
    let plan = open_plan();
    let observed = bare();
    let progressing = carried_out(&observed, &report(&plan, &observed, &Failures::new()));
    assert_eq!(enforced(&progressing), (ConditionStatus::False, "Progressing".to_owned()));
    assert_eq!(condition(&progressing, "Ready").unwrap().status, ConditionStatus::False);
    assert_eq!(condition(&progressing, "Reconciling").unwrap().status, ConditionStatus::True);

    let settled = settled(&plan, progressing);
    assert_eq!(enforced(&settled), (ConditionStatus::True, "Written".to_owned()));
    assert_eq!(condition(&settled, "Ready").unwrap().status, ConditionStatus::True);
    assert_eq!(condition(&settled, "Reconciling").unwrap().status, ConditionStatus::False);
    assert_eq!(condition(&settled, "Stalled").unwrap().status, ConditionStatus::False);
    assert_eq!(
        condition(&settled, "Enforced").unwrap().message,
        "1 grant and 2 network policies are written"
    );
}

#[test]
fn a_grant_is_ready_when_all_that_opens_its_flow_stands() {
    let ready = |observed: &Observed| {
        let status = observed.grants.values().next().unwrap().status.clone().unwrap();
        let ready = status.conditions.into_iter().find(|it| it.type_ == "Ready").unwrap();
        (ready.status, ready.reason, ready.message)
    };
    let settled = settled(&open_plan(), bare());
    let written = "1 grant and 2 network policies are written".to_owned();
    assert_eq!(ready(&settled), (ConditionStatus::True, "Written".to_owned(), written));

    let mut broken = settled;
    broken.policies.remove(&reference(&*egress()));
    let failure = Failure { reason: FailureReason::Forbidden, message: "may not".to_owned() };
    let failures = Failures::from([(policy_key(&reference(&*egress())), failure)]);
    let broken = carried_out(&broken, &report(&open_plan(), &broken, &failures));
    let why = "NetworkPolicy pcn/bins-egress: may not".to_owned();
    assert_eq!(ready(&broken), (ConditionStatus::False, "Forbidden".to_owned(), why));
}

/// A plan in which an object that is isolated is said to be ready.
fn ready_and_isolated(object: ObjectKey) -> (Plan, Observed) {
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: ConditionStatus::True,
        reason: "Valid".to_owned(),
        message: "the object is valid".to_owned(),
        observed_generation: None,
        last_transition_time: None,
    };
    let status = ObjectStatus { observed_generation: None, conditions: vec![ready] };
    let mut plan = closed_plan();
    plan.statuses = vec![PlannedStatus { object: object.clone(), status: StatusBody::Simple(status).into() }];
    let mut observed = bare();
    observed.statuses.insert(object, ObservedStatus::default());
    (plan, observed)
}

#[test]
fn who_cannot_be_isolated_is_not_ready_agreement_or_none() {
    let product = (ObjectKey::new("DataProduct", Some("council"), "bins-data"), isolation());
    let organisation = (ObjectKey::new("PartnerOrg", None, "pcn"), managed_isolation());
    for (object, policy) in [product, organisation] {
        let (plan, observed) = ready_and_isolated(object.clone());
        let said = |failures: &Failures| {
            let steps = report(&plan, &observed, failures);
            let Act::SetStatus { status: StatusBody::Simple(status), .. } = &steps[0].act else {
                panic!("the status of {object}")
            };
            (status.conditions[0].status, status.conditions[0].message.clone())
        };
        let failure = Failure { reason: FailureReason::Rejected, message: "not here".to_owned() };
        let policy = policy_key(&reference(&*policy));
        let refused = said(&Failures::from([(policy.clone(), failure)]));
        assert_eq!(refused, (ConditionStatus::False, format!("{policy}: not here")));
        assert_eq!(said(&Failures::new()), (ConditionStatus::True, "the object is valid".to_owned()));
    }
}

#[test]
fn an_agreement_of_which_nothing_lies_here_is_not_said_to_be_enforced() {
    let mut planned = planned_status(Phase::Active);
    let StatusBody::Agreement(mut status) = (*planned.status).clone() else { unreachable!() };
    status.conditions.retain(|it| it.type_ == "Enforced");
    status.conditions[0].reason = "NotInThisCluster".to_owned();
    planned.status = StatusBody::Agreement(status).into();
    let mut elsewhere = plan(Phase::Active, Vec::new());
    elsewhere.statuses = vec![planned];
    let observed = settled(&elsewhere, bare());
    assert_eq!(enforced(&observed), (ConditionStatus::Unknown, "NotInThisCluster".to_owned()));
    assert_eq!(condition(&observed, "Ready"), None);
}

#[test]
fn a_failure_shows_on_its_agreement_and_stays_the_same_from_try_to_try() {
    let plan = open_plan();
    let failure = Failure {
        reason: FailureReason::NamespaceNotFound,
        message: "its namespace does not exist".to_owned(),
    };
    let failures = Failures::from([(policy_key(&reference(&*egress())), failure)]);
    let observed = bare();
    let first = carried_out(&observed, &report(&plan, &observed, &failures));
    let stalled = condition(&first, "Stalled").unwrap();
    assert_eq!((stalled.status, stalled.reason.as_str()), (ConditionStatus::True, "NamespaceNotFound"));
    assert_eq!(stalled.message, "NetworkPolicy pcn/bins-egress: its namespace does not exist");
    assert_eq!(condition(&first, "Reconciling").unwrap().status, ConditionStatus::False);
    assert_eq!(report(&plan, &first, &failures), []);
}

#[test]
fn what_an_operator_has_said_of_failures_is_read_back_from_its_statuses() {
    let plan = open_plan();
    let key = policy_key(&reference(&*egress()));
    for reason in FailureReason::ALL.into_iter().filter(|it| *it != FailureReason::Conflict) {
        let failure = Failure { reason, message: "no: exceeded quota: policies".to_owned() };
        let failures = Failures::from([(key.clone(), failure)]);
        let observed = bare();
        let said = carried_out(&observed, &report(&plan, &observed, &failures));
        assert_eq!(failures_reported(&said), failures);
        assert_eq!(report(&plan, &said, &failures_reported(&said)), [], "a true status is not called wrong");
    }
    let open = settled(&plan, bare());
    let failure = Failure { reason: FailureReason::Rejected, message: "no one deletes here".to_owned() };
    let failures = Failures::from([(key, failure)]);
    let still_open = carried_out(&open, &report(&closed_plan(), &open, &failures));
    assert_eq!(enforced(&still_open).1, STILL_OPEN);
    assert_eq!(failures_reported(&still_open), failures);
    assert_eq!(failures_reported(&open), Failures::new());
}

#[test]
fn a_grant_that_may_not_go_is_not_ready_and_a_finalizer_that_stays_is_told() {
    let failure = Failure { reason: FailureReason::Rejected, message: "no one deletes here".to_owned() };
    let open = settled(&open_plan(), bare());
    let grant = grant_key(&reference(&*data_grant()));
    let stuck =
        carried_out(&open, &report(&closed_plan(), &open, &Failures::from([(grant, failure.clone())])));
    let status = stuck.grants.values().next().unwrap().status.clone().unwrap();
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready").unwrap();
    assert_eq!(ready.status, ConditionStatus::False);
    assert!(ready.message.contains("no one deletes here"), "{}", ready.message);

    let closed = settled(&closed_plan(), open);
    let held = report(&closed_plan(), &closed, &Failures::from([(bins_key(), failure)]));
    let stalled = condition(&carried_out(&closed, &held), "Stalled").unwrap();
    assert_eq!((stalled.status, stalled.reason.as_str()), (ConditionStatus::True, "Rejected"));
}

#[test]
fn a_write_that_somebody_else_came_before_is_only_progress() {
    let failure = Failure { reason: FailureReason::Conflict, message: "it was changed".to_owned() };
    let failures = Failures::from([(policy_key(&reference(&*egress())), failure)]);
    let observed = bare();
    let first = carried_out(&observed, &report(&open_plan(), &observed, &failures));
    assert_eq!(enforced(&first), (ConditionStatus::False, "Progressing".to_owned()));
}

#[test]
fn what_is_out_of_force_is_never_enforced_and_says_while_it_closes() {
    let open = settled(&open_plan(), bare());
    let closing = carried_out(&open, &report(&closed_plan(), &open, &Failures::new()));
    assert_eq!(enforced(&closing), (ConditionStatus::False, "Closing".to_owned()));
    assert_eq!(condition(&closing, "Reconciling").unwrap().status, ConditionStatus::True);
    let closed = settled(&closed_plan(), closing);
    assert_eq!(enforced(&closed), (ConditionStatus::False, "NotInForce".to_owned()));
    // closed, it is as the plan says, which says nothing of it here
    assert_eq!(condition(&closed, "Reconciling"), None);
}

#[test]
fn a_transition_keeps_its_moment_while_the_status_stays() {
    let moment = |observed: &Observed| condition(observed, "Enforced").unwrap().last_transition_time.unwrap();
    let first = settled(&open_plan(), bare());
    assert_eq!(moment(&first).to_string(), "2026-11-22T10:00:00Z");

    let mut later = closed_plan();
    later.at = "2026-11-22T11:00:00Z".parse().unwrap();
    let second = settled(&later, first);
    assert_eq!(moment(&second), later.at);
    later.at = "2026-11-22T12:00:00Z".parse().unwrap();
    assert_eq!(report(&later, &second, &Failures::new()), []);
}

#[test]
fn conditions_say_which_generation_they_are_about() {
    let settled = settled(&open_plan(), bare());
    assert_eq!(condition(&settled, "Ready").unwrap().observed_generation, Some(3));
}

#[test]
fn what_lets_through_more_than_planned_and_could_not_be_written_is_said_to_be_open() {
    let open = settled(&open_plan(), bare());
    let fails = |reason: FailureReason, plan: &Plan| -> Failures {
        let refused = Failure { reason, message: "the house says no".to_owned() };
        let closings = steps(plan, &open).into_iter().filter(|step| step.stage == Stage::Close);
        closings.map(|step| (step.object(), refused.clone())).collect()
    };
    let looked = |plan: &Plan, reason: FailureReason| {
        let failures = fails(reason, plan);
        let done = carried_out(&open, &report(plan, &open, &failures));
        (still_open(plan, &open, &failures), enforced(&done).1)
    };
    let still = || "StillOpen".to_owned();
    assert_eq!(looked(&closed_plan(), FailureReason::Rejected), (2, still()));
    assert_eq!(looked(&closed_plan(), FailureReason::Unreachable), (2, still()));
    assert_eq!(looked(&closed_plan(), FailureReason::Conflict), (0, "Closing".to_owned()));
    // one of two recipients goes
    let both = settled(&open_plan_to(&["pcn", "charity"]), bare());
    let failure = Failure { reason: FailureReason::Rejected, message: "the house says no".to_owned() };
    let narrowing = steps(&open_plan(), &both).into_iter().find(|step| step.stage == Stage::Close).unwrap();
    let failures = Failures::from([(narrowing.object(), failure.clone())]);
    assert_eq!(still_open(&open_plan(), &both, &failures), 1);
    // what lets through less than planned hurts, and is not open
    let fewer = Failures::from([(narrowing.object(), failure)]);
    assert_eq!(still_open(&open_plan_to(&["pcn", "charity"]), &open, &fewer), 0);
}

#[test]
fn what_an_agreement_replaces_is_written_down_before_anything_opens_under_it() {
    let old = ObjectKey::new("DataSharingAgreement", Some("council"), "old");
    let status = |phase: Phase, by: Option<ObjectRef>| DataSharingAgreementStatus {
        phase: Some(phase),
        superseded_by: by,
        ..DataSharingAgreementStatus::default()
    };
    let body = |status: DataSharingAgreementStatus| StatusBody::Agreement(Box::new(status));
    let mut plan = open_plan();
    let replaced = body(status(Phase::Superseded, Some(bins())));
    plan.statuses.push(PlannedStatus { object: old.clone(), status: replaced.into() });
    let mut observed = bare();
    let known = |by: Option<ObjectRef>| ObservedStatus {
        uid: Some("uid-old".to_owned()),
        generation: Some(1),
        status: Some(body(status(Phase::Active, by))),
    };
    observed.statuses.insert(old.clone(), known(None));
    let found = steps(&plan, &observed);
    let remembers = found.iter().find(|step| step.stage == Stage::Remember).unwrap();
    assert_eq!(remembers.object(), old);
    let Act::SetStatus { status: written, .. } = &remembers.act else { panic!("{remembers:?}") };
    assert_eq!(*written, body(status(Phase::Active, Some(bins()))), "the memory, and nothing else yet");
    let opening = found.iter().filter(|step| matches!(step.stage, Stage::Grant | Stage::Open));
    let opening: Vec<&Step> = opening.collect();
    assert!(opening.len() >= 3 && opening.iter().all(|step| step.after.contains(&old)), "{opening:?}");
    let closing = found.iter().filter(|step| step.stage < Stage::Remember);
    assert!(closing.into_iter().all(|step| !step.after.contains(&old)), "closing waits for nothing");
    // once it is remembered there is nothing to wait for
    observed.statuses.insert(old.clone(), known(Some(bins())));
    let found = steps(&plan, &observed);
    assert!(found.iter().all(|step| step.stage != Stage::Remember && !step.after.contains(&old)));
}

#[test]
fn what_has_replaced_an_agreement_is_kept_until_that_is_remembered() {
    let old = ObjectKey::new("DataSharingAgreement", Some("council"), "old");
    let status = |for_one: bool, by: Option<ObjectRef>| {
        let mut status = DataSharingAgreementStatus::default();
        if for_one {
            let one = |by| SupersededFor { org: "council".to_owned(), by, withdrawn: true };
            status.superseded_for.extend(by.map(one));
        } else {
            status.superseded_by = by;
        }
        StatusBody::Agreement(Box::new(status))
    };
    for for_one in [false, true] {
        // in force no more: it opens nothing, and needs no finalizer for that
        let mut plan = closed_plan();
        plan.statuses
            .push(PlannedStatus { object: old.clone(), status: status(for_one, Some(bins())).into() });
        let mut observed = bare();
        let known = |by: Option<ObjectRef>| ObservedStatus {
            uid: Some("uid-old".to_owned()),
            generation: Some(1),
            status: Some(status(for_one, by)),
        };
        observed.statuses.insert(old.clone(), known(None));
        let finalizers = |found: Vec<Step>| -> Vec<(Stage, Vec<String>)> {
            let set = found.into_iter().filter_map(|step| match step.act {
                Act::SetFinalizers { finalizers, .. } => Some((step.stage, finalizers)),
                _ => None,
            });
            set.collect()
        };
        let held = vec![FINALIZER.to_owned()];
        assert_eq!(finalizers(steps(&plan, &observed)), [(Stage::Hold, held.clone())]);
        // somebody deletes it, and the status is still refused
        let present = observed.agreements.get_mut(&bins()).unwrap();
        (present.finalizers, present.deleting) = (held, true);
        assert_eq!(finalizers(steps(&plan, &observed)), []);
        observed.statuses.insert(old.clone(), known(Some(bins())));
        assert_eq!(finalizers(steps(&plan, &observed)), [(Stage::Release, vec![])]);
    }
}
