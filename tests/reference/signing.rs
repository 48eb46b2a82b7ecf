//! How an organisation stands in an agreement at a moment: by its own signature, by a delegate's, or by none.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::model::{Model, has_role, is_party};
use super::terms;
use super::world::{Agreement, Broken, Delegation, Object, Ref, Signature, is_blank};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Signed,
    Withdrawn,
    Declined,
    OtherTerms,
    NotSigned,
}

/// How an organisation stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub kind: Kind,
    /// The purposes that it stands signed for.
    pub purposes: BTreeSet<String>,
    /// Something of it is broken or doubled, which may have been a signature or a withdrawal.
    pub doubt: bool,
    /// What is in doubt may be a withdrawal: it is broken, or one of several that is one.
    pub maybe_no: bool,
    /// The hash that it wrote, where it wrote one.
    pub hash: Option<String>,
}

impl Standing {
    fn new(kind: Kind) -> Self {
        Self { kind, purposes: BTreeSet::new(), doubt: false, maybe_no: false, hash: None }
    }

    fn signed(purposes: BTreeSet<String>) -> Self {
        Self { purposes, ..Self::new(Kind::Signed) }
    }

    fn doubt<'a>(said: impl Iterator<Item = &'a Said<'a>>, codes: &BTreeSet<String>, at: Timestamp) -> Self {
        let mut kinds = said.map(|it| it.map(|it| stands(&it.spec, codes, at).kind));
        let maybe_no = kinds.any(|it| it.is_none_or(|it| it == Kind::Withdrawn));
        Self { doubt: true, maybe_no, ..Self::new(Kind::NotSigned) }
    }

    /// Whether it has signed, as supersession asks: signed, withdrawn since, or perhaps either.
    pub fn has_signed(&self) -> bool {
        matches!(self.kind, Kind::Signed | Kind::Withdrawn) || self.doubt
    }

    /// Whether it has withdrawn, or perhaps has.
    pub fn may_have_withdrawn(&self) -> bool {
        self.kind == Kind::Withdrawn || self.maybe_no
    }

    pub fn is_out(&self) -> bool {
        matches!(self.kind, Kind::Withdrawn | Kind::Declined)
    }
}

/// What is said for a party by a signature object: the object, or none where it is broken.
type Said<'a> = Option<&'a Object<Signature>>;

/// Which delegates count.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Delegates {
    /// Those that are active.
    Active,
    /// Also those whose state is another now: it is not written since when.
    AsTheyWere,
}

/// Whether a signature that is being deleted is asked for what it says or for what it once said.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Deleted {
    /// It signs nothing, and its no is still one.
    Going,
    /// That it had signed is a fact.
    AsItWas,
}

/// What a delegate may speak for.
type Limit = BTreeSet<String>;

