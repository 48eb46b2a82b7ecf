//! What a national rule says of itself, in annotations: nothing else in the code knows a rule.

use cedar_policy::{ActionConstraint, Effect, Policy};

use super::load::Rule;
use super::names;
use super::problem::PolicyProblem;
use super::reads::Reads;

/// What a national rule does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tier {
    /// It is part of the agreement gate.
    Gate,
    /// A guardrail of the access gate.
    Ceiling,
    /// A permit that no local rule can block.
    Floor,
    /// A permit of what the agreement lists.
    Agreement,
}

/// What a rule is asked of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Asked {
    /// The agreement, once and naming no organisation.
    Agreement,
    /// Each organisation that is a party.
    Party,
    /// Each row of `parties[]`.
    Row,
    /// Each purpose, with its products.
    Purpose,
    /// Each path before it opens: a guardrail of the access gate.
    Flow,
}

/// What a rule says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleText {
    pub tier: Tier,
    /// What it is asked of. A rule of the gate that does not say is asked of every row and every purpose.
    pub asked: Option<Asked>,
    /// Whether, with `accession`, it keeps a party out and does not refuse the agreement.
    pub keeps_out: bool,
    /// Whether no exception may lift it.
    pub never_lifted: bool,
    pub reason: String,
    pub source: String,
    /// What would help whoever meets the rule, where the text says it.
    pub help: String,
    /// The field of the agreement to fix: a path, `party` or `purpose` with what follows in their entry.
    pub field: String,
}

/// Context attributes of the gate that only a question about a row has.
const OF_A_ROW: [&str; 3] = ["context.role", "context.article6", "context.article9"];
/// Those that only a question about a purpose has.
const OF_A_PURPOSE: [&str; 3] =
    ["context.purpose", "context.purposeData", "context.purposeMaxIdentifiability"];
/// Whether one word was probably meant to be another: a letter or two differ, and not most of it. Nearer than a misspelling
/// of people's words has to be (`words`): these are short, and one that is not read says nothing.
fn is_slip(meant: &str, written: &str) -> bool {
    strsim::damerau_levenshtein(meant, written) <= if meant.len() > 4 { 2 } else { 1 }
}

/// What a rule can say of itself.
const KNOWN: [&str; 9] = ["accession", "asked", "field", "help", "id", "lift", "reason", "source", "tier"];
/// What is known of a flow before there is a request.
const OF_A_FLOW: [&str; 6] = [
    "context.agreement",
    "context.framework",
    "context.now",
    "context.purpose",
    "context.identifiability",
    "context.region",
];

