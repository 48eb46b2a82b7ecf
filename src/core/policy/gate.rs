//! The questions of the agreement gate: one for every row of `parties[]`, one for every purpose.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use cedar_policy::{Entities, EntityUid, PolicySet};
use jiff::{SignedDuration, Timestamp};

use super::authorize::{Outcome, Question};
use super::compliance::{BrokenRule, is_per_party};
use super::entities::{DataFlags, Value, flag, long, moment, text};
use super::framework::Framework;
use super::moments::add_months;
use super::names;
use super::signing::PartyState;
use crate::api::{FrameworkRef, ObjectRef, Party, PartyRole, Purpose};
use crate::core::model::{Agreement, Model};

/// One question of the agreement gate.
pub(super) struct GateQuestion {
    org: String,
    /// Its place in `parties[]`.
    row: usize,
    /// The purpose that it is about; none when it is about the party's row.
    purpose: Option<String>,
    stated: Stated,
}

/// What a question states beside who asks about which agreement.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Stated {
    now: Timestamp,
    role: PartyRole,
    article6: String,
    article9: String,
    data: DataFlags,
    purpose: String,
    purpose_data: DataFlags,
    purpose_max_identifiability: i64,
    term_within_limits: bool,
    review_within_limits: bool,
}

impl Stated {
    fn context(&self, framework: &Framework) -> Vec<(&'static str, Value)> {
        let Self {
            now,
            role,
            article6,
            article9,
            data,
            purpose,
            purpose_data,
            purpose_max_identifiability,
            term_within_limits,
            review_within_limits,
        } = self;
        vec![
            ("now", moment(*now)),
            ("framework", framework.terms.clone()),
            ("role", text(role.as_str())),
            ("article6", text(article6)),
            ("article9", text(article9)),
            ("data", data.value()),
            ("purpose", text(purpose)),
            ("purposeData", purpose_data.value()),
            ("purposeMaxIdentifiability", long(*purpose_max_identifiability)),
            ("termWithinLimits", flag(*term_within_limits)),
            ("reviewWithinLimits", flag(*review_within_limits)),
        ]
    }
}

/// The questions about one model that have been put together and checked, by what they state: thousands of agreements
/// state the same few things.
#[derive(Default)]
pub(super) struct Forms(Mutex<HashMap<(FrameworkRef, Stated), Question>>);

impl Forms {
    fn question(
        &self,
        framework: &Framework,
        stated: Stated,
        principal: EntityUid,
        resource: EntityUid,
    ) -> Result<Question, String> {
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match forms.entry((framework.reference.clone(), stated)) {
            Entry::Occupied(form) => form.get().alike(principal, resource),
            Entry::Vacant(form) => {
                let context = form.key().1.context(framework);
                let action = names::activate_agreement();
                let question = Question::new(principal.clone(), action, resource.clone(), context)?;
                form.insert(question).alike(principal, resource)
            }
        }
    }
}

impl GateQuestion {
    pub(super) fn ask(
        self,
        policies: &PolicySet,
        entities: &Result<Entities, String>,
        framework: &Framework,
        agreement: &Agreement,
        forms: &Forms,
    ) -> Vec<BrokenRule> {
        let Self { org, row, purpose, stated } = self;
        let outcome = (|| {
            let entities = entities.as_ref().map_err(Clone::clone)?;
            let (party, agreement) = (names::org(&org), names::agreement(&agreement.reference));
            let question = forms.question(framework, stated, party, agreement)?;
            Ok::<_, String>(question.ask(policies, entities))
        })()
        .unwrap_or_else(Outcome::Error);
        let broken = |rule: String, reason: String| BrokenRule {
            // a rule about the agreement as a whole is the same for every party
            org: (purpose.is_none() && is_about_party(&rule)).then(|| org.clone()),
            row: (purpose.is_none() && is_about_row(&rule)).then_some(row),
            purpose: purpose.clone(),
            rule,
            reason,
        };
        match outcome {
            Outcome::Allowed(_) => Vec::new(),
            Outcome::Forbidden(rules) => rules
                .into_iter()
                .filter(|rule| purpose.is_none() || is_about_purpose(rule))
                .map(|rule| {
                    let reason = framework.reason(&rule).to_owned();
                    broken(rule, reason)
                })
                .collect(),
            Outcome::Silent => {
                vec![broken("gate".to_owned(), "no rule of the framework permits it".to_owned())]
            }
            Outcome::Error(error) => {
                vec![broken("error".to_owned(), format!("a rule could not be evaluated: {error}"))]
            }
        }
    }
}

