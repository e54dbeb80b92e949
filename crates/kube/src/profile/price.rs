//! What things cost, in United States dollars.
//!
//! A price that does not exist in a profile is absent, and nothing is billed for it. Gigabytes are 10^9 bytes;
//! where a source bills by GiB the difference is below what list prices are worth.

use serde::{Deserialize, Serialize};

use super::sourced::{Sourced, origin_fault};

/// Hours in a billed month: the convention of the clouds' own calculators ($0.01 per hour is $7.30 per month).
pub const HOURS_PER_MONTH: f64 = 730.0;

/// Everything that is billed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Prices {
    /// Load balancers.
    pub load_balancer: LoadBalancerPrices,
    /// Per gigabyte that leaves a zone for another one, summed over both directions' charges.
    #[serde(default)]
    pub cross_zone_usd_per_gigabyte: Option<Sourced<f64>>,
    /// Per gigabyte sent to the internet, first tier.
    #[serde(default)]
    pub egress_usd_per_gigabyte: Option<Sourced<f64>>,
    /// Per hour and public IPv4 address.
    #[serde(default)]
    pub public_address_usd_per_hour: Option<Sourced<f64>>,
}

/// What load balancers cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoadBalancerPrices {
    /// Per hour and load balancer.
    #[serde(default)]
    pub usd_per_hour: Option<Sourced<f64>>,
    /// Per hour and rule (a rule is one port of one load balancer).
    #[serde(default)]
    pub rules: Option<RulePrices>,
    /// Per unit of capacity used.
    #[serde(default)]
    pub capacity_unit: Option<CapacityUnit>,
    /// Per gigabyte through the load balancer, both directions.
    #[serde(default)]
    pub usd_per_gigabyte: Option<Sourced<f64>>,
}

/// A price for the first few rules of a project together, and one for each rule beyond them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RulePrices {
    /// How many rules the first price covers.
    pub included: Sourced<u32>,
    /// Per hour for the first `included` rules together.
    pub first_usd_per_hour: Sourced<f64>,
    /// Per hour for each further rule.
    pub further_usd_per_hour: Sourced<f64>,
}

/// A unit of capacity: usage is the greatest of the dimensions, hour by hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CapacityUnit {
    /// What the bill calls it.
    pub name: String,
    /// Per unit and hour.
    pub usd_per_hour: Sourced<f64>,
    /// New connections per second in one unit.
    pub new_connections_per_second: Sourced<f64>,
    /// Connections open at a time in one unit.
    pub active_connections: Sourced<f64>,
    /// Gigabytes per hour in one unit.
    pub gigabytes_per_hour: Sourced<f64>,
}

impl Prices {
    /// The first price that cannot be used: its path, and why.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        let mut faults: Vec<(&str, Option<String>)> = vec![
            ("crossZoneUsdPerGigabyte", optional(self.cross_zone_usd_per_gigabyte.as_ref())),
            ("egressUsdPerGigabyte", optional(self.egress_usd_per_gigabyte.as_ref())),
            ("publicAddressUsdPerHour", optional(self.public_address_usd_per_hour.as_ref())),
            ("loadBalancer.usdPerHour", optional(self.load_balancer.usd_per_hour.as_ref())),
            ("loadBalancer.usdPerGigabyte", optional(self.load_balancer.usd_per_gigabyte.as_ref())),
        ];
        if let Some(rules) = &self.load_balancer.rules {
            let included = &rules.included;
            faults.push((
                "loadBalancer.rules.included",
                origin_fault(included.source.as_deref(), included.assumed, included.note.as_deref()),
            ));
            faults.push(("loadBalancer.rules.firstUsdPerHour", amount(&rules.first_usd_per_hour)));
            faults.push(("loadBalancer.rules.furtherUsdPerHour", amount(&rules.further_usd_per_hour)));
        }
        if let Some(unit) = &self.load_balancer.capacity_unit {
            faults.push(("loadBalancer.capacityUnit.usdPerHour", amount(&unit.usd_per_hour)));
            for (path, dimension) in [
                ("loadBalancer.capacityUnit.newConnectionsPerSecond", &unit.new_connections_per_second),
                ("loadBalancer.capacityUnit.activeConnections", &unit.active_connections),
                ("loadBalancer.capacityUnit.gigabytesPerHour", &unit.gigabytes_per_hour),
            ] {
                faults.push((path, amount(dimension).or_else(|| divisor(dimension))));
            }
        }
        faults.into_iter().find_map(|(path, fault)| Some((format!("prices.{path}"), fault?)))
    }
}

fn optional(price: Option<&Sourced<f64>>) -> Option<String> {
    price.and_then(amount)
}

fn amount(price: &Sourced<f64>) -> Option<String> {
    if !price.value.is_finite() || price.value < 0.0 {
        return Some(format!("an amount of zero or more is expected, found {}", price.value));
    }
    origin_fault(price.source.as_deref(), price.assumed, price.note.as_deref())
}

/// Usage is divided by a dimension, so it cannot be zero.
fn divisor(dimension: &Sourced<f64>) -> Option<String> {
    (dimension.value <= 0.0).then(|| "an amount above zero is expected, found 0".to_owned())
}
