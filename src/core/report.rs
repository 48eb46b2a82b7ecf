//! What a judgement means in words: findings for broken rules, conditions and phases for statuses.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Code, Finding, ObjectKey, Severity};
use super::model::{Agreement, Model, Remembered};
use super::needed::{Needed, is_asked};
use super::policy::{Assessment, Assessments, BrokenRule, ClosedFlow, Succession, exception_over};
use super::snapshot::{Snapshot, Sourced};
use super::text::in_one_line;
use concordat_api::{
    Condition, ConditionStatus, DataSharingAgreement, DataSharingAgreementSpec, DataSharingAgreementStatus,
    ObjectRef, OrgState, PartyStanding, Phase, Purpose, Standing, SupersededFor,
};

/// The condition that makes an agreement's phase what it is.
pub fn explaining_condition(phase: Phase) -> &'static str {
    match phase {
        Phase::Invalid => "Valid",
        Phase::Refused => "Compliant",
        Phase::AwaitingSignatures | Phase::Withdrawn => "Signed",
        Phase::Terminating
        | Phase::Suspended
        | Phase::Superseded
        | Phase::Expired
        | Phase::Scheduled
        | Phase::Active => "InForce",
    }
}

/// A finding for each rule that refuses an agreement, at the field that could fix it.
pub fn broken_rules(snapshot: &Snapshot, model: &Model, assessments: &Assessments) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sourced in &snapshot.agreements {
        let key = sourced.key();
        if !model.accepted(&key) {
            continue;
        }
        let reference = ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name };
        let Some(assessment) = assessments.agreements.get(&reference) else {
            continue;
        };
        // what is over breaks no rule that anybody could fix
        if assessment.phase.is_over() {
            continue;
        }
        let agreement = model.agreements.get(&reference);
        let over = |rule: &str| exception_over(model, agreement?, rule, assessment.at);
        let said = |broken: &BrokenRule| {
            let over = over(&broken.rule).map_or(String::new(), |over| format!("; {over}"));
            format!("{}{over}", broken_text(broken))
        };
        findings.extend(closed_by_rules(sourced, model, assessment, &over));
        for broken in &assessment.broken {
            let (field, help) = how_to_fix(model, &sourced.object.spec, broken);
            let code =
                if broken.rule == "framework" { Code::FrameworkNotEffective } else { Code::RuleBroken };
            let text = said(broken);
            findings.push(sourced.finding(code, &field, text).help(help));
        }
        // with accession they keep one party out, and no one else
        for broken in &assessment.kept_out {
            let (field, help) = how_to_fix(model, &sourced.object.spec, broken);
            let mut finding = sourced.finding(Code::RuleBroken, &field, said(broken)).help(help);
            finding.severity = Severity::Warning;
            findings.push(finding);
        }
    }
    findings
}

/// A warning for each rule that closes paths of an agreement which no rule refuses.
fn closed_by_rules(
    sourced: &Sourced<DataSharingAgreement>,
    model: &Model,
    assessment: &Assessment,
    over: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let spec = &sourced.object.spec;
    let framework = model.frameworks.get(&spec.framework);
    let is_reported =
        |rule: &str| assessment.kept_out.iter().chain(&assessment.broken).any(|it| it.rule == rule);
    // that its framework never allows a purpose is said of the purpose
    let is_prohibited =
        |code: &str| framework.and_then(|it| it.purpose(code)).is_some_and(|it| it.prohibited);
    let mut by_rule: BTreeMap<&str, Vec<&ClosedFlow>> = BTreeMap::new();
    for flow in assessment.closed.iter().filter(|it| !is_prohibited(&it.purpose)) {
        if let Some(rule) = flow.rule.as_deref().filter(|rule| !is_reported(rule)) {
            by_rule.entry(rule).or_default().push(flow);
        }
    }
    let finding = |(rule, flows): (&str, Vec<&ClosedFlow>)| {
        // an exception lifted it until now
        if let Some(over) = over(rule) {
            let message = format!("rule {rule} closes paths of the agreement: {over}");
            return sourced.finding(Code::ExceptionOver, "spec.purposes", message).help(
                "meet the rule, or ask the national body for a further exception; `concordat explain --agreement` \
                 shows the paths",
            );
        }
        let recipients: BTreeSet<String> = flows.iter().map(|it| format!("`{}`", it.recipient)).collect();
        let reason = flows.first().map_or("", |it| it.reason.as_str());
        let (count, are) = (flows.len(), if flows.len() == 1 { "path is" } else { "paths are" });
        let recipients = recipients.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{count} {are} closed to {recipients}: {reason}");
        let purpose = flows.first().and_then(|it| spec.purposes.iter().position(|of| of.code == it.purpose));
        let field = purpose.map_or("spec.purposes".to_owned(), |index| format!("spec.purposes[{index}]"));
        let text = framework.and_then(|framework| framework.rules.get(rule));
        let help = text.map(|text| text.help.as_str()).filter(|help| !help.is_empty());
        sourced
            .finding(Code::PathClosed, &field, message)
            .help(help.unwrap_or("`concordat explain --agreement` shows the paths"))
    };
    by_rule.into_iter().map(finding).collect()
}

