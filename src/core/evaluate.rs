//! The whole way in one value: a snapshot at a moment, validated, assessed, ready to be asked and planned.

use std::sync::Arc;

use jiff::Timestamp;

use super::finding::{self, Finding, ObjectKey};
use super::model::Model;
use super::policy::{self, Assessments, EntityStore, Signing, Verdict};
use super::snapshot::{Snapshot, Unreadable};
use super::{report, validate};
use concordat_api::{AccessRequest, FrameworkRef, ObjectRef};

/// A snapshot judged at a moment.
#[derive(Debug)]
pub struct Judgement {
    /// The moment that everything here is about.
    pub at: Timestamp,
    pub model: Model,
    /// Everything wrong or worth knowing, in the order of reading.
    pub findings: Vec<Finding>,
    /// The state of each agreement.
    pub assessments: Assessments,
    /// Moments at which something changes that no assessment reads: a local policy falls due for review, and with that
    /// loses its permits; an agreement that cannot be read begins, and may take another's place.
    pub moments: Vec<Timestamp>,
}

impl Judgement {
    /// Judges a snapshot as it is at `at`. Infallible: what cannot be used is a finding, and is left out.
    pub fn new(snapshot: &Snapshot, at: Timestamp) -> Self {
        Self::judge(snapshot, at, None)
    }

    /// Judges a snapshot as [`new`](Self::new) does, in less time: what reads nothing that has changed since an
    /// earlier judgement is as it was.
    pub fn again(&self, snapshot: &Snapshot, at: Timestamp) -> Self {
        Self::judge(snapshot, at, Some(self))
    }

    fn judge(snapshot: &Snapshot, at: Timestamp, earlier: Option<&Self>) -> Self {
        let (mut model, mut findings) = match earlier {
            Some(earlier) => validate::revalidate(snapshot, at, &earlier.model),
            None => validate::validate(snapshot, at),
        };
        let store = Arc::new(EntityStore::new(&model, at));
        policy::load_local_policies(&mut model, &store, snapshot, at, &mut findings);
        let assessments = match earlier {
            Some(earlier) => policy::reassess(&model, &store, at, (&earlier.model, &earlier.assessments)),
            None => policy::assess(&model, &store, at, Signing::AsSigned),
        };
        findings.extend(report::broken_rules(snapshot, &model, &assessments));
        finding::sort(&mut findings);
        let reviews = snapshot.policies.iter().map(|policy| policy.object.spec.review_by);
        let starts = snapshot.unreadable.iter().filter_map(Unreadable::start);
        let moments = reviews.chain(starts).chain(validate::moments(snapshot)).collect();
        Self { at, model, findings, assessments, moments }
    }

    /// The built-in framework, where agreements name it and no object holds it, so that its built-in text judges them.
    pub fn built_in_framework(&self) -> Option<&FrameworkRef> {
        let own = &policy::built_in().reference;
        let held = ObjectKey::new("PolicyFramework", None, &own.to_string());
        let named = self.model.agreements.values().any(|agreement| agreement.spec.framework == *own);
        (named && !self.model.objects.contains_key(&held)).then_some(own)
    }

    /// Decides a request (the access gate), and says why.
    pub fn decide(&self, request: &AccessRequest) -> Verdict {
        policy::decide(&self.model, self.model.policies.values(), &self.assessments, request, self.at)
    }

    /// Decides a request like [`decide`](Self::decide), and finds what would allow one that is denied, which takes
    /// longer.
    pub fn explain(&self, request: &AccessRequest) -> Verdict {
        policy::explain_request(&self.model, &self.assessments, request, self.at)
    }

    /// When the local permit of this id, such as `namespace/name#id`, ends by itself: its policy's review is due then.
    pub fn permit_ends(&self, rule: &str) -> Option<Timestamp> {
        let (reference, _) = rule.split_once('#')?;
        let policy = self.model.policies.iter().find(|(key, _)| key.to_string() == reference);
        policy?.1.permits_until
    }

    /// When the path that a request is about ends by itself under an agreement; nothing where it is not open.
    pub fn path_ends(&self, request: &AccessRequest, agreement: &ObjectRef) -> Option<Timestamp> {
        policy::path_ends(&self.model, &self.assessments, request, agreement)
    }
}
