//! What a snapshot holds in several places: what it is read from outside the documents, and its inspections.

use std::sync::Arc;

use bartizan_model::Reference;

use super::{InspectionPlan, MethodPlan, Snapshot};

impl Snapshot {
    /// Every inspection of the set as it applies to a route or a consumer.
    pub fn inspections(&self) -> impl Iterator<Item = &Arc<InspectionPlan>> {
        let of_routes = self.routes.iter().flat_map(|route| &route.inspection);
        of_routes.chain(self.consumers.values().flat_map(|consumer| &consumer.inspection))
    }

    /// The secrets, certificates, lists and users that `prepare` reads, some of them named several times.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.plan.tls.as_ref());
        let of_listeners = listeners.flat_map(|tls| {
            let certificates = tls.certificates.iter().flat_map(|one| [&one.chain, &one.key]);
            let clients = tls.clients.iter().flat_map(|clients| {
                let lists = clients.revocation.iter().flat_map(|revocation| &revocation.lists);
                clients.authorities.iter().chain(lists)
            });
            certificates.chain(clients)
        });
        let of_upstreams = self.upstreams.iter().flat_map(|upstream| {
            let tls = upstream.tls.iter().flat_map(|tls| {
                let client = tls.client.iter().flat_map(|client| [&client.chain, &client.key]);
                tls.authorities.iter().chain(client)
            });
            tls.chain(upstream.credential.iter().flat_map(|credential| credential.references()))
        });
        let of_routes = self.routes.iter().flat_map(|route| {
            let policies = route.authentication.enforced.iter().chain(&route.authentication.shadow);
            policies.flat_map(|policy| policy.methods.iter().flat_map(MethodPlan::references))
        });
        let of_channels = self.channels.values().flat_map(|channel| channel.references());
        of_listeners.chain(of_upstreams).chain(of_routes).chain(of_channels)
    }
}