/// `GR-06 (party `x`): reason`.
fn broken_text(broken: &BrokenRule) -> String {
    let BrokenRule { rule, org, row: _, purpose, controller, reason, saw: _ } = broken;
    // a framework at the wrong time is no rule, and the reason names it
    if rule == "framework" {
        return reason.clone();
    }
    let about = match (org, purpose) {
        (Some(org), _) => format!(" for `{org}`"),
        (None, Some(purpose)) => format!(" for purpose `{purpose}`"),
        (None, None) => String::new(),
    };
    let products = controller.as_ref().map(|org| format!(", for what `{org}` controls")).unwrap_or_default();
    format!("{rule}{about}{products}: {}", broken.why())
}

/// Where a broken rule can be fixed, and how: in the words of the framework that judges the agreement.
pub(crate) fn how_to_fix(
    model: &Model,
    spec: &DataSharingAgreementSpec,
    broken: &BrokenRule,
) -> (String, String) {
    if broken.rule == "framework" {
        return ("spec.framework".to_owned(), "name a version that is in effect".to_owned());
    }
    let entry = |list: &str, index: Option<usize>| {
        index.map_or_else(|| format!("spec.{list}"), |index| format!("spec.{list}[{index}]"))
    };
    let first = || spec.parties.iter().position(|party| Some(&party.org) == broken.org.as_ref());
    let party = || entry("parties", broken.row.or_else(first));
    let purpose = || {
        let matches = |purpose: &Purpose| Some(&purpose.code) == broken.purpose.as_ref();
        entry("purposes", spec.purposes.iter().position(matches))
    };
    let text = model.frameworks.get(&spec.framework).and_then(|framework| framework.rules.get(&broken.rule));
    let said = text.map(|text| (text.field.as_str(), text.help.as_str())).unwrap_or_default();
    let field = match said.0.split_once('.').unwrap_or((said.0, "")) {
        ("party", "") => party(),
        ("party", within) => format!("{}.{within}", party()),
        ("purpose", "") => purpose(),
        ("purpose", within) => format!("{}.{within}", purpose()),
        _ => said.0.to_owned(),
    };
    let help = if said.1.is_empty() { "see the rule in the framework's text" } else { said.1 };
    (field, help.to_owned())
}

