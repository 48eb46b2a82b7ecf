//! What is read of the answer to a write.

use std::borrow::Cow;

use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::{Deserialize, Deserializer};

/// An object as the API server answers with it, of which name and version are kept: the rest was sent just now.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenMeta {
    #[serde(deserialize_with = "name_and_version")]
    metadata: ObjectMeta,
}

fn name_and_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct NameAndVersion {
        namespace: Option<String>,
        name: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
    }
    let NameAndVersion { namespace, name, uid, resource_version } =
        NameAndVersion::deserialize(deserializer)?;
    Ok(ObjectMeta { namespace, name, uid, resource_version, ..ObjectMeta::default() })
}

impl Resource for WrittenMeta {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
