//! A life of an agreement: made in any order, edited, signed and withdrawn, deleted; and what others do to it.

use std::path::PathBuf;

use concordat_api::{
    DataAccessGrant, DataProduct, DataSharingAgreement, ObjectRef, PartnerOrg, Phase,
    custom_resource_definitions,
};
use concordat_core::plan::PART;
use concordat_source::files;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};

use super::lists::{rich, rich_whole};
use super::*;

#[test]
fn in_whatever_order_things_come_nothing_opens_before_the_last() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let worlds: Vec<World> = (0..5).map(|_| World::new("order")).collect();
    let observer = Observer::begin(&worlds[0]);
    let revisions: usize = std::thread::scope(|scope| {
        let runs: Vec<_> = worlds
            .iter()
            .zip(1..)
            .map(|(world, seed)| {
                let observer = &observer;
                scope.spawn(move || {
                    let mut all = world.manifests(json!({}));
                    let snapshot = world.snapshot_of(&all);
                    for of in ["council", "pcn", "charity"] {
                        all.push(world.signature(&snapshot, of, false));
                    }
                    Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)).shuffle(&mut all);
                    let mut story = Story::begin(world, observer);
                    let (last, before) = all.split_last().unwrap();
                    story.step("all but the last", nothing(), || {
                        for object in before {
                            world.apply_manifest(object);
                            std::thread::sleep(Duration::from_millis(40));
                        }
                    });
                    story.step("the last", everything(), || world.apply_manifest(last));
                    story.verify()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    falls_silent(&audit, Duration::from_secs(4));
    note(&format!("five orders, {revisions} revisions, {} writes, then silence", audit.writes().len()));
    drop(worlds);
    operator.terminate();
}

#[test]
fn what_is_edited_or_withdrawn_closes_and_what_others_meddle_with_is_put_right() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let (life, hands) = (World::new("life"), World::new("hands"));
    let observer = Observer::begin(&life);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut story = Story::begin(&life, &observer);
            story.step("everybody signs", everything(), || {
                life.apply_all();
                life.sign_all();
            });
            story.step("the charity withdraws", open(&["pcn>bins", "pcn>contacts"]), || {
                life.withdraw("charity");
            });
            story.step("the charity signs again", everything(), || {
                life.sign("charity");
            });
            story.step("suspended", nothing(), || life.change(json!({"suspend": true})));
            story.step("resumed", everything(), || life.change(json!({"suspend": false})));
            story.step("new terms", nothing(), || life.change(json!({"title": "Bins and more"})));
            story.step("signed again", everything(), || life.sign_all());
            let ports = json!({"spec": {"endpoint": {"ports": [{"port": 8444}]}}});
            let council = life.ns("council");
            let elsewhere = open(&["pcn>bins:8444", "charity>bins:8444", "pcn>contacts"]);
            story.step("another port", elsewhere, || {
                life.patch::<DataProduct>(&council, "bins", &ports);
            });
            let ports = json!({"spec": {"endpoint": {"ports": [{"port": 8443}]}}});
            story.step("the old port", everything(), || {
                life.patch::<DataProduct>(&council, "bins", &ports);
            });
            let state = |state: &str| {
                life.patch_cluster::<PartnerOrg>(&life.org("pcn"), &json!({"spec": {"state": state}}));
            };
            story.step("the network is suspended", open(&["charity>bins"]), || state("Suspended"));
            story.step("the network is back", everything(), || state("Active"));
            story.step("the agreement is deleted", nothing(), || {
                life.delete::<DataSharingAgreement>(&council, "sharing");
            });
            note(&format!("a life in {} revisions", story.verify()));
        });
        scope.spawn(|| {
            let mut story = Story::begin(&hands, &observer);
            story.step("everybody signs", everything(), || {
                hands.apply_all();
                hands.sign_all();
            });
            let mut slowest = Duration::ZERO;
            let mut meddle = |story: &mut Story<'_>, what: &str, act: &dyn Fn()| {
                slowest = slowest.max(story.meddle(what, act));
            };
            for policy in hands.policies() {
                let (namespace, name) = (policy.namespace().unwrap(), policy.name_any());
                meddle(&mut story, "a policy is deleted", &|| {
                    hands.delete::<NetworkPolicy>(&namespace, &name);
                });
                let all =
                    json!({"spec": {"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}});
                meddle(&mut story, "a policy is opened", &|| {
                    hands.patch::<NetworkPolicy>(&namespace, &name, &all);
                });
                let none = json!({"metadata": {"labels": null}});
                meddle(&mut story, "a policy loses its labels", &|| {
                    hands.patch::<NetworkPolicy>(&namespace, &name, &none);
                });
            }
            for grant in hands.grants() {
                meddle(&mut story, "a grant is deleted", &|| {
                    hands.delete::<DataAccessGrant>(&grant.namespace, &grant.name);
                });
                let longer = json!({"spec": {"notAfter": "2099-01-01T00:00:00Z"}});
                meddle(&mut story, "a grant is edited", &|| {
                    hands.patch::<DataAccessGrant>(&grant.namespace, &grant.name, &longer);
                });
            }
            // one of somebody else's making, under the operator's label
            let stray = hands.policies().into_iter().find(|it| it.labels()[PART] == "ingress").unwrap();
            meddle(&mut story, "a policy is copied", &|| {
                let mut copy = json!(&stray);
                let labels = copy["metadata"]["labels"].clone();
                copy["metadata"] = json!({
                    "namespace": stray.namespace(), "name": "a-copy", "labels": labels,
                    "annotations": copy["metadata"]["annotations"],
                });
                copy["spec"]["ingress"] = json!([{}]);
                copy["apiVersion"] = json!("networking.k8s.io/v1");
                copy["kind"] = json!("NetworkPolicy");
                hands.apply::<NetworkPolicy>(copy);
            });
            let unheld = json!({"metadata": {"finalizers": null}});
            meddle(&mut story, "the agreement loses its finalizer", &|| {
                hands.patch::<DataSharingAgreement>(&hands.ns("council"), "sharing", &unheld);
            });
            story.step("everybody withdraws", nothing(), || {
                for of in ["council", "pcn", "charity"] {
                    hands.withdraw(of);
                }
            });
            note(&format!("meddled with in {} revisions, put right within {slowest:?}", story.verify()));
        });
    });
    falls_silent(&audit, Duration::from_secs(3));
    drop((life, hands));
    operator.terminate();
}

