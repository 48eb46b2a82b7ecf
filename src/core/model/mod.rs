//! The model: what the wire objects mean, once what cannot be used is left out.

mod footprints;
mod words;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

pub use footprints::Footprints;
pub use words::{DelegatedWord, Delegation, Said, Slot, Voice, Word, Words};
pub use workloads::{Claim, WorkloadIndex, clusters_meet};

use super::finding::ObjectKey;
use super::policy::{Framework, LocalPolicy, PolicyInDoubt};
use super::snapshot::{ClusterView, Snapshot, Unreadable};
use concordat_api::{
    DataAction, DataProductSpec, DataSharingAgreementSpec, DataSharingAgreementStatus, FrameworkRef,
    Function, Identifiability, ObjectRef, OrgState, PartnerOrgSpec, PartyRole, Purpose, RecipientRef,
    SignatureState, SupersededFor,
};

/// One function of one organisation.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Hash)]
pub struct FunctionRef {
    pub org: String,
    pub function: String,
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.function)
    }
}

/// Everything that can be used, by name.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub cluster: ClusterView,
    pub frameworks: BTreeMap<FrameworkRef, Arc<Framework>>,
    pub footprints: Footprints,
    pub orgs: BTreeMap<String, Organisation>,
    pub products: BTreeMap<ObjectRef, Product>,
    pub agreements: BTreeMap<ObjectRef, Agreement>,
    pub exceptions: Vec<Exception>,
    /// Local policies that are loaded, wholly or in part.
    pub policies: BTreeMap<ObjectRef, LocalPolicy>,
    /// Local policies that cannot be loaded, and may forbid.
    pub policies_in_doubt: Vec<PolicyInDoubt>,
    pub workloads: WorkloadIndex,
    /// Namespaces that an organisation claims which cannot be read, with that organisation.
    pub claimed: BTreeMap<String, String>,
    /// What has been said of each agreement for each party, whether the agreement can be used or not.
    pub words: BTreeMap<Slot, Words>,
    /// What says that it replaces an agreement.
    pub successors: BTreeMap<ObjectRef, Vec<Successor>>,
    /// Texts that may hold anything: while they cannot be read, nothing is open.
    pub unknown_texts: Vec<String>,
    /// The objects that cannot be read at all.
    pub unreadable: BTreeSet<ObjectKey>,
    /// Objects in a cluster that its API server let in, or had before, and that do not have the shape of their kind: they
    /// are held against what they may be about, like those that cannot be read at all.
    pub misshapen: BTreeMap<ObjectKey, Unreadable>,
    /// The home namespace of every organisation that exists, whether it can be used or not: its word was given there.
    pub homes: BTreeMap<String, String>,
    /// Organisations that exist, of which it cannot be read where their home is.
    pub homeless: BTreeSet<String>,
    /// What has to be isolated, used or not: an object with a mistake in it must not open anything.
    pub isolated: Isolated,
    /// Every object of ours that was looked at, used or not.
    pub objects: BTreeMap<ObjectKey, ObjectRecord>,
}

/// Everything that says of itself that it has to be isolated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Isolated {
    pub products: BTreeMap<ObjectRef, DataProductSpec>,
    /// Organisations, for their Managed functions.
    pub orgs: BTreeMap<String, PartnerOrgSpec>,
}

/// What is remembered of every object that was looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObjectRecord {
    pub generation: Option<i64>,
    /// Whether no error keeps it out.
    pub accepted: bool,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// The uid and the version in which none of its texts is refused; nothing where it has none, or where one is.
    pub clean: Option<(String, String)>,
    pub remembered: Remembered,
}

/// What the status of an object says that its cluster shows no more. It stays while the object cannot be used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Remembered {
    pub superseded_by: Option<ObjectRef>,
    pub superseded_for: Vec<SupersededFor>,
    /// The text of a local policy that was loaded last.
    pub loaded: Option<String>,
}

impl Remembered {
    /// What the status of an agreement remembers of its successors.
    pub fn of(status: Option<&DataSharingAgreementStatus>) -> Self {
        let (superseded_by, superseded_for) =
            status.map(|it| (it.superseded_by.clone(), it.superseded_for.clone())).unwrap_or_default();
        Self { superseded_by, superseded_for, loaded: None }
    }
}

/// An organisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Organisation {
    pub name: String,
    pub spec: PartnerOrgSpec,
}

