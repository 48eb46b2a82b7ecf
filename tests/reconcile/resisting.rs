//! A cluster that resists: rules of the house that refuse what the operator writes, or change it.

use std::time::{Duration, Instant};

use axum::http::Request;
use concordat_api::{DataAccessGrant, DataProduct, DataSharingAgreement, ObjectRef, Phase};
use concordat_core::plan::PART;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::support::world::World;
use super::{SILENCE, answer, open, world};

/// What changes every object of a kind in one namespace as it is written, as a platform does for its monitoring.
struct Mutator<'w> {
    world: &'w World,
    objects: [(Value, &'static str); 2],
}

impl<'w> Mutator<'w> {
    /// Adds a peer to every policy with an ingress rule.
    fn widens(world: &'w World, namespace: &str) -> Self {
        Self::of_policies(
            world,
            namespace,
            "has(object.spec.ingress) && size(object.spec.ingress) > 0 ? [JSONPatch{op: 'add', path: '/spec/ingress/0/from/-', \
             value: Object.spec.ingress.from{ipBlock: Object.spec.ingress.from.ipBlock{cidr: '10.0.0.0/8'}}}] : []",
            &json!([{"from": [{"podSelector": {}}]}]),
        )
    }

    /// Adds an ingress rule to every policy without one.
    fn widens_denials(world: &'w World, namespace: &str) -> Self {
        Self::of_policies(
            world,
            namespace,
            "!has(object.spec.ingress) || size(object.spec.ingress) == 0 ? [JSONPatch{op: 'add', path: '/spec/ingress', \
             value: dyn([{'from': dyn([{'ipBlock': dyn({'cidr': '10.0.0.0/8'})}])}])}] : []",
            &json!([]),
        )
    }

    fn of_policies(world: &'w World, namespace: &str, patch: &str, ingress: &Value) -> Self {
        let rule = json!({"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["networkpolicies"]});
        let mutator = Self::new(world, namespace, &rule, patch);
        let api: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), namespace);
        let try_it: NetworkPolicy = serde_json::from_value(json!({
            "metadata": {"name": "tried"},
            "spec": {"podSelector": {"matchLabels": {"never": "here"}}, "policyTypes": ["Ingress"], "ingress": ingress},
        }))
        .unwrap();
        world.until("the mutator is in effect", || {
            let dry = PostParams { dry_run: true, ..PostParams::default() };
            let tried = world.block(api.create(&dry, &try_it)).unwrap();
            json!(tried.spec).to_string().contains("10.0.0.0/8")
        });
        mutator
    }

    /// Moves the end of every grant.
    fn prolongs_grants(world: &'w World, namespace: &str) -> Self {
        let rule = json!({"apiGroups": ["concordat.dev"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["dataaccessgrants"]});
        let patch = "[JSONPatch{op: 'replace', path: '/spec/notAfter', value: '2099-01-01T00:00:00Z'}]";
        let mutator = Self::new(world, namespace, &rule, patch);
        let api: Api<DataAccessGrant> = Api::namespaced(world.client.clone(), namespace);
        let grant = world.grants().remove(0).name;
        world.until("the mutator is in effect", || {
            let dry = PatchParams { dry_run: true, ..PatchParams::default() };
            let touched = json!({"metadata": {"annotations": {"example.org/touched": "yes"}}});
            let tried = world.block(api.patch(&grant, &dry, &Patch::Merge(touched)));
            tried.is_ok_and(|it| json!(it.spec).to_string().contains("2099"))
        });
        mutator
    }

    fn new(world: &'w World, namespace: &str, rule: &Value, patch: &str) -> Self {
        const API: &str = "admissionregistration.k8s.io/v1";
        let name = format!("{namespace}.changes.example");
        let policy = json!({
            "apiVersion": API, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [{"name": "there", "expression": format!("request.namespace == '{namespace}'")}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
            },
        });
        let binding = json!({
            "apiVersion": API, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name},
        });
        let objects = [(policy, "mutatingadmissionpolicies"), (binding, "mutatingadmissionpolicybindings")];
        objects.iter().for_each(|(object, plural)| world.apply_any(object, plural));
        Self { world, objects }
    }
}

impl Drop for Mutator<'_> {
    fn drop(&mut self) {
        self.objects.iter().rev().for_each(|(object, plural)| self.world.delete_any(object, plural));
    }
}

