//! The clauses of a rule: what a permit needs, and what keeps a forbid from firing, each one by itself.
//!
//! A clause is made of the rule's own structure and never of values. Asking the clauses explains a decision; it never
//! takes part in one.

use std::str::FromStr as _;
use std::sync::{Arc, LazyLock};

use cedar_policy::{Entities, EvalResult, Expression, Policy, PolicyId, PolicySet};
use serde_json::{Map, Value, json};

use super::authorize::{Outcome, Question};
use super::large_stack::on_large_stack;
use concordat_api::Identifiability;

/// One clause of a rule.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    /// A permit that has this clause and no other.
    alone: PolicySet,
    /// In Cedar's words.
    pub(super) text: String,
    shape: Shape,
}

/// What a clause compares.
#[derive(Clone, Debug)]
enum Shape {
    Flag {
        of: Operand,
        wanted: bool,
    },
    /// Whether the agreement has terms for something.
    Listed {
        key: Operand,
    },
    Compare {
        left: Operand,
        relation: Relation,
        right: Operand,
    },
    Any(Vec<Clause>),
    All(Vec<Clause>),
    Other,
}

#[derive(Clone, Debug)]
struct Operand {
    text: String,
    expression: Option<Expression>,
    literal: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Relation {
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
    In,
    Contains,
    ContainsAll,
    ContainsAny,
    LacksOne,
    LacksAny,
}

/// An empty text.
const EMPTY: &str = "left out";

/// What a clause saw, and what it wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    /// What was looked at, such as `context.roles`.
    pub(super) subject: String,
    pub(super) saw: String,
    pub(super) wants: String,
}

/// The clauses of a rule, made when they are first looked at: most rules explain nothing, and making them takes as long
/// as loading the rule.
pub(super) type Clauses = Arc<LazyLock<Vec<Clause>, Box<dyn FnOnce() -> Vec<Clause> + Send>>>;

/// The clauses of a rule, from its JSON.
pub(super) fn lazily(rule: Arc<Value>) -> Clauses {
    // they are parsed again, which is recursive
    let make = move || on_large_stack(|| clauses(&rule)).unwrap_or_default();
    Arc::new(LazyLock::new(Box::new(make)))
}

/// One side of a comparison that fails, and what it would have to be for the comparison to hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Demand {
    /// What would have to change, such as `context.roles`.
    pub(super) subject: String,
    pub(super) wanted: Wanted,
}

/// What the subject of a [`Demand`] would have to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    Flag(bool),
    /// A name that the agreement has terms for.
    Listed,
    AtMost(i64),
    AtLeast(i64),
    /// One of these.
    OneOf(Vec<EvalResult>),
    NoneOf(Vec<EvalResult>),
    /// A list with at least one of these.
    Holding(Vec<EvalResult>),
    /// Something that is not put in a value, such as a later date.
    Other,
}

/// The clauses of a rule, from its JSON. All have to hold for a permit to apply, or for a forbid to stay silent.
fn clauses(rule: &Value) -> Vec<Clause> {
    let forbid = rule.get("effect").and_then(Value::as_str) == Some("forbid");
    let conditions = rule.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let firing: Vec<Value> = conditions
        .filter_map(|condition| {
            let body = condition.get("body")?;
            let when = condition.get("kind").and_then(Value::as_str) == Some("when");
            Some(if when { body.clone() } else { negated(body) })
        })
        .collect();
    let mut clauses = Vec::new();
    if forbid {
        let silent = firing.iter().map(negated).reduce(|a, b| json!({ "||": { "left": a, "right": b } }));
        if let Some(silent) = silent {
            conjuncts(&silent).into_iter().for_each(|body| clauses.extend(Clause::condition(body)));
        }
    } else {
        for part in ["principal", "action", "resource"] {
            clauses.extend(rule.get(part).and_then(|scope| Clause::scope(part, scope)));
        }
        for body in firing.iter().flat_map(conjuncts) {
            clauses.extend(Clause::condition(body));
        }
    }
    clauses
}

/// The parts of a conjunction, in the order of writing.
pub(super) fn conjuncts(body: &Value) -> Vec<&Value> {
    parts(body, "&&")
}

fn parts<'a>(body: &'a Value, operator: &str) -> Vec<&'a Value> {
    match body.get(operator).and_then(|both| Some((both.get("left")?, both.get("right")?))) {
        Some((left, right)) => {
            let mut all = parts(left, operator);
            all.extend(parts(right, operator));
            all
        }
        None => vec![body],
    }
}