/// Rules that are asked again for each purpose. Every other one has been asked of the row.
fn is_about_purpose(rule: &str) -> bool {
    ["NF-04a", "NF-04b", "NF-09"].contains(&rule)
}

/// Rules whose answer differs by party.
fn is_about_party(rule: &str) -> bool {
    is_per_party(rule) || !["NF-02", "NF-05", "NF-07", "NF-08", "NF-09", "NF-10"].contains(&rule)
}

/// Rules that read the lawful basis, which each row has for itself.
fn is_about_row(rule: &str) -> bool {
    rule.starts_with("NF-03")
}

pub(super) fn questions(
    model: &Model,
    agreement: &Agreement,
    framework: &Framework,
    parties: &BTreeMap<String, PartyState>,
    now: Timestamp,
) -> Vec<GateQuestion> {
    let spec = &agreement.spec;
    let limits = &framework.spec.limits;
    let within = |from: Timestamp, months: i64, date: Timestamp| {
        add_months(from, months).is_some_and(|latest| date <= latest)
    };
    // an emergency, for which recipients need not sign, is short
    let emergency_within = spec.emergency.as_ref().is_none_or(|emergency| {
        let longest = i64::checked_mul(limits.emergency_days, 24).map(SignedDuration::from_hours);
        longest
            .and_then(|longest| spec.term.start.checked_add(longest).ok())
            .is_some_and(|latest| emergency.expires <= latest)
    });
    let term_within = within(spec.term.start, limits.term_months, spec.term.end) && emergency_within;
    let review_within = within(now.max(spec.term.start), limits.review_months, spec.term.review_by);
    let flags = |references: &mut dyn Iterator<Item = &ObjectRef>| {
        DataFlags::union(
            references.filter_map(|reference| model.products.get(reference)).map(|product| &product.spec),
        )
    };
    let stated = |row: &Party, data: DataFlags, purpose: Option<&Purpose>| Stated {
        now,
        role: row.role,
        article6: row.article6.clone().unwrap_or_default(),
        article9: row.article9.clone().unwrap_or_default(),
        data,
        purpose: purpose.map(|purpose| purpose.code.clone()).unwrap_or_default(),
        purpose_data: purpose.map(|purpose| flags(&mut purpose.products.iter())).unwrap_or_default(),
        purpose_max_identifiability: purpose.map_or(0, |purpose| purpose.max_identifiability.rank()),
        term_within_limits: term_within,
        review_within_limits: review_within,
    };
    let mut asked = Vec::new();
    let mut any_row = None;
    for (index, row) in spec.parties.iter().enumerate() {
        // the rows of a party that has withdrawn are asked of nobody
        if parties.get(&row.org).is_some_and(|party| party.standing.is_out()) {
            continue;
        }
        let data =
            flags(&mut spec.purposes.iter().flat_map(|purpose| row_products(model, agreement, row, purpose)));
        asked.push(GateQuestion {
            org: row.org.clone(),
            row: index,
            purpose: None,
            stated: stated(row, data, None),
        });
        any_row.get_or_insert((index, row, data));
    }
    if let Some((index, row, data)) = any_row {
        asked.extend(spec.purposes.iter().map(|purpose| GateQuestion {
            org: row.org.clone(),
            row: index,
            purpose: Some(purpose.code.clone()),
            stated: stated(row, data, Some(purpose)),
        }));
    }
    asked
}

/// The products of a purpose that a row controls or receives; a Processor's are all.
fn row_products<'a>(
    model: &'a Model,
    agreement: &'a Agreement,
    row: &'a Party,
    purpose: &'a Purpose,
) -> Vec<&'a ObjectRef> {
    let controls = |reference: &&ObjectRef| {
        model.products.get(*reference).is_some_and(|product| product.spec.controller == row.org)
    };
    match row.role {
        PartyRole::Processor => purpose.products.iter().collect(),
        PartyRole::Controller => purpose.products.iter().filter(controls).collect(),
        PartyRole::Recipient => {
            let receives = agreement.recipients(purpose, &model.orgs).into_iter().any(|recipient| {
                recipient.org == row.org
                    && row.function.as_ref().is_none_or(|function| *function == recipient.function)
            });
            if receives { purpose.products.iter().collect() } else { Vec::new() }
        }
    }
}
