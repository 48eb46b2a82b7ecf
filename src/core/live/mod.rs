//! What is wrong with a live cluster, besides what is wrong with the objects in it: what only a cluster can tell.
//!
//! A pure function of the plan and of what was read. Drift is what the operator would still write; so an operator
//! that is at work shows for a moment as drift too.

mod widen;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{
    NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;

use self::widen::{Direction, Target, Widening, governs, widenings};
use super::evaluate::Judgement;
use super::finding::{self, Code, Finding, ObjectKey, Origin, Severity};
use super::model::Model;
use super::plan::{
    Act, Dns, MANAGED_BY, Observed, PRODUCT, Plan, PlannedObject, RECIPIENT, Stage, Step, failures_reported,
    report, steps,
};
use super::shared::Shared;
use concordat_api::{GROUP, ObjectRef};

/// What a cluster holds besides our own objects. What may not be read is none, and is not judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterContext {
    /// Network policies without the operator's label.
    pub policies: Option<Vec<Shared<NetworkPolicy>>>,
    pub namespaces: Option<BTreeSet<String>>,
    /// The names of the API groups that are served.
    pub groups: Option<BTreeSet<String>>,
    pub admission: Option<Admission>,
    /// Objects of ours that cannot be decoded, with the reason.
    pub undecodable: Vec<(ObjectKey, String)>,
}

/// What the API server has to refuse.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    pub policies: Vec<ValidatingAdmissionPolicy>,
    pub bindings: Vec<ValidatingAdmissionPolicyBinding>,
}

/// API groups of network plugins that enforce network policies.
const ENFORCERS: [&str; 8] = [
    "cilium.io",
    "crd.antrea.io",
    "crd.projectcalico.org",
    "k8s.ovn.org",
    "kubeovn.io",
    "networking.k8s.aws",
    "operator.tigera.io",
    "projectcalico.org",
];

/// API groups with policies of their own that can allow more, and that are not compared.
const OTHER_POLICIES: [&str; 5] =
    ["cilium.io", "crd.antrea.io", "crd.projectcalico.org", "policy.networking.k8s.io", "projectcalico.org"];

/// Everything that is wrong with a cluster, in the order of reading.
pub fn findings(
    judgement: &Judgement,
    dns: &Dns,
    observed: &Observed,
    context: &ClusterContext,
) -> Vec<Finding> {
    let ClusterContext { policies, namespaces, groups, admission, undecodable } = context;
    let plan = judgement.plan_with(dns);
    let mut findings = plan.findings.clone();
    findings.extend(undecodable.iter().map(|(object, error)| {
        on(Code::Undecodable, object, format!("it cannot be decoded: {error}"))
            .help("nothing uses it as it is; write it again with a schema that is up to date")
    }));
    findings.extend(drift(&plan, observed));
    if let Some(policies) = policies {
        findings.extend(wider(&judgement.model, &plan, policies));
    }
    if let Some(namespaces) = namespaces {
        findings.extend(absent_namespaces(&judgement.model, namespaces));
    }
    if let Some(groups) = groups
        && !groups.iter().any(|group| ENFORCERS.contains(&group.as_str()))
    {
        findings.push(
            Finding::new(
                Code::NoEnforcer,
                Origin::default(),
                "no network plugin that is known to enforce network policies was found",
            )
            .help("ask the people who run the cluster: a plugin that ignores network policies accepts them in silence"),
        );
    }
    if let Some(admission) = admission {
        findings.extend(unguarded(admission));
    }
    finding::sort(&mut findings);
    findings
}

/// The API groups here whose policies can allow more too, and were not compared.
pub fn not_compared(context: &ClusterContext) -> Vec<&str> {
    let served = |group: &&str| context.groups.as_ref().is_some_and(|groups| groups.contains(*group));
    OTHER_POLICIES.into_iter().filter(served).collect()
}

fn on(code: Code, object: &ObjectKey, message: impl Into<String>) -> Finding {
    Finding::new(code, Origin { object: Some(object.clone()), ..Origin::default() }, message)
}

/// What puts drift right that nothing is in the way of.
const OPERATOR: &str = "see that the operator runs, and what its log says: it puts this right by itself";

/// What the operator would still write, and where it has said so, why it could not.
fn drift(plan: &Plan, observed: &Observed) -> Vec<Finding> {
    let mut findings: BTreeMap<ObjectKey, Finding> = BTreeMap::new();
    let planned: BTreeSet<ObjectKey> = plan.objects.iter().map(PlannedObject::key).collect();
    let failures = failures_reported(observed);
    let statuses = report(plan, observed, &failures);
    for step in steps(plan, observed).iter().chain(&statuses) {
        let object = step.object();
        // an object can need several writes; it is named once, for what it is
        if let Some(finding) = of_step(step, observed, planned.contains(&object)) {
            let help = match failures.get(&object) {
                Some(failure) => format!("the operator has tried: {}", failure.message),
                None => OPERATOR.to_owned(),
            };
            findings.entry(object).or_insert(finding.help(help));
        }
    }
    findings.into_values().collect()
}

