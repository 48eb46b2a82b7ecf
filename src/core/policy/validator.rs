//! What Cedar's validator says of a text: of each rule by its own `@id`, and of each mistake once.
//!
//! Cedar looks at a rule once for every action that it may be about, and calls it `policy0`. People do neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use cedar_policy::{ActionConstraint, PolicyId, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;

use super::problem::{PolicyProblem, position};
use super::schema::schema;
use crate::finding::Code;

/// The action that no local rule is asked about.
const ACTIVATE: &str = "activateAgreement";

/// Everything that strict validation finds; `names` are the ids that people know. Warnings count: "policy is
/// impossible" and the like are no errors to Cedar, and a rule that does nothing is a mistake here.
pub(super) fn problems(
    set: &PolicySet,
    text: &str,
    names: &BTreeMap<PolicyId, String>,
) -> Vec<PolicyProblem> {
    let result = Validator::new(schema().clone()).validate(set, ValidationMode::Strict);
    let mut mistakes = Mistakes { text, found: Vec::new() };
    for error in result.validation_errors() {
        mistakes.take(error.policy_id(), error);
    }
    let mistaken: BTreeSet<PolicyId> = mistakes.found.iter().map(|mistake| mistake.rule.clone()).collect();
    // what is wrong with a rule is as a rule also why it does nothing
    for warning in result.validation_warnings().filter(|warning| !mistaken.contains(warning.policy_id())) {
        mistakes.take(warning.policy_id(), warning);
    }
    mistakes.problems(set, names)
}

struct Mistakes<'a> {
    text: &'a str,
    found: Vec<Mistake>,
}

/// One mistake, whatever the actions that it was met with.
struct Mistake {
    rule: PolicyId,
    position: Option<(u32, u32)>,
    message: String,
    help: Option<String>,
    actions: BTreeSet<String>,
}

impl Mistakes<'_> {
    fn take(&mut self, rule: &PolicyId, diagnostic: &(impl Diagnostic + Display)) {
        let unnamed = |text: String| text.replacen(&format!("for policy `{rule}`, "), "", 1);
        let (message, action) = without_action(&unnamed(diagnostic.to_string()));
        let help = diagnostic.help().map(|help| unnamed(help.to_string()));
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let position = label.and_then(|label| position(self.text, label.offset()));
        let same = |known: &&mut Mistake| {
            known.rule == *rule && known.position == position && known.message == message
        };
        match self.found.iter_mut().find(same) {
            Some(known) => {
                // what would help where somebody asks comes before what would help where no one does
                if known.actions.iter().all(|action| action == ACTIVATE) {
                    known.help = help;
                }
                known.actions.extend(action);
            }
            None => self.found.push(Mistake {
                rule: rule.clone(),
                position,
                message,
                help,
                actions: action.into_iter().collect(),
            }),
        }
    }

    fn problems(self, set: &PolicySet, names: &BTreeMap<PolicyId, String>) -> Vec<PolicyProblem> {
        // a name that there is not is also why no action fits
        let misnamed: BTreeSet<PolicyId> = self
            .found
            .iter()
            .filter(|mistake| mistake.message.starts_with("unrecognized"))
            .map(|mistake| mistake.rule.clone())
            .collect();
        let follows = |mistake: &Mistake| {
            misnamed.contains(&mistake.rule)
                && mistake.message.starts_with("unable to find an applicable action")
        };
        self.found
            .into_iter()
            .filter(|mistake| !follows(mistake))
            .map(|Mistake { rule, position, message, help, actions }| {
                let about_all = set
                    .policy(&rule)
                    .is_some_and(|policy| matches!(policy.action_constraint(), ActionConstraint::Any));
                let only_activation = !actions.is_empty() && actions.iter().all(|action| action == ACTIVATE);
                let (message, help) = if about_all && only_activation {
                    let name = "write `action in Concordat::Action::\"useData\"` in the rule's head, or the actions \
                                that it is about";
                    (format!("{message}, as the rule is about `{ACTIVATE}` too"), Some(name.to_owned()))
                } else {
                    (message, help)
                };
                PolicyProblem { rule: names.get(&rule).cloned(), message, help, position, code: Code::PolicyText }
            })
            .collect()
    }
}

/// A message without the action that it was met with, and that action.
fn without_action(message: &str) -> (String, Option<String>) {
    let found = message.split_once(" for Concordat::Action::\"").and_then(|(before, rest)| {
        let (action, after) = rest.split_once('"')?;
        Some((format!("{before}{after}"), Some(action.to_owned())))
    });
    found.unwrap_or_else(|| (message.to_owned(), None))
}
