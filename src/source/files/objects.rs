//! Documents to objects: which of them are ours, whether their shape holds, and what they are.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::documents::Document;
use super::foreign;
use super::node::{Content, Node, Problem};
use concordat_api::{API_VERSION, GROUP, POLICY_TEST_KIND, PolicyTestSpec, VERSION};
use concordat_core::finding::{Code, Finding, ObjectKey, Origin};
use concordat_core::names::{is_label, is_subdomain};
use concordat_core::snapshot::{Snapshot, Source, Sourced, TestFile, Unreadable};
use concordat_core::validate::shape;

/// The kinds of the group, and whether a namespace holds their objects.
const KINDS: [(&str, bool); 10] = [
    ("PolicyFramework", false),
    ("FrameworkException", false),
    ("PlaceFootprint", false),
    ("PartnerOrg", false),
    ("DataProduct", true),
    ("DataSharingAgreement", true),
    ("AgreementSignature", true),
    ("LocalPolicy", true),
    ("DataAccessGrant", true),
    // a file of tests is never applied, and may name a namespace or none
    (POLICY_TEST_KIND, false),
];

/// What the API server writes into metadata and means nothing in a file, where it would be a claim.
const SERVER_METADATA: [&str; 7] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// What it writes there that is believed: an object that is being deleted opens nothing.
const DELETED: &str = "deletionTimestamp";

/// What is kept of a status, by kind. A status may close, and never open.
const CLOSING_STATUS: [(&str, &str); 2] =
    [("DataSharingAgreement", "supersededBy"), ("LocalPolicy", "loaded")];

/// What people write into metadata.
const METADATA: [&str; 7] =
    ["name", "namespace", "labels", "annotations", "generateName", "finalizers", "ownerReferences"];

/// How an object without a kind is counted.
pub(super) const NO_KIND: &str = "none";

/// Where objects and findings of all files come together.
#[derive(Debug, Default)]
pub(super) struct Loader {
    pub(super) snapshot: Snapshot,
    pub(super) findings: Vec<Finding>,
    /// How many objects of ours there are, good or bad.
    pub(super) objects: usize,
    /// How many documents of other kinds there are.
    pub(super) skipped: BTreeMap<String, usize>,
    /// How many documents are for Kustomize.
    pub(super) kustomizations: usize,
    /// How many documents are encrypted, and do not speak of our group.
    pub(super) encrypted: usize,
}

/// The document at hand.
#[derive(Clone, Copy)]
struct Within<'a> {
    file: &'a str,
    problems: &'a [Problem],
    /// Whether the file speaks of our group.
    mentions: bool,
}

/// Kinds of the design that are not read yet. They say nothing about who may do what.
const SAY_NOTHING: [&str; 2] = ["EnforcementPoint", "GatewayMapping"];

/// What a document or list item says it is.
enum Identity<'node> {
    Ours(&'static str, bool),
    /// A list of objects, to be looked into; `typed` where all of them are to be of one kind of ours.
    List {
        items: &'node [Rc<Node>],
        typed: Option<&'static str>,
    },
    /// One of ours, but not by this name or version.
    Mistaken {
        at: &'static str,
        message: String,
        help: Option<String>,
    },
    Other(String),
}

impl Loader {
    /// Takes up what another one has, after its own.
    pub(super) fn absorb(&mut self, other: Self) {
        let Self { snapshot, findings, objects, skipped, kustomizations, encrypted } = other;
        let Snapshot {
            cluster: _,
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies,
            tests,
            unreadable,
            unknown_texts,
        } = snapshot;
        self.snapshot.frameworks.extend(frameworks);
        self.snapshot.exceptions.extend(exceptions);
        self.snapshot.footprints.extend(footprints);
        self.snapshot.orgs.extend(orgs);
        self.snapshot.products.extend(products);
        self.snapshot.agreements.extend(agreements);
        self.snapshot.signatures.extend(signatures);
        self.snapshot.policies.extend(policies);
        self.snapshot.tests.extend(tests);
        self.snapshot.unreadable.extend(unreadable);
        self.snapshot.unknown_texts.extend(unknown_texts);
        self.findings.extend(findings);
        self.objects += objects;
        self.kustomizations += kustomizations;
        self.encrypted += encrypted;
        for (kind, count) in skipped {
            *self.skipped.entry(kind).or_default() += count;
        }
    }