/// What a write that remains says about its object. What is planned may be deleted first, and what is not may be
/// emptied first.
fn of_step(step: &Step, observed: &Observed, planned: bool) -> Option<Finding> {
    let object = step.object();
    let at = ObjectRef { namespace: object.namespace.clone().unwrap_or_default(), name: object.name.clone() };
    Some(match &step.act {
        Act::ApplyPolicy { .. } | Act::ApplyGrant(_) | Act::Delete { .. } if !planned => {
            on(Code::Orphan, &object, "it is not in the plan, and is still there")
        }
        Act::ApplyPolicy { policy, .. } => {
            let what = concerning(policy);
            let isolates = step.stage == Stage::Isolate;
            let code = if isolates { Code::IsolationMissing } else { Code::NotAsPlanned };
            match observed.policies.get(&at) {
                None if isolates => {
                    on(code, &object, format!("{what} is not isolated: the policy is not there"))
                }
                None => on(code, &object, format!("the policy for {what} is in the plan, and not there")),
                Some(_) => on(code, &object, format!("the policy for {what} is not as planned")),
            }
        }
        Act::ApplyGrant(_) if !observed.grants.contains_key(&at) => {
            on(Code::NotAsPlanned, &object, "the grant is in the plan, and not there")
        }
        Act::ApplyGrant(_) | Act::Delete { .. } => on(Code::NotAsPlanned, &object, "it is not as planned"),
        // what denies and is let go of is no danger, and a finalizer is none either
        Act::Unlabel { .. } | Act::SetFinalizers { .. } => return None,
        Act::SetStatus { .. } => {
            on(Code::StatusBehind, &object, "its status says something else than this judgement")
        }
    })
}

/// What a policy of ours is for, in words.
fn concerning(policy: &NetworkPolicy) -> String {
    let annotations = policy.annotations();
    match (annotations.get(PRODUCT), annotations.get(RECIPIENT)) {
        (Some(product), _) => format!("product `{product}`"),
        (None, Some(function)) => format!("managed function `{function}`"),
        (None, None) => "it".to_owned(),
    }
}

/// What other people's network policies let through, beyond the plan.
fn wider(model: &Model, plan: &Plan, policies: &[Shared<NetworkPolicy>]) -> Vec<Finding> {
    let mut ours = Vec::new();
    let mut isolation = Vec::new();
    for object in &plan.objects {
        match object {
            PlannedObject::Isolation(policy) => {
                isolation.push(policy);
                ours.push(policy.clone());
            }
            PlannedObject::Allow { policy, .. } => ours.push(policy.clone()),
            PlannedObject::Grant(_) => {}
        }
    }
    let targets: Vec<Target<'_>> = isolation.into_iter().filter_map(|policy| target(model, policy)).collect();
    let mut findings = Vec::new();
    for policy in policies {
        let labelled = policy.labels().get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1);
        for target in targets.iter().filter(|_| !labelled) {
            for Widening { field, peer, ports, own_only } in widenings(policy, target, &ours) {
                let what = concerning(target.isolation);
                let (message, help) = match target.direction {
                    Direction::Ingress => (
                        format!(
                            "lets {peer} into the pods of {what} on {ports}, which no agreement in force opens"
                        ),
                        "narrow its `podSelector` or its peers, or delete it: a network policy only ever adds",
                    ),
                    Direction::Egress => (
                        format!(
                            "lets the pods of {what} out to {peer} on {ports}, which no agreement in force opens"
                        ),
                        "narrow its `podSelector` or its peers, or make the function `Unmanaged`",
                    ),
                };
                let object =
                    ObjectKey::new("NetworkPolicy", policy.namespace().as_deref(), &policy.name_any());
                let mut finding = on(Code::PolicyWidens, &object, message).help(help);
                finding.origin.field = Some(field);
                // the controller's own people and its own data
                if own_only {
                    finding.severity = Severity::Warning;
                }
                findings.push(finding);
            }
        }
    }
    findings
}

/// The pods that an isolation policy selects, and whose own namespaces may come in without an agreement.
fn target<'a>(model: &Model, isolation: &'a NetworkPolicy) -> Option<Target<'a>> {
    let spec = isolation.spec.as_ref()?;
    let direction = if governs(spec, Direction::Ingress) { Direction::Ingress } else { Direction::Egress };
    let product = isolation.annotations().get(PRODUCT).and_then(|name| name.split_once('/'));
    let controller = product.and_then(|(namespace, name)| {
        let reference = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
        Some(&model.isolated.products.get(&reference)?.controller)
    });
    let functions = controller.and_then(|org| model.orgs.get(org)).map(|org| &org.spec.functions);
    let workloads = functions.into_iter().flatten().flat_map(|function| &function.workloads);
    let local = workloads.filter(|workload| model.cluster.is_local(workload.cluster.as_deref()));
    Some(Target {
        isolation,
        direction,
        own_namespaces: local.map(|workload| workload.namespace.clone()).collect(),
    })
}

