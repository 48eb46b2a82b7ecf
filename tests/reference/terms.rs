//! The terms hash, from section 3: SHA-256 over the RFC 8785 form of the material fields.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::world::{Agreement, Object, Product, Ref, text};

/// What a party signs. None where a product that its terms list is not there.
pub fn hash(
    agreement: &Object<Agreement>,
    signer: &str,
    product: &dyn Fn(&Ref) -> Option<Object<Product>>,
) -> Option<String> {
    let form = normal_form(agreement, signer, product)?;
    let bytes = serde_json_canonicalizer::to_vec(&form).ok()?;
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sha256:{hex}"))
}

fn normal_form(
    agreement: &Object<Agreement>,
    signer: &str,
    product: &dyn Fn(&Ref) -> Option<Object<Product>>,
) -> Option<Value> {
    let mut spec = agreement.raw.as_object()?.clone();
    for immaterial in ["suspend", "supersededBy", "register"] {
        spec.remove(immaterial);
    }
    for measure in spec.get_mut("outcomeMeasures").and_then(Value::as_array_mut).into_iter().flatten() {
        measure.as_object_mut()?.remove("reported");
    }
    let apart = agreement.spec.accession;
    if apart {
        keep(&mut spec, "parties", |row| row["org"] == signer);
    }
    let mut listed: Vec<Ref> = Vec::new();
    for purpose in spec.get_mut("purposes").and_then(Value::as_array_mut).into_iter().flatten() {
        let purpose = purpose.as_object_mut()?;
        if apart {
            keep(purpose, "recipients", |recipient| recipient["org"] == signer);
            keep(purpose, "products", |it| {
                product(&reference(it)).is_some_and(|product| product.spec.controller == signer)
            });
        }
        for item in purpose.get("products").and_then(Value::as_array).into_iter().flatten() {
            let item = reference(item);
            if !listed.contains(&item) {
                listed.push(item);
            }
        }
    }
    if spec.get("territories") == Some(&json!(["GB"])) {
        spec.remove("territories");
    }
    let mut products = Vec::new();
    for reference in listed {
        let product = product(&reference)?;
        let raw = &product.raw;
        products.push(json!({
            "namespace": reference.namespace, "name": reference.name,
            "dataItems": raw["dataItems"], "categories": raw["categories"],
            "identifiability": raw["identifiability"],
            "flags": [
                raw["personalData"], raw["specialCategory"], raw["confidentialPatientInfo"],
                raw["legallyRestricted"], raw["childrensData"],
            ],
        }));
    }
    Some(json!({"spec": normal(&Value::Object(spec)), "products": normal(&json!(products))}))
}

fn reference(value: &Value) -> Ref {
    Ref { namespace: text(&value["namespace"]), name: text(&value["name"]) }
}

fn keep(object: &mut Map<String, Value>, field: &str, wanted: impl Fn(&Value) -> bool) {
    if let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) {
        list.retain(|it| wanted(it));
    }
}

/// Without what says nothing: nulls, empty lists, what is false where that is the default. Dates in UTC with milliseconds.
fn normal(value: &Value) -> Value {
    const DEFAULTS: [&str; 2] = ["accession", "optOutExempt"];
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| {
                !(value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || (DEFAULTS.contains(&name.as_str()) && **value == Value::Bool(false)))
            });
            Value::Object(kept.map(|(name, value)| (name.clone(), normal(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(moment) => json!(moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
            Err(_) => value.clone(),
        },
        _ => value.clone(),
    }
}