impl Model<'_> {
    /// How an organisation stands in an agreement, by today's signatures as they count at a moment.
    pub fn standing(&self, agreement: &Object<Agreement>, org: &str, at: Timestamp) -> Standing {
        if !is_party(&agreement.spec, org) {
            return Standing::new(Kind::NotSigned);
        }
        self.standing_by(agreement, org, at, (Delegates::Active, Deleted::Going))
    }

    /// How it stood, by signatures that are being deleted too.
    pub fn standing_then(&self, agreement: &Object<Agreement>, org: &str, at: Timestamp) -> Standing {
        self.standing_by(agreement, org, at, (Delegates::Active, Deleted::AsItWas))
    }

    /// How it stood, if delegates that are not active now were.
    pub fn standing_once(&self, agreement: &Object<Agreement>, org: &str, at: Timestamp) -> Standing {
        self.standing_by(agreement, org, at, (Delegates::AsTheyWere, Deleted::AsItWas))
    }

    /// Whether it has signed by a delegate that is not active any more, since when is not known.
    pub fn rests_on_inactive(&self, agreement: &Object<Agreement>, org: &str, at: Timestamp) -> bool {
        let now = self.said(&agreement.key, org, at, Delegates::Active);
        let once = self.said(&agreement.key, org, at, Delegates::AsTheyWere);
        once.0.is_empty() && now.1.len() != once.1.len()
    }

    fn standing_by(
        &self,
        agreement: &Object<Agreement>,
        org: &str,
        at: Timestamp,
        (which, deleted): (Delegates, Deleted),
    ) -> Standing {
        let spec = &agreement.spec;
        let codes: BTreeSet<String> = spec.purposes.iter().map(|it| it.code.clone()).collect();
        if self.as_signed {
            return Standing::signed(codes);
        }
        let assumed = spec.emergency.is_some() && !has_role(spec, org, "Controller");
        let (own, mut delegates) = self.said(&agreement.key, org, at, which);
        // a delegate that may speak for none of the purposes has said nothing
        delegates.retain(|(_, limit)| !limit.is_disjoint(&codes));
        match (own.as_slice(), delegates.as_slice()) {
            ([], []) if assumed => {
                let mut purposes = codes.clone();
                self.keep_lapsed_noes(agreement, org, at, &codes, &mut purposes);
                Standing::signed(purposes)
            }
            ([], []) => Standing::new(Kind::NotSigned),
            ([Some(own)], _) => {
                let standing = stands(&own.spec, &codes, at);
                let is_going = own.deleted && deleted == Deleted::Going;
                self.counted(agreement, org, standing, is_going, assumed)
            }
            (own, _) if !own.is_empty() => Standing::doubt(own.iter(), &codes, at),
            ([], delegates) if assumed => {
                let mut purposes = codes.clone();
                for (said, limit) in delegates {
                    let kept = match (said, delegates) {
                        (Some(said), [_]) => {
                            let standing = stands(&said.spec, &codes, at);
                            if standing.kind == Kind::Signed { standing.purposes } else { Limit::new() }
                        }
                        _ => Limit::new(),
                    };
                    purposes.retain(|it| !limit.contains(it) || kept.contains(it));
                }
                self.keep_lapsed_noes(agreement, org, at, &codes, &mut purposes);
                Standing::signed(purposes)
            }
            ([], [(Some(said), limit)]) => {
                let standing = stands(&said.spec, &codes.intersection(limit).cloned().collect(), at);
                let is_going = said.deleted && deleted == Deleted::Going;
                self.counted(agreement, org, standing, is_going, false)
            }
            (_, delegates) => Standing::doubt(delegates.iter().map(|(said, _)| said), &codes, at),
        }
    }

    /// A signature counts on the current terms alone, and while it is not being deleted, unless it is a no or the party is
    /// assumed to have signed.
    fn counted(
        &self,
        agreement: &Object<Agreement>,
        org: &str,
        standing: Standing,
        is_going: bool,
        assumed: bool,
    ) -> Standing {
        if standing.kind == Kind::Signed && is_going && !assumed {
            return Standing::new(Kind::NotSigned);
        }
        let current = || terms::hash(agreement, org, &|it| self.products.get(it).map(|it| (*it).clone()));
        if standing.kind != Kind::Signed || assumed || standing.hash == current() {
            return standing;
        }
        Standing { kind: Kind::OtherTerms, purposes: BTreeSet::new(), ..standing }
    }

    /// The one word of a party's own on an agreement.
    pub fn own_word(&self, agreement: &Ref, org: &str) -> Option<&Object<Signature>> {
        let (own, _) = self.said(agreement, org, Timestamp::MIN, Delegates::Active);
        match own.as_slice() {
            [Some(own)] => Some(own),
            _ => None,
        }
    }

    /// What is said for a party about an agreement: by itself, and by delegates, each with what it may speak for.
    fn said(
        &self,
        agreement: &Ref,
        org: &str,
        at: Timestamp,
        which: Delegates,
    ) -> (Vec<Said<'_>>, Vec<(Said<'_>, Limit)>) {
        let whole =
            self.world.signatures.iter().filter(|it| it.spec.agreement == *agreement && it.spec.party == org);
        let whole = whole.map(|it| (it.key.namespace.as_str(), is_whole(&it.spec).then_some(it)));
        let broken = self.world.broken.iter().filter(|it| may_be_about(it, agreement, org));
        let broken = broken.map(|it| (it.key.namespace.as_str(), None));
        let (mut own, mut delegates) = (Vec::new(), Vec::new());
        let Some(party) = self.orgs.get(org) else { return (own, delegates) };
        for (namespace, said) in whole.chain(broken) {
            if party.spec.home_namespace == namespace {
                own.push(said);
                continue;
            }
            let valid = party.spec.delegated_signing.iter().filter(|delegation| {
                let delegate = self.orgs.get(delegation.to.as_str());
                let was_home = self.may_have_been_home(namespace, &delegation.to);
                if was_home {
                    return which == Delegates::AsTheyWere && at < delegation.until;
                }
                delegate.is_some_and(|it| it.spec.home_namespace == namespace)
                    && at < delegation.until
                    && (self.is_active(&delegation.to, at)
                        || (which == Delegates::AsTheyWere
                            && delegate.is_some_and(|it| {
                                it.spec.state != "Active" && it.spec.ends_on.is_none_or(|ends| at < ends)
                            })))
            });
            let limit: Limit = valid.flat_map(|it| it.purposes.iter().cloned()).collect();
            if !limit.is_empty() {
                delegates.push((said, limit));
            }
        }
        (own, delegates)
    }

    /// Whether a namespace may have been the home of an organisation that is not there any more: it is no one else's.
    pub fn may_have_been_home(&self, namespace: &str, org: &str) -> bool {
        let broken = self.world.broken.iter().filter(|it| it.kind == "PartnerOrg");
        let broken =
            broken.map(|it| (it.key.name.as_str(), it.spec["homeNamespace"].as_str().unwrap_or_default()));
        let whole = self.world.orgs.iter();
        let whole = whole.map(|it| (it.key.name.as_str(), it.spec.home_namespace.as_str()));
        whole.chain(broken).all(|(name, home)| name != org && (home != namespace || name.is_empty()))
    }

    /// Takes out of what a recipient is assumed to have signed, in an emergency, what a delegate had said no to before its
    /// delegation ended, or may have.
    fn keep_lapsed_noes(
        &self,
        agreement: &Object<Agreement>,
        org: &str,
        at: Timestamp,
        codes: &BTreeSet<String>,
        purposes: &mut BTreeSet<String>,
    ) {
        let Some(party) = self.orgs.get(org) else { return };
        let about = |it: &&Object<Signature>| it.spec.agreement == agreement.key && it.spec.party == org;
        let whole = self.world.signatures.iter().filter(about).filter(|it| is_whole(&it.spec));
        let whole = whole.map(|it| (&it.key.namespace, Some(&it.spec)));
        let broken = self.world.broken.iter().filter(|it| may_be_about(it, &agreement.key, org));
        for (namespace, said) in whole.chain(broken.map(|it| (&it.key.namespace, None))) {
            let to = |it: &str| {
                let home = self.world.orgs.iter().find(|org| org.key.name == it);
                home.is_some_and(|org| org.spec.home_namespace == *namespace)
                    || self.may_have_been_home(namespace, it)
            };
            // whose leave had ended before the agreement began could never speak of it
            let in_its_time = |it: &&Delegation| {
                let ends = self.orgs.get(it.to.as_str()).and_then(|org| org.spec.ends_on);
                agreement.spec.term.start < ends.map_or(it.until, |ends| ends.min(it.until))
            };
            let (valid, lapsed): (Vec<_>, Vec<_>) = party
                .spec
                .delegated_signing
                .iter()
                .filter(|it| to(&it.to))
                .filter(in_its_time)
                .partition(|it| at < it.until && self.is_active(&it.to, at));
            if valid.is_empty() {
                let limit: Limit = lapsed.iter().flat_map(|it| it.purposes.iter().cloned()).collect();
                let kept = said.map(|it| stands(it, codes, at).purposes).unwrap_or_default();
                purposes.retain(|it| !limit.contains(it) || kept.contains(it));
            }
        }
    }

    /// Whether an organisation has signed, and whether it has withdrawn from, an agreement that cannot be read.
    pub fn said_of_unreadable(&self, agreement: &Ref, org: &str, at: Timestamp) -> (bool, bool) {
        let (own, delegates) = self.said(agreement, org, at, Delegates::AsTheyWere);
        let (mut signed, mut withdrawn) = (false, false);
        for said in own.into_iter().chain(delegates.into_iter().map(|(said, _)| said)) {
            let kind = said.map(|it| stands(&it.spec, &Limit::new(), at).kind);
            signed |= kind != Some(Kind::Declined);
            withdrawn |= kind.is_none_or(|it| it == Kind::Withdrawn);
        }
        (signed, withdrawn)
    }
}