/// The opposite of a condition, with the negation as far inside as it goes.
fn negated(body: &Value) -> Value {
    let operator =
        body.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
    let both = |new: &str, operands: &Value, change: fn(&Value) -> Value| {
        let side = |name: &str| operands.get(name).map_or(Value::Null, change);
        json!({ new: { "left": side("left"), "right": side("right") } })
    };
    match operator.map(|(name, operands)| (name.as_str(), operands)) {
        Some(("!", operand)) => operand.get("arg").cloned().unwrap_or(Value::Null),
        Some(("&&", operands)) => both("||", operands, negated),
        Some(("||", operands)) => both("&&", operands, negated),
        Some(("==", operands)) => both("!=", operands, Value::clone),
        Some(("!=", operands)) => both("==", operands, Value::clone),
        Some(("<", operands)) => both(">=", operands, Value::clone),
        Some(("<=", operands)) => both(">", operands, Value::clone),
        Some((">", operands)) => both("<=", operands, Value::clone),
        Some((">=", operands)) => both("<", operands, Value::clone),
        _ => json!({ "!": { "arg": body } }),
    }
}

/// A permit of one part: everything else is left open.
fn permit(part: &str, scope: &Value, conditions: Value) -> Option<Policy> {
    let mut rule = Map::new();
    for open in ["principal", "action", "resource"] {
        rule.insert(open.to_owned(), json!({ "op": "All" }));
    }
    rule.insert("effect".to_owned(), json!("permit"));
    rule.insert("conditions".to_owned(), conditions);
    if !part.is_empty() {
        rule.insert(part.to_owned(), scope.clone());
    }
    Policy::from_json(Some(PolicyId::new("clause")), Value::Object(rule)).ok()
}

/// A condition as Cedar writes it.
fn written(body: &Value) -> Option<String> {
    let policy = permit("", &Value::Null, json!([{ "kind": "when", "body": body }]))?;
    let text = policy.to_cedar()?;
    let inside = text.get(text.find('{')? + 1..text.rfind('}')?)?;
    Some(inside.split_whitespace().collect::<Vec<_>>().join(" "))
}

impl Clause {
    fn new(policy: Policy, text: String, shape: Shape) -> Option<Self> {
        let mut alone = PolicySet::new();
        alone.add(policy).ok()?;
        Some(Self { alone, text, shape })
    }

    fn condition(body: &Value) -> Option<Self> {
        let policy = permit("", &Value::Null, json!([{ "kind": "when", "body": body }]))?;
        Self::new(policy, written(body)?, Shape::of(body))
    }

    /// The clause of a rule's head, such as `principal in …`; none where it takes everything.
    fn scope(part: &str, scope: &Value) -> Option<Self> {
        let op = scope.get("op").and_then(Value::as_str)?;
        if op == "All" {
            return None;
        }
        let policy = permit(part, scope, json!([]))?;
        let entity = |entity: &Value| json!({ "Value": { "__entity": entity } });
        let left = Operand::new(&json!({ "Var": part }));
        let one = scope.get("entity").map(entity);
        let several = scope.get("entities").and_then(Value::as_array);
        let several = several.map(|all| json!({ "Set": all.iter().map(entity).collect::<Vec<_>>() }));
        let relation = if op == "==" { Relation::Equal } else { Relation::In };
        let shape = match one.or(several) {
            Some(right) => Shape::Compare { left, relation, right: Operand::new(&right) },
            None => Shape::Other,
        };
        Self::new(policy, format!("the {part} of the rule's head"), shape)
    }

    /// Whether the clause holds for a request. One that cannot be evaluated does not.
    pub(super) fn holds(&self, question: &Question, entities: &Entities) -> bool {
        matches!(question.ask(&self.alone, entities), Outcome::Allowed(_))
    }

    /// Whether the clause says which agreement its rule is about.
    pub(super) fn names_agreement(&self) -> bool {
        let is_candidate = |operand: &Operand| operand.text == "context.agreement";
        matches!(&self.shape, Shape::Compare { left, relation: Relation::Equal, right }
            if is_candidate(left) || is_candidate(right))
    }