    /// Takes up what a document holds. `mentions` says whether the file speaks of our group.
    pub(super) fn document(&mut self, file: &str, Document { root, problems }: &Document, mentions: bool) {
        let Some(root) = root else {
            return;
        };
        let within = Within { file, problems, mentions };
        match &root.content {
            Content::Null => {} // comments only
            Content::Map(_) if foreign::is_encrypted(root) => self.encrypted(within, root),
            Content::Map(_) => self.object(within, root),
            Content::List(_) => {
                self.skip(NO_KIND);
                self.wrapped(within, root, "a list at the top of a document, such as a JSON array");
            }
            Content::Bool(_) | Content::Number(_) | Content::Text(_) => self.skip(NO_KIND),
        }
    }

    fn object(&mut self, within: Within<'_>, node: &Rc<Node>) {
        match identify(node, within.mentions) {
            Identity::Other(kind) => {
                if foreign::is_kustomization(within.file, node) {
                    self.kustomizations += 1;
                    if KINDS.iter().any(|(kind, _)| foreign::patches(node, kind)) {
                        let origin = source(within.file, node).origin(None, "");
                        let message =
                            "Kustomize patches objects of ours here, and what is applied is not what is read";
                        self.findings.push(
                            Finding::new(Code::OtherMeaning, origin, message).help(
                                "render it and check that: `kustomize build FOLDER | concordat check -`",
                            ),
                        );
                    }
                } else {
                    self.skip(&kind);
                }
                self.wrapped(
                    within,
                    node,
                    &if kind == NO_KIND { "another object".to_owned() } else { format!("a `{kind}`") },
                );
            }
            Identity::List { items, typed } => {
                for item in items {
                    match &item.content {
                        Content::Map(_) if matches!(identify(item, false), Identity::List { .. }) => {
                            self.wrapped(within, item, "a list within a list");
                        }
                        Content::Map(_) if typed.is_none() || item.get("kind").is_some() => {
                            self.object(within, item);
                        }
                        _ => match typed {
                            Some(kind) => self.nameless(within, item, kind),
                            None => {
                                self.skip(NO_KIND);
                                self.wrapped(within, item, "a list within a list");
                            }
                        },
                    }
                }
            }
            Identity::Mistaken { at, message, help } => {
                self.objects += 1;
                let source = source(within.file, node);
                let origin = source.origin(None, at);
                let mut found = Finding::new(Code::UnknownKind, origin.clone(), message.clone());
                found.help = help;
                self.findings.push(found);
                // what else is wrong may be why
                self.findings
                    .extend(within.problems.iter().map(|problem| finding(within.file, problem, None)));
                self.mistaken(node, &source, message, origin);
            }
            Identity::Ours(kind, namespaced) => {
                self.objects += 1;
                self.ours(within, node, kind, namespaced);
            }
        }
    }

