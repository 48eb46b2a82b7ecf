//! Whose a namespace is: it belongs to one function of one organisation.

use std::collections::BTreeMap;

use super::FunctionRef;
use concordat_api::Workload;

/// A namespace that a function claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub function: FunctionRef,
    pub workload: Workload,
}

/// The claims on each namespace. Claims by two functions on one namespace in one cluster void each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadIndex {
    claims: BTreeMap<String, Vec<Claim>>,
}

impl WorkloadIndex {
    /// Adds a claim.
    pub fn add(&mut self, claim: Claim) {
        self.claims.entry(claim.workload.namespace.clone()).or_default().push(claim);
    }

    /// The claims of a namespace.
    pub fn of(&self, namespace: &str) -> &[Claim] {
        self.claims.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every namespace with its claims.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Vec<Claim>)> {
        self.claims.iter()
    }

    /// The function that a workload, `cluster/namespace/serviceAccount`, speaks for.
    pub fn function(&self, id: &str) -> Option<&FunctionRef> {
        let mut parts = id.split('/');
        let (cluster, namespace, account) = (parts.next()?, parts.next()?, parts.next()?);
        // a claim that names no cluster or account means any, and no workload is without either
        if parts.next().is_some() || [cluster, namespace, account].contains(&"") {
            return None;
        }
        self.resolve(cluster, namespace, account)
    }

    /// The function that a workload speaks for, or none: unknown, or claimed by two.
    pub fn resolve(&self, cluster: &str, namespace: &str, service_account: &str) -> Option<&FunctionRef> {
        let mut functions = self
            .of(namespace)
            .iter()
            .filter(|claim| claim.workload.cluster.as_deref().is_none_or(|named| named == cluster));
        let first = functions.next()?;
        let mut all = std::iter::once(first).chain(functions);
        let of_account = |claim: &Claim| {
            let accounts = claim.workload.service_accounts.as_ref();
            accounts.is_none_or(|accounts| accounts.iter().any(|account| account == service_account))
        };
        let mut found = None;
        for claim in all.by_ref() {
            if claim.function != first.function {
                return None;
            }
            if of_account(claim) {
                found = Some(&claim.function);
            }
        }
        found
    }
}

/// Whether two workloads can be in the same cluster: a left-out cluster matches any.
pub fn clusters_meet(a: Option<&str>, b: Option<&str>) -> bool {
    a.is_none() || b.is_none() || a == b
}
