//! Local policies: each is in a namespace that its footprint lists.

use super::{Checked, listed, namespace};
use crate::finding::Code;
use crate::snapshot::Snapshot;

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    for sourced in &snapshot.policies {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let spec = &sourced.object.spec;
        match checked.model.footprints.get(&spec.footprint) {
            None => {
                let names = checked.model.footprints.iter().map(|(name, _)| name.as_str());
                check
                    .finding(
                        Code::FootprintNotFound,
                        "spec.footprint",
                        format!("there is no footprint `{}` that can be used", spec.footprint),
                    )
                    .missing("PlaceFootprint", spec.footprint.as_str())
                    .near(&spec.footprint, names, "name the footprint that the policy is for");
            }
            Some(footprint) => {
                let stands_in = namespace(&*sourced.object);
                if !footprint.policy_namespaces.contains(&stands_in) {
                    let message = format!("`{stands_in}` is not a policy namespace of `{}`", spec.footprint);
                    check.finding(Code::PolicyNamespace, "metadata.namespace", message).help(format!(
                        "its policies belong in {}, as `policyNamespaces` of the footprint says",
                        listed(footprint.policy_namespaces.iter().map(String::as_str))
                    ));
                }
            }
        }
        checked.finish(check);
    }
}