/// Everything that an agreement rests on, deleted and put back, one by one.
#[test]
fn whatever_is_deleted_closes_what_rests_on_it() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let world = World::new("deleted");
    let observer = Observer::begin(&world);
    let mut all = rich(&world);
    // a framework of its own, so that it can go, too
    let (written, _, _) = files::read(&[PathBuf::from("policies/england-1.0.0.yaml")]);
    let mut framework = json!(written.frameworks[0].object);
    let name = world.stem.clone();
    framework["metadata"] = json!({"name": format!("{name}-1.0.0")});
    framework["spec"]["name"] = json!(name);
    framework.as_object_mut().unwrap().remove("status");
    for object in all.iter_mut().filter(|it| it["kind"] == "DataSharingAgreement") {
        object["spec"]["framework"]["name"] = json!(name);
    }
    all.retain(|it| it["kind"] != "AgreementSignature");
    all.insert(0, framework);
    let snapshot = world.snapshot_of(&all);
    for of in ["council", "pcn", "charity"] {
        all.push(world.signature(&snapshot, of, false));
    }
    let whole = rich_whole();
    let mut story = Story::begin(&world, &observer);
    story.step("everything is there", whole.clone(), || all.iter().for_each(|it| world.apply_manifest(it)));
    let mut slowest = Duration::ZERO;
    for object in &all {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        // what a place says further opens and closes no path
        let left = if kind == "LocalPolicy" { whole.clone() } else { nothing() };
        let took = story.step(&format!("{kind} {name} is deleted"), left, || world.delete_manifest(object));
        slowest = slowest.max(took);
        story.step(&format!("{kind} {name} is back"), whole.clone(), || world.apply_manifest(object));
    }
    let revisions = story.verify();
    falls_silent(&audit, Duration::from_secs(1));
    note(&format!(
        "{} objects deleted one by one, closed within {slowest:?}, {revisions} revisions",
        all.len()
    ));
    drop(world);
    operator.terminate();
}