/// The status of an agreement that can be used. How many grants it has is known to the plan.
pub fn agreement_status(
    model: &Model,
    agreement: &Agreement,
    assessment: &Assessment,
) -> DataSharingAgreementStatus {
    let spec = &agreement.spec;
    let standings: Vec<PartyStanding> = assessment
        .parties
        .iter()
        .map(|(org, party)| {
            let all = party.purposes.len() == spec.purposes.len();
            let narrowed = party.standing == Standing::Signed && !all;
            PartyStanding {
                org: org.clone(),
                standing: party.standing,
                purposes: narrowed.then(|| party.purposes.iter().cloned().collect()),
                terms_hash: spec.accession.then(|| party.terms_hash.clone()),
                needed: Needed::of(model, agreement, org, party).map(|it| it.text(&agreement.reference, org)),
            }
        })
        .collect();
    let conditions = Conditions { model, agreement, assessment };
    // whose word it is that a party without a known home is said to have given is not known: meanwhile it closes, and is not
    // remembered
    let in_doubt = agreement.orgs().into_iter().any(|org| model.homeless.contains(org));
    let (superseded_by, superseded_for) = if in_doubt {
        (agreement.remembered.superseded_by.clone(), agreement.remembered.superseded_for.clone())
    } else {
        (assessment.succession.shown.clone(), superseded_for(&assessment.succession))
    };
    // a grant is where its product is
    DataSharingAgreementStatus {
        observed_generation: agreement.generation,
        phase: Some(assessment.phase),
        reason: Some(conditions.phase_reason()),
        parties: Some(parties_column(assessment)),
        purposes: Some(
            spec.purposes.iter().map(|purpose| purpose.code.as_str()).collect::<Vec<_>>().join(","),
        ),
        ends: Some(assessment.ends),
        terms_hash: agreement
            .signers
            .values()
            .next()
            .filter(|_| !spec.accession)
            .map(|signer| signer.terms_hash.clone()),
        standings,
        grants: None,
        next_transition: assessment.next,
        superseded_by,
        superseded_for,
        conditions: conditions.all(),
    }
}

/// The Controllers for whom it has ended, so that it stays so whatever becomes of the successor.
fn superseded_for(succession: &Succession) -> Vec<SupersededFor> {
    let Succession { ended, withdrawn, .. } = succession;
    let entry = |withdrawn: bool| {
        move |(org, by): (&String, &ObjectRef)| SupersededFor { org: org.clone(), by: by.clone(), withdrawn }
    };
    ended.iter().map(entry(false)).chain(withdrawn.iter().map(entry(true))).collect()
}

/// `signed/needed`: organisations that stand signed, of those that are parties and have not withdrawn.
fn parties_column(assessment: &Assessment) -> String {
    let needed = || assessment.parties.iter().filter(|(_, party)| !party.standing.is_out());
    // in an emergency somebody may count for a part of what it has said no to
    let signed = needed().filter(|(org, _)| assessment.signed.orgs.contains(*org));
    format!("{}/{}", signed.count(), needed().count())
}

/// The status of an agreement that cannot be used, from its findings.
///
/// What its status remembers of successors stays: it may be valid again, and what has ended has ended.
pub fn invalid_status(
    generation: Option<i64>,
    deleting: bool,
    remembered: &Remembered,
    findings: &[&Finding],
) -> DataSharingAgreementStatus {
    let errors: Vec<&&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    let reason = errors.first().map_or("Invalid", |finding| finding.code.reason());
    let message = joined(&errors);
    let unknown = |type_: &str| {
        condition(
            generation,
            type_,
            ConditionStatus::Unknown,
            "Invalid",
            "the agreement cannot be judged until it is valid",
        )
    };
    let conditions = vec![
        condition(generation, "Valid", ConditionStatus::False, reason, message.clone()),
        unknown("Compliant"),
        unknown("Signed"),
        condition(generation, "InForce", ConditionStatus::False, "Invalid", message.clone()),
        not_observed(generation, "Enforced"),
        condition(generation, "Ready", ConditionStatus::False, "Invalid", message.clone()),
        condition(generation, "Reconciling", ConditionStatus::False, "Settled", "nothing is under way"),
        condition(generation, "Stalled", ConditionStatus::True, reason, message),
    ];
    DataSharingAgreementStatus {
        observed_generation: generation,
        phase: Some(if deleting { Phase::Terminating } else { Phase::Invalid }),
        reason: Some(reason.to_owned()),
        grants: Some(0),
        conditions,
        superseded_by: remembered.superseded_by.clone(),
        superseded_for: remembered.superseded_for.clone(),
        ..DataSharingAgreementStatus::default()
    }
}

