//! Parity: no rule goes by the name of a sector, and the voluntary sector is asked for no more than the NHS.
//!
//! The conditions of a rule become a tree over atoms: comparisons that read sectors and levels alone, which Cedar
//! evaluates for each value; and everything else, which may turn out either way. What a rule does to `Vcse` is then held
//! to what it does to `Nhs`, all else being equal. A sector that is read in a way that cannot be followed counts as
//! misused. What is not seen: bodies that are listed by name, and other attributes that charities happen to share.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use serde_json::{Value, json};

use super::clauses::{conjuncts, path};
use super::constant;
use super::load::Rule;
use super::problem::PolicyProblem;
use crate::finding::Code;
use concordat_api::Sector;

/// How many truths can be left open. More are not followed.
const MOST_OPEN: usize = 12;
/// How many steps are taken over all rules of a text. What takes more is not followed: the length of a text bounds what
/// it costs.
const MOST_STEPS: usize = 400_000;
/// What one question to Cedar costs, in steps.
const QUESTION: usize = 100;
const LEVEL: &str = "context.identifiability";
/// Tables with small numbers suppressed.
const SUPPRESSED: i64 = 0;

/// The steps that are left for a text.
#[derive(Debug)]
pub(super) struct Steps(Cell<usize>);

impl Default for Steps {
    fn default() -> Self {
        Self(Cell::new(MOST_STEPS))
    }
}

impl Steps {
    fn take(&self, steps: usize) {
        self.0.set(self.0.get().saturating_sub(steps));
    }

    fn are_used_up(&self) -> bool {
        self.0.get() == 0
    }
}

/// What is wrong with how a rule treats sectors.
pub(super) fn problems(rule: &Rule, steps: &Steps) -> Vec<PolicyProblem> {
    let conditions = rule.json.get("conditions").cloned().unwrap_or_default();
    let (sector, assurance) = (names(&conditions, "sector"), names(&conditions, "assurance"));
    let forbid = rule.policy.effect() == Effect::Forbid;
    if !(sector || assurance && forbid) {
        return Vec::new();
    }
    let problem = |message: &str, help: &str| PolicyProblem::lint(Code::PolicyParity, rule, message, help);
    const INSTEAD: &str = "ask what matters instead, and of everybody: `principal.providesCare`, a role, a legitimate \
                           relationship, the same assurance";
    let lost = || {
        vec![problem(
            "the sector or the assurance is read in a way, or among more conditions, than can be followed",
            "compare `principal.org.sector` with a text, and split the rule",
        )]
    };
    let Some(followed) = Followed::new(&conditions, steps).filter(|_| !hidden_sector(&conditions)) else {
        return lost();
    };
    let mut problems = Vec::new();
    if sector && followed.decides_by_sector_alone() {
        problems.push(problem("it decides on the sector alone", INSTEAD));
    }
    if sector && followed.treats_worse(forbid) {
        let message = if forbid {
            "it denies the voluntary sector (`Vcse`) what it would not deny the NHS, all else being equal"
        } else {
            "it permits the NHS what it would not permit the voluntary sector (`Vcse`), all else being equal"
        };
        problems.push(problem(message, INSTEAD));
    }
    if assurance && forbid && followed.asks_assurance_of_suppressed() {
        problems.push(problem(
            "it asks for assurance to read suppressed tables, of which the NHS asks none",
            "add `context.identifiability >= 2 &&`, from where on the framework asks for it",
        ));
    }
    if steps.are_used_up() { lost() } else { problems }
}

