//! The CEL rules of a schema, held against an object.
//!
//! Of a schema only what bears a rule is kept, and of the value under a rule only the fields that the rule names: a
//! value is made ready for CEL as a whole, and most of an object no rule asks about.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::cel::{CompiledSchema, ErrorKind, ValidationErrors, Validator, compile_schema};
use serde_json::{Map, Value};

/// Where a schema keeps its rules.
const RULES: &str = "x-kubernetes-validations";

/// A rule that an object breaks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Broken {
    /// Such as `spec.parties[1]`; empty for the object as a whole.
    pub(super) field: String,
    pub(super) message: String,
    /// The value that breaks it, where that is a text.
    pub(super) value: Option<Value>,
}

/// The rules of a node of a schema, and of what is below it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    own: Option<Own>,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
}

/// The rules of one node.
#[derive(Debug)]
struct Own {
    compiled: CompiledSchema,
    /// The fields that they name; none where they look at the value as a whole.
    fields: Option<BTreeSet<String>>,
}

impl Rules {
    /// The rules of a schema. Those that compare with an earlier version are left out: a text has none.
    pub(super) fn compile(schema: &Value) -> Self {
        Self::within(schema).unwrap_or_default()
    }

    fn within(schema: &Value) -> Option<Self> {
        let below = |name: &str| schema.get(name).and_then(Self::within).map(Box::new);
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let properties: BTreeMap<String, Self> =
            properties.filter_map(|(name, schema)| Some((name.clone(), Self::within(schema)?))).collect();
        let rules = Self {
            own: own(schema),
            properties,
            items: below("items"),
            additional: below("additionalProperties"),
        };
        let is_empty = rules.own.is_none()
            && rules.properties.is_empty()
            && rules.items.is_none()
            && rules.additional.is_none();
        (!is_empty).then_some(rules)
    }

    /// How many nodes bear rules.
    #[cfg(test)]
    fn nodes(&self) -> usize {
        let below = self.properties.values().chain(self.items.as_deref()).chain(self.additional.as_deref());
        usize::from(self.own.is_some()) + below.map(Self::nodes).sum::<usize>()
    }

    /// Every rule that an object of the right structure breaks.
    pub(super) fn broken(&self, object: &Value) -> Vec<Broken> {
        thread_local! {
            /// Making one takes longer than judging an object with it.
            static VALIDATOR: Validator = Validator::new();
        }
        let mut broken = Vec::new();
        VALIDATOR.with(|validator| self.judge(validator, object, &mut String::new(), &mut broken));
        broken
    }