impl Organisation {
    /// Its state at a moment: from `endsOn` on it counts as merged where a successor is named, and else as dissolved.
    pub fn state(&self, at: Timestamp) -> OrgState {
        let PartnerOrgSpec { state, successor, ends_on, .. } = &self.spec;
        match ends_on {
            Some(ends) if *ends <= at && matches!(state, OrgState::Active | OrgState::Suspended) => {
                if successor.is_some() {
                    OrgState::Merged
                } else {
                    OrgState::Dissolved
                }
            }
            _ => *state,
        }
    }

    /// One of its functions.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.spec.functions.iter().find(|function| function.name == name)
    }
}

/// A data product.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    pub reference: ObjectRef,
    pub spec: DataProductSpec,
}

/// An agreement whose references all lead somewhere, with the signatures on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    pub reference: ObjectRef,
    pub spec: DataSharingAgreementSpec,
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub deleting: bool,
    /// What its status remembers of successors. It may close, and never open.
    pub remembered: Remembered,
    /// When one that cannot be used, and may take its place, begins: from then on it is held.
    pub held_from: Option<Timestamp>,
    /// Other agreements with the same reference, which closes nothing: anybody can copy a reference.
    pub same_reference: Vec<String>,
    /// Each organisation's signature, and the hash that it has to sign.
    pub signers: BTreeMap<String, Signer>,
}

/// One organisation's part in an agreement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signer {
    /// The hash that its signature has to carry.
    pub terms_hash: String,
    /// What has been said for it.
    pub words: Words,
}

impl Signer {
    /// The purposes that it was signed for, whether that counts or not: what "sign again" repeats. None means all.
    pub fn named(&self) -> Option<BTreeSet<String>> {
        let Words { own, delegated } = &self.words;
        match own.as_slice() {
            [Word::Said(said)] if said.state == SignatureState::Signed => said.purposes.clone(),
            [] if !delegated.is_empty() => {
                let signed = delegated.iter().filter_map(|it| match &it.word {
                    Word::Said(said) if said.state == SignatureState::Signed => Some((it, said)),
                    Word::Said(_) | Word::Unknown => None,
                });
                let covered = signed.flat_map(|(it, said)| {
                    let may = it.delegations.iter().flat_map(|it| &it.purposes);
                    may.filter(|code| said.purposes.as_ref().is_none_or(|own| own.contains(*code)))
                });
                Some(covered.cloned().collect()).filter(|it: &BTreeSet<String>| !it.is_empty())
            }
            _ => None,
        }
    }
}

/// An agreement that says it replaces another one, whether it can be used or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Successor {
    pub reference: ObjectRef,
    pub starts: Timestamp,
    pub ends: Timestamp,
    pub accession: bool,
    /// Whether `supersedes` is an error here: on a circle, or in an emergency. Then it ends nothing.
    pub is_void: bool,
    /// Whether an organisation or product that it names is not there, or cannot be used.
    pub lacks_something: bool,
}

impl Agreement {
    /// When it ends unless something ends it first: its term, its basis or its emergency.
    pub fn ends(&self) -> Timestamp {
        Self::ends_of(&self.spec)
    }

    /// The same of a spec.
    pub fn ends_of(spec: &DataSharingAgreementSpec) -> Timestamp {
        let ends = spec.term.end.min(spec.confidentiality.valid_until);
        spec.emergency.as_ref().map_or(ends, |emergency| ends.min(emergency.expires))
    }

    /// The codes of its purposes.
    pub fn purposes(&self) -> BTreeSet<String> {
        self.spec.purposes.iter().map(|purpose| purpose.code.clone()).collect()
    }

    /// The organisations that are parties, each once.
    pub fn orgs(&self) -> BTreeSet<&str> {
        self.spec.parties.iter().map(|party| party.org.as_str()).collect()
    }

    /// The organisations with a role.
    pub fn orgs_as(&self, role: PartyRole) -> BTreeSet<&str> {
        self.spec.parties.iter().filter(|party| party.role == role).map(|party| party.org.as_str()).collect()
    }

    /// Whether an organisation controls or receives something here, and does not only process it.
    pub fn is_flow_party(&self, org: &str) -> bool {
        self.spec.parties.iter().any(|party| party.org == org && party.role != PartyRole::Processor)
    }