/// What one signature says, whatever the terms.
fn stands(signature: &Signature, codes: &BTreeSet<String>, at: Timestamp) -> Standing {
    let mut kind = match signature.state.as_deref() {
        Some("Withdrawn") => Kind::Withdrawn,
        Some("Declined") => Kind::Declined,
        _ => Kind::Signed,
    };
    let mut purposes = codes.clone();
    if let Some(listed) = &signature.purposes {
        purposes.retain(|it| listed.contains(it));
    }
    for end in signature.ends.iter().filter(|it| it.on <= at) {
        match &end.purpose {
            Some(purpose) => {
                purposes.remove(purpose);
            }
            None if kind == Kind::Signed => kind = Kind::Withdrawn,
            None => {}
        }
    }
    let mut covered =
        codes.iter().filter(|it| signature.purposes.as_ref().is_none_or(|own| own.contains(it)));
    let has_ended = signature.ends.iter().any(|it| it.on <= at);
    if kind == Kind::Signed && has_ended && purposes.is_empty() && covered.next().is_some() {
        kind = Kind::Withdrawn;
    }
    if kind != Kind::Signed {
        purposes.clear();
    }
    Standing { kind, purposes, doubt: false, maybe_no: false, hash: Some(signature.terms_hash.clone()) }
}

/// Whether what is written in a signature can be a signature at all.
fn is_whole(signature: &Signature) -> bool {
    let hex = signature.terms_hash.strip_prefix("sha256:").unwrap_or_default();
    let ends: BTreeSet<_> = signature.ends.iter().map(|it| &it.purpose).collect();
    hex.len() == 64
        && hex.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
        && ends.len() == signature.ends.len()
        && matches!(signature.state.as_deref(), None | Some("Signed" | "Withdrawn" | "Declined"))
        && !is_blank(Some(&signature.party))
}

/// Whether a broken signature may speak for a party about an agreement: what can be read of it does not say otherwise.
fn may_be_about(broken: &Broken, agreement: &Ref, org: &str) -> bool {
    let says =
        |value: &Value, expected: &str| value.as_str().is_none_or(|it| it.is_empty() || it == expected);
    broken.kind == "AgreementSignature"
        && says(&broken.spec["party"], org)
        && says(&broken.spec["agreement"]["namespace"], &agreement.namespace)
        && says(&broken.spec["agreement"]["name"], &agreement.name)
}
