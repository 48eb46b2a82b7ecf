//! Which clusters there are: objects name them, and nothing else declares them. A name that no object bears is a slip.

use std::collections::BTreeSet;

use serde_json::Value;

use super::snapshot::Snapshot;

/// Every cluster that an object names, those of which only a part can be read too.
pub fn names(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut names = homes(snapshot);
    let gateways = snapshot.orgs.iter().flat_map(|org| &org.object.spec.gateways);
    names.extend(gateways.map(|gateway| gateway.cluster.clone()));
    for unreadable in &snapshot.unreadable {
        named_in(&unreadable.spec, &mut names);
    }
    names
}

/// The clusters in which something is said to be: a workload or a product.
pub fn homes(snapshot: &Snapshot) -> BTreeSet<String> {
    let functions = snapshot.orgs.iter().flat_map(|org| &org.object.spec.functions);
    let workloads = functions.flat_map(|function| &function.workloads);
    let products = snapshot.products.iter().map(|product| &product.object.spec.cluster);
    workloads.map(|workload| &workload.cluster).chain(products).flatten().cloned().collect()
}

/// The names in a spec of any shape.
fn named_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            names.extend(fields.get("cluster").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| named_in(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| named_in(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
