//! The bounds that fields share: how long a text may be, what a name looks like, how many items a list may have.
//!
//! Each function is a schema transform, used as `#[schemars(transform = shape::label)]`. Patterns are in the schema
//! and not in CEL, because the API server charges nothing for them. Nothing here knows a kind.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// The item of a list or the value of a map, as a shape.
type Shape = fn(&mut Schema);

const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// A text in which something can be seen. Blanks are those of Unicode, for a no-break space says as little as a space;
/// `\S` would let it pass, as Go knows ASCII blanks only. Beside them, letters and marks that show nothing: what Unicode
/// calls default ignorable, and the braille cell without dots.
pub const VISIBLE: &str = r"[^\p{Z}\p{Cc}\p{Cf}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2065}\x{2800}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}\x{FFF0}-\x{FFF8}\x{E0000}-\x{E0FFF}]";

/// A timestamp as RFC 3339 has it, of a year that every reader here can tell: the last month of 9999 is beyond some.
pub const MOMENT: &str = r"^(([1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-[0-9]{2}|9999-(0[0-9]|1[01]))-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// The most bytes of Cedar text in one field; the parser's own bound.
pub(super) const CEDAR_BYTES: u64 = 65_536;

/// An object that may have members which are not known, and are ignored: AuthZEN says so of requests.
pub(super) fn open(schema: &mut Schema) {
    schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
}

/// A namespace, or the name of a function: an RFC 1123 label.
pub(super) fn label(schema: &mut Schema) {
    string(schema, 1, 63, Some(LABEL), "A name of at most 63 lower-case letters, digits and `-`.");
}

/// The name of an object: an RFC 1123 subdomain.
pub(super) fn object_name(schema: &mut Schema) {
    string(schema, 1, 253, Some(SUBDOMAIN), "The name of an object, such as `chorley-council`.");
}

/// The name of a cluster. No slash, for it is the first part of a workload's id.
pub(super) fn cluster(schema: &mut Schema) {
    string(
        schema,
        1,
        63,
        Some("^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"),
        "The name of a cluster, such as `north`.",
    );
}

/// A short text: a title, a name, a reference.
pub(super) fn line(schema: &mut Schema) {
    string(schema, 1, 256, Some(VISIBLE), "A short text.");
}

/// A short text that may be empty, where that says the same as leaving it out.
pub(super) fn optional_line(schema: &mut Schema) {
    string(schema, 0, 256, None, "A short text.");
}

/// A text so short that hundreds of it can be compared with each other within the API server's budget for CEL.
pub(super) fn short_line(schema: &mut Schema) {
    string(schema, 1, 128, Some(VISIBLE), "A short text.");
}

/// A text of some sentences.
pub(super) fn text(schema: &mut Schema) {
    string(schema, 1, 4096, Some(VISIBLE), "A text of some sentences.");
}

/// Cedar text.
pub(super) fn cedar(schema: &mut Schema) {
    string(schema, 1, CEDAR_BYTES, Some(VISIBLE), "Cedar policies.");
}

/// A word of the framework's vocabulary: a purpose, a category, a role, an assurance scheme.
pub(super) fn code(schema: &mut Schema) {
    string(schema, 1, 63, Some("^[A-Za-z][A-Za-z0-9]*$"), "A word of the framework's vocabulary.");
}

/// The `@id` of a national rule.
pub(super) fn rule_id(schema: &mut Schema) {
    string(schema, 1, 63, Some("^[A-Za-z][A-Za-z0-9-]*$"), "The id of a rule, as its annotation `@id` says.");
}

/// `sha256:` and 64 hex digits.
pub(super) fn digest(schema: &mut Schema) {
    string(schema, 71, 71, Some("^sha256:[0-9a-f]{64}$"), "A SHA-256 digest.");
}

/// The digest of a file, with or without `sha256:`.
pub(super) fn file_digest(schema: &mut Schema) {
    string(schema, 64, 71, Some("^(sha256:)?[0-9a-f]{64}$"), "A SHA-256 digest.");
}

/// A name in a PostgreSQL database, whose names have at most 63 bytes.
pub(super) fn sql_name(schema: &mut Schema) {
    string(schema, 1, 63, Some(VISIBLE), "A name in the database.");
}

/// The name of a time zone in the IANA database.
pub(super) fn time_zone(schema: &mut Schema) {
    string(
        schema,
        1,
        64,
        Some("^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"),
        "A time zone, such as `Europe/London`.",
    );
}

