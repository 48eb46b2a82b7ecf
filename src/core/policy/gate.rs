//! The questions of the agreement gate, and what their answers mean: whom a refusal is about, and what it closes.
//!
//! What a rule is asked of is what it says of itself. With `accession`, rows and purposes are asked for each controller's
//! products apart, so that what one member does harms that member alone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{Entities, EntityUid};
use jiff::{SignedDuration, Timestamp};

use super::annotations::Asked;
use super::authorize::{NoAnswer, Outcome, Question};
use super::broken_rule::BrokenRule;
use super::dates::{add_months, dates_read};
use super::entities::{DataFlags, Value, flag, long, moment, text};
use super::exceptions::{About, Lifts};
use super::framework::{Framework, RuleSet};
use super::names;
use crate::model::{Agreement, FunctionRef, Model, Product};
use concordat_api::{FrameworkRef, OrgState, Party, PartyRole, Purpose};

/// One question of the agreement gate. With `accession` it is asked for some controllers' products, which hold the same.
#[derive(Clone, Debug)]
pub(super) struct GateQuestion {
    kind: Kind,
    org: Option<String>,
    /// Its place in `parties[]`.
    row: Option<usize>,
    purpose: Option<String>,
    /// Whose products it is about; empty where they are everybody's.
    controllers: Vec<String>,
    stated: Stated,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Of(Asked),
    /// The rules that do not say, of a row for a purpose.
    RowForPurpose,
}

/// What a question states beside who asks about which agreement, and when.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Stated {
    role: PartyRole,
    article6: String,
    article9: String,
    data: DataFlags,
    purpose: String,
    purpose_data: DataFlags,
    purpose_max_identifiability: i64,
}

/// What the calendar says of an agreement at a moment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Calendar {
    now: Timestamp,
    term_within_limits: bool,
    review_within_limits: bool,
}

impl Stated {
    fn context(&self, calendar: Calendar, framework: &Framework) -> Vec<(&'static str, Value)> {
        let Self { role, article6, article9, data, purpose, purpose_data, purpose_max_identifiability } =
            self;
        let Calendar { now, term_within_limits, review_within_limits } = calendar;
        vec![
            ("now", moment(now)),
            ("framework", framework.terms.clone()),
            ("role", text(role.as_str())),
            ("article6", text(article6)),
            ("article9", text(article9)),
            ("data", data.value()),
            ("purpose", text(purpose)),
            ("purposeData", purpose_data.value()),
            ("purposeMaxIdentifiability", long(*purpose_max_identifiability)),
            ("termWithinLimits", flag(term_within_limits)),
            ("reviewWithinLimits", flag(review_within_limits)),
        ]
    }
}

impl Calendar {
    fn at(agreement: &Agreement, framework: &Framework, now: Timestamp) -> Self {
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
        let review = within(now.max(spec.term.start), limits.review_months, spec.term.review_by);
        Self {
            now,
            term_within_limits: within(spec.term.start, limits.term_months, spec.term.end)
                && emergency_within,
            review_within_limits: review,
        }
    }
}

/// The questions about one model that have been put together and checked, by what they state: thousands of agreements
/// state the same few things.
#[derive(Clone, Debug, Default)]
pub(super) struct QuestionCache(Arc<Mutex<Put>>);

type Put = HashMap<(FrameworkRef, Calendar, Stated), Question>;

impl QuestionCache {
    fn question(
        &self,
        framework: &Framework,
        calendar: Calendar,
        stated: &Stated,
        principal: EntityUid,
        resource: EntityUid,
    ) -> Result<Question, NoAnswer> {
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match forms.entry((framework.reference.clone(), calendar, stated.clone())) {
            Entry::Occupied(form) => form.get().alike(principal, resource),
            Entry::Vacant(form) => {
                let context = stated.context(calendar, framework);
                let action = names::activate_agreement();
                let question = Question::new(principal.clone(), action, resource.clone(), context)?;
                form.insert(question).alike(principal, resource)
            }
        }
    }
}

/// What the gate is asked with.
#[derive(Clone, Copy)]
pub(super) struct Gatekeeper<'a> {
    pub(super) model: &'a Model,
    pub(super) agreement: &'a Agreement,
    pub(super) framework: &'a Framework,
    pub(super) entities: &'a Result<Entities, NoAnswer>,
    pub(super) forms: &'a QuestionCache,
}