    /// Whether the terms of a purpose list all this together: what is signed, and the most that anything may allow.
    pub fn lists(
        &self,
        purpose: &str,
        product: &ObjectRef,
        recipient: &FunctionRef,
        (action, level): (DataAction, Identifiability),
    ) -> bool {
        let is_it = |org: &str, function: Option<&str>| {
            org == recipient.org && function.is_none_or(|function| function == recipient.function)
        };
        let mut rows = self.spec.parties.iter().filter(|party| party.role == PartyRole::Recipient);
        let receives = rows.any(|row| is_it(&row.org, row.function.as_deref()));
        let purpose = self.spec.purposes.iter().find(|it| it.code == purpose);
        receives
            && purpose.is_some_and(|purpose| {
                let named = purpose.recipients.as_ref();
                purpose.products.contains(product)
                    && named.is_none_or(|it| it.iter().any(|it| is_it(&it.org, it.function.as_deref())))
                    && purpose.actions.contains(&action)
                    && level <= purpose.max_identifiability
            })
    }

    /// The functions that receive for a purpose: those that it names, or every Recipient's; each written out.
    pub fn recipients(
        &self,
        purpose: &Purpose,
        orgs: &BTreeMap<String, Organisation>,
    ) -> BTreeSet<FunctionRef> {
        let rows = self.spec.parties.iter().filter(|party| party.role == PartyRole::Recipient);
        let expand = |org: &str, function: Option<&str>| -> Vec<FunctionRef> {
            let functions = orgs.get(org).map(|org| org.spec.functions.as_slice()).unwrap_or_default();
            functions
                .iter()
                .filter(|candidate| function.is_none_or(|function| function == candidate.name))
                .map(|candidate| FunctionRef { org: org.to_owned(), function: candidate.name.clone() })
                .collect()
        };
        let of_rows: BTreeSet<FunctionRef> =
            rows.flat_map(|party| expand(&party.org, party.function.as_deref())).collect();
        match &purpose.recipients {
            None => of_rows,
            Some(named) => named
                .iter()
                .flat_map(|RecipientRef { org, function }| expand(org, function.as_deref()))
                .filter(|function| of_rows.contains(function))
                .collect(),
        }
    }
}

/// A rule lifted for a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exception {
    pub name: String,
    pub rule: String,
    pub footprint: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Model {
    /// Whether an organisation, which there has to be, lies in a footprint.
    pub fn org_lies_in(&self, org: &str, outer: &str) -> bool {
        self.orgs.get(org).is_some_and(|org| self.footprints.org_lies_in(&org.spec, outer))
    }

    /// The exceptions for the place of an agreement, whatever their dates.
    pub fn exceptions_for(&self, agreement: &Agreement) -> impl Iterator<Item = &Exception> {
        let footprint = &agreement.spec.footprint;
        self.exceptions.iter().filter(|exception| self.footprints.lies_in(footprint, &exception.footprint))
    }

    /// Whether a product is in the cluster that is looked at.
    pub fn is_local(&self, product: &ObjectRef) -> bool {
        let product = self.products.get(product);
        product.is_some_and(|product| self.cluster.is_local(product.spec.cluster.as_deref()))
    }

    /// Whether there is an organisation of a name, used or not.
    pub fn has_org(&self, name: &str) -> bool {
        self.homes.contains_key(name) || self.homeless.contains(name)
    }

    /// Whether a namespace is the home of an organisation, or may be, or may have been: that of one which cannot be read, or
    /// is not there any more, may be any that is no other's by name.
    pub fn may_be_home(&self, namespace: &str, org: &str) -> bool {
        match self.homes.get(org) {
            Some(home) => home == namespace,
            None => !self.homes.iter().any(|(other, home)| home == namespace && !other.is_empty()),
        }
    }

    /// Whether a product of an agreement, or a workload of a recipient, is in the cluster that is looked at.
    pub fn lies_here(&self, agreement: &Agreement) -> bool {
        let mut purposes = agreement.spec.purposes.iter();
        let receives_here = |function: &FunctionRef| {
            let function = self.orgs.get(&function.org).and_then(|org| org.function(&function.function));
            let mut workloads = function.into_iter().flat_map(|it| &it.workloads);
            workloads.any(|it| self.cluster.is_local(it.cluster.as_deref()))
        };
        purposes.any(|purpose| {
            purpose.products.iter().any(|it| self.is_local(it))
                || agreement.recipients(purpose, &self.orgs).iter().any(receives_here)
        })
    }

    /// All that cannot be used and is held against what it may be about.
    pub fn held<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Unreadable> {
        snapshot.unreadable.iter().chain(self.misshapen.values())
    }

    /// Whether an object is there, whether it can be used or not.
    pub fn exists(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key) || self.unreadable.contains(key)
    }

    /// Whether an object is used: it was looked at, and no finding keeps it out.
    pub fn accepted(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|looked| looked.accepted)
    }
}