    /// Something of ours that does not rightly say what it is: it may be of the kind that it names, or of any that its
    /// namespace can hold. Where it names none, it is of the kind that it nearly names, or may be anything.
    fn mistaken(&mut self, node: &Node, source: &Arc<Source>, error: String, origin: Origin) {
        let kind = node.get("kind").and_then(|kind| kind.text().map(str::to_owned)).unwrap_or_default();
        let value = node.certain();
        let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
        let may_be: Vec<(&'static str, bool)> = match KINDS.iter().find(|(known, _)| *known == kind) {
            _ if SAY_NOTHING.contains(&kind.as_str()) => Vec::new(),
            Some(known) => vec![*known],
            None => match (namespace.is_some_and(is_label), nearly(&kind)) {
                (true, None | Some((_, true))) => {
                    KINDS.into_iter().filter(|(_, namespaced)| *namespaced).collect()
                }
                (false, Some(near @ (_, true))) => vec![near],
                (_, Some((_, false))) | (false, None) => {
                    return self.snapshot.unknown_texts.push(origin);
                }
            },
        };
        for (kind, namespaced) in may_be {
            self.hold(node, kind, namespaced, error.clone(), Arc::clone(source));
        }
    }

    /// An item of a list of ours that does not say what it is: kubectl would apply it by the name of the list, and
    /// others would not.
    fn nameless(&mut self, within: Within<'_>, item: &Node, kind: &'static str) {
        self.objects += 1;
        let source = source(within.file, item);
        let message = "an item of the list does not say its `kind`";
        let origin = source.origin(None, "kind");
        self.findings.push(
            Finding::new(Code::UnknownKind, origin, message)
                .help("write `apiVersion` and `kind` into each item, as kubectl wants them"),
        );
        self.hold(item, kind, is_namespaced(kind), message.to_owned(), source);
    }

    /// Objects of ours inside something that is not read, or that kubectl does not read.
    fn wrapped(&mut self, within: Within<'_>, node: &Node, wrapper: &str) {
        // a grant in a file does nothing: a plan that was saved holds many
        let kind = |node: &Node| node.get("kind").and_then(|kind| kind.text().map(str::to_owned));
        let granted = |node: &&Rc<Node>| kind(node).as_deref() == Some("DataAccessGrant");
        for inner in foreign::wrapped(node).into_iter().filter(|inner| !granted(inner)) {
            let message = format!("an object of `{GROUP}` is inside {wrapper}, from which it is not read");
            self.unread(
                within,
                inner,
                Code::WrappedObject,
                message,
                "write it as a document of its own, or as an item of a `kind: List`",
            );
        }
    }

    fn encrypted(&mut self, within: Within<'_>, root: &Rc<Node>) {
        if within.mentions {
            let message = "the object is encrypted with SOPS".to_owned();
            self.unread(
                within,
                root,
                Code::Encrypted,
                message,
                "decrypt it first, with `sops --decrypt`, and check that",
            );
        } else {
            self.encrypted += 1;
        }
    }

    /// Something of ours that is there and is not read.
    fn unread(&mut self, within: Within<'_>, node: &Rc<Node>, code: Code, message: String, help: &str) {
        self.objects += 1;
        let source = source(within.file, node);
        if let Identity::Ours(kind, namespaced) = identify(node, false) {
            let key = key(kind, &node.certain());
            self.findings.push(Finding::new(code, source.origin(key, ""), message.clone()).help(help));
            self.hold(node, kind, namespaced, message, source);
        } else {
            let origin = source.origin(None, "");
            self.findings.push(Finding::new(code, origin.clone(), message).help(help));
            self.snapshot.unknown_texts.push(origin);
        }
    }

