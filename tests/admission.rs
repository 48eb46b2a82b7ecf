//! A real API server accepts the definitions, admits good objects, and refuses broken ones by name.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

mod admission_cases;
#[path = "admission_cases/awkward.rs"]
mod awkward;
mod support;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use admission_cases::{Cases, patched};
use concordat_api::{API_VERSION, GROUP, VERSION, custom_resource_definitions};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, GetParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ObjectMeta, Request};
use kube::discovery::ApiResource;
use kube::{Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const MANAGER: &str = "admission-test";
const PATIENCE: Duration = Duration::from_secs(60);

/// The server with the definitions in place, and a namespace that no one else has.
struct Server {
    client: Client,
    namespace: String,
}

impl Server {
    async fn start() -> Self {
        let kubeconfig = tokio::task::spawn_blocking(support::kubeconfig).await.expect("the thread ends");
        let kubeconfig = Kubeconfig::read_from(kubeconfig.expect("a control plane")).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("a configuration")).expect("a client");
        install(&client).await;
        let namespace = support::unique("admission");
        let object = Namespace {
            metadata: ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &object).await.expect("a namespace can be made");
        Self { client, namespace }
    }

    async fn stop(self) {
        let namespaces: Api<Namespace> = Api::all(self.client);
        namespaces
            .delete(&self.namespace, &DeleteParams::background())
            .await
            .expect("a namespace can be deleted");
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let definition = definition(kind);
        let names = &definition.spec.names;
        let resource = ApiResource {
            group: definition.spec.group.clone(),
            version: VERSION.to_owned(),
            api_version: API_VERSION.to_owned(),
            kind: names.kind.clone(),
            plural: names.plural.clone(),
        };
        match definition.spec.scope.as_str() {
            "Namespaced" => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Applies an object, strictly, and gives back what the server says against it.
    async fn apply(&self, object: &Value, dry_run: bool) -> Result<(), String> {
        let kind = object["kind"].as_str().expect("a kind");
        let name = object["metadata"]["name"].as_str().expect("a name");
        let params = PatchParams { dry_run, ..PatchParams::apply(MANAGER).validation_strict() };
        self.api(kind)
            .patch(name, &params, &Patch::Apply(object))
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

static DEFINITIONS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(custom_resource_definitions);

fn definition(kind: &str) -> &'static CustomResourceDefinition {
    let found = DEFINITIONS.iter().find(|definition| definition.spec.names.kind == kind);
    found.unwrap_or_else(|| panic!("no definition of {kind}"))
}

/// Applies the nine definitions, once for all tests of this binary, and waits until each is served.
async fn install(client: &Client) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
            for definition in DEFINITIONS.iter() {
                let params = PatchParams::apply("concordat-tests").force().validation_strict();
                let applied =
                    definitions.patch(&definition.name_any(), &params, &Patch::Apply(definition)).await;
                applied.unwrap_or_else(|error| panic!("{} is refused: {error}", definition.name_any()));
            }
            for definition in DEFINITIONS.iter() {
                until(&format!("{} is established", definition.name_any()), || async {
                    let read = definitions.get(&definition.name_any()).await.ok()?;
                    let conditions = read.status?.conditions?;
                    conditions.iter().find(|one| one.type_ == "Established" && one.status == "True").map(drop)
                })
                .await;
            }
        })
        .await;
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The good object under a name that no one else has, so that tests may run at the same time.
fn renamed(cases: &Cases) -> Value {
    let name = support::unique("admission");
    let change = match cases.kind() {
        "PolicyFramework" => json!({"metadata": {"name": format!("{name}-1.0.0")}, "spec": {"name": name}}),
        _ => json!({"metadata": {"name": name}}),
    };
    patched(&cases.good, &change)
}

#[tokio::test]
async fn the_server_admits_good_objects_of_every_kind() {
    let server = Server::start().await;
    for cases in admission_cases::all() {
        for object in cases.admitted() {
            let answer = server.apply(&object, true).await;
            assert_eq!(answer, Ok(()), "{}", cases.kind());
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_refuses_each_broken_rule_and_names_the_field() {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for cases in admission_cases::all() {
        for case in &cases.refused {
            assert!(seen.insert((cases.kind().to_owned(), case.case.clone())), "{} stands twice", case.case);
            match server.apply(&case.applied_to(&cases.good), true).await {
                Ok(()) => wrong.push(format!("{} with {} is admitted", cases.kind(), case.case)),
                Err(refusal) => wrong.extend(case.missing_from(&refusal)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen.len() >= 100, "only {} cases", seen.len());
    server.stop().await;
}

#[tokio::test]
async fn the_server_refuses_changes_to_what_cannot_change() {
    let server = Server::start().await;
    let mut seen = 0;
    for cases in admission_cases::all().iter().filter(|cases| !cases.unchangeable.is_empty()) {
        let good = renamed(cases);
        assert_eq!(server.apply(&good, false).await, Ok(()), "{}", cases.kind());
        assert_eq!(server.apply(&good, false).await, Ok(()), "{}: the same again", cases.kind());
        for case in &cases.unchangeable {
            let refusal = server.apply(&case.applied_to(&good), false).await.expect_err(&case.case);
            assert_eq!(case.missing_from(&refusal), None);
            seen += 1;
        }
        let name = good["metadata"]["name"].as_str().expect("a name");
        server.api(cases.kind()).delete(name, &DeleteParams::default()).await.expect("it can be deleted");
    }
    assert_eq!(seen, 6);
    server.stop().await;
}

#[tokio::test]
async fn a_field_with_nothing_behind_it_is_refused_because_left_out_may_mean_everybody() {
    let server = Server::start().await;
    let cases = admission_cases::all().into_iter().find(|cases| cases.kind() == "AgreementSignature");
    let mut object = cases.expect("signatures have cases").good;
    object["spec"]["purposes"] = json!(null);
    let refusal = server.apply(&object, true).await.expect_err("null means nothing");
    assert!(refusal.contains("spec.purposes"), "{refusal}");
    server.stop().await;
}

#[tokio::test]
async fn the_server_explains_every_kind_and_field() {
    let server = Server::start().await;
    // The document is put together a moment after the definitions are.
    let document: Value = until("every kind is explained", || async {
        let request =
            Request::new(format!("/openapi/v3/apis/{GROUP}")).get(VERSION, &GetParams::default()).ok()?;
        let document: Value = serde_json::from_str(&server.client.request_text(request).await.ok()?).ok()?;
        let explained = |definition: &CustomResourceDefinition| {
            let kind = format!("dev.concordat.v1alpha1.{}", definition.spec.names.kind);
            document.pointer(&format!("/components/schemas/{kind}")).is_some()
        };
        DEFINITIONS.iter().all(explained).then(|| document.clone())
    })
    .await;
    for definition in DEFINITIONS.iter() {
        let kind = &definition.spec.names.kind;
        let schema = document.pointer(&format!("/components/schemas/dev.concordat.v1alpha1.{kind}"));
        let schema = schema.expect("the document was looked at");
        let root = schema["description"].as_str().unwrap_or_default();
        assert!(root.starts_with(&format!("{kind} ")), "{kind}: {root}");
        let fields = schema.pointer("/properties/spec/properties").and_then(Value::as_object);
        for (name, field) in fields.expect("a spec has fields") {
            assert!(field["description"].is_string(), "{kind}.spec.{name} is not explained");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_admits_lists_as_long_as_they_may_be_and_no_longer() {
    let server = Server::start().await;
    let reference = |n: usize| json!({"namespace": format!("practice-{n}"), "name": "gp-record"});
    let party =
        |n: usize| json!({"org": format!("practice-{n}"), "role": "Controller", "function": "surgery"});
    let function = |n: usize| json!({"name": format!("{n}-{}", "f".repeat(58)), "providesCare": true});
    let item = |n: usize| json!({"name": format!("{n:0>128}"), "justification": "needed"});
    let word = |n: usize| json!(format!("C{n:0>62}"));
    let area = |n: usize| json!({"scheme": "Lsoa", "code": format!("E01{n:06}"), "share": "Full"});
    let measure = |n: usize| json!({"name": format!("{n:0>256}"), "baseline": "1", "target": "2", "reviewOn": "2027-01-01T00:00:00Z"});
    let test = |n: usize| {
        let subject = json!({"type": "OrgFunction", "id": "a/b"});
        let request = json!({"subject": subject, "action": {"name": "extract"}, "resource": {"type": "DataProduct", "id": "a/b"}});
        json!({"name": format!("{n:0>256}"), "request": request, "expect": {"decision": false}})
    };
    for (kind, path, most, make) in [
        ("DataSharingAgreement", "/spec/parties", 2048, &party as &dyn Fn(usize) -> Value),
        ("DataSharingAgreement", "/spec/purposes/0/products", 2048, &reference),
        ("DataSharingAgreement", "/spec/outcomeMeasures", 64, &measure),
        ("PartnerOrg", "/spec/functions", 64, &function),
        ("DataProduct", "/spec/dataItems", 200, &item),
        ("PlaceFootprint", "/spec/geographies", 2048, &area),
        ("PolicyFramework", "/spec/vocabulary/categories", 256, &word),
        ("PolicyFramework", "/spec/vocabulary/roles", 256, &word),
        ("LocalPolicy", "/spec/tests", 128, &test),
    ] {
        let cases = admission_cases::all().into_iter().find(|cases| cases.kind() == kind);
        let object = cases.expect("every kind has cases").admitted().pop().expect("a good object");
        for (length, admitted) in [(most, true), (most + 1, false)] {
            let mut object = object.clone();
            let list = object.pointer_mut(path).unwrap_or_else(|| panic!("{kind} fills in {path}"));
            *list = (0..length).map(make).collect();
            let answer = server.apply(&object, true).await;
            assert_eq!(answer.is_ok(), admitted, "{length} of {kind}{path}: {answer:?}");
        }
    }
    server.stop().await;
}
