//! Shape: what one object's text must look like, held to the very schema and CEL rules of its CRD.
//!
//! The API server holds objects to the same rules, so that a file which passes here is admitted there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::rules::{Broken, Rules};
pub use super::shape_problem::ShapeProblem;
use super::{dates, metadata};
use crate::finding::{Code, Severity};
use crate::text::{TextProblem, text_problems};
use concordat_api::shape::{MOMENT, VISIBLE};

/// A kind's schema, compiled once.
struct Shape {
    schema: Value,
    structure: jsonschema::Validator,
    rules: Rules,
}

impl Shape {
    fn compile(schema: Value) -> Option<Self> {
        let structure = jsonschema::options().should_validate_formats(true).build(&schema).ok()?;
        let rules = Rules::compile(&schema);
        Some(Self { schema, structure, rules })
    }
}

static SHAPES: LazyLock<BTreeMap<String, Shape>> = LazyLock::new(|| {
    let kinds = concordat_api::custom_resource_definitions().into_iter().filter_map(|definition| {
        let version = definition.spec.versions.into_iter().next()?;
        let schema = serde_json::to_value(version.schema?.open_api_v3_schema?).ok()?;
        Some((definition.spec.names.kind, Shape::compile(schema)?))
    });
    let test = Shape::compile(concordat_api::policy_test_schema())
        .map(|shape| (concordat_api::POLICY_TEST_KIND.to_owned(), shape));
    kinds.chain(test).collect()
});

/// Whether `kind` is one of ours, in a cluster or in files.
pub fn is_kind(kind: &str) -> bool {
    SHAPES.contains_key(kind)
}

/// The names of our kinds.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    SHAPES.keys().map(String::as_str)
}

/// Everything wrong with the shape of an object of a kind of ours.
pub fn problems(kind: &str, object: &Value) -> Vec<ShapeProblem> {
    let Some(shape) = SHAPES.get(kind) else {
        return vec![ShapeProblem::new(Code::UnknownKind, "kind", format!("there is no kind `{kind}`"))];
    };
    let mut found: Vec<ShapeProblem> = structure(shape, object);
    unknown_fields(&shape.schema, object, "", &mut found);
    if kind != concordat_api::POLICY_TEST_KIND {
        found.extend(metadata::problems(object));
    }
    if found.is_empty() {
        found.extend(too_large(object));
        walk(&shape.schema, object, "", &mut |schema, value, path| {
            found.extend(untold_moment(schema, value, path));
            found.extend(finer_than_signed(schema, value, path));
            found.extend(doubled(schema, value, path));
        });
    }
    // rules are written for objects of the right structure
    if !found.iter().any(|problem| problem.code.severity() == Severity::Error) {
        found.extend(broken_rules(kind, shape, object));
    }
    found.extend(texts(object));
    found
}

/// What is refused in the texts of an object: NHS numbers, control and bidirectional characters.
pub fn texts(object: &Value) -> Vec<ShapeProblem> {
    let parts = ["metadata", "spec"].into_iter().filter_map(|part| Some((part, object.get(part)?)));
    parts
        .flat_map(|(part, value)| {
            text_problems(value).into_iter().map(move |(path, problem)| {
                let separator = if path.is_empty() || path.starts_with('[') { "" } else { "." };
                (format!("{part}{separator}{path}"), problem)
            })
        })
        .filter(|(path, _)| !path.starts_with("metadata.managedFields"))
        .map(|(path, problem)| match problem {
            TextProblem::NhsNumber => {
                ShapeProblem::new(Code::NhsNumber, path, "this text holds a valid NHS number").help(
                    "take it out: no object may name a patient, not even with a number of the test range",
                )
            }
            TextProblem::Unsafe(c) => ShapeProblem::new(
                Code::UnsafeText,
                path,
                format!("this text holds the invisible character U+{:04X}", u32::from(c)),
            )
            .help("take it out: it makes the text look other than it is"),
        })
        .collect()
}

