//! The snapshot: every wire object that there is, with where it came from. One value, made by a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::Value;

use super::finding::{Code, Finding, ObjectKey, Origin};
use super::names;
use super::shared::Shared;
use concordat_api::{
    AgreementSignature, DataProduct, DataSharingAgreement, FrameworkException, LocalPolicy, ObjectRef,
    PartnerOrg, PlaceFootprint, PolicyFramework, PolicyTestSpec,
};

/// Namespace and name of a namespaced object, as others refer to it.
pub(crate) fn reference(object: &impl ResourceExt) -> ObjectRef {
    ObjectRef { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// Where an object was written: nothing for a cluster, a file and the place of each field for a folder.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Source {
    pub file: Option<String>,
    /// Line and column of each field by its path; the object's own under the empty path. With a `|` after the path, where
    /// the text of a block begins.
    pub positions: BTreeMap<String, (u32, u32)>,
}

impl Source {
    /// The position of a field, or of the nearest field around it that has one.
    fn position(&self, field: &str) -> Option<(u32, u32)> {
        let mut path = field;
        loop {
            if let Some(position) = self.positions.get(path) {
                return Some(*position);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or("");
        }
    }

    /// The place in the file of a place in a field's text, where the text is a block there; both from 1.
    pub fn within(&self, field: &str, (line, column): (u32, u32)) -> Option<(u32, u32)> {
        let (first, indent) = self.positions.get(&format!("{field}|"))?;
        Some((first.checked_add(line)?.checked_sub(1)?, indent.checked_add(column)?.checked_sub(1)?))
    }

    /// The origin of a finding about an object's field; `""` means the object as a whole.
    pub fn origin(&self, object: Option<ObjectKey>, field: &str) -> Origin {
        let position = self.position(field);
        Origin {
            file: self.file.clone(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            object,
            field: if field.is_empty() { None } else { Some(field.to_owned()) },
        }
    }
}

/// An object and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    pub object: Shared<T>,
    pub source: Arc<Source>,
}

impl<T: Resource<DynamicType = ()>> Sourced<T> {
    /// An object that no file holds.
    pub fn live(object: T) -> Self {
        Self { object: object.into(), source: Arc::default() }
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: T::kind(&()).into_owned(),
            namespace: self.object.namespace(),
            name: self.object.name_any(),
        }
    }

    /// The origin of a finding about a field of this object.
    pub fn at(&self, field: &str) -> Origin {
        self.source.origin(Some(self.key()), field)
    }

    /// A finding about a field of this object.
    pub fn finding(&self, code: Code, field: &str, message: impl Into<String>) -> Finding {
        Finding::new(code, self.at(field), message)
    }
}

/// Which clusters are looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ClusterView {
    /// Everything is taken as one cluster: `plan` and `explain` without `--cluster`.
    #[default]
    Any,
    /// One cluster that has no name: `run` without `--cluster`. Objects that name a cluster are refused.
    Unnamed,
    /// One named cluster. Workloads and products must name theirs.
    Named(String),
}

impl ClusterView {
    /// The name, where one was given.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Any | Self::Unnamed => None,
            Self::Named(name) => Some(name),
        }
    }

    /// Whether something in `cluster` is local to this view. Validation has refused what does not fit the view.
    pub fn is_local(&self, cluster: Option<&str>) -> bool {
        match self {
            Self::Any | Self::Unnamed => true,
            Self::Named(name) => cluster.is_none_or(|cluster| cluster == name),
        }
    }
}

/// Every wire object that there is, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub cluster: ClusterView,
    pub frameworks: Vec<Sourced<PolicyFramework>>,
    pub exceptions: Vec<Sourced<FrameworkException>>,
    pub footprints: Vec<Sourced<PlaceFootprint>>,
    pub orgs: Vec<Sourced<PartnerOrg>>,
    pub products: Vec<Sourced<DataProduct>>,
    pub agreements: Vec<Sourced<DataSharingAgreement>>,
    pub signatures: Vec<Sourced<AgreementSignature>>,
    pub policies: Vec<Sourced<LocalPolicy>>,
    /// Files of policy tests; a cluster has none.
    pub tests: Vec<TestFile>,
    /// Objects that exist and cannot be read: of a shape that this version does not know, or with an error in the file.
    pub unreadable: Vec<Unreadable>,
    /// Texts in files that may hold objects of ours, and of which not even the kind is known.
    pub unknown_texts: Vec<Origin>,
}

impl Snapshot {
    /// Organisations and their home namespaces, of those that cannot be used too where it can be read: they come first.
    pub fn homes(&self) -> impl Iterator<Item = (&str, &str)> {
        fn name(meta: &ObjectMeta) -> &str {
            meta.name.as_deref().unwrap_or_default()
        }
        let read = self.orgs.iter();
        let read = read.map(|org| (name(&org.object.metadata), org.object.spec.home_namespace.as_str()));
        let unreadable = self.unreadable_of("PartnerOrg");
        unreadable.filter_map(|it| Some((name(&it.meta), it.name("/homeNamespace")?))).chain(read)
    }

    /// The objects of a kind that exist and cannot be read.
    pub fn unreadable_of(&self, kind: &str) -> impl Iterator<Item = &Unreadable> {
        self.unreadable.iter().filter(move |it| it.kind == kind)
    }
}

/// An object that exists and cannot be read. Access that it may bear on stays closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    pub kind: String,
    pub meta: ObjectMeta,
    /// Why it cannot be read.
    pub error: String,
    /// Its `spec` as far as it can be read: every field that is there, of whatever shape. Null where nothing is.
    pub spec: Value,
    pub source: Arc<Source>,
}

impl Unreadable {
    /// The spec of an object that cannot be read: of one without any field nothing is known, and it may have had any.
    pub fn legible(spec: Value) -> Value {
        if spec.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { spec }
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: self.kind.clone(),
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone().unwrap_or_default(),
        }
    }

    /// Namespace and name.
    pub fn reference(&self) -> ObjectRef {
        let ObjectMeta { namespace, name, .. } = &self.meta;
        ObjectRef { namespace: namespace.clone().unwrap_or_default(), name: name.clone().unwrap_or_default() }
    }

    /// A text of its spec, such as `/party`; none where there is none.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.spec.pointer(pointer)?.as_str()
    }

    /// A name in its spec, such as `/party`; none where there is none that an object could have.
    pub fn name(&self, pointer: &str) -> Option<&str> {
        self.text(pointer).filter(|name| names::is_subdomain(name))
    }

    /// Whether a reference in its spec, such as `/agreement`, may mean an object: each part that is a name has to be its.
    pub fn may_mean(&self, pointer: &str, object: &ObjectRef) -> bool {
        let may =
            |part: &str, own: &str| self.name(&format!("{pointer}/{part}")).is_none_or(|named| named == own);
        may("namespace", &object.namespace) && may("name", &object.name)
    }

    /// The agreement that a signature is about, where it says so in whole.
    pub fn agreement(&self) -> Option<ObjectRef> {
        let part = |name: &str| self.name(&format!("/agreement/{name}")).map(str::to_owned);
        Some(ObjectRef { namespace: part("namespace")?, name: part("name")? })
    }

    /// The party that a signature speaks for.
    pub fn party(&self) -> Option<&str> {
        self.name("/party")
    }

    /// When an agreement's term starts.
    pub fn start(&self) -> Option<Timestamp> {
        self.text("/term/start")?.parse().ok()
    }
}

/// A `PolicyTest` object from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TestFile {
    pub name: String,
    pub spec: PolicyTestSpec,
    pub source: Arc<Source>,
}
