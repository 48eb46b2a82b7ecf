//! What organisations have said of agreements, and what it comes to at a moment.
//!
//! Kept apart from the moment: a delegation that ends, or a withdrawal with a date, changes what counts, and whether one
//! agreement has replaced another is judged at moments that are past.
//! Source: design, AgreementSignature; who may write in a namespace has signed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use concordat_api::{ObjectRef, SignatureEnd, SignatureState, Standing};

/// An agreement, and the party whose word on it is meant.
pub type Slot = (ObjectRef, String);

/// Everything that one organisation has said of one agreement, or that others have said for it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Words {
    /// What lies in its home namespace. It goes before what others say.
    pub own: Vec<Word>,
    /// What lies in the home namespaces of those whom it lets sign.
    pub delegated: Vec<DelegatedWord>,
}

/// One signature object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Word {
    Said(Said),
    /// It cannot be read or used, and may say anything that its namespace could say.
    Unknown,
}

/// What a signature object says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    pub state: SignatureState,
    pub terms_hash: String,
    /// The purposes that it covers; none means all.
    pub purposes: Option<BTreeSet<String>>,
    pub ends: Vec<SignatureEnd>,
    /// Whether the object is being deleted: it signs nothing any more, and still says no to what it said no to. That it had
    /// signed is a fact.
    pub leaving: bool,
}

/// Whether what is being deleted is asked for what it says or for what it once said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tense {
    Present,
    Past,
}

/// One signature object by a delegate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DelegatedWord {
    pub namespace: String,
    /// What was delegated to the organisations at home there.
    pub delegations: Vec<Delegation>,
    pub word: Word,
    /// Whether the delegate can be used. One that cannot signs nothing, and what it wrote in time may say anything.
    pub is_usable: bool,
}

/// Leave to sign for somebody else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delegation {
    pub purposes: BTreeSet<String>,
    pub until: Timestamp,
    /// When the delegate itself ends, and with it its leave.
    pub delegate_ends: Option<Timestamp>,
    /// Whether the delegate is not active or not there any more, since when is not known.
    pub is_inactive: bool,
}

impl Delegation {
    /// When it ends. That to an organisation that is not active has ended long ago.
    pub fn ends(&self) -> Timestamp {
        if self.is_inactive { Timestamp::MIN } else { self.written_end() }
    }

    /// When it ends by what is written down, whatever has become of the delegate.
    fn written_end(&self) -> Timestamp {
        self.delegate_ends.map_or(self.until, |ends| ends.min(self.until))
    }
}

/// How one organisation's word on an agreement counts at a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Voice {
    pub standing: Standing,
    /// The purposes that it has signed for, on the current terms.
    pub purposes: BTreeSet<String>,
    /// The purposes that it has said no to, or may have, on whatever terms: in an emergency, where a recipient need not
    /// sign, these stay closed.
    pub against: BTreeSet<String>,
    /// Those of them that it had signed for until a date which it wrote down.
    pub ended: BTreeSet<String>,
    /// Whether several signatures void each other.
    pub twice: bool,
    /// Whether something that cannot be used may be its word, such as a withdrawal.
    pub in_doubt: bool,
}

impl Voice {
    /// Nothing has been said.
    pub fn silent() -> Self {
        let (purposes, against, ended) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { standing: Standing::NotSigned, purposes, against, ended, twice: false, in_doubt: false }
    }

    fn unclear(against: BTreeSet<String>, twice: bool) -> Self {
        Self { against, twice, in_doubt: true, ..Self::silent() }
    }
}

impl Words {
    /// What it comes to at `at`, for an agreement with these purposes and these current terms.
    pub fn at(&self, at: Timestamp, all: &BTreeSet<String>, terms_hash: &str) -> Voice {
        self.heard(at, all, terms_hash, Tense::Present)
    }