/// What breaks the schema. A text of the wrong form is reported once, though its length be wrong too, and what is none of a
/// field's values is not also said to be of the wrong type.
fn structure(shape: &Shape, object: &Value) -> Vec<ShapeProblem> {
    let errors: Vec<_> = shape.structure.iter_errors(object).collect();
    let reported: BTreeSet<&str> = errors
        .iter()
        .filter(|error| {
            matches!(error.kind(), ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Enum { .. })
        })
        .map(|error| error.instance_path().as_str())
        .collect();
    let follows = |error: &jsonschema::ValidationError<'_>| {
        matches!(
            error.kind(),
            ValidationErrorKind::MinLength { .. }
                | ValidationErrorKind::MaxLength { .. }
                | ValidationErrorKind::Format { .. }
                | ValidationErrorKind::Type { .. }
        )
    };
    errors
        .iter()
        .filter(|error| !(follows(error) && reported.contains(error.instance_path().as_str())))
        .map(structural)
        .collect()
}

/// The most bytes of an object: the cluster's store takes 1.5 MiB, with what the API server and the operator write.
const MOST_BYTES: usize = 1024 * 1024;

fn too_large(object: &Value) -> Option<ShapeProblem> {
    let size = serde_json::to_vec(object).map(|text| text.len()).unwrap_or_default();
    (size > MOST_BYTES).then(|| {
        let message = format!("the object has {size} bytes as JSON, and a cluster keeps {MOST_BYTES}");
        ShapeProblem::new(Code::TooLarge, "spec", message)
            .help("divide it: several agreements, purposes with fewer lines, or shorter texts")
    })
}

/// Goes through a value with the schema of each part.
fn walk(schema: &Value, value: &Value, path: &str, look: &mut impl FnMut(&Value, &Value, &str)) {
    look(schema, value, path);
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let within = schema.get("properties").and_then(|properties| properties.get(key));
                if let Some(schema) = within.or_else(|| schema.get("additionalProperties")) {
                    walk(schema, field, &below, look);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                walk(schema, item, &format!("{path}[{index}]"), look);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A date that the schema admits and that no clock here can tell.
fn untold_moment(schema: &Value, value: &Value, path: &str) -> Option<ShapeProblem> {
    let text = value.as_str()?;
    let is_moment = schema.get("format").is_some_and(|format| format == "date-time");
    (is_moment && text.parse::<Timestamp>().is_err()).then(|| {
        ShapeProblem::new(Code::InvalidField, path, format!("{} is not a moment", shown(value)))
            .help(LAST_MOMENT)
    })
}

const LAST_MOMENT: &str = "years go from 1000 to 9999, without its last month; where a date means that there is no \
                           end, name the next review";

/// Whether a timestamp is of a year that not every reader can tell.
pub fn is_beyond_clocks(timestamp: &str) -> bool {
    timestamp.starts_with("9999-12-") || timestamp.starts_with(['0', '-'])
}

/// A timestamp of the wrong form.
fn moment(field: String, text: &str) -> ShapeProblem {
    let value = Value::from(text);
    // what is written well and lies beyond every clock is no slip of the pen
    if is_beyond_clocks(text) && text.contains(['T', 't']) {
        let message = format!("{} is not a moment", shown(&value));
        return ShapeProblem::new(Code::InvalidField, field, message).help(LAST_MOMENT);
    }
    ShapeProblem::new(Code::InvalidField, field, format!("{} is not a timestamp", shown(&value)))
        .help(dates::help(text))
}

/// A date that differs from what parties sign and Cedar compares by less than a millisecond.
fn finer_than_signed(schema: &Value, value: &Value, path: &str) -> Option<ShapeProblem> {
    let text = value.as_str()?;
    let is_moment = schema.get("format").is_some_and(|format| format == "date-time");
    let moment: Timestamp = text.parse().ok().filter(|_| is_moment)?;
    (moment.as_nanosecond() % 1_000_000 != 0).then(|| {
        let message = format!("{} is finer than the milliseconds that parties sign", shown(value));
        ShapeProblem::new(Code::FinerThanSigned, path, message).help(dates::help(text))
    })
}

/// What a list that is a set holds twice.
fn doubled(schema: &Value, value: &Value, path: &str) -> Vec<ShapeProblem> {
    let keys: Option<Vec<&str>> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => None,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            Some(keys.into_iter().flatten().filter_map(Value::as_str).collect())
        }
        _ => return Vec::new(),
    };
    let Some(items) = value.as_array() else {
        return Vec::new();
    };
    let identity = |item: &Value| match &keys {
        Some(keys) => keys.iter().map(|key| item.get(*key).cloned().unwrap_or_default()).collect(),
        None => item.clone(),
    };
    let mut seen = BTreeSet::new();
    let twice = items.iter().enumerate().filter(|(_, item)| {
        // canonical, as the order of fields makes no difference
        !serde_json_canonicalizer::to_vec(&identity(item)).is_ok_and(|text| seen.insert(text))
    });
    twice
        .map(|(index, item)| {
            ShapeProblem::new(
                Code::InvalidField,
                format!("{path}[{index}]"),
                format!("{} is listed twice", told_item(item)),
            )
            .help("keep one: this list holds nothing twice")
        })
        .collect()
}