#[test]
fn a_policy_that_something_widens_as_it_is_written_is_taken_away_again() {
    let world = open("widened");
    let council = world.ns("council");
    let is_wide = || {
        let policies = world.policies().into_iter().filter(|it| it.namespace().as_deref() == Some(&council));
        policies.into_iter().any(|it| json!(it.spec).to_string().contains("10.0.0.0/8"))
    };
    world.change(json!({"suspend": true}));
    world.closed();
    let mutator = Mutator::widens(&world, &council);
    world.change(json!({"suspend": false}));
    world.until("the status says why", || {
        world.message("Enforced").is_some_and(|it| it.contains("something changes the object"))
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert!(!is_wide(), "it is tried without being written");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.not_ready();
    drop(mutator);
    world.ready();
    assert!(!is_wide());
}

#[test]
fn a_denial_that_something_widens_as_it_is_written_is_the_loudest_thing_too() {
    let world = world("unisolated");
    let council = world.ns("council");
    let mutator = Mutator::widens_denials(&world, &council);
    world.apply_all();
    world.sign_all();
    world.until("the agreement says so", || {
        world.message("Enforced").is_some_and(|it| it.contains("lets through what should be closed"))
    });
    let product = || {
        let products: Vec<DataProduct> = world.mine();
        let conditions = products.into_iter().filter_map(|it| it.status).flat_map(|it| it.conditions);
        conditions.filter(|it| it.type_ == "Ready").map(|it| it.reason).collect::<Vec<_>>()
    };
    world.until("its product says so", || product().iter().any(|it| it == "StillOpen"));
    assert!(metric("concordat_still_open") >= 1.0);
    let parts = world.parts();
    assert!(!parts.contains_key("ingress"), "nothing is opened beside it: {parts:?}");
    drop(mutator);
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_grant_that_something_changes_as_it_is_written_is_taken_away_again() {
    let world = open("prolonged");
    let council = world.ns("council");
    let mutator = Mutator::prolongs_grants(&world, &council);
    world.change(json!({"suspend": true}));
    world.closed();
    world.change(json!({"suspend": false}));
    world.until("the status says why", || {
        world.message("Enforced").is_some_and(|it| it.contains("something changes the object"))
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert_eq!(world.grants(), [], "it is tried without being written");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.not_ready();
    drop(mutator);
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_policy_that_somebody_else_put_under_a_planned_name_is_taken_over() {
    let world = open("squatted");
    let council = world.ns("council");
    let planned = world.policies().into_iter().find(|it| {
        it.namespace().as_deref() == Some(&council) && it.labels().get(PART).is_some_and(|it| it == "ingress")
    });
    let name = planned.unwrap().name_any();
    world.change(json!({"suspend": true}));
    world.closed();
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": council, "name": "owner"}});
    world.apply::<ConfigMap>(map);
    let uid = world.get::<ConfigMap>(&council, "owner").unwrap().uid();
    // an apply beside its owner is refused: there can be one that controls
    world.apply::<NetworkPolicy>(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "namespace": council, "name": name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": true}],
        },
        "spec": {"podSelector": {"matchLabels": {"never": "here"}}, "policyTypes": ["Egress"], "egress": [{}]},
    }));
    world.change(json!({"suspend": false}));
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn an_object_of_the_longest_name_has_its_event_too() {
    let world = open("long-names");
    for length in [236, 237, 253] {
        let name = "n".repeat(length);
        let mut other = world.get_agreement();
        other.metadata = ObjectMeta {
            namespace: other.metadata.namespace,
            name: Some(name.clone()),
            ..ObjectMeta::default()
        };
        (other.spec.reference, other.status) = (format!("LONG-2026-{length}"), None);
        world.apply::<DataSharingAgreement>(json!(other));
        world.until("its event is there", || {
            world.events_about(&name).iter().any(|(reason, _)| reason == "AwaitingSignatures")
        });
    }
}

#[test]
fn an_agreement_that_cannot_be_let_go_of_says_what_is_in_the_way() {
    let world = open("held-back");
    let rule = HouseRule::no_release(&world);
    let ObjectRef { namespace, name } = world.agreement();
    world.delete::<DataSharingAgreement>(&namespace, &name);
    world.until("the status says why", || {
        world.message("Stalled").is_some_and(|it| it.contains("no one lets go of this agreement"))
    });
    std::thread::sleep(SILENCE);
    assert!(
        world.message("Stalled").is_some_and(|it| it.contains("no one lets go")),
        "and goes on saying it"
    );
    drop(rule);
    world.until("it is gone", || world.get::<DataSharingAgreement>(&namespace, &name).is_none());
}

/// A rule of the house for one namespace, and no other.
struct HouseRule<'w> {
    world: &'w World,
    name: String,
}

impl<'w> HouseRule<'w> {
    /// Of the network policies of a namespace, no one does this.
    fn no(operations: &[&str], world: &'w World, namespace: &str) -> Self {
        let api: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), namespace);
        let policy =
            world.policies().into_iter().find(|it| it.namespace().as_deref() == Some(namespace)).unwrap();
        let name = policy.name_any();
        let is_refused = || {
            operations.iter().all(|it| match *it {
                "DELETE" => {
                    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
                    world.block(api.delete(&name, &dry)).is_err()
                }
                _ => {
                    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
                    let touched = json!({"metadata": {"annotations": {"example.org/touched": "yes"}}});
                    world.block(api.patch(&name, &dry, &Patch::Merge(touched))).is_err()
                }
            })
        };
        let rule = json!({"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": operations, "resources": ["networkpolicies"]});
        let there = format!("request.namespace == '{namespace}'");
        Self::new(
            world,
            &format!("{namespace}.no-{}.example", operations.join("-").to_lowercase()),
            (&rule, &there, "no one does that to a network policy here"),
            is_refused,
        )
    }

    /// No one takes a finalizer off the world's own agreement.
    fn no_release(world: &'w World) -> Self {
        let ObjectRef { namespace, name } = world.agreement();
        let api: Api<DataSharingAgreement> = Api::namespaced(world.client.clone(), &namespace);
        let is_refused = || {
            let dry = PatchParams { dry_run: true, ..PatchParams::default() };
            let released = json!({"metadata": {"finalizers": []}});
            world.block(api.patch(&name, &dry, &Patch::Merge(released))).is_err()
        };
        let rule = json!({"apiGroups": ["concordat.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["datasharingagreements"]});
        let there = format!(
            "request.namespace == '{namespace}' && has(oldObject.metadata.finalizers) && !has(object.metadata.finalizers)"
        );
        Self::new(
            world,
            &format!("{namespace}.no-release.example"),
            (&rule, &there, "no one lets go of this agreement"),
            is_refused,
        )
    }

    /// No one writes the status of the world's own agreement.
    fn no_status(world: &'w World) -> Self {
        let ObjectRef { namespace, name } = world.agreement();
        let api: Api<DataSharingAgreement> = Api::namespaced(world.client.clone(), &namespace);
        let is_refused = || {
            let dry = PatchParams { dry_run: true, ..PatchParams::default() };
            let touched = json!({"status": {"grants": 77}});
            world.block(api.patch_status(&name, &dry, &Patch::Merge(touched))).is_err()
        };
        let rule = json!({"apiGroups": ["concordat.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["datasharingagreements/status"]});
        let there = format!("request.namespace == '{namespace}' && request.name == '{name}'");
        Self::new(
            world,
            &format!("{namespace}.no-status.example"),
            (&rule, &there, "no one writes this status"),
            is_refused,
        )
    }

    fn new(
        world: &'w World,
        name: &str,
        (rule, there, message): (&Value, &str, &str),
        is_refused: impl Fn() -> bool,
    ) -> Self {
        world.apply::<ValidatingAdmissionPolicy>(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [{"name": "there", "expression": there}],
                "validations": [{"expression": "false", "message": message}],
            },
        }));
        world.apply::<ValidatingAdmissionPolicyBinding>(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }));
        world.until("the rule is in effect", is_refused);
        Self { world, name: name.to_owned() }
    }

    /// How many writes it has refused, as the API server counts.
    fn refused(&self) -> f64 {
        let Self { world, name } = self;
        let request = Request::get("/metrics").body(Vec::new()).unwrap();
        let text = world.block(world.client.request_text(request)).unwrap();
        let of_this = format!("policy=\"{name}\"");
        let lines = text.lines().filter(|it| {
            it.starts_with("apiserver_validating_admission_policy_check_total")
                && it.contains("enforcement_action=\"deny\"")
                && it.contains(&of_this)
        });
        lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for HouseRule<'_> {
    fn drop(&mut self) {
        let (world, name) = (self.world, &self.name);
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
        drop(world.block(bindings.delete(name, &DeleteParams::default())));
        drop(world.block(policies.delete(name, &DeleteParams::default())));
    }
}

#[test]
fn a_policy_that_may_not_be_deleted_is_emptied_and_tried_again_with_patience() {
    let world = open("stuck");
    let council = world.ns("council");
    let rule = HouseRule::no(&["DELETE"], &world, &council);
    world.change(json!({"suspend": true}));
    let lets_in = || {
        let policies = world.policies().into_iter().filter(|it| it.namespace().as_deref() == Some(&council));
        let rules = policies.filter_map(|it| it.spec?.ingress);
        rules.flatten().count()
    };
    world.until("nothing is let in", || lets_in() == 0);
    world.until("the status says so", || {
        world
            .message("Enforced")
            .is_some_and(|it| it.contains("no one does that") && it.contains("it is emptied"))
    });
    let before = rule.refused();
    std::thread::sleep(Duration::from_secs(5));
    let times = rule.refused() - before;
    // the garbage collector of its grant is refused, too; without patience it is a hundred a second
    assert!(before >= 1.0 && times < 40.0, "{before} refused writes, and {times} in five seconds");
    drop(rule);
    world.closed();
}

/// The number on a line of the metrics that has no labels.
fn metric(name: &str) -> f64 {
    let (_, lines) = answer("/metrics");
    let number = lines.iter().find_map(|it| it.strip_prefix(name)?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_policy_that_may_not_be_cut_down_is_deleted_and_made_anew() {
    let world = open("uncut");
    let rule = HouseRule::no(&["UPDATE"], &world, &world.ns("council"));
    world.withdraw("charity");
    world.until("what is withdrawn is closed", || !world.open_to().contains(&"charity"));
    world.until("what is not stays open", || world.open_to() == ["pcn", "pcn"]);
    world.ready();
    drop(rule);
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_path_that_cannot_be_closed_is_the_loudest_thing_there_is() {
    let world = open("loud");
    let rule = HouseRule::no(&["UPDATE", "DELETE"], &world, &world.ns("council"));
    world.withdraw("charity");
    let enforced = || {
        let conditions = world.get_agreement().status.unwrap().conditions;
        conditions.into_iter().find(|it| it.type_ == "Enforced").map(|it| (it.reason, it.message))
    };
    world.until("the status says so", || {
        enforced().is_some_and(|(reason, message)| {
            let names = ["NetworkPolicy", "lets through what should be closed", "no one does that"];
            reason == "StillOpen" && names.iter().all(|it| message.contains(it))
        })
    });
    world.not_ready();
    world.until("an event says so", || world.events().iter().any(|(reason, _)| reason == "StillOpen"));
    assert!(metric("concordat_still_open") >= 1.0);
    // the rest of the agreement is suspended too, and cannot be closed either
    world.change(json!({"suspend": true}));
    world.phase(Phase::Suspended);
    world.until("it is still said", || enforced().is_some_and(|(reason, _)| reason == "StillOpen"));
    drop(rule);
    world.closed();
    world.until("it is said no more", || enforced().is_some_and(|(reason, _)| reason == "NotInForce"));
    world.until("and not counted", || metric("concordat_still_open") < 1.0);
}

#[test]
fn what_has_replaced_an_agreement_goes_only_when_that_is_written_down() {
    let world = open("remembers");
    let (council, old) = (world.ns("council"), world.agreement());
    let new = ObjectRef { name: "sharing-2".to_owned(), ..old.clone() };
    let rule = HouseRule::no_status(&world);
    world.apply_manifest(&world.successor());
    world.signatures_of_successor().iter().for_each(|it| world.apply_manifest(it));
    // what replaces opens nothing before it is written down
    world.until("the old one is closed", || world.grants().is_empty());
    let is_held = || {
        let found = world.get::<DataSharingAgreement>(&council, &new.name);
        found.is_some_and(|it| it.finalizers().contains(&"concordat.dev/grants".to_owned()))
    };
    world.until("the new one is held", is_held);
    // that it has replaced the old one is a fact, whatever becomes of its signatures
    let signature = world.signatures_of_successor().swap_remove(0);
    world.delete_manifest(&signature);
    std::thread::sleep(SILENCE);
    assert_eq!(world.grants(), []);
    world.delete::<DataSharingAgreement>(&council, &new.name);
    std::thread::sleep(SILENCE);
    assert!(is_held(), "it goes, and nothing would show any more that it was there");
    assert_eq!(world.grants(), []);
    drop(rule);
    world.until("the new one is gone", || world.get::<DataSharingAgreement>(&council, &new.name).is_none());
    world.phase(Phase::Superseded);
    assert_eq!(world.get_agreement().status.and_then(|it| it.superseded_by), Some(new));
    world.closed();
}