    /// What it came to at `at`: the same, but a signature that is being deleted had signed.
    pub fn was_at(&self, at: Timestamp, all: &BTreeSet<String>, terms_hash: &str) -> Voice {
        self.heard(at, all, terms_hash, Tense::Past)
    }

    fn heard(&self, at: Timestamp, all: &BTreeSet<String>, terms_hash: &str, tense: Tense) -> Voice {
        let Self { own, delegated } = self;
        match own.as_slice() {
            [] => delegates(delegated, at, all, terms_hash, tense),
            [Word::Said(said)] => said.heard(at, all, all, terms_hash, tense),
            [Word::Unknown] => Voice::unclear(all.clone(), false),
            _ => Voice::unclear(all.clone(), true),
        }
    }

    /// The moments at which what it comes to may change.
    pub fn moments(&self) -> impl Iterator<Item = Timestamp> {
        let delegations = self.delegated.iter().flat_map(|it| &it.delegations).map(Delegation::ends);
        self.ends().chain(delegations)
    }

    /// The dates of withdrawals that are written down.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let words = self.own.iter().chain(self.delegated.iter().map(|it| &it.word));
        let said = words.filter_map(|word| match word {
            Word::Said(said) => Some(said),
            Word::Unknown => None,
        });
        said.flat_map(|said| &said.ends).map(|end| end.on)
    }

    /// What it signed, as a fact that nothing undoes: the hash of each signature that was not a `Declined` and could be
    /// read. Of several that void each other there is none.
    pub fn signed_once(&self, at: Timestamp) -> Option<&Said> {
        let word = match self.own.as_slice() {
            [word] => word,
            [] => {
                let in_date = |it: &Delegation| at < it.written_end();
                let mut live = self.delegated.iter().filter(|it| it.delegations.iter().any(in_date));
                let first = live.next()?;
                if live.next().is_some() {
                    return None;
                }
                &first.word
            }
            _ => return None,
        };
        match word {
            Word::Said(said) if said.state != SignatureState::Declined => Some(said),
            Word::Said(_) | Word::Unknown => None,
        }
    }

    /// Whether it rests on what a delegate said that is not active any more, which hides what it once was.
    pub fn rests_on_inactive(&self) -> bool {
        let mut delegations = self.delegated.iter().flat_map(|it| &it.delegations);
        self.own.is_empty() && delegations.any(|it| it.is_inactive)
    }

    /// The same without those who could never speak of an agreement: whose leave had ended before it began.
    pub fn since(mut self, start: Timestamp) -> Self {
        self.delegated.retain(|word| word.delegations.iter().any(|it| start < it.written_end()));
        self
    }

    /// The purposes for which others may speak for it: all that there are, of an agreement whose own are not known.
    pub fn delegated_purposes(&self) -> BTreeSet<String> {
        self.delegated.iter().flat_map(|it| &it.delegations).flat_map(|it| &it.purposes).cloned().collect()
    }

    /// Whether something that cannot be used may be its word at a moment.
    pub fn in_doubt(&self, at: Timestamp) -> bool {
        self.at(at, &self.delegated_purposes(), "").in_doubt
    }

    /// Whether it has withdrawn at a moment of a stretch of time, or may have: something that cannot be read may be a
    /// withdrawal, and a second copy takes none away. That a delegation has ended since revives nothing. A delegate whose
    /// leave had ended before all that time has said nothing.
    pub fn may_have_withdrawn(&self, from: Timestamp, to: Timestamp, all: &BTreeSet<String>) -> bool {
        self.within(from, to).any(|at| self.may_stand_withdrawn(at, all))
    }

    /// Whether it has withdrawn at a moment of a stretch of time: by a word that can be used.
    pub fn has_withdrawn(&self, from: Timestamp, to: Timestamp, all: &BTreeSet<String>) -> bool {
        self.within(from, to).any(|at| self.at(at, all, "").standing == Standing::Withdrawn)
    }

    /// Both ends of a stretch of time, and the moments in it at which what it comes to may change.
    fn within(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Timestamp> {
        [from, to].into_iter().chain(self.moments().filter(move |at| (from..=to).contains(at)))
    }

    fn may_stand_withdrawn(&self, at: Timestamp, all: &BTreeSet<String>) -> bool {
        let in_date = |it: &Delegation| at < it.written_end() && !it.purposes.is_disjoint(all);
        let delegated = self.delegated.iter().filter(|it| it.delegations.iter().any(in_date));
        let voice = self.at(at, all, "");
        voice.standing == Standing::Withdrawn
            || (voice.in_doubt
                && self.own.iter().chain(delegated.map(|it| &it.word)).any(|word| match word {
                    Word::Said(said) => {
                        said.heard(at, all, all, "", Tense::Past).standing == Standing::Withdrawn
                    }
                    Word::Unknown => true,
                }))
    }

    /// Whether it may have signed: it has, or something that cannot be read may be its signature.
    pub fn may_have_signed(&self) -> bool {
        let Self { own, delegated } = self;
        let words = own.iter().chain(delegated.iter().map(|it| &it.word));
        words.into_iter().any(|word| match word {
            Word::Said(said) => said.state != SignatureState::Declined,
            Word::Unknown => true,
        })
    }
}

