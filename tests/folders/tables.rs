//! The tables of the examples' READMEs, run: a row says who wants what and what the answer is, and names the policy
//! tests of the folder that show it.
//!
//! | Who wants what | Answer | Test |
//! |---|---|---|
//! | in words | the rules that refuse, or that nothing permits it | names of tests, with `; ` between; `-` where the row is about a finding |

use std::collections::BTreeMap;
use std::fs;

use concordat_api::{AccessAnswer, DecisionTier, Identifiability, PolicyTestCase};
use concordat_core::evaluate::Judgement;

use crate::folders::{Scenario, scenarios};

struct Row {
    wants: String,
    answer: String,
    tests: Vec<String>,
}

/// The rows of the tables of requests in a README.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["Who wants what", rest @ ..] => {
                assert_eq!(rest, ["Answer", "Test"], "a table of requests names its tests");
                inside = true;
            }
            [first, ..] if first.starts_with("---") => {}
            [wants, answer, tests] if inside => rows.push(Row {
                wants: (*wants).to_owned(),
                answer: (*answer).to_owned(),
                tests: tests.split("; ").filter(|name| *name != "-").map(str::to_owned).collect(),
            }),
            _ => inside = false,
        }
    }
    rows
}

/// The national rules that an answer names.
fn rules(answer: &str) -> Vec<String> {
    let words = answer.split(|letter: char| !letter.is_alphanumeric() && letter != '-');
    words.filter(|word| word.starts_with("NF-")).map(str::to_owned).collect()
}

/// Whether a cell describes an answer.
fn describes(cell: &str, answer: &AccessAnswer) -> bool {
    let AccessAnswer { decision, context } = answer;
    let rule = context.rule.as_deref().unwrap_or_default();
    !decision
        && match context.tier {
            DecisionTier::Ceiling => rules(cell).iter().any(|named| named == rule),
            DecisionTier::Local => {
                let own = rule.split_once('#').map_or(rule, |(_, own)| own);
                cell.contains(&format!("`{own}`"))
            }
            DecisionTier::None => {
                ["nothing permits it", "nothing opens", "no agreement is in force", "no such purpose"]
                    .iter()
                    .any(|words| cell.contains(words))
                    || rules(cell).iter().any(|named| named == "NF-11")
            }
            _ => false,
        }
}

/// The tests of a scenario by name, each with the judgement that it is asked of.
fn answers(scenario: &Scenario) -> BTreeMap<String, Vec<(PolicyTestCase, Judgement, Vec<String>)>> {
    let mut answers: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for state in &scenario.states {
        let snapshot = state.read();
        for case in snapshot.tests.iter().flat_map(|file| &file.spec.tests) {
            let judgement = Judgement::new(&snapshot, case.at.unwrap());
            answers.entry(case.name.clone()).or_default().push((case.clone(), judgement, state.findings()));
        }
    }
    answers
}

#[test]
fn every_table_of_a_readme_says_what_is_answered() {
    for scenario in scenarios() {
        let readme = scenario.folder.join("README.md");
        let rows = rows(&fs::read_to_string(&readme).unwrap());
        assert!(!rows.is_empty(), "{} has a table of what is refused", readme.display());
        let answers = answers(&scenario);
        for Row { wants, answer, tests } in rows {
            let place = format!("{}: `{wants}`", readme.display());
            let mut fired: Vec<String> = Vec::new();
            for test in &tests {
                let found = answers.get(test).unwrap_or_else(|| panic!("{place}: there is no test `{test}`"));
                for (case, judgement, findings) in found {
                    let given = judgement.decide(&case.request).answer;
                    assert!(describes(&answer, &given), "{place}: `{answer}`, and `{test}` gives {given:?}");
                    fired.extend(given.context.rule.clone());
                    fired.extend(given.context.rules);
                    fired.extend(findings.iter().flat_map(|finding| rules(finding)));
                    says_at_which_level(&place, &format!("{wants} {answer}"), case, judgement);
                }
            }
            for rule in rules(&answer).iter().filter(|_| !tests.is_empty()) {
                assert!(fired.contains(rule), "{place}: `{rule}` refuses none of {tests:?}");
            }
        }
    }
}

/// What is refused for names only, and allowed at a lower level, says so.
fn says_at_which_level(place: &str, words: &str, case: &PolicyTestCase, judgement: &Judgement) {
    let asked = case.request.context.identifiability.unwrap_or(Identifiability::Identifiable);
    let lower = [Identifiability::AggregateSuppressed, Identifiability::Pseudonymised];
    for level in lower.into_iter().filter(|level| *level < asked) {
        let mut request = case.request.clone();
        request.context.identifiability = Some(level);
        let allowed = judgement.decide(&request).answer.decision;
        let says =
            ["name", "pseudonym", "level", "rows", "small numbers"].iter().any(|word| words.contains(word));
        assert!(
            !allowed || says,
            "{place}: allowed as {level:?}, and the row does not say at which level it is not"
        );
    }
}