    /// Everything that could change so that the clause holds, each by itself or with others.
    pub(super) fn demands(&self, question: &Question, entities: &Entities) -> Vec<Demand> {
        if self.holds(question, entities) {
            return Vec::new();
        }
        match &self.shape {
            Shape::Flag { of, wanted } => {
                vec![Demand { subject: of.text.clone(), wanted: Wanted::Flag(*wanted) }]
            }
            Shape::Listed { key } => vec![Demand { subject: key.text.clone(), wanted: Wanted::Listed }],
            Shape::Compare { left, relation, right } => {
                let sides = [(left, right, false), (right, left, true)];
                let changeable = sides.into_iter().filter(|(subject, ..)| !subject.literal);
                changeable
                    .filter_map(|(subject, other, turned)| {
                        let other = other.value(question, entities)?;
                        Some(Demand {
                            subject: subject.text.clone(),
                            wanted: relation.wanted(turned, &other),
                        })
                    })
                    .collect()
            }
            Shape::Any(parts) | Shape::All(parts) => {
                parts.iter().flat_map(|part| part.demands(question, entities)).collect()
            }
            Shape::Other => Vec::new(),
        }
    }

    /// What the clause looked at, where that is one value: `name is value`, without who has the name, whom
    /// the sentence is about anyway.
    pub(super) fn saw(&self, question: &Question, entities: &Entities) -> Option<String> {
        let Seen { subject, saw, wants: _ } = self.shape.telling(question, entities)?;
        // a moment that only passes is named by what it is compared with
        let (_, name) = subject.split_once('.').filter(|_| subject != "context.now")?;
        Some(format!("`{name}` is {saw}"))
    }

    /// What the clause looked at, in words.
    pub(super) fn seen(&self, question: &Question, entities: &Entities) -> Seen {
        self.shape.seen(question, entities).unwrap_or_else(|| Seen {
            subject: format!("`{}`", self.text),
            saw: "false".to_owned(),
            wants: "true".to_owned(),
        })
    }
}

impl Seen {
    /// How far off the clause is: something to show is near, another role further, and anything else furthest.
    pub(super) fn distance(&self) -> usize {
        match self.subject.as_str() {
            "context.purpose" => 3,
            "context.roles" => 2,
            subject if asker_says(subject) => 1,
            _ => 3,
        }
    }

    /// `the roles are none, and have to include …`.
    pub(super) fn sentence(&self) -> String {
        let Self { subject, saw, wants } = self;
        let roles = || {
            let wanted = wants.strip_prefix("a list with ").unwrap_or(wants);
            format!("the roles are {saw}, and have to include {wanted}")
        };
        let one = |name: &str| format!("{name} is {saw}, and has to be {wants}");
        match subject.as_str() {
            "context.roles" if !wants.starts_with("none of") => roles(),
            "context.purpose" => one("the purpose"),
            "context.identifiability" => one("the level"),
            "context.region" => one("the region"),
            "context.now" => one("the moment"),
            "context.minCellCount" => one("the smallest count"),
            "context.caseReference" => one("the case reference"),
            "context.onwardTo" => one("the body it goes to"),
            "principal" => one("who asks"),
            "principal.org" => one("the organisation that asks"),
            "principal.function" => one("the function that asks"),
            "resource" => one("the product"),
            "action" => one("the action"),
            other => match other.strip_prefix("context.").filter(|_| asker_says(other)) {
                Some(name) => one(&format!("`{name}`")),
                None => one(&format!("`{}`", other.trim_matches('`'))),
            },
        }
    }
}

impl Shape {
    fn of(body: &Value) -> Self {
        let alternatives = parts(body, "||");
        if alternatives.len() > 1 {
            return Self::Any(alternatives.into_iter().filter_map(Clause::condition).collect());
        }
        let together = conjuncts(body);
        if together.len() > 1 {
            return Self::All(together.into_iter().filter_map(Clause::condition).collect());
        }
        let Some((name, operands)) = body.as_object().and_then(|fields| fields.iter().next()) else {
            return Self::Other;
        };
        let relation = match name.as_str() {
            "==" => Relation::Equal,
            "!=" => Relation::NotEqual,
            "<" => Relation::Below,
            "<=" => Relation::AtMost,
            ">" => Relation::Above,
            ">=" => Relation::AtLeast,
            "in" => Relation::In,
            "contains" => Relation::Contains,
            "containsAll" => Relation::ContainsAll,
            "containsAny" => Relation::ContainsAny,
            "hasTag" => {
                let key = operands.get("right").map(Operand::new);
                return key.map_or(Self::Other, |key| Self::Listed { key });
            }
            "." | "Var" | "getTag" => return Self::Flag { of: Operand::new(body), wanted: true },
            "!" => return Self::negative(operands.get("arg").unwrap_or(&Value::Null)),
            _ => return Self::Other,
        };
        Self::compare(operands, relation).unwrap_or(Self::Other)
    }