/// Namespaces that our objects name, and the cluster does not have.
fn absent_namespaces(model: &Model, namespaces: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut name = |kind: &str, of: &str, field: String, namespace: &str| {
        if !namespaces.contains(namespace) {
            let object = ObjectKey::new(kind, None, of);
            let message = format!("the cluster has no namespace `{namespace}`");
            let mut finding = on(Code::NamespaceNotFound, &object, message).help(
                "make the namespace, or fix the name: nothing can be written into a namespace that is not there",
            );
            finding.origin.field = Some(field);
            findings.push(finding);
        }
    };
    for (of, org) in &model.orgs {
        name("PartnerOrg", of, "spec.homeNamespace".to_owned(), &org.spec.home_namespace);
        for (at, function) in org.spec.functions.iter().enumerate() {
            for (index, workload) in function.workloads.iter().enumerate() {
                if model.cluster.is_local(workload.cluster.as_deref()) {
                    let field = format!("spec.functions[{at}].workloads[{index}].namespace");
                    name("PartnerOrg", of, field, &workload.namespace);
                }
            }
        }
    }
    for (of, footprint) in model.footprints.iter() {
        for (at, namespace) in footprint.policy_namespaces.iter().enumerate() {
            name("PlaceFootprint", of, format!("spec.policyNamespaces[{at}]"), namespace);
        }
    }
    findings
}

/// The kinds that no one but the operator may write, where no admission policy says so.
fn unguarded(admission: &Admission) -> Vec<Finding> {
    let kinds = [
        (GROUP, "dataaccessgrants", "DataAccessGrants"),
        ("networking.k8s.io", "networkpolicies", "the operator's network policies"),
    ];
    kinds
        .into_iter()
        .filter(|(group, resource, _)| !admission.guards(group, resource))
        .map(|(_, _, shown)| {
            let message =
                format!("no ValidatingAdmissionPolicy that denies keeps others from writing {shown}");
            Finding::new(Code::NoGuard, Origin::default(), message)
                .help("install the chart's ValidatingAdmissionPolicy and its binding")
        })
        .collect()
}

impl Admission {
    /// Whether some policy that fails closed is asked about every write to a kind, and a binding makes it deny.
    fn guards(&self, group: &str, resource: &str) -> bool {
        self.policies.iter().any(|policy| {
            let Some(spec) = &policy.spec else {
                return false;
            };
            let rules = spec.match_constraints.iter().flat_map(|it| it.resource_rules.iter().flatten());
            let asked = ["CREATE", "UPDATE", "DELETE"]
                .iter()
                .all(|operation| rules.clone().any(|rule| covers(rule, group, resource, operation)));
            let bound = self.bindings.iter().map(|binding| &binding.spec).any(|binding| {
                Some(binding.policy_name.as_str()) == policy.metadata.name.as_deref()
                    && binding.validation_actions.iter().any(|action| action == "Deny")
            });
            asked && bound && spec.failure_policy.as_deref() != Some("Ignore")
        })
    }
}

fn covers(rule: &NamedRuleWithOperations, group: &str, resource: &str, operation: &str) -> bool {
    let names = |list: &Option<Vec<String>>, name: &str| {
        list.iter().flatten().any(|it| it == name || it == "*" || it == "*/*")
    };
    names(&rule.api_groups, group)
        && names(&rule.resources, resource)
        && names(&rule.operations, operation)
        && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn admission(failure: &str, operations: &[&str], actions: &[&str]) -> Admission {
        let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": operations});
        let policy = json!({
            "metadata": {"name": "guard"},
            "spec": {
                "failurePolicy": failure,
                "matchConstraints": {"resourceRules": [rule(GROUP, "dataaccessgrants"), rule("networking.k8s.io", "networkpolicies")]},
                "validations": [{"expression": "false"}],
            },
        });
        let binding: Value =
            json!({"metadata": {"name": "b"}, "spec": {"policyName": "guard", "validationActions": actions}});
        Admission {
            policies: vec![serde_json::from_value(policy).unwrap()],
            bindings: vec![serde_json::from_value(binding).unwrap()],
        }
    }

    #[test]
    fn only_an_admission_policy_that_denies_every_write_guards() {
        let all = ["CREATE", "UPDATE", "DELETE"];
        assert_eq!(unguarded(&admission("Fail", &all, &["Deny"])), []);
        assert_eq!(unguarded(&admission("Fail", &["*"], &["Audit", "Deny"])), []);
        for (failure, operations, actions) in [
            ("Ignore", &all[..], &["Deny"][..]),
            ("Fail", &["CREATE", "UPDATE"], &["Deny"]),
            ("Fail", &all, &["Warn", "Audit"]),
        ] {
            assert_eq!(
                unguarded(&admission(failure, operations, actions)).len(),
                2,
                "{failure} {operations:?}"
            );
        }
        assert_eq!(unguarded(&Admission::default()).len(), 2);
    }
}
