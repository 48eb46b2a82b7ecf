//! Local rules as a tiny tree, which is both printed as Cedar and evaluated here.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::access::Asked;
use super::model::Model;
use super::world::{Agreement, Object, Ref};

/// Local rules by the text that they are printed as. A text that is not here is one that Cedar does not take.
pub type Rules = BTreeMap<String, Vec<Rule>>;

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    /// A permit names its agreement. None: a forbid.
    pub permits: Option<Ref>,
    pub when: Clause,
}

#[derive(Clone, Debug)]
pub enum Clause {
    Purpose(String),
    LevelAtLeast(i64),
    CellBelow(i64),
    Consent,
    Relationship,
    OptOuts,
    BreakGlass,
    CaseGiven,
    Role(String),
    Region(String),
    Action(String),
    Product(Ref),
    Patient,
    Care,
    RecipientIs(String),
    RecipientIn(String),
    ControllerIn(String),
    AgreementIn(String),
    Weekday(i64),
    MinuteBelow(i64),
    Not(Box<Clause>),
    And(Box<Clause>, Box<Clause>),
    Or(Box<Clause>, Box<Clause>),
}

impl Clause {
    pub fn is_about_action(&self) -> bool {
        match self {
            Self::Action(_) => true,
            Self::Not(it) => it.is_about_action(),
            Self::And(a, b) | Self::Or(a, b) => a.is_about_action() || b.is_about_action(),
            _ => false,
        }
    }
}

pub fn print(rules: &[Rule]) -> String {
    rules.iter().map(Rule::text).collect::<Vec<_>>().join("\n")
}

impl Rule {
    fn text(&self) -> String {
        let Self { id, permits, when } = self;
        let (effect, agreement) = match permits {
            Some(it) => ("permit", format!("context.agreement == Concordat::Agreement::\"{it}\" && ")),
            None => ("forbid", String::new()),
        };
        format!(
            "@id(\"{id}\")\n@reason(\"a rule of the reference's worlds\")\n\
             {effect} (principal, action in Concordat::Action::\"useData\", resource)\n\
             when {{ {agreement}({}) }};",
            when.text()
        )
    }
}

impl Clause {
    fn text(&self) -> String {
        match self {
            Self::Purpose(it) => format!("context.purpose == \"{it}\""),
            Self::LevelAtLeast(it) => format!("context.identifiability >= {it}"),
            Self::CellBelow(it) => format!("context.minCellCount < {it}"),
            Self::Consent => "context.explicitConsent".to_owned(),
            Self::Relationship => "context.legitimateRelationship".to_owned(),
            Self::OptOuts => "context.optOutsApplied".to_owned(),
            Self::BreakGlass => "context.breakGlass".to_owned(),
            Self::CaseGiven => "context.caseReference != \"\"".to_owned(),
            Self::Role(it) => format!("context.roles.contains(\"{it}\")"),
            Self::Region(it) => format!("context.region == \"{it}\""),
            Self::Action(it) => format!("action == Concordat::Action::\"{it}\""),
            Self::Product(it) => format!("resource == Concordat::DataProduct::\"{it}\""),
            Self::Patient => "resource.confidentialPatientInfo".to_owned(),
            Self::Care => "principal.providesCare".to_owned(),
            Self::RecipientIs(it) => format!("principal.org == Concordat::PartnerOrg::\"{it}\""),
            Self::RecipientIn(it) => format!("principal.org in Concordat::Footprint::\"{it}\""),
            Self::ControllerIn(it) => format!("resource.controller in Concordat::Footprint::\"{it}\""),
            Self::AgreementIn(it) => format!("context.agreement in Concordat::Footprint::\"{it}\""),
            Self::Weekday(it) => format!("context.weekday == {it}"),
            Self::MinuteBelow(it) => format!("context.localMinute < {it}"),
            Self::Not(it) => format!("!({})", it.text()),
            Self::And(a, b) => format!("({}) && ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) || ({})", a.text(), b.text()),
        }
    }

    pub fn holds(&self, model: &Model<'_>, asked: &Asked<'_>, agreement: &Object<Agreement>) -> bool {
        let local = |at: Timestamp| {
            let zone =
                TimeZone::get(&model.framework.limits.time_zone).expect("a time zone of the framework");
            at.to_zoned(zone)
        };
        match self {
            Self::Purpose(it) => asked.purpose == *it,
            Self::LevelAtLeast(it) => asked.level >= *it,
            Self::CellBelow(it) => asked.cell < *it,
            Self::Consent => asked.consent,
            Self::Relationship => asked.relationship,
            Self::OptOuts => asked.opt_outs,
            Self::BreakGlass => asked.break_glass,
            Self::CaseGiven => !asked.case.is_empty(),
            Self::Role(it) => asked.roles.contains(it),
            Self::Region(it) => asked.region == *it,
            Self::Action(it) => asked.action == *it,
            Self::Product(it) => asked.product_key == *it,
            Self::Patient => asked.product.confidential_patient_info,
            Self::Care => asked.care,
            Self::RecipientIs(it) => asked.recipient.org == *it,
            Self::RecipientIn(it) => model.org_lies_in(&asked.recipient.org, it),
            Self::ControllerIn(it) => model.org_lies_in(&asked.product.controller, it),
            Self::AgreementIn(it) => places(&agreement.spec).any(|place| model.lies_in(place, it)),
            Self::Weekday(it) => i64::from(local(asked.at).weekday().to_monday_one_offset()) == *it,
            Self::MinuteBelow(it) => {
                let now = local(asked.at);
                i64::from(now.hour()) * 60 + i64::from(now.minute()) < *it
            }
            Self::Not(it) => !it.holds(model, asked, agreement),
            Self::And(a, b) => a.holds(model, asked, agreement) && b.holds(model, asked, agreement),
            Self::Or(a, b) => a.holds(model, asked, agreement) || b.holds(model, asked, agreement),
        }
    }
}

/// The footprint of an agreement and those that it crosses into.
pub fn places(agreement: &Agreement) -> impl Iterator<Item = &str> {
    let crossed = agreement.cross_boundary.iter().flat_map(|it| &it.footprints);
    std::iter::once(&agreement.footprint).chain(crossed).map(String::as_str)
}

/// Whether a local policy for a footprint has a say: over the controller's data, or over the recipient's hands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    Data,
    Hands,
    Nothing,
}

pub fn reach(model: &Model<'_>, footprint: &str, asked: &Asked<'_>, agreement: &Agreement) -> Reach {
    if model.org_lies_in(&asked.product.controller, footprint) {
        return Reach::Data;
    }
    let Some(recipient) = model.orgs.get(asked.recipient.org.as_str()) else { return Reach::Nothing };
    let of_recipient = &recipient.spec.footprints;
    if !of_recipient.iter().any(|it| model.lies_in(it, footprint)) {
        return Reach::Nothing;
    }
    let around = places(agreement).any(|place| model.lies_in(place, footprint));
    let inside = places(agreement).any(|place| model.lies_in(footprint, place))
        && of_recipient
            .iter()
            .filter(|it| places(agreement).any(|place| model.lies_in(it, place)))
            // a county that is named beside one of its places is no other place
            .filter(|it| !of_recipient.iter().any(|other| other != *it && model.lies_in(other, it)))
            .all(|it| model.lies_in(it, footprint));
    if around || inside { Reach::Hands } else { Reach::Nothing }
}