    /// `!` comes only before what has no opposite of its own.
    fn negative(body: &Value) -> Self {
        let Some((name, operands)) = body.as_object().and_then(|fields| fields.iter().next()) else {
            return Self::Other;
        };
        let shape = match name.as_str() {
            "." | "getTag" => return Self::Flag { of: Operand::new(body), wanted: false },
            "contains" => Self::compare(operands, Relation::LacksOne),
            "containsAny" => Self::compare(operands, Relation::LacksAny),
            // written by hand, as `!(a == b)`
            "==" | "!=" | "<" | "<=" | ">" | ">=" | "&&" | "||" => Some(Self::of(&negated(body))),
            _ => None,
        };
        shape.unwrap_or(Self::Other)
    }

    fn compare(operands: &Value, relation: Relation) -> Option<Self> {
        let left = Operand::new(operands.get("left")?);
        let right = Operand::new(operands.get("right")?);
        Some(Self::Compare { left, relation, right })
    }

    /// What a rule of the gate saw that somebody can fix: of several ways to meet it, not that it might have been asked of
    /// other data, another role or another kind of body, and what is written last, as the most particular.
    fn telling(&self, question: &Question, entities: &Entities) -> Option<Seen> {
        match self {
            Self::Any(alternatives) => {
                let ways = || alternatives.iter().map(|it| &it.shape).filter(|it| !it.is_given());
                let mut together = ways().filter(|it| matches!(it, Self::All(_)));
                let way =
                    together.next().filter(|_| together.next().is_none()).or_else(|| ways().next_back());
                way?.telling(question, entities)
            }
            Self::All(together) => {
                let failed = together.iter().find(|clause| !clause.holds(question, entities));
                failed?.shape.telling(question, entities)
            }
            Self::Flag { .. } | Self::Listed { .. } | Self::Compare { .. } | Self::Other => {
                self.seen(question, entities)
            }
        }
    }

    /// Whether it is about what a question of the gate is asked about, which no one fixes.
    fn is_given(&self) -> bool {
        const GIVEN: [&str; 3] = ["context.data", "context.purpose", "context.role"];
        let is_given = |of: &Operand| GIVEN.iter().any(|given| of.text.starts_with(given));
        match self {
            Self::Flag { of, wanted } => !wanted || is_given(of),
            Self::Listed { key } => is_given(key),
            Self::Compare { left, relation: _, right } => is_given(left) || is_given(right),
            Self::Any(_) | Self::All(_) | Self::Other => false,
        }
    }

    fn seen(&self, question: &Question, entities: &Entities) -> Option<Seen> {
        match self {
            Self::Flag { of, wanted } => Some(Seen {
                subject: of.text.clone(),
                saw: words(&of.value(question, entities)?, false),
                wants: wanted.to_string(),
            }),
            Self::Listed { key } => Some(Seen {
                subject: key.text.clone(),
                saw: words(&key.value(question, entities)?, false),
                wants: "one that the agreement lists".to_owned(),
            }),
            Self::Compare { left, relation, right } => {
                let level = [left, right].iter().any(|side| side.text.ends_with("dentifiability"));
                let turned =
                    left.literal || (!right.literal && !asker_says(&left.text) && asker_says(&right.text));
                let (subject, other) = if turned { (right, left) } else { (left, right) };
                let (saw, other) = (subject.value(question, entities)?, other.value(question, entities)?);
                Some(Seen {
                    subject: subject.text.clone(),
                    saw: words(&saw, level),
                    wants: relation.wants(turned, &other, level),
                })
            }
            Self::Any(alternatives) => any(alternatives, question, entities),
            Self::All(together) => together
                .iter()
                .find(|clause| !clause.holds(question, entities))?
                .shape
                .seen(question, entities),
            Self::Other => None,
        }
    }
}

/// Several ways to meet a clause: what whoever asks can show comes first, and then what is written last, which as a
/// rule is the most particular. No advice is to name another purpose.
fn any(alternatives: &[Clause], question: &Question, entities: &Entities) -> Option<Seen> {
    const MOST: usize = 4;
    let (flags, others): (Vec<&Clause>, Vec<&Clause>) =
        alternatives.iter().partition(|clause| matches!(clause.shape, Shape::Flag { .. }));
    let ways = flags.into_iter().chain(others.into_iter().rev());
    let all: Vec<Seen> = ways.filter_map(|clause| clause.shape.seen(question, entities)).collect();
    let shown = all.iter().filter(|seen| asker_says(&seen.subject) && seen.subject != "context.purpose");
    let shown: Vec<Seen> = shown.cloned().collect();
    let mut all = if shown.is_empty() { all } else { shown }.into_iter();
    let Seen { subject, saw, mut wants } = all.next()?;
    for other in all.take(MOST - 1) {
        if other.subject == subject {
            wants.push_str(&format!(", or {}", other.wants));
        } else {
            wants.push_str(&format!(", or {} (now {}) {}", other.subject, other.saw, other.wants));
        }
    }
    Some(Seen { subject, saw, wants })
}