impl Said {
    /// What it comes to, said by somebody who may speak for the purposes of `may`.
    fn heard(
        &self,
        at: Timestamp,
        all: &BTreeSet<String>,
        may: &BTreeSet<String>,
        terms_hash: &str,
        tense: Tense,
    ) -> Voice {
        let Self { state, terms_hash: hash, purposes, ends, leaving } = self;
        let out = |standing| Voice { standing, against: may.clone(), ..Voice::silent() };
        match state {
            SignatureState::Withdrawn => return out(Standing::Withdrawn),
            SignatureState::Declined => return out(Standing::Declined),
            SignatureState::Signed => {}
        }
        let over = |purpose: &&String| {
            ends.iter().any(|end| end.on <= at && end.purpose.as_ref().is_none_or(|of| of == *purpose))
        };
        let covered = |purpose: &&String| purposes.as_ref().is_none_or(|own| own.contains(*purpose));
        // who has ended each purpose that it signed for, one by one or all at once, has withdrawn
        let mut signed_for = may.iter().filter(covered).peekable();
        let has_ended_all = ends.iter().any(|end| end.on <= at && end.purpose.is_none())
            || (signed_for.peek().is_some() && signed_for.all(|purpose| over(&purpose)));
        if has_ended_all {
            return out(Standing::Withdrawn);
        }
        let signed: BTreeSet<String> = may
            .iter()
            .filter(|purpose| all.contains(*purpose))
            .filter(covered)
            .filter(|it| !over(it))
            .cloned()
            .collect();
        let against = may.difference(&signed).cloned().collect();
        let ended = may.iter().filter(covered).filter(over).cloned().collect();
        let voice = Voice { against, ended, ..Voice::silent() };
        if *leaving && tense == Tense::Present {
            voice
        } else if hash != terms_hash || terms_hash.is_empty() {
            Voice { standing: Standing::OtherTerms, ..voice }
        } else {
            Voice { standing: Standing::Signed, purposes: signed, ..voice }
        }
    }
}

