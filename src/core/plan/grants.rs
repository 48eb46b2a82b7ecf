//! The grants of an agreement: one for each product, with its recipients, and the policy beside it that lets them in.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;

use super::network::{self, Network, NetworkNames, parts};
use super::types::PlannedObject;
use crate::evaluate::Judgement;
use crate::model::Agreement;
use crate::policy::{ContextFree, Flow};
use concordat_api::{
    DataAccessGrant, DataAccessGrantSpec, GrantAgreement, GrantFramework, GrantPurpose, GrantRecipient,
};

/// The most recipients of one grant, as its kind has it.
const RECIPIENTS: usize = 512;
/// The most purposes of all its recipients together, and the most peers of the policy beside it: so that neither comes
/// near what an API server stores.
const PURPOSES: usize = 4096;
const PEERS: usize = 2048;

/// A recipient, and where it comes from.
type Receiver = (GrantRecipient, Vec<NetworkPolicyPeer>);

/// What one product comes to under an agreement.
#[derive(Debug, Default)]
pub(super) struct OfProduct {
    pub(super) grants: Vec<PlannedObject>,
    pub(super) allows: Vec<PlannedObject>,
}

/// The grants of one product here, and the policies beside them; `flows` are all of that product. Nothing where the product
/// is in another cluster, or is not there any more.
pub(super) fn grants(
    judgement: &Judgement,
    network: &Network<'_>,
    agreement: &Agreement,
    context_free: &ContextFree<'_>,
    flows: &[Flow],
) -> OfProduct {
    let OfProduct { mut grants, mut allows } = OfProduct::default();
    let model = &judgement.model;
    let product = flows.first().and_then(|flow| model.products.get(&flow.product));
    let framework = model.frameworks.get(&agreement.spec.framework);
    let Some(((product, framework), first)) =
        product.filter(|it| network.is_product_local(&it.reference)).zip(framework).zip(flows.first())
    else {
        return OfProduct::default();
    };
    // with accession the hash differs by signer: the grant shows the one that the controller signed
    let Some(controller) = agreement.signers.get(&product.spec.controller) else {
        return OfProduct::default();
    };
    let receivers: Vec<Receiver> = flows
        .iter()
        .map(|flow| {
            let peers = network.recipient_peers(product, &flow.recipient);
            (recipient(context_free, flow), peers)
        })
        .collect();
    let name = |(it, _): &Receiver| format!("{}/{}", it.org, it.function);
    let fits = |receivers: &[Receiver]| {
        receivers.len() <= RECIPIENTS
            && receivers.iter().map(|(it, _)| it.purposes.len()).sum::<usize>() <= PURPOSES
            && receivers.iter().map(|(_, peers)| peers.len()).sum::<usize>() <= PEERS
    };
    for (part, receivers) in parts(receivers, name, fits) {
        let name = NetworkNames::grant(&agreement.reference, &product.reference, part);
        let (recipients, peers): (Vec<GrantRecipient>, Vec<Vec<NetworkPolicyPeer>>) =
            receivers.into_iter().unzip();
        allows.extend(network.ingress(&agreement.reference, product, &name, peers.into_iter().flatten()));
        let spec = DataAccessGrantSpec {
            agreement: GrantAgreement {
                namespace: agreement.reference.namespace.clone(),
                name: agreement.reference.name.clone(),
                uid: agreement.uid.clone(),
                generation: agreement.generation,
                terms_hash: controller.terms_hash.clone(),
            },
            product: product.reference.clone(),
            not_before: first.not_before,
            not_after: recipients.iter().map(|it| it.not_after).max().unwrap_or(first.not_after),
            recipients,
            framework: GrantFramework {
                name: framework.reference.name.clone(),
                version: framework.reference.version.clone(),
                digest: framework.digest.clone(),
            },
        };
        let mut grant = DataAccessGrant::new(&name, spec);
        grant.metadata.namespace = Some(product.reference.namespace.clone());
        grant.metadata.labels = Some(network::labels("grant"));
        grant.metadata.annotations =
            Some(network::product_annotations(&agreement.reference, &product.reference));
        grants.push(PlannedObject::Grant(grant.into()));
    }
    OfProduct { grants, allows }
}

fn recipient(context_free: &ContextFree<'_>, flow: &Flow) -> GrantRecipient {
    let Flow { product: _, recipient, purposes, not_before: _, not_after } = flow;
    GrantRecipient {
        org: recipient.org.clone(),
        function: recipient.function.clone(),
        purposes: purposes
            .iter()
            .map(|purpose| GrantPurpose {
                code: purpose.code.clone(),
                actions: purpose.actions.clone(),
                roles: purpose.roles.clone(),
                max_identifiability: purpose.max_identifiability,
                not_after: purpose.not_after,
                context_free: context_free.holds(flow, purpose),
            })
            .collect(),
        not_after: *not_after,
    }
}