    /// Remembers that an object is there and cannot be used, with what is certain of it.
    fn hold(
        &mut self,
        node: &Node,
        kind: &'static str,
        namespaced: bool,
        error: String,
        source: Arc<Source>,
    ) {
        if matches!(kind, "DataAccessGrant" | POLICY_TEST_KIND) {
            return; // neither says anything about who may do what
        }
        let mut value = node.certain();
        forget_server_fields(kind, &mut value);
        let text = |field: &str| value.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        let whole =
            value.get("metadata").cloned().and_then(|meta| serde_json::from_value::<ObjectMeta>(meta).ok());
        let mut meta = whole.unwrap_or_else(|| ObjectMeta { name, namespace, ..ObjectMeta::default() });
        if !namespaced {
            // the API server drops it: this is a copy of the object of that name
            meta.namespace = None;
        }
        // of an agreement without namespace and name nothing says which it is; others say what they are about
        if kind == "DataSharingAgreement"
            && !meta.namespace.as_deref().is_some_and(is_label)
            && !meta.name.as_deref().is_some_and(is_subdomain)
        {
            self.snapshot.unknown_texts.push(source.origin(key(kind, &value), ""));
        }
        if kind == "DataSharingAgreement" && foreign::may_hide_a_successor(node, &value) {
            // a field that says nothing may have named any
            if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
                spec.entry("supersedes").or_insert(Value::Null);
            }
        }
        let spec = Unreadable::legible(value.get("spec").cloned().unwrap_or_default());
        self.snapshot.unreadable.push(Unreadable { kind: kind.to_owned(), meta, error, spec, source });
    }

    fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.to_owned()).or_default() += 1;
    }

    fn ours(&mut self, within: Within<'_>, node: &Node, kind: &'static str, namespaced: bool) {
        let Within { file, problems, mentions: _ } = within;
        let mut value = node.value();
        let text = |field: &str| value.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name");
        let key = key(kind, &value);
        let source = source(file, node);
        let before = self.findings.len();

        self.findings.extend(problems.iter().map(|problem| finding(file, problem, key.clone())));
        let mut report = |code: Code, field: &str, message: String, help: Option<String>| {
            let mut finding = Finding::new(code, source.origin(key.clone(), field), message);
            finding.help = help;
            self.findings.push(finding);
        };
        for (code, field, message, help) in metadata_problems(&value, kind, namespaced) {
            report(code, &field, message, Some(help));
        }
        if kind == "DataAccessGrant" {
            report(
                Code::OperatorOwned,
                "kind",
                "only the operator writes `DataAccessGrant`".to_owned(),
                Some("take it out of the folder: grants follow from agreements and signatures".to_owned()),
            );
        }
        let status = forget_server_fields(kind, &mut value);
        // what else may be wrong with a grant does not matter: it goes
        let shape = if kind == "DataAccessGrant" { Vec::new() } else { shape::problems(kind, &value) };
        // what cannot be held is nothing, and has been reported as what it is
        let unheld = |field: &str| {
            let place = node.within(field).map(|it| it.at);
            problems.iter().any(|problem| problem.code == Code::InvalidYaml && Some(problem.at) == place)
        };
        for problem in shape.into_iter().filter(|problem| !unheld(&problem.field)) {
            report(problem.code, &problem.field, problem.message, problem.help);
        }
        if let Some(error) = self.findings.iter().skip(before).find(|finding| finding.is_error()) {
            let error = error.message.clone();
            return self.hold(node, kind, namespaced, error, source);
        }
        if value.pointer("/metadata").is_some_and(|meta| meta.get(DELETED).is_some_and(|it| !it.is_null())) {
            let message =
                "the object is being deleted: by it nothing is opened, and a signature signs nothing";
            let origin = source.origin(key.clone(), &format!("metadata.{DELETED}"));
            self.findings.push(
                Finding::new(Code::BeingDeleted, origin, message).help(
                    "take the field out if it is to count: from what is applied the API server drops it",
                ),
            );
        }
        // a request may say more than is read; a test that means something else than it asks shows nothing
        let tests = value.pointer("/spec/tests").and_then(Value::as_array);
        for (index, test) in tests.into_iter().flatten().enumerate() {
            for (field, near) in test.get("request").map(super::nearly_known).unwrap_or_default() {
                let origin = source.origin(key.clone(), &format!("spec.tests[{index}].request.{field}"));
                let message = format!("a request has no field `{field}`: it would be ignored");
                let finding = Finding::new(Code::UnknownField, origin, message);
                self.findings.push(finding.help(format!("did you mean `{near}`?")));
            }
        }
        if let (Some(status), Some(fields)) = (status, value.as_object_mut()) {
            fields.insert("status".to_owned(), status);
        }
        if let Err(error) = self.keep(kind, value, &source, name) {
            let message = format!("the object cannot be read: {error}");
            self.findings.push(
                Finding::new(Code::InvalidField, source.origin(key, ""), message.clone())
                    .help("look with `kubectl explain` at what its fields take"),
            );
            self.hold(node, kind, namespaced, message, source);
        }
    }

    /// Puts an object of good shape into the snapshot.
    fn keep(
        &mut self,
        kind: &str,
        value: Value,
        source: &Arc<Source>,
        name: Option<String>,
    ) -> Result<(), serde_json::Error> {
        let Snapshot {
            cluster: _,
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies,
            tests,
            unreadable: _,
            unknown_texts: _,
        } = &mut self.snapshot;
        match kind {
            "PolicyFramework" => push(frameworks, value, source),
            "FrameworkException" => push(exceptions, value, source),
            "PlaceFootprint" => push(footprints, value, source),
            "PartnerOrg" => push(orgs, value, source),
            "DataProduct" => push(products, value, source),
            "DataSharingAgreement" => push(agreements, value, source),
            "AgreementSignature" => push(signatures, value, source),
            "LocalPolicy" => push(policies, value, source),
            POLICY_TEST_KIND => {
                let spec: PolicyTestSpec =
                    serde_json::from_value(value.get("spec").cloned().unwrap_or_default())?;
                for (index, _) in spec.tests.iter().enumerate().filter(|(_, test)| test.at.is_none()) {
                    let key = ObjectKey::new(kind, None, name.as_deref().unwrap_or_default());
                    let origin = source.origin(Some(key), &format!("spec.tests[{index}]"));
                    self.findings.push(
                        Finding::new(
                            Code::TestWithoutMoment,
                            origin,
                            "the test does not say when the question is asked",
                        )
                        .help("add `at`, such as `at: 2026-04-01T00:00:00Z`: answers change with time"),
                    );
                }
                tests.push(TestFile { name: name.unwrap_or_default(), spec, source: Arc::clone(source) });
                Ok(())
            }
            _ => Ok(()), // a grant, reported above
        }
    }
}