/// A condition of a plan: when it last changed is stamped by whoever writes it.
pub fn condition(
    generation: Option<i64>,
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status,
        reason: reason.to_owned(),
        // what kubectl shows acts in a terminal
        message: bounded(in_one_line(&message.into()).into_owned()),
        observed_generation: generation,
        last_transition_time: None,
    }
}

/// A condition that only a cluster can tell.
fn not_observed(generation: Option<i64>, type_: &str) -> Condition {
    condition(
        generation,
        type_,
        ConditionStatus::Unknown,
        NOT_OBSERVED,
        "what is written in a cluster is known to its operator alone",
    )
}

/// The reason of a condition that only a cluster can tell.
pub(crate) const NOT_OBSERVED: &str = "NotObserved";

/// Why nothing is said of whether an agreement is enforced: no product and no recipient of it is in this cluster.
pub const NOT_IN_THIS_CLUSTER: &str = "NotInThisCluster";

/// Messages are bounded by the schema; a long one ends in an ellipsis.
fn bounded(message: String) -> String {
    const MOST: usize = 4096;
    if message.chars().count() <= MOST {
        return message;
    }
    message.chars().take(MOST - 1).chain(['…']).collect()
}

fn joined(findings: &[&&Finding]) -> String {
    findings
        .iter()
        .map(|finding| {
            let field =
                finding.origin.field.as_ref().map(|field| format!(" at `{field}`")).unwrap_or_default();
            let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}{field}: {}{help}", finding.code, finding.message)
        })
        .collect::<Vec<_>>()
        .join("; ")
}

/// `Valid` and `Ready` of a kind that is read, judged and otherwise left alone.
pub fn simple_conditions(
    kind: &str,
    generation: Option<i64>,
    deleting: bool,
    findings: &[&Finding],
) -> Vec<Condition> {
    let errors: Vec<&&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    let warnings: Vec<&&Finding> = findings.iter().filter(|finding| !finding.is_error()).collect();
    let (status, reason, message) = match errors.first() {
        Some(first) => (ConditionStatus::False, first.code.reason(), joined(&errors)),
        None if warnings.is_empty() => (ConditionStatus::True, "Valid", "the object is valid".to_owned()),
        None => (ConditionStatus::True, "Valid", format!("the object is valid; {}", joined(&warnings))),
    };
    let valid = condition(generation, "Valid", status, reason, message.clone());
    let ready = if deleting {
        let message = match kind {
            "PlaceFootprint" | "PolicyFramework" => {
                "it is being deleted, and counts as gone: what names it opens nothing"
            }
            _ => "it is being deleted, and opens nothing any more",
        };
        condition(generation, "Ready", ConditionStatus::False, "Terminating", message)
    } else {
        condition(generation, "Ready", status, reason, message)
    };
    vec![valid, ready]
}

/// The conditions of an agreement that can be used.
struct Conditions<'a> {
    model: &'a Model,
    agreement: &'a Agreement,
    assessment: &'a Assessment,
}