/// Whether whoever asks says this, as against what terms and registers say.
pub(super) fn asker_says(subject: &str) -> bool {
    subject.starts_with("context.")
        && !["context.agreement", "context.framework", "context.now"]
            .iter()
            .any(|own| subject.starts_with(own))
}

impl Relation {
    /// What a side has to be for the comparison with the other to hold. `turned`: the side is the right one.
    fn wanted(self, turned: bool, other: &EvalResult) -> Wanted {
        let all = || match other {
            EvalResult::Set(set) => set.iter().cloned().collect(),
            one => vec![one.clone()],
        };
        let most = |less: i64| match other {
            EvalResult::Long(value) => Wanted::AtMost(value.saturating_sub(less)),
            _ => Wanted::Other,
        };
        let least = |more: i64| match other {
            EvalResult::Long(value) => Wanted::AtLeast(value.saturating_add(more)),
            _ => Wanted::Other,
        };
        match (self, turned) {
            (Self::Equal, _) => Wanted::OneOf(vec![other.clone()]),
            (Self::NotEqual, _) => Wanted::NoneOf(vec![other.clone()]),
            (Self::Below, false) | (Self::Above, true) => most(1),
            (Self::AtMost, false) | (Self::AtLeast, true) => most(0),
            (Self::Above, false) | (Self::Below, true) => least(1),
            (Self::AtLeast, false) | (Self::AtMost, true) => least(0),
            (Self::In, false) | (Self::Contains, true) => Wanted::OneOf(all()),
            (Self::Contains | Self::ContainsAll, false) | (Self::ContainsAny, _) => Wanted::Holding(all()),
            (Self::LacksOne, true) => Wanted::NoneOf(all()),
            (Self::In | Self::ContainsAll, true) | (Self::LacksOne, false) | (Self::LacksAny, _) => {
                Wanted::Other
            }
        }
    }

    /// What the subject has to be. `turned`: the subject is on the right.
    fn wants(self, turned: bool, other: &EvalResult, level: bool) -> String {
        let one = words(other, level);
        let lower = |by: i64| match other {
            EvalResult::Long(rank) if level => level_name(rank.saturating_add(by)),
            _ => None,
        };
        match (self, turned) {
            (Self::Equal, _) => one,
            (Self::NotEqual, _) if one == EMPTY => "given".to_owned(),
            (Self::NotEqual, _) => format!("anything but {one}"),
            (Self::Below, false) | (Self::Above, true) => {
                lower(-1).map_or_else(|| format!("below {one}"), |name| format!("at most {name}"))
            }
            (Self::Above, false) | (Self::Below, true) => {
                lower(1).map_or_else(|| format!("above {one}"), |name| format!("at least {name}"))
            }
            (Self::AtMost, false) | (Self::AtLeast, true) => format!("at most {one}"),
            (Self::AtLeast, false) | (Self::AtMost, true) => format!("at least {one}"),
            (Self::In, false) if matches!(other, EvalResult::Set(_)) => format!("one of {one}"),
            (Self::In, false) => format!("in {one}"),
            (Self::In, true) => format!("what {one} lies in"),
            (Self::Contains, false) => format!("a list with {one}"),
            (Self::Contains, true) | (Self::ContainsAny, _) => format!("one of {one}"),
            (Self::ContainsAll, false) => format!("a list with all of {one}"),
            (Self::ContainsAll, true) => format!("nothing but {one}"),
            (Self::LacksOne, false) => format!("a list without {one}"),
            (Self::LacksOne, true) | (Self::LacksAny, _) => format!("none of {one}"),
        }
    }
}

impl Operand {
    fn new(body: &Value) -> Self {
        let text = path(body).or_else(|| written(body)).unwrap_or_default();
        let expression = written(body).and_then(|text| Expression::from_str(&text).ok());
        Self { literal: !reads(body), expression, text }
    }