/// A semantic version without build metadata, which an object's name could not carry.
pub(super) fn version(schema: &mut Schema) {
    string(
        schema,
        5,
        63,
        Some(r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9a-z-]+(\.[0-9a-z-]+)*)?$"),
        "A semantic version, such as `1.0.0`.",
    );
}

/// The reference of an agreement.
pub(super) fn reference(schema: &mut Schema) {
    string(schema, 11, 19, Some("^[A-Z]{2,8}-[0-9]{4}-[0-9]{3,5}$"), "The reference of an agreement.");
}

/// A condition of article 6(1) of the UK GDPR.
pub(super) fn article6(schema: &mut Schema) {
    string(schema, 7, 8, Some(r"^6\(1\)\((a|b|c|d|e|ea|f)\)$"), "A lawful basis, such as `6(1)(e)`.");
}

/// A condition of article 9(2) of the UK GDPR.
pub(super) fn article9(schema: &mut Schema) {
    string(schema, 7, 7, Some(r"^9\(2\)\([a-j]\)$"), "A condition, such as `9(2)(h)`.");
}

/// The address of a document or page.
pub(super) fn uri(schema: &mut Schema) {
    string(
        schema,
        4,
        2048,
        Some(r"^[a-zA-Z][a-zA-Z0-9+.-]*:\S+$"),
        "An address, such as `https://example.org/dsa.pdf`.",
    );
}

/// The mailbox of a role.
pub(super) fn mailbox(schema: &mut Schema) {
    string(
        schema,
        5,
        254,
        Some(r"^[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+$"),
        "A mailbox, such as `dpo@council.example`.",
    );
}

/// An ISO 3166-1 alpha-2 code.
pub(super) fn country(schema: &mut Schema) {
    string(schema, 2, 2, Some("^[A-Z]{2}$"), "A country as ISO 3166-1 alpha-2 writes it, such as `GB`.");
}

/// The code of an organisation or area; its form depends on the scheme.
pub(super) fn scheme_value(schema: &mut Schema) {
    string(schema, 1, 64, Some(VISIBLE), "A code.");
}

/// A block of addresses, in the one form that every reader takes for the same: what is not canonical is refused by some
/// versions of the API server, and taken by others for a block that was not meant.
pub(super) fn cidr(schema: &mut Schema) {
    string(schema, 3, 49, None, "A block of addresses, such as `203.0.113.0/28`.");
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([
            {
                "rule": "isCIDR(self)",
                "message": "`cidrs` must be blocks of addresses, such as `203.0.113.0/28`, without leading zeros"
            },
            {
                "rule": "!isCIDR(self) || string(cidr(self).masked()) == self",
                "message": "`cidrs` must be in canonical form: no bits beyond the prefix, IPv6 in small letters and at its shortest"
            },
            {
                "rule": "!isCIDR(self) || cidr(self).prefixLength() >= 8",
                "message": "`cidrs` must not be wider than `/8`, which would be much of the internet"
            }
        ]),
    );
}

/// The number that the Information Commissioner's Office gives.
pub(super) fn ico_number(schema: &mut Schema) {
    string(schema, 6, 12, Some("^[A-Z]{1,3}[0-9]{5,9}$"), "A registration number, such as `ZA123456`.");
}

/// The key of a label of a pod.
pub(super) fn label_key(schema: &mut Schema) {
    string(schema, 1, 317, Some(LABEL_KEY), "The key of a label, such as `app.kubernetes.io/name`.");
}

/// The value of a label of a pod.
pub(super) fn label_value(schema: &mut Schema) {
    string(schema, 0, 63, Some("^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"), "The value of a label.");
}

/// An id in a request: of a subject, a product, an agreement. What it must look like depends on its type.
pub(super) fn entity_id(schema: &mut Schema) {
    string(schema, 1, 512, Some(VISIBLE), "An id, such as `chorley-council/assisted-bin-collections`.");
}

/// A word that the operator writes.
pub(super) fn word(schema: &mut Schema) {
    string(schema, 1, 316, None, "One word.");
}

/// A text that the operator writes, of the length that Kubernetes allows a condition.
pub(super) fn message(schema: &mut Schema) {
    string(schema, 0, 32_768, None, "A text.");
}