impl Conditions<'_> {
    fn all(&self) -> Vec<Condition> {
        let Self { model, agreement, assessment } = self;
        let generation = agreement.generation;
        let (in_force, phase_message) = (assessment.in_force(), self.phase_message());
        let truth = |holds: bool| {
            if holds { ConditionStatus::True } else { ConditionStatus::False }
        };
        let compliant = assessment.broken.is_empty();
        let compliant_message = if compliant {
            "every rule of the agreement gate allows it".to_owned()
        } else {
            self.broken_rules()
        };
        let first_rule = assessment.broken.first().map_or("Compliant", |broken| match broken.rule.as_str() {
            "framework" => "FrameworkNotEffective",
            _ => "RuleBroken",
        });
        let phase = assessment.phase.as_str();
        let in_force_reason = if in_force { "InForce" } else { phase };
        // refused, expired and unsigned agreements wait for people; only the operator's own work is "reconciling"
        let stalled = matches!(assessment.phase, Phase::Refused | Phase::Invalid);
        let lies_here = model.lies_here(agreement);
        let enforced = if lies_here {
            not_observed(generation, "Enforced")
        } else {
            let message = "no product and no recipient of it is in this cluster";
            condition(generation, "Enforced", ConditionStatus::Unknown, NOT_IN_THIS_CLUSTER, message)
        };
        let ready = if in_force {
            not_observed(generation, "Ready")
        } else {
            condition(generation, "Ready", ConditionStatus::False, phase, phase_message.clone())
        };
        let mut conditions = vec![
            condition(generation, "Valid", ConditionStatus::True, "Valid", self.valid_message()),
            condition(generation, "Compliant", truth(compliant), first_rule, compliant_message),
            condition(
                generation,
                "Signed",
                truth(assessment.fully_signed),
                if assessment.fully_signed { "Signed" } else { "AwaitingSignatures" },
                self.signed_message(),
            ),
            condition(generation, "InForce", truth(in_force), in_force_reason, phase_message.clone()),
            enforced,
        ];
        // what has no part here is ready or not elsewhere
        conditions.extend(lies_here.then_some(ready));
        conditions.extend([
            condition(generation, "Reconciling", ConditionStatus::False, "Settled", "nothing is under way"),
            condition(
                generation,
                "Stalled",
                truth(stalled),
                if stalled { phase } else { "Settled" },
                if stalled { phase_message } else { "nothing is in the way".to_owned() },
            ),
        ]);
        conditions
    }

    /// The organisations and products that it names and that are not there, or cannot be used: with accession, members that
    /// are out.
    fn missing(&self) -> Vec<String> {
        let Self { model, agreement, .. } = self;
        let orgs = agreement.orgs().into_iter().filter(|org| !model.orgs.contains_key(*org));
        let orgs = orgs.map(|org| format!("organisation `{org}`"));
        let products: BTreeSet<&ObjectRef> =
            agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products).collect();
        let products = products.into_iter().filter(|product| !model.products.contains_key(*product));
        orgs.chain(products.map(|product| format!("product `{product}`"))).collect()
    }

    fn valid_message(&self) -> String {
        let found = match self.missing().as_slice() {
            [] => "everything that it names exists".to_owned(),
            missing => {
                format!(
                    "everything else that it names exists; not in, as it cannot be used: {}",
                    missing.join(", ")
                )
            }
        };
        match self.agreement.same_reference.as_slice() {
            [] => found,
            others => format!(
                "{found}; but its reference is also that of {}: give each agreement a reference of its own",
                others.iter().map(|other| format!("`{other}`")).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// Each rule that refuses it: about whom, why, at which field, and what would help.
    fn broken_rules(&self) -> String {
        let Self { model, agreement, assessment } = self;
        let text = |broken: &BrokenRule| {
            let over = exception_over(model, agreement, &broken.rule, assessment.at)
                .map_or(String::new(), |over| format!("; {over}"));
            let (field, help) = how_to_fix(model, &agreement.spec, broken);
            let place = if field.is_empty() { String::new() } else { format!("`{field}`: ") };
            format!("{}{over} ({place}{help})", broken_text(broken))
        };
        assessment.broken.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    fn phase_reason(&self) -> String {
        match self.assessment.phase {
            Phase::Refused => self
                .assessment
                .broken
                .first()
                .map_or_else(|| "Refused".to_owned(), |broken| broken.rule.clone()),
            phase => phase.as_str().to_owned(),
        }
    }

    fn signed_message(&self) -> String {
        let Self { model, agreement, assessment } = self;
        let parties = || assessment.parties.iter();
        let needed = parties().filter_map(|(org, party)| {
            let needed = Needed::of(model, agreement, org, party)?;
            Some(format!("`{org}` {}", needed.text(&agreement.reference, org)))
        });
        let who = |standing| {
            let those = parties().filter(move |(_, party)| party.standing == standing);
            those.map(|(org, _)| format!("`{org}`"))
        };
        let withdrawn = who(Standing::Withdrawn).map(|org| format!("{org} has withdrawn"));
        let declined = who(Standing::Declined).map(|org| format!("{org} has declined"));
        let needed: Vec<String> = needed.collect();
        let out = withdrawn.chain(declined);
        // that others are out explains nothing where those who are in are not active
        let waits = assessment.phase == Phase::AwaitingSignatures && needed.is_empty();
        let idle = waits.then(|| self.nobody_active());
        let all: Vec<String> = needed.into_iter().chain(idle).chain(out).collect();
        if !all.is_empty() {
            return all.join("; ");
        }
        let unasked: Vec<String> = parties()
            .filter(|(org, party)| party.standing != Standing::Signed && !is_asked(agreement, org))
            .map(|(org, _)| format!("`{org}`"))
            .collect();
        if assessment.fully_signed && !unasked.is_empty() {
            format!(
                "every Controller has signed, and in an emergency no one else has to; no signature on these terms by {}",
                unasked.join(", ")
            )
        } else if assessment.fully_signed {
            "every party has signed".to_owned()
        } else {
            self.nobody_active()
        }
    }

    /// That a Controller or a Recipient is missing of those who have signed, and who of them is not active.
    fn nobody_active(&self) -> String {
        let Self { model, agreement: _, assessment } = self;
        let idle = assessment.signed.orgs.iter().filter_map(|org| {
            let state = model.orgs.get(org)?.state(assessment.at);
            (state != OrgState::Active).then(|| format!("`{org}` is {}", state.as_str().to_lowercase()))
        });
        let idle: Vec<String> = idle.collect();
        let why = if idle.is_empty() { String::new() } else { format!(": {}", idle.join(", ")) };
        format!("no Controller or no Recipient is signed and active{why}")
    }

    fn phase_message(&self) -> String {
        let Self { model: _, agreement, assessment } = self;
        let spec = &agreement.spec;
        match assessment.phase {
            Phase::Terminating => "it is being deleted, and what it opened is taken away".to_owned(),
            Phase::Invalid => "it cannot be used".to_owned(),
            Phase::Suspended => "`spec.suspend` is true; set it to false to carry on".to_owned(),
            Phase::Superseded => assessment.succession.by.as_ref().map_or_else(
                || "another agreement has replaced it".to_owned(),
                |by| match &assessment.succession.shown {
                    None => format!("it says itself that `{by}` has replaced it"),
                    Some(_) => format!("`{by}` has replaced it"),
                },
            ),
            Phase::Expired => {
                let what = if assessment.ends == spec.term.end {
                    "its term"
                } else if assessment.ends == spec.confidentiality.valid_until {
                    "its confidentiality basis"
                } else {
                    "the emergency"
                };
                format!(
                    "{what} ended on {}; to carry on, sign a new agreement that `supersedes` this one",
                    assessment.ends
                )
            }
            Phase::Withdrawn => self.signed_message(),
            Phase::Refused => self.broken_rules(),
            Phase::AwaitingSignatures => self.signed_message(),
            Phase::Scheduled => format!("it starts on {}", spec.term.start),
            Phase::Active => {
                let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
                for closed in &assessment.closed {
                    *reasons.entry(&closed.reason).or_default() += 1;
                }
                let open = assessment.flows.len();
                let closed: Vec<String> =
                    reasons.iter().map(|(reason, count)| format!("{count} because {reason}")).collect();
                let tail = if closed.is_empty() {
                    String::new()
                } else {
                    format!("; listed and closed: {}", closed.join(", "))
                };
                format!(
                    "in force until {}, with {open} open {}{tail}",
                    assessment.ends,
                    if open == 1 { "flow" } else { "flows" }
                )
            }
        }
    }
}

/// The key of an agreement.
pub fn agreement_key(reference: &ObjectRef) -> ObjectKey {
    ObjectKey::new("DataSharingAgreement", Some(&reference.namespace), &reference.name)
}