fn push<T: Resource + DeserializeOwned>(
    list: &mut Vec<Sourced<T>>,
    value: Value,
    source: &Arc<Source>,
) -> Result<(), serde_json::Error> {
    list.push(Sourced { object: serde_json::from_value::<T>(value)?.into(), source: Arc::clone(source) });
    Ok(())
}

fn source(file: &str, node: &Node) -> Arc<Source> {
    Arc::new(Source { file: Some(file.to_owned()), positions: node.positions() })
}

/// A finding about the text itself.
pub(super) fn finding(file: &str, problem: &Problem, object: Option<ObjectKey>) -> Finding {
    let Problem { code, at: (line, column), message, help } = problem.clone();
    let origin =
        Origin { file: Some(file.to_owned()), line: Some(line), column: Some(column), object, field: None };
    Finding { help, ..Finding::new(code, origin, message) }
}

/// The key of an object, where its name is known.
fn key(kind: &str, value: &Value) -> Option<ObjectKey> {
    let text = |field: &str| value.pointer(field).and_then(Value::as_str);
    Some(ObjectKey::new(kind, text("/metadata/namespace"), text("/metadata/name")?))
}

fn is_namespaced(kind: &str) -> bool {
    KINDS.iter().any(|(known, namespaced)| *known == kind && *namespaced)
}