#[test]
fn a_namespace_that_is_made_again_under_the_same_name_starts_closed() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let world = World::new("again");
    let observer = Observer::begin(&world);
    let mut story = Story::begin(&world, &observer);
    story.step("everybody signs", everything(), || {
        world.apply_all();
        world.sign_all();
    });
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let charity = world.ns("charity");
    story.step("the charity's namespace is deleted", nothing(), || {
        world.block(namespaces.delete(&charity, &DeleteParams::default())).unwrap();
        world.until("it is gone", || world.block(namespaces.get_opt(&charity)).unwrap().is_none());
    });
    story.step("it is made again, and is another", nothing(), || world.namespace(&charity));
    story.step("the charity signs again", everything(), || {
        world.sign("charity");
    });
    // now the controller's own, with the agreement, the products, the grants and the policies in it
    let council = world.ns("council");
    story.step("the council's namespace is deleted", nothing(), || {
        world.block(namespaces.delete(&council, &DeleteParams::default())).unwrap();
        world.until("it is gone", || world.block(namespaces.get_opt(&council)).unwrap().is_none());
        world.until("only the network's isolation is left", || {
            world.grants().is_empty() && world.policies().len() == 1
        });
    });
    // the council's own signature went with its namespace, and the agreement's dates are other terms
    story.step("it is made again, with all that was in it", nothing(), || {
        world.namespace(&council);
        let objects = world.manifests(json!({}));
        for object in objects.iter().filter(|it| it["metadata"]["namespace"] == council.as_str()) {
            world.apply_manifest(object);
        }
    });
    story.step("everybody signs again", everything(), || world.sign_all());
    note(&format!("two namespaces made again in {} revisions", story.verify()));
    falls_silent(&audit, Duration::from_secs(1));
    drop(world);
    operator.terminate();
}

/// A definition that is laxer than what the operator can read, as that of a later version may be.
struct Lax<'a>(&'a World);

impl<'a> Lax<'a> {
    fn begin(world: &'a World) -> Self {
        let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
        let basis = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/confidentiality/properties/\
                     basis/enum";
        let patch = serde_json::from_value(json!([{"op": "remove", "path": basis}])).unwrap();
        let name = "datasharingagreements.concordat.dev";
        let patch: Patch<()> = Patch::Json(patch);
        world.block(definitions.patch(name, &PatchParams::default(), &patch)).unwrap();
        Self(world)
    }
}

impl Drop for Lax<'_> {
    fn drop(&mut self) {
        for definition in custom_resource_definitions() {
            self.0.apply::<CustomResourceDefinition>(json!(definition));
        }
    }
}

#[test]
fn an_agreement_that_cannot_be_read_is_told_of_and_may_have_taken_anothers_place() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let world = World::new("unread");
    let observer = Observer::begin(&world);
    let mut story = Story::begin(&world, &observer);
    story.step("everybody signs", everything(), || {
        world.apply_all();
        world.sign_all();
    });
    let lax = Lax::begin(&world);
    let readable = world.successor();
    let mut all = world.manifests(json!({}));
    all.retain(|it| it["kind"] != "DataSharingAgreement");
    all.extend([json!(world.get_agreement()), readable.clone()]);
    all[0]["status"].take();
    let snapshot = world.snapshot_of(&all);
    let agreement = ObjectRef { namespace: world.ns("council"), name: "sharing-2".to_owned() };
    let signature = |of: &str| world.signature_on(&snapshot, &agreement, of, false);
    let mut from_the_future = readable.clone();
    from_the_future["spec"]["confidentiality"]["basis"] = json!("FromTheFuture");
    let began = Instant::now();
    story.step("one that cannot be read says that it takes its place", everything(), || {
        // the API server learns of a changed definition by and by
        world.until("it is admitted", || world.is_admitted(&from_the_future));
        world.until("people are told", || {
            let told = world.events_about("sharing-2");
            told.iter().any(|(reason, note)| reason == "Undecodable" && note.contains("FromTheFuture"))
        });
    });
    note(&format!("one that cannot be decoded was told of after {:?}", began.elapsed()));
    let counted = operator.page("/metrics");
    assert!(counted.contains("concordat_undecodable{kind=\"DataSharingAgreement\"} 1"), "{counted}");
    story.step("a recipient signs it", everything(), || world.apply_manifest(&signature("pcn")));
    story.step("its one Controller signs it", nothing(), || world.apply_manifest(&signature("council")));
    world.until("the old one says why", || {
        world.message("Valid").is_some_and(|it| it.contains("sharing-2 cannot be read"))
    });
    falls_silent(&audit, Duration::from_secs(1));
    assert_eq!(world.events_about("sharing-2").len(), 1, "told once");
    story.step("it can be read, and everybody has signed it", everything(), || {
        world.apply_manifest(&readable);
        world.apply_manifest(&signature("charity"));
    });
    world.phase(Phase::Superseded);
    note(&format!("an agreement that could not be read, {} revisions", story.verify()));
    drop(lax);
    drop(world);
    operator.terminate();
}
