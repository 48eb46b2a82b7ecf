//! A live cluster, read once: for a command that looks and leaves.
//!
//! Every call has a deadline, every kind a bound, and nothing is written. The kinds are read one after the other, so
//! that what changes meanwhile may show half; who doubts a finding looks again.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;

use super::cluster::{Incoming, Store, Stores};
use concordat_core::finding::{Code, Finding, ObjectKey, Origin, Severity};
use concordat_core::live::{Admission, ClusterContext};
use concordat_core::plan::{MANAGED_BY, Observed};
use concordat_core::shared::Shared;
use concordat_core::snapshot::{ClusterView, Snapshot};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(5);
const PAGE: u32 = 500;
/// How many objects of one kind are read.
const MOST: usize = 200_000;
/// The kind that is read and is not ours.
const POLICY: &str = "NetworkPolicy";

/// What a cluster holds.
#[derive(Debug)]
pub struct Live {
    /// Nothing, where a kind that judging needs could not be read.
    pub objects: Option<(Snapshot, Observed)>,
    pub context: ClusterContext,
    /// What could not be read.
    pub findings: Vec<Finding>,
    /// How many objects of ours were read.
    pub count: usize,
}

/// Why a cluster could not be read at all.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("the API server did not answer within {} s, asked for `{kind}`", DEADLINE.as_secs())]
    Silent { kind: String },
    #[error("there are more than {MOST} objects of `{kind}`, which is more than is read")]
    TooMany { kind: String },
    #[error("the API server could not be asked for `{kind}`")]
    Client {
        kind: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Why one kind could not be read, though the API server answers.
enum Unread {
    Absent,
    Refused(String),
}

/// The objects that judging needs, of a cluster.
#[derive(Debug)]
pub struct Judged {
    /// Nothing, where a kind could not be read.
    pub snapshot: Option<Snapshot>,
    /// What could not be read.
    pub findings: Vec<Finding>,
    /// How many objects were read.
    pub count: usize,
}

/// Reads the objects that judging needs: an account that may read the kinds that people write is enough.
pub async fn read_judged(client: &Client, view: ClusterView) -> Result<Judged, ReadError> {
    let stores = Stores::default();
    let mut reading = Reading::new(client);
    reading.fill_judged(&stores).await?;
    stores.grants.replace(Vec::new());
    stores.network_policies.replace(Vec::new());
    let snapshot = stores.read(view).map(|(snapshot, _)| snapshot);
    Ok(Judged { snapshot, findings: reading.findings, count: reading.count })
}

/// Reads everything that `check` looks at.
pub async fn read(client: &Client, view: ClusterView) -> Result<Live, ReadError> {
    let stores = Stores::default();
    let mut reading = Reading::new(client);
    reading.fill_judged(&stores).await?;
    reading.fill(&stores.grants).await?;
    let others = reading.network_policies(&stores.network_policies).await?;
    let context = ClusterContext {
        policies: others,
        namespaces: reading.namespaces().await?,
        groups: reading.groups().await?,
        admission: reading.admission().await?,
        undecodable: reading.undecodable,
    };
    Ok(Live { objects: stores.read(view), context, findings: reading.findings, count: reading.count })
}

struct Reading<'a> {
    client: &'a Client,
    findings: Vec<Finding>,
    undecodable: Vec<(ObjectKey, String)>,
    count: usize,
}