/// What a mapping says it is. `mentions` says whether the file speaks of our group.
fn identify(node: &Node, mentions: bool) -> Identity<'_> {
    let kind = node.get("kind").and_then(|kind| kind.text());
    let version = node.get("apiVersion").and_then(|version| version.text());
    let (group, version_only) =
        version.unwrap_or_default().split_once('/').unwrap_or((version.unwrap_or_default(), ""));
    let known = kind.and_then(|kind| KINDS.iter().find(|(known, _)| *known == kind));

    if let Some(kind) = kind
        && let Some(items) = node.get("items")
        && let Content::List(items) = &items.content
    {
        let typed = kind.strip_suffix("List").and_then(|of| KINDS.iter().find(|(known, _)| *known == of));
        if kind == "List" || typed.is_some() {
            return Identity::List { items, typed: typed.map(|(kind, _)| *kind) };
        }
    }
    let near = kind.and_then(|kind| shape::nearest(kind, KINDS.iter().map(|(known, _)| *known)));
    let names_no_group = group.trim().is_empty() || !version.unwrap_or_default().contains('/');
    let nearly_ours = group != GROUP
        && (group.to_lowercase().starts_with("concordat") || strsim::damerau_levenshtein(group, GROUP) <= 2);
    match (kind, known) {
        (Some(_), Some((kind, namespaced))) if version == Some(API_VERSION) => {
            Identity::Ours(kind, *namespaced)
        }
        (Some(kind), None) if version == Some(API_VERSION) => Identity::Mistaken {
            at: "kind",
            message: format!("`{API_VERSION}` has no kind `{kind}`"),
            help: shape::nearest(kind, KINDS.iter().map(|(known, _)| *known))
                .map(|known| format!("did you mean `{known}`?"))
                .or_else(|| Some(format!("its kinds are {}", KINDS.map(|(known, _)| known).join(", ")))),
        },
        (None, _) if version == Some(API_VERSION) => Identity::Mistaken {
            at: "apiVersion",
            message: "the object does not say its `kind`".to_owned(),
            help: Some(format!("the kinds are {}", KINDS.map(|(known, _)| known).join(", "))),
        },
        _ if group == GROUP => Identity::Mistaken {
            at: "apiVersion",
            message: if version_only.is_empty() {
                format!("`apiVersion: {GROUP}` names no version")
            } else {
                format!("`{GROUP}` has no version `{version_only}`")
            },
            help: Some(format!("write `apiVersion: {GROUP}/{VERSION}`")),
        },
        (Some(kind), _) if near.is_some() && names_no_group && group != GROUP => Identity::Mistaken {
            at: "kind",
            message: format!("the `{kind}` does not name a group in its `apiVersion`"),
            help: Some(format!("write `apiVersion: {API_VERSION}`")),
        },
        (Some(_), _) if near.is_some() && nearly_ours => Identity::Mistaken {
            at: "apiVersion",
            message: format!("no group is called `{group}`"),
            help: Some(format!("did you mean `{API_VERSION}`?")),
        },
        (None, _) if mentions && (version.is_none() || names_no_group) && foreign::may_be_ours(node) => {
            Identity::Mistaken {
                at: "",
                message: format!("an object in a file of `{GROUP}` does not say its `apiVersion` and `kind`"),
                help: Some(format!(
                    "write `apiVersion: {API_VERSION}` and its `kind`, or move it to another file"
                )),
            }
        }
        (kind, _) => Identity::Other(kind.filter(|_| version.is_some()).unwrap_or(NO_KIND).to_owned()),
    }
}

type MetadataProblem = (Code, String, String, String);