/// An item of a list: a name, or its names with a slash.
fn told_item(item: &Value) -> String {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    match (text("namespace"), text("name"), text("org"), text("function")) {
        (Some(namespace), Some(name), ..) => format!("`{namespace}/{name}`"),
        (.., Some(org), Some(function)) => format!("`{org}/{function}`"),
        (.., Some(org), None) => format!("`{org}`"),
        (None, Some(name), ..) => shown(&Value::from(name)),
        _ => shown(item),
    }
}

fn structural(error: &jsonschema::ValidationError<'_>) -> ShapeProblem {
    let field = field_path(error.instance_path().as_str());
    let value = || shown(error.instance());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let missing = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            ShapeProblem::missing(missing).help(format!("add `{name}`, which is required here"))
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let near = error.instance().as_str().and_then(|text| nearest(text, options.iter().copied()));
            let listed = options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
            let help = near.map_or_else(
                || format!("one of {listed}"),
                |near| format!("did you mean `{near}`? it is one of {listed}"),
            );
            ShapeProblem::new(Code::InvalidField, field, format!("{} is not a value of this field", value()))
                .help(help)
        }
        ValidationErrorKind::Type { kind } => {
            ShapeProblem::new(Code::InvalidField, field, format!("{} is of the wrong type", value()))
                .help(type_help(kind, error.instance()))
        }
        ValidationErrorKind::Pattern { pattern } if pattern == MOMENT => {
            moment(field, error.instance().as_str().unwrap_or_default())
        }
        ValidationErrorKind::Pattern { pattern } if pattern == VISIBLE => {
            let text = error.instance().as_str().unwrap_or_default();
            let message = if text.is_empty() { "this text is empty" } else { "this text is blank" };
            ShapeProblem::new(Code::InvalidField, field, message)
                .help("write it out, or leave the field out where it may be")
        }
        ValidationErrorKind::Pattern { pattern } => ShapeProblem::new(
            Code::InvalidField,
            field,
            format!("{} does not have the form of this field", value()),
        )
        .help(form(pattern).map_or_else(|| format!("it has to match `{pattern}`"), str::to_owned)),
        ValidationErrorKind::Format { format } if format == "date-time" => {
            let text = error.instance().as_str().unwrap_or_default();
            ShapeProblem::new(Code::InvalidField, field, format!("{} is not a timestamp", value()))
                .help(dates::help(text))
        }
        ValidationErrorKind::MinItems { limit } => ShapeProblem::new(
            Code::InvalidField,
            field,
            format!("this list needs at least {limit} of its items"),
        )
        .help("add what belongs here; where the field is optional, leaving it out may be meant instead"),
        ValidationErrorKind::MaxItems { limit } => {
            ShapeProblem::new(Code::InvalidField, field, format!("this list has more than {limit} items"))
                .help(format!("up to {limit} are taken"))
        }
        ValidationErrorKind::MaxLength { limit } => ShapeProblem::new(
            Code::InvalidField,
            field,
            format!("this text is longer than {limit} characters"),
        )
        .help(format!("shorten it to {limit} characters")),
        ValidationErrorKind::MinLength { .. } => {
            ShapeProblem::new(Code::InvalidField, field, "this text is empty or too short")
                .help("write it out")
        }
        ValidationErrorKind::Minimum { limit } => {
            ShapeProblem::new(Code::InvalidField, field, format!("{} is too small", value()))
                .help(format!("write {} or more", whole(limit)))
        }
        ValidationErrorKind::Maximum { limit } => {
            ShapeProblem::new(Code::InvalidField, field, format!("{} is too large", value()))
                .help(format!("write {} or less", whole(limit)))
        }
        ValidationErrorKind::MinProperties { limit } => {
            ShapeProblem::new(Code::InvalidField, field, format!("this needs at least {limit} entries"))
                .help("add what belongs here")
        }
        ValidationErrorKind::MaxProperties { limit } => {
            ShapeProblem::new(Code::InvalidField, field, format!("this has more than {limit} entries"))
                .help(format!("up to {limit} are taken"))
        }
        _ => ShapeProblem::new(Code::InvalidField, field, error.to_string())
            .help("look with `kubectl explain` at what the field takes"),
    }
}