impl RuleText {
    /// What a rule says of itself, and what is wrong with that.
    pub(super) fn read(rule: &Rule, reads: &Reads) -> (Option<Self>, Vec<PolicyProblem>) {
        let mut problems = Vec::new();
        let mut refuse = |message: &str, help: &str| {
            problems.push(PolicyProblem::annotation(rule, message, help));
        };
        let policy = &rule.policy;
        for (key, _) in policy.annotations().filter(|(key, _)| !KNOWN.contains(key)) {
            // a framework may have annotations of its own; a slip in one of these would say nothing in silence
            if let Some(near) = KNOWN.iter().find(|known| is_slip(known, key)) {
                refuse(&format!("has `@{key}`, which is not known"), &format!("did you mean `@{near}`?"));
            }
        }
        let text = |key| policy.annotation(key).unwrap_or_default().to_owned();
        let tier = match (policy.annotation("tier"), policy.effect()) {
            (Some("Gate"), _) => Some(Tier::Gate),
            (Some("Ceiling"), Effect::Forbid) => Some(Tier::Ceiling),
            (Some("Floor"), Effect::Permit) => Some(Tier::Floor),
            (Some("Agreement"), Effect::Permit) => Some(Tier::Agreement),
            _ => {
                refuse(
                    "has no `@tier` that fits it",
                    "write `@tier(\"Gate\")`, `@tier(\"Ceiling\")` for a forbid, `@tier(\"Floor\")` or \
                     `@tier(\"Agreement\")` for a permit",
                );
                None
            }
        };
        if tier.is_some_and(|tier| !is_about(policy, tier)) {
            refuse(
                "is about an action that its tier is never asked about",
                "a rule of the Gate is about `Concordat::Action::\"activateAgreement\"`, each other one about \
                 `Concordat::Action::\"useData\"` or actions in it",
            );
        }
        let asked = match policy.annotation("asked") {
            None => None,
            Some("agreement") => Some(Asked::Agreement),
            Some("party") => Some(Asked::Party),
            Some("row") => Some(Asked::Row),
            Some("purpose") => Some(Asked::Purpose),
            Some("flow") => Some(Asked::Flow),
            Some(other) => {
                refuse(
                    &format!("has `@asked(\"{other}\")`, which is not known"),
                    "write `agreement`, `party`, `row`, `purpose` or `flow`, or leave it out",
                );
                None
            }
        };
        match (asked, tier) {
            (None, _) | (_, None) | (Some(Asked::Flow), Some(Tier::Ceiling)) => {}
            (Some(Asked::Flow), Some(_)) => refuse(
                "has `@asked(\"flow\")`, and is no guardrail",
                "only a forbid with `@tier(\"Ceiling\")` is asked of a flow",
            ),
            (Some(_), Some(Tier::Gate)) => {}
            (Some(_), Some(_)) => refuse(
                "has an `@asked` that only rules of the gate have",
                "leave it out, or write `@asked(\"flow\")` on a guardrail",
            ),
        }
        if let Some(asked) = asked {
            for path in unavailable(asked, reads) {
                refuse(
                    &format!("reads `{path}`, which its question does not have"),
                    &format!("{}; leave the read out, or ask it of something else in `@asked`", asked.has()),
                );
            }
            if asked == Asked::Flow && !is_of_every_action(policy) {
                refuse(
                    "is about some actions only, and a flow is not asked with an action",
                    "write `action in Concordat::Action::\"useData\"`, and do not read `action`",
                );
            }
        }
        let keeps_out = match policy.annotation("accession") {
            None => false,
            Some("keepsOut") => {
                if !matches!(asked, Some(Asked::Party | Asked::Row)) {
                    refuse(
                        "has `@accession(\"keepsOut\")`, and is not asked of a party or row",
                        "add `@asked(\"party\")` or `@asked(\"row\")`, or leave it out",
                    );
                }
                true
            }
            Some(other) => {
                refuse(
                    &format!("has `@accession(\"{other}\")`, which is not known"),
                    "write `keepsOut`, or leave it out",
                );
                false
            }
        };
        let never_lifted = match policy.annotation("lift") {
            None => false,
            Some("never") => true,
            Some(other) => {
                refuse(
                    &format!("has `@lift(\"{other}\")`, which is not known"),
                    "write `never`, or leave it out",
                );
                false
            }
        };
        let field = text("field");
        let root = field.split_once('.').map_or(field.as_str(), |(root, _)| root);
        if !["", "spec", "party", "purpose"].contains(&root) {
            refuse(
                &format!("has `@field(\"{field}\")`, which is not known"),
                "write a path such as `spec.term`, or `party` or `purpose` with what follows in its entry",
            );
        }
        let said = tier.map(|tier| Self {
            tier,
            asked,
            keeps_out,
            never_lifted,
            reason: text("reason"),
            source: text("source"),
            help: text("help"),
            field,
        });
        (said, problems)
    }
}

impl Asked {
    /// What its question has, in words.
    fn has(self) -> &'static str {
        match self {
            Self::Agreement => "a question about the agreement names no organisation, row or purpose",
            Self::Party => "a question about a party has no row and no purpose",
            Self::Row => "a question about a row has no purpose",
            Self::Purpose => "a question about a purpose names no organisation and no row",
            Self::Flow => {
                "before a request there are the entities, `now`, `framework`, `purpose`, `identifiability` and \
                 `region`"
            }
        }
    }
}

/// What a rule reads that its question does not have.
fn unavailable(asked: Asked, reads: &Reads) -> Vec<String> {
    let lacks = |paths: &[&[&str]]| -> Vec<String> {
        let all = paths.iter().copied().flatten().chain(&["principal"]);
        let asks_anyone = matches!(asked, Asked::Agreement | Asked::Purpose);
        let all = all.filter(|path| **path != "principal" || asks_anyone);
        all.filter(|path| reads.touches(path)).map(|path| (*path).to_owned()).collect()
    };
    match asked {
        Asked::Agreement => lacks(&[&OF_A_ROW, &OF_A_PURPOSE]),
        Asked::Party => lacks(&[&OF_A_ROW, &OF_A_PURPOSE]),
        Asked::Row => lacks(&[&OF_A_PURPOSE]),
        Asked::Purpose => lacks(&[&OF_A_ROW]),
        Asked::Flow => {
            let given = |path: &str| {
                OF_A_FLOW.iter().any(|given| {
                    path.strip_prefix(given).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            };
            let of_context = reads.paths().filter(|path| path.split('.').next() == Some("context"));
            of_context.filter(|path| !given(path)).map(str::to_owned).collect()
        }
    }
}

/// Whether the questions that a tier is asked about can be what a rule is about.
fn is_about(policy: &Policy, tier: Tier) -> bool {
    let activate = names::activate_agreement();
    let fits = |uid: &cedar_policy::EntityUid| (*uid == activate) == (tier == Tier::Gate);
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => fits(&uid),
        ActionConstraint::In(uids) => uids.iter().any(fits),
    }
}

fn is_of_every_action(policy: &Policy) -> bool {
    let reads_action = policy.to_json().is_ok_and(|json| Reads::of(&json).touches("action"));
    let all = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(_) => false,
        ActionConstraint::In(uids) => uids.contains(&names::use_data()),
    };
    all && !reads_action
}