fn metadata_problems(value: &Value, kind: &str, namespaced: bool) -> Vec<MetadataProblem> {
    let mut problems = Vec::new();
    let metadata = value.get("metadata");
    let name = metadata.and_then(|metadata| metadata.get("name"));
    let namespace = metadata.and_then(|metadata| metadata.get("namespace"));
    for field in metadata.and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
        if !METADATA.contains(&field.as_str())
            && !SERVER_METADATA.contains(&field.as_str())
            && field != DELETED
        {
            let near = shape::nearest(field, METADATA.into_iter());
            problems.push((
                Code::UnknownField,
                format!("metadata.{field}"),
                format!("there is no field `{field}` here"),
                near.map_or_else(
                    || format!("take it out; what there is here is {}", METADATA.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            ));
        }
    }
    for field in SERVER_METADATA.into_iter().chain([DELETED]) {
        let written = metadata.and_then(|metadata| metadata.get(field)).map(|value| json!({ field: value }));
        if written.is_some_and(|written| serde_json::from_value::<ObjectMeta>(written).is_err()) {
            problems.push((
                Code::InvalidField,
                format!("metadata.{field}"),
                format!("this is no value of `{field}`"),
                "take it out: the API server writes it".to_owned(),
            ));
        }
    }
    let lower = "it takes small letters, digits and hyphens, and starts and ends with a letter or a digit";
    match name.map(Value::as_str) {
        None => problems.push((
            Code::InvalidField,
            "metadata.name".to_owned(),
            "the object has no `metadata.name`".to_owned(),
            "give it a name of its own".to_owned(),
        )),
        Some(name) if !name.is_some_and(is_subdomain) => problems.push((
            Code::InvalidField,
            "metadata.name".to_owned(),
            format!("`{}` is no name of an object", plain(name, value.pointer("/metadata/name"))),
            format!("{lower}; parts may be joined by dots"),
        )),
        Some(_) => {}
    }
    match namespace.map(Value::as_str) {
        None if namespaced => problems.push((
            Code::MissingNamespace,
            "metadata.namespace".to_owned(),
            format!("the `{kind}` does not name its namespace"),
            "write `metadata.namespace`: in a file nothing else says who may write the object".to_owned(),
        )),
        None => {}
        Some(_) if !namespaced && kind != POLICY_TEST_KIND => problems.push((
            Code::InvalidField,
            "metadata.namespace".to_owned(),
            format!("a `{kind}` has no namespace"),
            "leave `metadata.namespace` out".to_owned(),
        )),
        Some(namespace) if !namespace.is_some_and(is_label) => problems.push((
            Code::InvalidField,
            "metadata.namespace".to_owned(),
            format!("`{}` is no name of a namespace", plain(namespace, value.pointer("/metadata/namespace"))),
            lower.to_owned(),
        )),
        Some(_) => {}
    }
    problems
}

/// The kind that a mistyped one was probably meant to be.
fn nearly(kind: &str) -> Option<(&'static str, bool)> {
    let near = shape::nearest(kind, KINDS.iter().map(|(known, _)| *known))?;
    KINDS.into_iter().find(|(known, _)| *known == near)
}

/// A value as the user wrote it, or nearly so.
fn plain(text: Option<&str>, value: Option<&Value>) -> String {
    text.map(str::to_owned).or_else(|| value.map(Value::to_string)).unwrap_or_default()
}

/// Leaves out what only the API server writes, and gives what is to be kept of the status: what may close.
fn forget_server_fields(kind: &str, value: &mut Value) -> Option<Value> {
    let fields = value.as_object_mut()?;
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            metadata.remove(field);
        }
    }
    let mut status = fields.remove("status")?;
    let (_, closing) = CLOSING_STATUS.iter().find(|(of, _)| *of == kind)?;
    let kept = status.get_mut(*closing).map(Value::take).filter(|kept| !kept.is_null())?;
    Some(Value::Object([((*closing).to_owned(), kept)].into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    use super::*;

    #[test]
    fn the_kinds_and_their_scopes_are_those_of_the_definitions() {
        let defined: Vec<(String, bool)> = concordat_api::custom_resource_definitions()
            .into_iter()
            .map(|CustomResourceDefinition { spec, .. }| (spec.names.kind, spec.scope == "Namespaced"))
            .collect();
        let known: Vec<(String, bool)> = KINDS
            .iter()
            .filter(|(kind, _)| *kind != POLICY_TEST_KIND)
            .map(|(kind, namespaced)| ((*kind).to_owned(), *namespaced))
            .collect();
        assert_eq!(known, defined);
    }
}