/// What a pattern of the schemas asks for, in words.
fn form(pattern: &str) -> Option<&'static str> {
    let words = match pattern {
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" => {
            "it takes small letters, digits and hyphens, and starts and ends with a letter or a digit"
        }
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" => {
            "it is the name of an object: small letters, digits and hyphens, parts joined by dots, each starting and \
             ending with a letter or a digit"
        }
        r"^sha256:[0-9a-f]{64}$" => {
            "it is `sha256:` and 64 of the digits 0 to 9 and a to f; `concordat sign` writes the right one"
        }
        r"^(sha256:)?[0-9a-f]{64}$" => "it is 64 of the digits 0 to 9 and a to f, as `sha256sum` prints them",
        r"^6\(1\)\((a|b|c|d|e|ea|f)\)$" => "write the article in full, such as `6(1)(e)`",
        r"^9\(2\)\([a-j]\)$" => "write the article in full, such as `9(2)(h)`",
        r"^[A-Z]{2,8}-[0-9]{4}-[0-9]{3,5}$" => "write letters, a year and a number, such as `CHOR-2026-001`",
        r"^[A-Z]{2}$" => "write the two capital letters of a country, such as `GB`",
        r"^[A-Z]{1,3}[0-9]{5,9}$" => "write the code as its register has it, such as `E07000118`",
        r"^[A-Za-z][A-Za-z0-9]*$" => "write one word that starts with a letter, such as `DirectCare`",
        r"^[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+$" => {
            "write the address of a mailbox for the role, such as `ig-lead@council.example`, and no name"
        }
        r"^[a-zA-Z][a-zA-Z0-9+.-]*:\S+$" => "write a whole address, such as `https://council.example/notice`",
        r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9a-z-]+(\.[0-9a-z-]+)*)?$" => {
            "write three numbers, such as `1.0.0`"
        }
        _ => return None,
    };
    Some(words)
}

/// What a field takes, where something else is there.
fn type_help(kind: &jsonschema::error::TypeKind, value: &Value) -> String {
    let wanted = type_name(kind);
    let what = match wanted.as_str() {
        "array" => "this field is a list: write each entry on a line that starts with `- `",
        "object" => "this field holds fields of its own: write them on lines below it, further in",
        "boolean" => "write `true` or `false`, without quotes",
        "integer" => "write a whole number, without quotes",
        "string" if value.is_null() => "write a text here, or leave the field out",
        "string" => "this field is a text: put it into quotes",
        _ => return format!("this field is of type {wanted}"),
    };
    what.to_owned()
}

fn type_name(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(single) => single.to_string(),
        jsonschema::error::TypeKind::Multiple(set) => {
            set.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// A limit as people write it: bounds of whole numbers are in the schema as `1.0`.
fn whole(limit: &Value) -> String {
    let text = limit.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A value as it is quoted in a message: short, in backticks.
fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// A JSON pointer as a field path: `/spec/parties/1/org` is `spec.parties[1].org`.
fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&segment);
        }
    }
    path
}