/// Whether an attribute of this name is read anywhere.
fn names(body: &Value, attribute: &str) -> bool {
    match body {
        Value::Object(fields) => {
            fields.get("attr").and_then(Value::as_str) == Some(attribute)
                || fields.values().any(|value| names(value, attribute))
        }
        Value::Array(items) => items.iter().any(|value| names(value, attribute)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether a sector is read of something that is not simply named, such as the outcome of an `if`.
fn hidden_sector(body: &Value) -> bool {
    match body {
        Value::Object(fields) => {
            let access = fields.get(".").and_then(|access| access.get("attr")).and_then(Value::as_str);
            (access == Some("sector") && path(body).is_none()) || fields.values().any(hidden_sector)
        }
        Value::Array(items) => items.iter().any(hidden_sector),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A rule's conditions as a tree over atoms.
struct Followed<'a> {
    steps: &'a Steps,
    root: Node,
    atoms: Vec<Atom>,
    /// The paths that are tried with every value: sectors, and the level.
    variables: Vec<String>,
}

enum Node {
    Fixed(bool),
    Atom(usize),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    If(Box<[Node; 3]>),
}

struct Atom {
    body: Value,
    /// The variables that it reads.
    reads: BTreeSet<usize>,
    /// Its truth by the values of the variables; none where it reads something else as well.
    truth: Option<BTreeMap<Vec<usize>, bool>>,
    assurance: bool,
}

/// The values of all variables, each as an index into its domain.
type Values = Vec<usize>;

impl<'a> Followed<'a> {
    fn new(conditions: &Value, steps: &'a Steps) -> Option<Self> {
        let mut variables = BTreeSet::new();
        find_variables(conditions, &mut variables);
        let sectors = variables.iter().filter(|path| *path != LEVEL).count();
        if sectors > 2 {
            return None;
        }
        let variables = variables.into_iter().collect();
        let mut followed = Self { steps, root: Node::Fixed(true), atoms: Vec::new(), variables };
        let mut all = Vec::new();
        for condition in conditions.as_array()? {
            let body = condition.get("body")?;
            let when = condition.get("kind").and_then(Value::as_str) == Some("when");
            // which agreement it is about is no property of whoever asks
            let parts = if when { conjuncts(body) } else { vec![body] };
            let nodes: Vec<Node> = parts
                .into_iter()
                .filter(|part| !when || required_agreement(part).is_none())
                .map(|part| followed.node(part))
                .collect();
            all.push(if when { Node::All(nodes) } else { Node::Not(Box::new(Node::All(nodes))) });
        }
        followed.root = Node::All(all);
        let every = followed.every_value();
        let variables = &followed.variables;
        for atom in &mut followed.atoms {
            // only what it reads makes a difference
            let mut asked: BTreeMap<Values, Option<bool>> = BTreeMap::new();
            let mut ask = |values: &Values| {
                let read =
                    (0..).zip(values).filter(|(at, _)| atom.reads.contains(at)).map(|(_, value)| *value);
                *asked.entry(read.collect()).or_insert_with(|| {
                    steps.take(QUESTION);
                    (!steps.are_used_up()).then(|| truth(&atom.body, variables, values)).flatten()
                })
            };
            atom.truth = every.iter().map(|values| Some((values.clone(), ask(values)?))).collect();
        }
        (followed.open().len() + followed.mixed().len() <= MOST_OPEN).then_some(followed)
    }

    fn node(&mut self, body: &Value) -> Node {
        let operator = body.as_object().and_then(|fields| fields.iter().next());
        let sides = |operands: &Value| Some((operands.get("left")?.clone(), operands.get("right")?.clone()));
        match operator.map(|(name, operands)| (name.as_str(), operands)) {
            Some(("&&", operands)) if let Some((left, right)) = sides(operands) => {
                Node::All(vec![self.node(&left), self.node(&right)])
            }
            Some(("||", operands)) if let Some((left, right)) = sides(operands) => {
                Node::Any(vec![self.node(&left), self.node(&right)])
            }
            Some(("!", operand)) => {
                Node::Not(Box::new(self.node(operand.get("arg").unwrap_or(&Value::Null))))
            }
            Some(("if-then-else", branches)) => {
                let mut branch = |name: &str| self.node(branches.get(name).unwrap_or(&Value::Null));
                Node::If(Box::new([branch("if"), branch("then"), branch("else")]))
            }
            Some(("Value", Value::Bool(value))) => Node::Fixed(*value),
            // each organisation has a sector
            Some(("has", operands)) if operands.get("attr").is_some_and(|name| name == "sector") => {
                Node::Fixed(true)
            }
            _ => Node::Atom(self.atom(body)),
        }
    }

    fn atom(&mut self, body: &Value) -> usize {
        if let Some(known) = self.atoms.iter().position(|atom| atom.body == *body) {
            return known;
        }
        let mut read = BTreeSet::new();
        find_variables(body, &mut read);
        let reads =
            (0..).zip(&self.variables).filter(|(_, path)| read.contains(*path)).map(|(at, _)| at).collect();
        self.atoms.push(Atom { body: body.clone(), reads, truth: None, assurance: names(body, "assurance") });
        self.atoms.len() - 1
    }

    /// Every combination of values of the variables.
    fn every_value(&self) -> Vec<Values> {
        self.variables.iter().fold(vec![Vec::new()], |combinations, path| {
            let size = domain(path).len();
            combinations
                .into_iter()
                .flat_map(|values| {
                    (0..size).map(move |value| values.iter().copied().chain([value]).collect::<Values>())
                })
                .collect()
        })
    }

    /// The atoms whose truth is open, whatever the variables.
    fn open(&self) -> Vec<usize> {
        self.unfollowed(|atom| atom.reads.is_empty())
    }

    /// The atoms that read a variable together with something else.
    fn mixed(&self) -> Vec<usize> {
        self.unfollowed(|atom| !atom.reads.is_empty())
    }

    fn unfollowed(&self, which: impl Fn(&Atom) -> bool) -> Vec<usize> {
        let chosen = |(at, atom): (usize, &Atom)| (atom.truth.is_none() && which(atom)).then_some(at);
        self.atoms.iter().enumerate().filter_map(chosen).collect()
    }

    fn holds(&self, values: &Values, open: &dyn Fn(usize) -> bool) -> bool {
        self.steps.take(1 + self.atoms.len());
        self.evaluate(&self.root, values, open)
    }

    fn evaluate(&self, node: &Node, values: &Values, open: &dyn Fn(usize) -> bool) -> bool {
        match node {
            Node::Fixed(value) => *value,
            Node::Atom(at) => {
                let followed = self.atoms.get(*at).and_then(|atom| atom.truth.as_ref()?.get(values).copied());
                followed.unwrap_or_else(|| open(*at))
            }
            Node::Not(inner) => !self.evaluate(inner, values, open),
            Node::All(nodes) => nodes.iter().all(|node| self.evaluate(node, values, open)),
            Node::Any(nodes) => nodes.iter().any(|node| self.evaluate(node, values, open)),
            Node::If(branches) => {
                let [condition, then, otherwise] = branches.as_ref();
                let branch = if self.evaluate(condition, values, open) { then } else { otherwise };
                self.evaluate(branch, values, open)
            }
        }
    }

    /// Whether something can be found with every truth that is open set some way.
    fn every_setting(&self, atoms: &[usize], mut look: impl FnMut(&dyn Fn(usize) -> bool) -> bool) -> bool {
        (0..1_usize << atoms.len()).take_while(|_| !self.steps.are_used_up()).any(|setting| {
            look(&|at| atoms.iter().position(|atom| *atom == at).is_some_and(|bit| setting >> bit & 1 == 1))
        })
    }

    /// Whether some sector is enough, whatever else is true, and not every sector is.
    fn decides_by_sector_alone(&self) -> bool {
        let everything: Vec<usize> = self.open().into_iter().chain(self.mixed()).collect();
        let level = self.variables.iter().position(|path| path == LEVEL);
        let mut always: BTreeMap<Values, bool> = BTreeMap::new();
        for values in self.every_value() {
            let escapes = self.every_setting(&everything, |open| !self.holds(&values, open));
            let sectors =
                (0..).zip(values).filter(|(at, _)| Some(*at) != level).map(|(_, value)| value).collect();
            *always.entry(sectors).or_insert(true) &= !escapes;
        }
        always.values().any(|always| *always) && !always.values().all(|always| *always)
    }

    /// Whether a forbid can fire for `Vcse` and not for `Nhs`, or a permit for `Nhs` and not for `Vcse`.
    fn treats_worse(&self, forbid: bool) -> bool {
        let (open, mixed) = (self.open(), self.mixed());
        let place = |wanted: Sector| Sector::ALL.iter().position(|sector| *sector == wanted);
        let (Some(vcse), Some(nhs)) = (place(Sector::Vcse), place(Sector::Nhs)) else {
            return true;
        };
        let (hit, spared) = if forbid { (vcse, nhs) } else { (nhs, vcse) };
        let every = self.every_value();
        (0..).zip(&self.variables).filter(|(_, path)| *path != LEVEL).any(|(variable, _)| {
            let differs = |at: &usize| self.atoms.get(*at).is_some_and(|atom| atom.reads.contains(&variable));
            // what reads this sector among other things may come out differently for the two
            let (own, shared): (Vec<usize>, Vec<usize>) = mixed.iter().partition(|at| differs(at));
            let shared: Vec<usize> = open.iter().chain(&shared).copied().collect();
            every.iter().filter(|values| values.get(variable) == Some(&hit)).any(|values| {
                let mut other = values.clone();
                if let Some(value) = other.get_mut(variable) {
                    *value = spared;
                }
                self.every_setting(&shared, |open| {
                    let can = |values: &Values, wanted: bool| {
                        self.every_setting(&own, |mixed| {
                            self.holds(values, &|at| if own.contains(&at) { mixed(at) } else { open(at) })
                                == wanted
                        })
                    };
                    can(values, true) && can(&other, false)
                })
            })
        })
    }

    /// Whether assurance makes a difference for suppressed tables.
    fn asks_assurance_of_suppressed(&self) -> bool {
        let level = self.variables.iter().position(|path| path == LEVEL);
        let unfollowed: Vec<usize> = self.open().into_iter().chain(self.mixed()).collect();
        let (assured, other): (Vec<usize>, Vec<usize>) =
            unfollowed.into_iter().partition(|at| self.atoms.get(*at).is_some_and(|atom| atom.assurance));
        let suppressed = usize::try_from(SUPPRESSED).ok();
        self.every_value()
            .iter()
            .filter(|values| level.is_none_or(|level| values.get(level).copied() == suppressed))
            .any(|values| {
                self.every_setting(&other, |open| {
                    let can = |wanted: bool| {
                        self.every_setting(&assured, |assurance| {
                            self.holds(values, &|at| {
                                if assured.contains(&at) { assurance(at) } else { open(at) }
                            }) == wanted
                        })
                    };
                    can(true) && can(false)
                })
            })
    }
}

/// The values that a variable is tried with.
fn domain(path: &str) -> Vec<Value> {
    if path == LEVEL {
        (SUPPRESSED..=3).map(|rank| json!({ "Value": rank })).collect()
    } else {
        Sector::ALL.iter().map(|sector| json!({ "Value": sector.as_str() })).collect()
    }
}

fn is_variable(path: &str) -> bool {
    path == LEVEL || path.ends_with(".sector")
}

fn find_variables(body: &Value, found: &mut BTreeSet<String>) {
    if let Some(path) = path(body).filter(|path| is_variable(path)) {
        found.insert(path);
        return;
    }
    match body {
        Value::Object(fields) => fields.values().for_each(|value| find_variables(value, found)),
        Value::Array(items) => items.iter().for_each(|value| find_variables(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The body with values in place of the variables.
fn put(body: &Value, variables: &[String], values: &Values) -> Value {
    if let Some(path) = path(body)
        && let Some((_, value)) = variables.iter().zip(values).find(|(variable, _)| **variable == path)
    {
        return domain(&path).get(*value).cloned().unwrap_or(Value::Null);
    }
    match body {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), put(value, variables, values))).collect()
        }
        Value::Array(items) => items.iter().map(|value| put(value, variables, values)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body.clone(),
    }
}

/// What Cedar makes of an atom for some values; none where it reads something else.
fn truth(body: &Value, variables: &[String], values: &Values) -> Option<bool> {
    let body = put(body, variables, values);
    if constant::reads(&body) {
        return None;
    }
    constant::holds(&body)
}

/// The agreement of `context.agreement == Concordat::Agreement::"…"`, whichever way round.
pub(super) fn required_agreement(condition: &Value) -> Option<String> {
    let equal = condition.get("==")?;
    let (left, right) = (equal.get("left")?, equal.get("right")?);
    let entity = |value: &Value| {
        let entity = value.get("Value")?.get("__entity")?;
        (entity.get("type")?.as_str()? == "Concordat::Agreement")
            .then(|| entity.get("id")?.as_str().map(str::to_owned))
            .flatten()
    };
    let is_candidate = |value: &Value| path(value).as_deref() == Some("context.agreement");
    if is_candidate(left) { entity(right) } else { entity(left).filter(|_| is_candidate(right)) }
}

#[cfg(test)]
mod tests {
    use crate::finding::Code;
    use crate::policy::lint;
    use crate::policy::load::load;

    fn codes(rule: &str) -> usize {
        let text = format!("@id(\"x\") @reason(\"y\") {rule};");
        match load(&text, lint::rules) {
            Ok(_) => 0,
            Err(problems) => {
                for problem in &problems {
                    assert_eq!(problem.code, Code::PolicyParity, "{rule}: {problem:?}");
                    assert_eq!(problem.position, Some((1, 1)), "{rule}");
                }
                problems.len()
            }
        }
    }

    fn forbid(condition: &str) -> usize {
        codes(&format!(
            "forbid (principal, action in Concordat::Action::\"useData\", resource) when {{ {condition} }}"
        ))
    }

    fn permit(condition: &str) -> usize {
        codes(&format!(
            "permit (principal, action in Concordat::Action::\"useData\", resource) when {{ \
             context.agreement == Concordat::Agreement::\"a/b\" && {condition} }}"
        ))
    }

    #[test]
    fn no_voluntary_sector_is_refused_however_it_is_written() {
        for condition in [
            "principal.org.sector == \"Vcse\"",
            "\"Vcse\" == principal.org.sector",
            "!(principal.org.sector != \"Vcse\")",
            "principal.org.sector != \"Nhs\"",
            "principal.org.sector != \"Nhs\" && principal.org.sector != \"LocalAuthority\"",
            "[\"Vcse\", \"Housing\"].contains(principal.org.sector)",
            "!([\"Nhs\", \"Police\"].contains(principal.org.sector))",
            "[\"Nhs\", \"Police\"].contains(principal.org.sector) == false",
            "[principal.org.sector].containsAny([\"Vcse\"])",
            "principal.org.sector like \"V*\"",
            "principal.org[\"sector\"] == \"Vcse\"",
            "principal.function.org.sector == \"Vcse\"",
            "context.breakGlass || principal.org.sector == \"Vcse\"",
            "if principal.org.sector == \"Vcse\" then true else context.breakGlass",
            "{s: principal.org.sector}.s == \"Vcse\"",
            "principal.org.sector == \"Vcse\" && context.identifiability >= 0",
            "principal.org has sector && principal.org.sector == \"Police\"",
        ] {
            assert!(forbid(condition) > 0, "{condition}");
        }
        assert!(
            codes(
                "forbid (principal, action in Concordat::Action::\"useData\", resource) \
                 unless { principal.org.sector == \"Nhs\" && principal.providesCare }"
            ) > 0
        );
    }

    #[test]
    fn more_asked_of_charities_than_of_the_nhs_is_refused_also_under_conditions() {
        for condition in [
            "principal.org.sector == \"Vcse\" && context.purpose == \"Planning\"",
            "context.identifiability >= 2 && principal.org.sector == \"Vcse\" && \
             principal.org.assurance.dspt.status != \"StandardsExceeded\"",
            "context.identifiability > (if principal.org.sector == \"Vcse\" then 1 else 2)",
            "context.identifiability >= 2 && principal.org.assurance.dspt.status != \
             (if principal.org.sector == \"Nhs\" then \"StandardsMet\" else \"StandardsExceeded\")",
        ] {
            assert!(forbid(condition) > 0, "{condition}");
        }
        for condition in [
            "principal.org.sector == \"Nhs\" && context.legitimateRelationship",
            "(principal.org.sector == \"Nhs\" || principal.org.assurance.dspt.status == \"StandardsExceeded\")",
        ] {
            assert!(permit(condition) > 0, "{condition}");
        }
    }

    #[test]
    fn a_sector_alone_is_refused_for_any_sector() {
        assert!(forbid("principal.org.sector == \"Police\"") > 0);
        assert!(permit("principal.org.sector == \"Vcse\"") > 0);
    }

    #[test]
    fn what_treats_all_alike_is_accepted() {
        for condition in [
            "!principal.providesCare && context.identifiability >= 2",
            "principal.org.sector == \"Police\" && context.caseReference == \"\"",
            "principal.org.sector == principal.org.sector && context.breakGlass",
            "[\"Nhs\", \"Vcse\"].contains(principal.org.sector) && context.caseReference == \"\"",
            "context.identifiability >= 2 && principal.org.assurance.dspt.status != \"StandardsExceeded\"",
        ] {
            assert_eq!(forbid(condition), 0, "{condition}");
        }
        for condition in [
            "principal.org.sector == \"Vcse\" && context.roles.contains(\"LinkWorker\")",
            "principal.org.assurance.dspt.status == \"StandardsMet\"",
            "context.explicitConsent",
        ] {
            assert_eq!(permit(condition), 0, "{condition}");
        }
    }

    #[test]
    fn assurance_is_not_asked_for_suppressed_tables() {
        for condition in [
            "principal.org.assurance.dspt.status != \"StandardsMet\"",
            "context.identifiability < 2 && principal.org.assurance.dspt.validUntil < context.now",
            "resource.confidentialPatientInfo && principal.org.assurance.equivalent.scheme == \"\"",
        ] {
            assert_eq!(forbid(condition), 1, "{condition}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let hidden = "(if context.breakGlass then principal.org else resource.controller).sector == \"Vcse\"";
        assert_eq!(forbid(hidden), 1);
        let many: Vec<String> = (0..15).map(|n| format!("context.caseReference != \"{n}\"")).collect();
        assert_eq!(forbid(&format!("{} && principal.org.sector == \"Police\"", many.join(" && "))), 1);
    }
}