impl<'a> Reading<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, findings: Vec::new(), undecodable: Vec::new(), count: 0 }
    }

    /// Reads every kind that people write.
    async fn fill_judged(&mut self, stores: &Stores) -> Result<(), ReadError> {
        let Stores {
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies,
            grants: _,
            network_policies: _,
        } = stores;
        self.fill(frameworks).await?;
        self.fill(exceptions).await?;
        self.fill(footprints).await?;
        self.fill(orgs).await?;
        self.fill(products).await?;
        self.fill(agreements).await?;
        self.fill(signatures).await?;
        self.fill(policies).await
    }

    /// Reads a kind of ours. A store that stays empty for want of reading is no empty kind.
    async fn fill<K>(&mut self, store: &Store<K>) -> Result<(), ReadError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let kind = K::kind(&()).into_owned();
        match self.list::<K>(&kind).await? {
            Ok(objects) => {
                self.count += objects.len();
                store.replace(objects);
                self.undecodable.extend(store.undecodable().into_iter().map(|(name, error)| {
                    let (namespace, name) = match name.split_once('/') {
                        Some((namespace, name)) => (Some(namespace), name),
                        None => (None, name.as_str()),
                    };
                    (ObjectKey::new(&kind, namespace, name), error)
                }));
            }
            Err(unread) => self.unread(&kind, unread, Severity::Error),
        }
        Ok(())
    }

    /// Reads every network policy: the operator's into the store, the others apart.
    async fn network_policies(
        &mut self,
        store: &Store<NetworkPolicy>,
    ) -> Result<Option<Vec<Shared<NetworkPolicy>>>, ReadError> {
        let objects = match self.list::<NetworkPolicy>(POLICY).await? {
            Ok(objects) => objects,
            Err(unread) => {
                self.unread(POLICY, unread, Severity::Error);
                return Ok(None);
            }
        };
        let ours = |object: &Incoming<NetworkPolicy>| {
            object.labels().get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1)
        };
        let (ours, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(ours);
        store.replace(ours);
        let rest = Store::default();
        rest.replace(others);
        for (name, error) in store.undecodable().into_iter().chain(rest.undecodable()) {
            let (namespace, name) = name.split_once('/').unwrap_or_default();
            self.undecodable.push((ObjectKey::new(POLICY, Some(namespace), name), error));
        }
        Ok(Some(rest.objects()))
    }

    async fn namespaces(&mut self) -> Result<Option<BTreeSet<String>>, ReadError> {
        let listed = self.list::<Namespace>("Namespace").await?;
        Ok(self.extra("Namespace", listed)?.map(|all| all.iter().map(Incoming::name_any).collect()))
    }

    async fn groups(&mut self) -> Result<Option<BTreeSet<String>>, ReadError> {
        const KIND: &str = "API groups";
        let listed = answer(KIND, self.client.list_api_groups()).await?;
        match listed {
            Ok(list) => Ok(Some(list.groups.into_iter().map(|group| group.name).collect())),
            Err(unread) => {
                self.unread(KIND, unread, Severity::Warning);
                Ok(None)
            }
        }
    }

    async fn admission(&mut self) -> Result<Option<Admission>, ReadError> {
        let policies = self.list::<ValidatingAdmissionPolicy>("ValidatingAdmissionPolicy").await?;
        let policies = self.extra("ValidatingAdmissionPolicy", policies)?;
        let bindings =
            self.list::<ValidatingAdmissionPolicyBinding>("ValidatingAdmissionPolicyBinding").await?;
        let bindings = self.extra("ValidatingAdmissionPolicyBinding", bindings)?;
        Ok(policies.zip(bindings).map(|(policies, bindings)| Admission {
            // what cannot be decoded guards nothing that we know of
            policies: policies.into_iter().filter_map(|it| it.0.ok()).collect(),
            bindings: bindings.into_iter().filter_map(|it| it.0.ok()).collect(),
        }))
    }

    /// What is looked at besides: without it some questions stay open, and that is said.
    fn extra<T>(&mut self, kind: &str, listed: Result<Vec<T>, Unread>) -> Result<Option<Vec<T>>, ReadError> {
        match listed {
            Ok(objects) => Ok(Some(objects)),
            Err(Unread::Absent) => Ok(Some(Vec::new())),
            Err(unread) => {
                self.unread(kind, unread, Severity::Warning);
                Ok(None)
            }
        }
    }

    fn unread(&mut self, kind: &str, unread: Unread, severity: Severity) {
        let (message, help) = match unread {
            Unread::Absent if severity == Severity::Error && kind != POLICY => (
                format!("the cluster does not know `{kind}`"),
                "apply the definitions with `concordat crds | kubectl apply --server-side -f -`".to_owned(),
            ),
            Unread::Absent => (
                format!("the server does not know `{kind}`"),
                "see that it is the API server of a Kubernetes cluster".to_owned(),
            ),
            Unread::Refused(why) => (
                format!("`{kind}` may not be read: {why}"),
                format!("use an account that may list `{kind}` in every namespace"),
            ),
        };
        let mut finding = Finding::new(Code::ClusterUnreadable, Origin::default(), message).help(help);
        finding.severity = severity;
        self.findings.push(finding);
    }

    /// Every object of a kind, page by page.
    async fn list<K>(&self, kind: &str) -> Result<Result<Vec<Incoming<K>>, Unread>, ReadError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<Incoming<K>> = Api::all(self.client.clone());
        let mut objects = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = match answer(kind, api.list(&params)).await? {
                Ok(page) => page,
                Err(unread) => return Ok(Err(unread)),
            };
            objects.extend(page.items);
            if objects.len() > MOST {
                return Err(ReadError::TooMany { kind: kind.to_owned() });
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Ok(objects)),
            }
        }
    }
}

/// The answer to one call, which may be that there is no such kind or that it may not be read.
async fn answer<T>(
    kind: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Result<T, Unread>, ReadError> {
    let kind = || kind.to_owned();
    match timeout(DEADLINE, call).await {
        Err(_) => Err(ReadError::Silent { kind: kind() }),
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Err(Unread::Absent)),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            Ok(Err(Unread::Refused(status.message)))
        }
        Ok(Err(source)) => Err(ReadError::Client { kind: kind(), source: Box::new(source) }),
    }
}