/// Fields that the schema does not have. The API server prunes them or, with strict validation, refuses them.
fn unknown_fields(schema: &Value, value: &Value, path: &str, found: &mut Vec<ShapeProblem>) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            for (key, field) in fields {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                // apiVersion, kind and metadata are the API server's own, not part of every schema
                if path.is_empty() && !["spec", "status"].contains(&key.as_str()) {
                    if !["apiVersion", "kind", "metadata"].contains(&key.as_str()) {
                        let near = nearest(key, ["apiVersion", "kind", "metadata", "spec"].into_iter());
                        found.push(unknown(key, &below, near));
                    }
                    continue;
                }
                match (properties.and_then(|properties| properties.get(key)), additional) {
                    (Some(schema), _) => unknown_fields(schema, field, &below, found),
                    (None, Some(schema)) => unknown_fields(schema, field, &below, found),
                    // a request may say more than is read
                    (None, None) if schema.get("x-kubernetes-preserve-unknown-fields").is_some() => {}
                    (None, None) => {
                        let names = properties.into_iter().flat_map(|properties| properties.keys());
                        found.push(unknown(key, &below, nearest(key, names.map(String::as_str))));
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    unknown_fields(schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn unknown(key: &str, path: &str, near: Option<&str>) -> ShapeProblem {
    let problem = ShapeProblem::new(Code::UnknownField, path, format!("there is no field `{key}` here"));
    match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("take it out, or look with `kubectl explain` at what there is"),
    }
}

/// The name that a mistyped one was probably meant to be; none where one of them says the contrary.
pub fn nearest<N: AsRef<str>>(text: &str, names: impl Iterator<Item = N>) -> Option<N> {
    let lower = text.to_lowercase();
    let mut means_another = false;
    let near = names
        .inspect(|name| means_another |= is_contrary(text, name.as_ref()))
        .map(|name| (strsim::jaro_winkler(&lower, &name.as_ref().to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name);
    near.filter(|_| !means_another)
}

/// Whether of two words one takes back what the other says: `Unsigned` and `Signed`, `deidentify` and `reidentify`.
pub(crate) fn is_contrary(word: &str, other: &str) -> bool {
    let (bare, others) = (without_negation(word), without_negation(other));
    let differ = !word.eq_ignore_ascii_case(other);
    differ && bare.iter().any(|it| others.contains(it))
}

/// A word as it is, and without one negation at the beginning of it or of a part that begins with a capital.
fn without_negation(word: &str) -> Vec<String> {
    const NEGATIONS: [&str; 11] = ["non", "not", "un", "in", "im", "de", "dis", "ir", "re", "no", "ex"];
    let starts = word.char_indices().filter(|(at, c)| *at == 0 || c.is_uppercase()).map(|(at, _)| at);
    let mut bare = vec![word.to_lowercase()];
    for start in starts {
        let Some((before, part)) = word.split_at_checked(start) else { continue };
        let part = part.to_lowercase();
        let left = NEGATIONS.iter().filter_map(|negation| part.strip_prefix(negation));
        bare.extend(left.filter(|left| left.len() > 2).map(|left| before.to_lowercase() + left));
    }
    bare
}

/// A path without the places in lists, as `kubectl explain` has it.
fn plain_path(path: &str) -> String {
    let parts = path.split('.').filter_map(|part| part.split('[').next());
    parts.take_while(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

fn broken_rules(kind: &str, shape: &Shape, object: &Value) -> Vec<ShapeProblem> {
    let problems = shape.rules.broken(object).into_iter().map(|Broken { field, message, value }| {
        let at = Some(plain_path(&field))
            .filter(|at| !at.is_empty())
            .map(|at| format!(".{at}"))
            .unwrap_or_default();
        let (message, help) = match (value, message.split_once(": ")) {
            (Some(value), _) => (format!("{} does not fit here", shown(&value)), message),
            // after a colon a message says what would work
            (None, Some((message, help))) => (message.to_owned(), help.to_owned()),
            (None, None) => (message, format!("`kubectl explain {kind}{at}` says what each field takes")),
        };
        ShapeProblem::new(Code::ShapeRule, field, message).help(help)
    });
    problems.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_taken_for_its_contrary() {
        for (word, other) in [
            ("Unsigned", "Signed"),
            ("Resigned", "Signed"),
            ("Inactive", "Active"),
            ("NotActive", "Active"),
            ("StandardsUnmet", "StandardsMet"),
            ("NotRegistered", "Registered"),
            ("Deregistered", "Registered"),
            ("NonIdentifiable", "Identifiable"),
            ("Unidentifiable", "Identifiable"),
            ("NotDirectCare", "DirectCare"),
            ("IndirectCare", "DirectCare"),
            ("deidentify", "reidentify"),
        ] {
            assert_eq!(nearest(word, [other].into_iter()), None, "{word} is not {other}");
        }
        for (word, other) in [
            ("Sgned", "Signed"),
            ("Actve", "Active"),
            ("StandardMet", "StandardsMet"),
            ("Identifable", "Identifiable"),
            ("DirectCar", "DirectCare"),
            ("reidentfy", "reidentify"),
            ("signed", "Signed"),
        ] {
            assert_eq!(nearest(word, [other].into_iter()), Some(other), "{word}");
        }
    }
}