    fn judge(&self, validator: &Validator, value: &Value, path: &mut String, broken: &mut Vec<Broken>) {
        let Self { own, properties, items, additional } = self;
        if let Some(own) = own {
            own.judge(validator, value, path, broken);
        }
        let length = path.len();
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let Some(rules) = properties.get(name).or(additional.as_deref()) else { continue };
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    rules.judge(validator, field, path, broken);
                    path.truncate(length);
                }
            }
            Value::Array(values) => {
                let Some(rules) = items else { return };
                for (index, item) in values.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    rules.judge(validator, item, path, broken);
                    path.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

impl Own {
    fn judge(&self, validator: &Validator, value: &Value, path: &str, broken: &mut Vec<Broken>) {
        let Self { compiled, fields } = self;
        let judged = match (fields, value) {
            (Some(named), Value::Object(all)) => {
                let part: Map<String, Value> =
                    named.iter().filter_map(|name| Some((name.clone(), all.get(name)?.clone()))).collect();
                validator.validate_compiled(compiled, &Value::Object(part), None)
            }
            _ => validator.validate_compiled(compiled, value, None),
        };
        let errors = judged.err().map(ValidationErrors::into_vec).unwrap_or_default();
        broken.extend(errors.into_iter().map(|error| {
            let message = match error.kind {
                ErrorKind::ValidationFailure => error.message,
                _ => format!("rule `{}` could not be judged: {}", error.rule, error.message),
            };
            let below = error.field_path;
            let separator =
                if path.is_empty() || below.is_empty() || below.starts_with('[') { "" } else { "." };
            let value = below.is_empty().then(|| value.clone()).filter(Value::is_string);
            Broken { field: format!("{path}{separator}{below}"), message, value }
        }));
    }
}

/// The rules of a node itself, compiled for just what they read.
fn own(schema: &Value) -> Option<Own> {
    let rules = schema.get(RULES)?.as_array()?;
    let text = |rule: &Value| rule.get("rule").and_then(Value::as_str).map(str::to_owned);
    let rules: Vec<Value> = rules
        .iter()
        .filter(|rule| !text(rule).is_some_and(|text| text.contains("oldSelf")))
        .cloned()
        .collect();
    if rules.is_empty() {
        return None;
    }
    let fields = rules
        .iter()
        .map(|rule| named_fields(&text(rule)?))
        .collect::<Option<Vec<_>>>()
        .map(|fields| fields.into_iter().flatten().collect::<BTreeSet<String>>());
    let mut schema = schema.clone();
    without_rules(&mut schema);
    let node = schema.as_object_mut()?;
    if let (Some(fields), Some(properties)) =
        (&fields, node.get_mut("properties").and_then(Value::as_object_mut))
    {
        properties.retain(|name, _| fields.contains(name));
    }
    node.insert(RULES.to_owned(), Value::Array(rules));
    Some(Own { compiled: compile_schema(&schema), fields })
}

/// Takes all rules out of a schema.
fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove(RULES);
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fields of `self` that a rule names, where it looks at nothing else of it.
fn named_fields(rule: &str) -> Option<BTreeSet<String>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut named = BTreeSet::new();
    for (at, word) in rule.match_indices("self") {
        let (before, after) = (rule.get(..at)?, rule.get(at + word.len()..)?);
        if before.ends_with(is_word) || after.starts_with(is_word) {
            continue;
        }
        let field: String = after.strip_prefix('.')?.chars().take_while(|c| is_word(*c)).collect();
        let rest = after.get(1 + field.len()..)?;
        // a call looks at the whole, and so does a name that CEL writes otherwise than the schema
        if field.is_empty() || rest.starts_with('(') || field.starts_with("__") {
            return None;
        }
        named.insert(field);
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_rule_of_the_definitions_is_lost() {
        fn nodes(schema: &Value) -> usize {
            match schema {
                Value::Object(fields) => {
                    let own = fields.get(RULES).and_then(Value::as_array).is_some_and(|rules| {
                        rules.iter().any(|rule| !rule["rule"].as_str().unwrap().contains("oldSelf"))
                    });
                    usize::from(own) + fields.values().map(nodes).sum::<usize>()
                }
                Value::Array(items) => items.iter().map(nodes).sum(),
                _ => 0,
            }
        }
        for definition in concordat_api::custom_resource_definitions() {
            let version = &definition.spec.versions[0];
            let schema = json!(version.schema.as_ref().unwrap().open_api_v3_schema);
            let (kept, all) = (Rules::compile(&schema).nodes(), nodes(&schema));
            assert!(all > 0);
            assert_eq!(kept, all, "{}", definition.spec.names.kind);
        }
    }

    #[test]
    fn the_fields_that_a_rule_names_are_known_and_a_look_at_the_whole_is_seen() {
        let fields = |rule| named_fields(rule).map(|fields| fields.into_iter().collect::<Vec<_>>());
        assert_eq!(
            fields("!has(self.emergency) || self.term.start < self.emergency.expires"),
            Some(vec!["emergency".to_owned(), "term".to_owned()])
        );
        assert_eq!(fields("self.myself.a == oneself.b"), Some(vec!["myself".to_owned()]));
        for whole in
            ["self == 'a'", "self.all(a, a > 1)", "size(self) > 1", "self[0].a", "self.exists(x, true)"]
        {
            assert_eq!(fields(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_broken_rule_is_told_with_its_field_wherever_it_stands() {
        let rule = |text: &str| json!([{ "rule": text, "message": format!("not {text}") }]);
        let schema = json!({ "type": "object", "properties": { "spec": {
            "type": "object",
            RULES: rule("self.from < self.to"),
            "properties": {
                "from": { "type": "integer" }, "to": { "type": "integer" }, "name": { "type": "string" },
                "list": { "type": "array", RULES: rule("self.size() > 1"), "items": {
                    "type": "object", RULES: rule("self.a != 'x'"),
                    "properties": { "a": { "type": "string" } } } },
                "map": { "type": "object", "additionalProperties": { "type": "string", RULES: rule("self != 'y'") } },
            } } } });
        let rules = Rules::compile(&schema);
        let good = json!({ "spec": { "from": 1, "to": 2, "name": "n", "list": [{ "a": "b" }, { "a": "c" }], "map": { "k": "v" } } });
        assert_eq!(rules.broken(&good), []);
        let bad = json!({ "spec": { "from": 2, "to": 1, "name": "n", "list": [{ "a": "x" }], "map": { "k": "y" } } });
        let fields: Vec<String> = rules.broken(&bad).into_iter().map(|it| it.field).collect();
        assert_eq!(fields, ["spec", "spec.list", "spec.list[0]", "spec.map.k"]);
    }
}