/// What delegates say together. Of several none counts. Once a delegation has ended, its yes is over and its no stays; what
/// cannot be read may have been a no.
fn delegates(
    words: &[DelegatedWord],
    at: Timestamp,
    all: &BTreeSet<String>,
    terms_hash: &str,
    tense: Tense,
) -> Voice {
    let mut said: Vec<(&Said, BTreeSet<String>)> = Vec::new();
    let mut unknown: BTreeSet<String> = BTreeSet::new();
    let mut lapsed: BTreeSet<String> = BTreeSet::new();
    let mut has_left = false;
    let mut in_one: BTreeMap<&str, usize> = BTreeMap::new();
    for DelegatedWord { namespace, delegations, word, is_usable } in words {
        let of = |in_date: bool| -> BTreeSet<String> {
            let those = delegations.iter().filter(|it| (at < it.ends()) == in_date);
            those.flat_map(|it| it.purposes.intersection(all)).cloned().collect()
        };
        let may = of(true);
        match word {
            // who may speak for no purpose of the agreement says nothing about it
            _ if !may.is_empty() => {
                *in_one.entry(namespace).or_default() += 1;
                match word {
                    Word::Said(word) if *is_usable => said.push((word, may)),
                    Word::Said(_) | Word::Unknown => unknown.extend(may),
                }
            }
            // no passing of time takes a no away, to the whole or to a part
            Word::Said(word) => {
                let Voice { standing, against, .. } = word.heard(at, all, &of(false), "", tense);
                lapsed.extend(against);
                has_left |= standing.is_out();
            }
            Word::Unknown => {
                let over = of(false);
                has_left |= !over.is_empty();
                lapsed.extend(over);
            }
        }
    }
    let doubled = in_one.values().any(|count| *count > 1);
    match said.as_slice() {
        [(word, may)] if !doubled => {
            let mut voice = word.heard(at, all, may, terms_hash, tense);
            if !unknown.is_empty() {
                voice.purposes.retain(|purpose| !unknown.contains(purpose));
                voice.against.extend(unknown);
                voice.in_doubt = true;
            }
            // a delegate that signs for nothing that it may sign for has not signed the terms
            if voice.standing == Standing::Signed && voice.purposes.is_empty() {
                voice.standing = Standing::NotSigned;
            }
            voice.against.extend(lapsed.difference(&voice.purposes).cloned().collect::<Vec<_>>());
            voice
        }
        [] if unknown.is_empty() && !has_left => Voice { against: lapsed, ..Voice::silent() },
        [] => Voice::unclear(unknown.into_iter().chain(lapsed).collect(), doubled),
        several => {
            let may = several.iter().flat_map(|(_, may)| may).cloned();
            Voice::unclear(may.chain(unknown).chain(lapsed).collect(), true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeSet<String> {
        ["Care", "Planning"].map(str::to_owned).into()
    }

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn said(state: SignatureState, purposes: &[&str], ends: &[(Option<&str>, &str)]) -> Word {
        let purposes: BTreeSet<String> = purposes.iter().map(|it| (*it).to_owned()).collect();
        Word::Said(Said {
            state,
            terms_hash: "now".to_owned(),
            purposes: (!purposes.is_empty()).then_some(purposes),
            ends: ends
                .iter()
                .map(|(purpose, on)| SignatureEnd { purpose: purpose.map(str::to_owned), on: moment(on) })
                .collect(),
            leaving: false,
        })
    }

    fn delegated(namespace: &str, purposes: &[&str], until: &str, word: Word) -> DelegatedWord {
        let purposes = purposes.iter().map(|it| (*it).to_owned()).collect();
        let delegations =
            vec![Delegation { purposes, until: moment(until), delegate_ends: None, is_inactive: false }];
        DelegatedWord { namespace: namespace.to_owned(), delegations, word, is_usable: true }
    }

    /// Standing, what it has signed for, and what it is against.
    fn heard(words: &Words, at: &str, hash: &str) -> (Standing, String, String) {
        let Voice { standing, purposes, against, .. } = words.at(moment(at), &all(), hash);
        let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(",");
        (standing, list(purposes), list(against))
    }

    fn is(standing: Standing, purposes: &str, against: &str) -> (Standing, String, String) {
        (standing, purposes.to_owned(), against.to_owned())
    }

    const EARLY: &str = "2026-06-01T00:00:00Z";
    const LATE: &str = "2026-09-01T00:00:00Z";
    const BETWEEN: &str = "2026-07-01T00:00:00Z";

    #[test]
    fn a_withdrawal_counts_whatever_purposes_and_terms_it_names() {
        let words = Words { own: vec![said(SignatureState::Withdrawn, &["Care"], &[])], ..Words::default() };
        assert_eq!(heard(&words, EARLY, "other"), is(Standing::Withdrawn, "", "Care,Planning"));
    }

    #[test]
    fn an_end_counts_from_its_moment_on_and_for_its_purpose() {
        let word = said(SignatureState::Signed, &[], &[(Some("Planning"), BETWEEN), (None, LATE)]);
        let words = Words { own: vec![word], ..Words::default() };
        assert_eq!(heard(&words, EARLY, "now"), is(Standing::Signed, "Care,Planning", ""));
        assert_eq!(heard(&words, BETWEEN, "now"), is(Standing::Signed, "Care", "Planning"));
        assert_eq!(
            heard(&words, "2026-08-31T23:59:59.999Z", "now"),
            is(Standing::Signed, "Care", "Planning")
        );
        assert_eq!(heard(&words, LATE, "now"), is(Standing::Withdrawn, "", "Care,Planning"));
        assert_eq!(heard(&words, LATE, "other"), is(Standing::Withdrawn, "", "Care,Planning"));
    }

    #[test]
    fn two_of_one_namespace_void_each_other_and_the_own_goes_before_a_delegates() {
        let yes = || said(SignatureState::Signed, &[], &[]);
        let twice = Words { own: vec![yes(), Word::Unknown], ..Words::default() };
        assert_eq!(heard(&twice, EARLY, "now"), is(Standing::NotSigned, "", "Care,Planning"));
        let no = delegated("friend", &["Care"], LATE, said(SignatureState::Withdrawn, &[], &[]));
        let both = Words { own: vec![yes()], delegated: vec![no.clone()] };
        assert_eq!(heard(&both, EARLY, "now"), is(Standing::Signed, "Care,Planning", ""));
        let alone = Words { own: Vec::new(), delegated: vec![no] };
        assert_eq!(heard(&alone, EARLY, "now"), is(Standing::Withdrawn, "", "Care"));
        assert_eq!(heard(&alone, LATE, "now"), is(Standing::NotSigned, "", "Care"), "time takes no no away");
    }

    #[test]
    fn no_passing_of_time_takes_away_what_a_delegate_said_no_to() {
        let at = |word: Word, at: &str| {
            let delegated = delegated("one", &["Care", "Planning"], "2027-01-01T00:00:00Z", word);
            heard(&Words { own: Vec::new(), delegated: vec![delegated] }, at, "now").2
        };
        let (before, after) = ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
        let partial = || said(SignatureState::Signed, &["Planning"], &[]);
        assert_eq!((at(partial(), before), at(partial(), after)), ("Care".to_owned(), "Care".to_owned()));
        let ended = || said(SignatureState::Signed, &[], &[(Some("Care"), "2026-06-01T00:00:00Z")]);
        assert_eq!((at(ended(), before), at(ended(), after)), ("Care".to_owned(), "Care".to_owned()));
        assert_eq!(at(said(SignatureState::Withdrawn, &[], &[]), after), "Care,Planning");
        assert_eq!(at(said(SignatureState::Signed, &[], &[]), after), "");
    }

    #[test]
    fn what_a_delegate_wrote_and_cannot_be_read_is_held_against_what_was_delegated() {
        let yes = delegated("friend", &["Care"], LATE, said(SignatureState::Signed, &[], &[]));
        let broken = delegated("other", &["Planning"], BETWEEN, Word::Unknown);
        let words = Words { own: Vec::new(), delegated: vec![yes, broken] };
        assert_eq!(heard(&words, EARLY, "now"), is(Standing::Signed, "Care", "Planning"));
        assert_eq!(heard(&words, BETWEEN, "now"), is(Standing::Signed, "Care", "Planning"));
        assert_eq!(heard(&words, LATE, "now"), is(Standing::NotSigned, "", "Planning"));
    }
}