impl Gatekeeper<'_> {
    /// The rules that refuse, each with whom it is about.
    pub(super) fn ask(&self, question: &GateQuestion, lifts: &Lifts<'_>, now: Timestamp) -> Vec<BrokenRule> {
        let Self { model: _, agreement, framework, entities, forms } = *self;
        let GateQuestion { kind, org, row: _, purpose: _, controllers: _, stated } = question;
        let rules = question.rules(framework);
        if rules.is_empty() {
            return Vec::new();
        }
        let about = match (kind, org) {
            (Kind::Of(Asked::Party | Asked::Row), Some(org)) => About::Party(org),
            (Kind::RowForPurpose, Some(org)) => About::PartyAndAll(org),
            _ => About::All,
        };
        let form = (|| {
            let entities = entities.as_ref().map_err(Clone::clone)?;
            // where the question names no organisation no rule reads one
            let principal = names::org(org.as_deref().unwrap_or_default());
            let calendar = Calendar::at(agreement, framework, now);
            let resource = names::agreement(&agreement.reference);
            let form = forms.question(framework, calendar, stated, principal, resource)?;
            Ok::<_, NoAnswer>((form, entities))
        })();
        let outcome = match &form {
            Ok((form, entities)) => form.ask(&rules.without(&lifts.lifted(about, now)), entities),
            Err(error) => Outcome::Error(error.clone()),
        };
        let saw = |rule: &str| {
            let (form, entities) = form.as_ref().ok()?;
            framework.saw(rule, form, entities)
        };
        match outcome {
            Outcome::Allowed(_) => Vec::new(),
            Outcome::Forbidden(fired) => fired
                .into_iter()
                .flat_map(|rule| {
                    let (reason, saw) = (framework.reason(&rule).to_owned(), saw(&rule));
                    let mut broken = question.broken(framework, rule, reason);
                    broken.iter_mut().for_each(|it| it.saw.clone_from(&saw));
                    broken
                })
                .collect(),
            Outcome::Silent if !rules.permits => Vec::new(),
            Outcome::Silent => question.broken(
                framework,
                "gate".to_owned(),
                "no rule of the framework permits it".to_owned(),
            ),
            Outcome::Error(error) => question.broken(
                framework,
                "error".to_owned(),
                format!("a rule could not be evaluated: {error}"),
            ),
        }
    }

    /// The first moment before `until` at which a question that no rule refuses now is refused, and by which rules.
    pub(super) fn lapses(
        &self,
        question: &GateQuestion,
        lifts: &Lifts<'_>,
        (now, until): (Timestamp, Timestamp),
    ) -> Option<(Timestamp, Vec<BrokenRule>)> {
        let orgs: Vec<&str> = question.org.iter().map(String::as_str).collect();
        let rules = question.rules(self.framework);
        let dates = dates_read(self.model, self.agreement, rules, &orgs, (now, until));
        dates.into_iter().find_map(|at| {
            let broken = self.ask(question, lifts, at);
            (!broken.is_empty()).then_some((at, broken))
        })
    }
}

impl GateQuestion {
    fn rules<'f>(&self, framework: &'f Framework) -> &'f RuleSet {
        match self.kind {
            Kind::Of(asked) => framework.rules_of(asked),
            Kind::RowForPurpose => &framework.unasked,
        }
    }

    /// Whom a refusal is about: one for each controller, or one for all.
    fn broken(&self, framework: &Framework, rule: String, reason: String) -> Vec<BrokenRule> {
        const OF_A_PARTY: [&str; 5] =
            ["principal", "context.role", "context.article6", "context.article9", "context.data"];
        const OF_A_PURPOSE: [&str; 3] =
            ["context.purpose", "context.purposeData", "context.purposeMaxIdentifiability"];
        // a rule that does not say what it is asked of may read nothing that differs by row
        let reads = framework.reads_unasked(&rule);
        let differs = |paths: &[&str]| reads.is_none_or(|reads| paths.iter().any(|path| reads.touches(path)));
        let (by_party, by_purpose) = (differs(&OF_A_PARTY), differs(&OF_A_PURPOSE));
        let (by_org, by_row, by_purpose) = match self.kind {
            Kind::Of(Asked::Agreement | Asked::Flow) => (false, false, false),
            Kind::Of(Asked::Party) => (true, false, false),
            Kind::Of(Asked::Row) => (by_party, by_party, false),
            Kind::Of(Asked::Purpose) => (false, false, true),
            Kind::RowForPurpose => (by_party, by_party, by_purpose),
        };
        let broken = |controller: Option<String>| BrokenRule {
            rule: rule.clone(),
            org: self.org.clone().filter(|_| by_org),
            row: self.row.filter(|_| by_row),
            purpose: self.purpose.clone().filter(|_| by_purpose),
            controller,
            reason: reason.clone(),
            saw: None,
        };
        if self.controllers.is_empty() || !(by_org || by_purpose) {
            return vec![broken(None)];
        }
        self.controllers.iter().map(|controller| broken(Some(controller.clone()))).collect()
    }
}

