//! EndpointSlices and Endpoints that somebody writes by hand.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::check::Checker;
use super::metadata;
use super::names::Form;
use crate::source::FieldPath;

/// The most endpoints of one slice (API server's validation of discovery/v1).
const ENDPOINTS_MAX: usize = 1000;

pub fn check_slice(checker: &mut Checker<'_>, slice: &EndpointSlice) {
    metadata::check(checker, &slice.metadata, Form::Subdomain);
    checker.one_of(&FieldPath::from("addressType"), Some(&slice.address_type), &["IPv4", "IPv6", "FQDN"]);
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        let what = format!("has {} endpoints", endpoints.len());
        let fix = "spread them over several slices";
        checker.reject(&FieldPath::from("endpoints"), what, format!("at most {ENDPOINTS_MAX}"), fix);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let field = FieldPath::from("endpoints").index(index).key("addresses");
        if endpoint.addresses.is_empty() {
            checker.reject(&field, "is empty", "at least one address", "add the endpoint's address");
        }
        for (index, address) in endpoint.addresses.iter().enumerate() {
            if slice.address_type != "FQDN" {
                check_address(checker, &field.index(index), address, Some(slice.address_type == "IPv4"));
            }
        }
    }
    for (index, port) in slice.ports.iter().flatten().enumerate() {
        let field = FieldPath::from("ports").index(index);
        checker.one_of(&field.key("protocol"), port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
        if let Some(number) = port.port {
            checker.port_number(&field.key("port"), number);
        }
    }
}

pub fn check(checker: &mut Checker<'_>, endpoints: &Endpoints) {
    metadata::check(checker, &endpoints.metadata, Form::Subdomain);
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let field = FieldPath::from("subsets").index(index);
        for (name, addresses) in
            [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)]
        {
            for (index, address) in addresses.iter().flatten().enumerate() {
                check_address(checker, &field.key(name).index(index).key("ip"), &address.ip, None);
            }
        }
        for (index, port) in subset.ports.iter().flatten().enumerate() {
            let field = field.key("ports").index(index);
            checker.one_of(&field.key("protocol"), port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
            checker.port_number(&field.key("port"), port.port);
        }
    }
}

/// The address of an endpoint: of the family that is asked for, and of a machine.
fn check_address(checker: &mut Checker<'_>, field: &FieldPath, text: &str, ipv4: Option<bool>) {
    let Some(address) = checker.address(field, text) else { return };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local {
        let expected = "an address that nodes can reach: not unspecified, loopback, link-local or multicast";
        checker.reject(
            field,
            format!("{address} is no address of an endpoint"),
            expected,
            "change the address",
        );
    }
    if ipv4.is_some_and(|ipv4| ipv4 != address.is_ipv4()) {
        let what = format!("{address} is of another family than addressType says");
        checker.reject(field, what, "one family per slice", "move it to a slice of its own");
    }
}