    fn value(&self, question: &Question, entities: &Entities) -> Option<EvalResult> {
        question.value(self.expression.as_ref()?, entities)
    }
}

/// Whether an expression reads anything of the request.
fn reads(body: &Value) -> bool {
    match body {
        Value::Object(fields) => {
            fields.contains_key("Var") || (!fields.contains_key("Value") && fields.values().any(reads))
        }
        Value::Array(items) => items.iter().any(reads),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// `context.agreement.purpose` and the like; the terms of the purpose in short.
pub(super) fn path(body: &Value) -> Option<String> {
    if let Some(name) = body.get("Var").and_then(Value::as_str) {
        return Some(name.to_owned());
    }
    if let Some(access) = body.get(".") {
        return Some(format!("{}.{}", path(access.get("left")?)?, access.get("attr")?.as_str()?));
    }
    let tag = body.get("getTag")?;
    Some(format!("{}[{}]", path(tag.get("left")?)?, path(tag.get("right")?)?))
}

fn level_name(rank: i64) -> Option<String> {
    let level = [
        Identifiability::AggregateSuppressed,
        Identifiability::AggregateSmallNumbers,
        Identifiability::Pseudonymised,
        Identifiability::Identifiable,
    ]
    .into_iter()
    .find(|level| level.rank() == rank)?;
    Some(format!("`{level:?}`"))
}

/// A value in words.
fn words(value: &EvalResult, level: bool) -> String {
    match value {
        EvalResult::Bool(value) => value.to_string(),
        EvalResult::Long(rank) => {
            level.then(|| level_name(*rank)).flatten().unwrap_or_else(|| rank.to_string())
        }
        EvalResult::String(text) if text.is_empty() => EMPTY.to_owned(),
        EvalResult::String(text) => format!("`{text}`"),
        EvalResult::EntityUid(uid) => format!("`{}`", AsRef::<str>::as_ref(uid.id())),
        EvalResult::Set(set) if set.is_empty() => "none".to_owned(),
        EvalResult::Set(set) => {
            // a list in a sentence: the first few stand for all
            const MOST: usize = 8;
            let mut all: Vec<String> = set.iter().take(MOST).map(|item| words(item, level)).collect();
            if set.len() > MOST {
                all.push(format!("{} more", set.len() - MOST));
            }
            all.join(", ")
        }
        EvalResult::Record(record) => {
            let fields = record.iter().map(|(name, value)| format!("{name}: {}", words(value, level)));
            fields.collect::<Vec<_>>().join(", ")
        }
        EvalResult::ExtensionValue(text) => moment(text),
    }
}

/// A date without Cedar's wrapping. One that is missing counts as long past.
fn moment(text: &str) -> String {
    let inner = text.strip_prefix("datetime(\"").and_then(|text| text.strip_suffix("\")"));
    let date = inner.unwrap_or(text);
    if date.starts_with("1970-01-01T00:00:00") { EMPTY.to_owned() } else { format!("`{date}`") }
}

#[cfg(test)]
mod tests {
    use crate::policy::load::load;

    fn texts(rule: &str) -> Vec<String> {
        let text = format!("@id(\"x\") @reason(\"y\") {rule}");
        let rules = load(&text, |_| Vec::new()).unwrap();
        rules[0].clauses.iter().map(|clause| clause.text.clone()).collect()
    }

    #[test]
    fn a_permit_falls_into_what_it_needs() {
        let rule = "permit (principal, action == Concordat::Action::\"extract\", resource)
            when { context.purpose == \"Research\" && (context.breakGlass || context.identifiability < 2) }
            unless { context.region != \"GB\" || !context.explicitConsent };";
        assert_eq!(
            texts(rule),
            [
                "the action of the rule's head",
                "context.purpose == \"Research\"",
                "context.breakGlass || (context.identifiability < 2)",
                "context.region == \"GB\"",
                "context.explicitConsent",
            ]
        );
    }

    #[test]
    fn a_forbid_falls_into_what_keeps_it_silent() {
        let when = "forbid (principal, action in Concordat::Action::\"useData\", resource)
            when { context.breakGlass || context.purpose == \"Research\" };";
        assert_eq!(texts(when), ["!context.breakGlass", "!(context.purpose == \"Research\")"]);
        let unless = "forbid (principal, action in Concordat::Action::\"useData\", resource)
            unless { principal.providesCare && context.legitimateRelationship };";
        assert_eq!(texts(unless), ["principal.providesCare", "context.legitimateRelationship"]);
    }
}