/// A value of an enumeration, bounded by its values alone.
pub(super) fn choice(_: &mut Schema) {}

/// Adds what each value of an enumeration means to the description of the field, where `kubectl explain` shows it.
pub(super) fn values(schema: &mut Schema) {
    let Some(meanings) = schema.as_object().and_then(variants).map(|variants| meanings(variants)) else {
        return;
    };
    if let Some(Value::Object(inner)) = schema.as_object_mut().and_then(optional_mut) {
        inner.remove("description");
    }
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    schema.insert("description".to_owned(), format!("{description}\n\n{meanings}").trim().into());
}

/// At least, and at most.
pub(super) fn between(min: i64, max: i64) -> impl FnMut(&mut Schema) {
    move |schema| {
        schema.insert("minimum".to_owned(), min.into());
        schema.insert("maximum".to_owned(), max.into());
    }
}

/// A count that the cluster keeps.
pub(super) fn count(schema: &mut Schema) {
    schema.insert("minimum".to_owned(), 0.into());
}

/// A list of `min` to `max` items, each of a shape.
pub(super) fn list(min: u64, max: u64, item: Shape) -> impl FnMut(&mut Schema) {
    move |schema| {
        if min > 0 {
            schema.insert("minItems".to_owned(), min.into());
        }
        schema.insert("maxItems".to_owned(), max.into());
        within(schema, "items", item);
    }
}

/// A list of texts that holds nothing twice, where that is too dear to say in CEL.
///
/// Only for a list inside another one, or inside what [`whole`] keeps whole: both are replaced as a whole. On its own, a
/// set is merged by server-side apply, and a line that somebody has taken out stays as long as another manager has it.
/// Objects have no place in a set: server-side apply refuses them.
pub(super) fn set(min: u64, max: u64, item: Shape) -> impl FnMut(&mut Schema) {
    let mut list = list(min, max, item);
    move |schema| {
        list(schema);
        schema.insert("x-kubernetes-list-type".to_owned(), "set".into());
    }
}

/// A list of objects of which no two have the same in these fields, all of them required. Where it may be, [`set`] says.
pub(super) fn keyed(min: u64, max: u64, keys: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    let mut list = list(min, max, choice);
    move |schema| {
        list(schema);
        schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
        schema.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
    }
}

/// An object that one manager writes as a whole.
pub(super) fn whole(schema: &mut Schema) {
    schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
}

/// A map of `min` to `max` entries, each value of a shape.
pub(super) fn map(min: u64, max: u64, value: Shape) -> impl FnMut(&mut Schema) {
    move |schema| {
        if min > 0 {
            schema.insert("minProperties".to_owned(), min.into());
        }
        schema.insert("maxProperties".to_owned(), max.into());
        within(schema, "additionalProperties", value);
    }
}

fn within(schema: &mut Schema, key: &str, shape: Shape) {
    let Some(inner) = schema.get_mut(key) else { return };
    if let Ok(inner) = <&mut Schema>::try_from(inner) {
        shape(inner);
    }
}

fn string(schema: &mut Schema, min: u64, max: u64, pattern: Option<&str>, meaning: &str) {
    if min > 0 {
        schema.insert("minLength".to_owned(), min.into());
    }
    schema.insert("maxLength".to_owned(), max.into());
    if let Some(pattern) = pattern {
        schema.insert("pattern".to_owned(), pattern.into());
    }
    if schema.get("description").is_none() {
        schema.insert("description".to_owned(), meaning.into());
    }
}

/// The variants of an enumeration, also behind an `Option`.
fn variants(schema: &Map<String, Value>) -> Option<&Vec<Value>> {
    let direct = schema.get("oneOf");
    let optional = || schema.get("anyOf")?.as_array()?.first()?.get("oneOf");
    direct.or_else(optional)?.as_array()
}

fn optional_mut(schema: &mut Map<String, Value>) -> Option<&mut Value> {
    schema.get_mut("anyOf")?.as_array_mut()?.first_mut()
}

fn meanings(variants: &[Value]) -> String {
    let lines = variants.iter().filter_map(|variant| {
        let value = variant.get("const").or_else(|| variant.get("enum")?.as_array()?.first())?.as_str()?;
        let meaning = variant.get("description")?.as_str()?;
        Some(format!("- `{value}`: {}", meaning.replace('\n', " ")))
    });
    lines.collect::<Vec<_>>().join("\n")
}
