//! The CustomResourceDefinitions, made from the types: what `concordat crds` prints and `crds/` holds.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;
use kube::core::schema::{OptionalEnum, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{
    AgreementSignature, DataAccessGrant, DataProduct, DataSharingAgreement, FrameworkException, LocalPolicy,
    PartnerOrg, PlaceFootprint, PolicyFramework, PolicyTestSpec, shape,
};

/// The definitions of all nine kinds, in the order of the design.
pub fn custom_resource_definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        PolicyFramework::crd(),
        FrameworkException::crd(),
        PlaceFootprint::crd(),
        PartnerOrg::crd(),
        DataProduct::crd(),
        DataSharingAgreement::crd(),
        AgreementSignature::crd(),
        LocalPolicy::crd(),
        DataAccessGrant::crd(),
    ];
    for version in definitions.iter_mut().flat_map(|definition| &mut definition.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            // what people write; a status tells the operator's own clock
            schema.properties.iter_mut().filter_map(|fields| fields.get_mut("spec")).for_each(moments);
        }
    }
    definitions
}

/// The schema of a `PolicyTest` file, which is no custom resource, in the form of a CRD's.
pub fn policy_test_schema() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let settings = settings.with_transform(StructuralSchemaRewriter).with_transform(OptionalEnum);
    let spec = settings.into_generator().into_root_schema_for::<PolicyTestSpec>();
    json!({ "type": "object", "required": ["spec"], "properties": { "spec": spec } })
}

/// The name of a definition's file in `crds/`, such as `concordat.dev_datasharingagreements.yaml`.
pub fn crd_file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

/// Takes `nullable` out and joins the lines of a paragraph.
///
/// `roles:` with nothing behind it is null, and a null that stands for "left out" would mean every role: such a field
/// has to go, not its value. `kubectl explain` breaks lines itself.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.description = schema.description.as_deref().map(joined);
    schema.properties.iter_mut().flat_map(BTreeMap::values_mut).for_each(tidy);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Gives every timestamp the form that all readers of it agree on.
fn moments(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref() == Some("date-time") {
        schema.pattern = Some(shape::MOMENT.to_owned());
    }
    schema.properties.iter_mut().flat_map(BTreeMap::values_mut).for_each(moments);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => moments(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(moments),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        moments(values);
    }
}

/// A text with each paragraph and each item of a list on one line.
fn joined(text: &str) -> String {
    let mut joined = String::new();
    for line in text.lines() {
        let starts = line.is_empty() || line.starts_with("- ");
        if !joined.is_empty() {
            joined.push(if starts || joined.ends_with('\n') { '\n' } else { ' ' });
        }
        joined.push_str(line);
    }
    joined
}