/// Whom the gate is asked of, and whose products count.
pub(super) struct Members<'a> {
    model: &'a Model,
    agreement: &'a Agreement,
    framework: &'a Framework,
    now: Timestamp,
    /// The organisations that are asked: with `accession`, those that are in.
    orgs: BTreeSet<&'a str>,
    /// What the products of each purpose that count hold, by controller: with `accession`, those of members that are in.
    held: Vec<BTreeMap<&'a str, DataFlags>>,
    /// The functions that receive for each purpose.
    receivers: Vec<BTreeSet<FunctionRef>>,
}

impl<'a> Members<'a> {
    /// Everybody who is active and has not said no; with `accession`, of those who have signed.
    pub(super) fn new(
        model: &'a Model,
        agreement: &'a Agreement,
        framework: &'a Framework,
        now: Timestamp,
        is_in: impl Fn(&str) -> bool,
    ) -> Self {
        let is_active =
            |org: &&str| model.orgs.get(*org).is_some_and(|found| found.state(now) == OrgState::Active);
        let orgs: BTreeSet<&str> =
            agreement.orgs().into_iter().filter(is_active).filter(|org| is_in(org)).collect();
        let controllers = agreement.orgs_as(PartyRole::Controller);
        let counts = |product: &&'a Product| {
            let controller = product.spec.controller.as_str();
            !agreement.spec.accession || (orgs.contains(controller) && controllers.contains(controller))
        };
        let held_for = |purpose: &'a Purpose| {
            let mut held: BTreeMap<&str, DataFlags> = BTreeMap::new();
            let products = purpose.products.iter().filter_map(|reference| model.products.get(reference));
            for product in products.filter(counts) {
                let flags = DataFlags::union([&product.spec]);
                held.entry(product.spec.controller.as_str()).or_default().add(flags);
            }
            held
        };
        let purposes = agreement.spec.purposes.iter();
        let receivers = purposes.clone().map(|purpose| agreement.recipients(purpose, &model.orgs)).collect();
        let held = purposes.map(held_for).collect();
        Self { model, agreement, framework, now, orgs, held, receivers }
    }

    /// Without those that are out.
    pub(super) fn without(&self, is_out: impl Fn(&str) -> bool) -> Self {
        let orgs = &self.orgs;
        Self::new(self.model, self.agreement, self.framework, self.now, |org| {
            orgs.contains(org) && !is_out(org)
        })
    }

    /// The questions about each party and each row.
    pub(super) fn of_parties(&self) -> Vec<GateQuestion> {
        let mut questions = Vec::new();
        let mut by_org: BTreeMap<&str, BTreeMap<&str, DataFlags>> =
            self.orgs.iter().map(|org| (*org, BTreeMap::new())).collect();
        for (_, row) in self.rows() {
            let all = by_org.entry(row.org.as_str()).or_default();
            for (controller, flags) in self.held_by(row) {
                all.entry(controller).or_default().add(flags);
            }
        }
        for (org, held) in by_org {
            let anybody = Stated::of(None, DataFlags::default(), None, DataFlags::default());
            for (controllers, data) in self.apart(held) {
                questions.push(GateQuestion {
                    kind: Kind::Of(Asked::Party),
                    org: Some(org.to_owned()),
                    row: None,
                    purpose: None,
                    controllers,
                    stated: Stated { data, ..anybody.clone() },
                });
            }
        }
        for (index, row) in self.rows() {
            for (controllers, data) in self.apart(self.held_by(row)) {
                questions.push(GateQuestion {
                    kind: Kind::Of(Asked::Row),
                    org: Some(row.org.clone()),
                    row: Some(index),
                    purpose: None,
                    controllers,
                    stated: Stated::of(Some(row), data, None, DataFlags::default()),
                });
            }
        }
        questions
    }

    /// The questions about the agreement and each purpose.
    pub(super) fn of_the_agreement(&self) -> Vec<GateQuestion> {
        let everything = union(self.held.iter().flat_map(BTreeMap::values).copied());
        let mut questions = vec![GateQuestion {
            kind: Kind::Of(Asked::Agreement),
            org: None,
            row: None,
            purpose: None,
            controllers: Vec::new(),
            stated: Stated::of(None, everything, None, DataFlags::default()),
        }];
        for (purpose, held) in self.agreement.spec.purposes.iter().zip(&self.held) {
            for (controllers, data) in self.apart(held.clone()) {
                questions.push(GateQuestion {
                    kind: Kind::Of(Asked::Purpose),
                    org: None,
                    row: None,
                    purpose: Some(purpose.code.clone()),
                    controllers,
                    stated: Stated::of(None, data, Some(purpose), data),
                });
            }
            if !self.framework.unasked.is_empty() {
                questions.extend(self.rows().flat_map(|row| self.of_a_row_for(row, purpose, held)));
            }
        }
        questions
    }

    /// The questions about a row and a purpose at once.
    fn of_a_row_for(
        &self,
        (index, row): (usize, &Party),
        purpose: &Purpose,
        held: &BTreeMap<&str, DataFlags>,
    ) -> Vec<GateQuestion> {
        let own = self.held_by(row);
        let question = |controllers: Vec<String>, data, purpose_data| GateQuestion {
            kind: Kind::RowForPurpose,
            org: Some(row.org.clone()),
            row: Some(index),
            purpose: Some(purpose.code.clone()),
            controllers,
            stated: Stated::of(Some(row), data, Some(purpose), purpose_data),
        };
        let shared: Vec<_> =
            held.iter().filter_map(|(org, flags)| Some((*org, *own.get(org)?, *flags))).collect();
        if !self.agreement.spec.accession || shared.is_empty() {
            return vec![question(Vec::new(), union(own.into_values()), union(held.values().copied()))];
        }
        shared.into_iter().map(|(org, data, flags)| question(vec![org.to_owned()], data, flags)).collect()
    }

    /// The controllers whose products of each purpose count.
    pub(super) fn controllers(&self) -> impl Iterator<Item = (&'a str, BTreeSet<&'a str>)> {
        let purposes = self.agreement.spec.purposes.iter().map(|purpose| purpose.code.as_str());
        purposes.zip(self.held.iter().map(|held| held.keys().copied().collect()))
    }

    /// The controllers of whose products a row gets something, or shares it.
    pub(super) fn controllers_for(&self, row: usize) -> BTreeSet<&'a str> {
        let row = self.agreement.spec.parties.get(row);
        row.map(|row| self.held_by(row).into_keys().collect()).unwrap_or_default()
    }

    /// Whether an organisation is asked.
    pub(super) fn contains(&self, org: &str) -> bool {
        self.orgs.contains(org)
    }

    fn rows(&self) -> impl Iterator<Item = (usize, &'a Party)> {
        let parties = self.agreement.spec.parties.iter().enumerate();
        parties.filter(|(_, row)| self.orgs.contains(row.org.as_str()))
    }

    /// The products that a row controls or receives, by controller; a Processor's are all.
    fn held_by(&self, row: &Party) -> BTreeMap<&'a str, DataFlags> {
        let mut all: BTreeMap<&str, DataFlags> = BTreeMap::new();
        let function = row.function.clone().unwrap_or_default();
        let first = FunctionRef { org: row.org.clone(), function };
        for (held, receivers) in self.held.iter().zip(&self.receivers) {
            // the first from there on: of the row's function, or of any where it names none
            let receives = || {
                let found = receivers.range(&first..).next().filter(|it| it.org == row.org);
                found.is_some_and(|it| row.function.as_ref().is_none_or(|own| *own == it.function))
            };
            match row.role {
                PartyRole::Controller => {
                    if let Some((own, flags)) = held.get_key_value(row.org.as_str()) {
                        all.entry(*own).or_default().add(*flags);
                    }
                    continue;
                }
                PartyRole::Recipient if !receives() => continue,
                PartyRole::Recipient | PartyRole::Processor => {}
            }
            for (controller, flags) in held {
                all.entry(*controller).or_default().add(*flags);
            }
        }
        all
    }

    /// Whose products a question is about. With `accession`, those of controllers that hold the same go together;
    /// without, all.
    fn apart(&self, held: BTreeMap<&str, DataFlags>) -> Vec<(Vec<String>, DataFlags)> {
        if !self.agreement.spec.accession || held.is_empty() {
            return vec![(Vec::new(), union(held.into_values()))];
        }
        let mut groups: Vec<(Vec<String>, DataFlags)> = Vec::new();
        for (controller, flags) in held {
            match groups.iter_mut().find(|(_, other)| *other == flags) {
                Some((controllers, _)) => controllers.push(controller.to_owned()),
                None => groups.push((vec![controller.to_owned()], flags)),
            }
        }
        groups
    }
}

impl Stated {
    fn of(row: Option<&Party>, data: DataFlags, purpose: Option<&Purpose>, purpose_data: DataFlags) -> Self {
        Self {
            // where the question is about no row no rule reads one
            role: row.map_or(PartyRole::Controller, |row| row.role),
            article6: row.and_then(|row| row.article6.clone()).unwrap_or_default(),
            article9: row.and_then(|row| row.article9.clone()).unwrap_or_default(),
            data,
            purpose: purpose.map(|purpose| purpose.code.clone()).unwrap_or_default(),
            purpose_data,
            purpose_max_identifiability: purpose.map_or(0, |purpose| purpose.max_identifiability.rank()),
        }
    }
}

fn union(flags: impl IntoIterator<Item = DataFlags>) -> DataFlags {
    flags.into_iter().fold(DataFlags::default(), |mut all, flags| {
        all.add(flags);
        all
    })
}
