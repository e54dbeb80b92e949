//! What a way into the cluster costs per month, from what was measured and a profile's prices.
//!
//! The bytes of a run are scaled to a stated monthly volume: a route that moved 3 bytes across zones for each byte of
//! records in the run moves 3 across zones for each byte in the month. Brokers, disks and the replication between
//! brokers cost the same whatever way clients come in, and are left out.

use hopwise_kube::profile::{CapacityUnit, HOURS_PER_MONTH, Profile, RulePrices, Sourced};
use serde::{Deserialize, Serialize};

const BYTES_PER_GIGABYTE: f64 = 1e9;

/// One line of the bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostItem {
    /// The route that it is for: the client's name in the scenario.
    pub route: String,
    /// What is billed.
    pub item: String,
    /// The unit of `quantity`.
    pub unit: String,
    /// How much of it per month.
    pub quantity: f64,
    /// The amount in United States dollars.
    pub usd_per_month: f64,
    /// Where the price comes from.
    pub source: String,
}

/// What a route uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Load balancers that exist for the route.
    pub load_balancers: u32,
    /// Ports of all these load balancers together.
    pub load_balancer_rules: u32,
    /// Public IPv4 addresses that exist for the route.
    pub public_addresses: u32,
    /// Connections opened per second, over all load balancers.
    pub new_connections_per_second: f64,
    /// Connections open at a time, over all load balancers.
    pub active_connections: f64,
    /// What the run moved.
    pub measured: Traffic,
    /// The bytes of records per month that the run stands for.
    pub monthly_record_bytes: f64,
}

/// Bytes that a run moved over one route, both directions unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of records produced and fetched: the base of the scale.
    pub record_bytes: u64,
    /// IP bytes through load balancers.
    pub load_balancer_bytes: u64,
    /// IP bytes from one zone to another.
    pub cross_zone_bytes: u64,
    /// IP bytes from the cluster to the internet.
    pub egress_bytes: u64,
}

impl Usage {
    /// `measured` bytes scaled to the month, in gigabytes. Zero if the run moved no records.
    fn gigabytes_per_month(&self, measured: u64) -> f64 {
        if self.measured.record_bytes == 0 {
            return 0.0;
        }
        let scale = self.monthly_record_bytes / self.measured.record_bytes as f64;
        measured as f64 * scale / BYTES_PER_GIGABYTE
    }
}

/// The bill of `route` in the surroundings of `profile`. Lines of nothing are left out.
pub fn monthly(route: &str, profile: &Profile, usage: &Usage) -> Vec<CostItem> {
    let prices = &profile.prices;
    let mut bill = Bill { route, items: Vec::new() };
    if usage.load_balancers > 0 {
        load_balancers(&mut bill, profile, usage);
    }
    if let Some(price) = &prices.cross_zone_usd_per_gigabyte {
        bill.add(
            "traffic between zones",
            "GB",
            usage.gigabytes_per_month(usage.measured.cross_zone_bytes),
            price,
        );
    }
    if let Some(price) = &prices.egress_usd_per_gigabyte {
        bill.add(
            "traffic to the internet",
            "GB",
            usage.gigabytes_per_month(usage.measured.egress_bytes),
            price,
        );
    }
    if let Some(price) = &prices.public_address_usd_per_hour {
        let hours = f64::from(usage.public_addresses) * HOURS_PER_MONTH;
        bill.add("public IPv4 addresses", "address-hour", hours, price);
    }
    bill.items
}

/// The sum of lines of a bill, in United States dollars per month.
pub fn total<'a>(items: impl IntoIterator<Item = &'a CostItem>) -> f64 {
    items.into_iter().fold(0.0, |sum, item| sum + item.usd_per_month)
}

/// A bill as it is written.
struct Bill<'a> {
    route: &'a str,
    items: Vec<CostItem>,
}

impl Bill<'_> {
    fn add(&mut self, item: &str, unit: &str, quantity: f64, price: &Sourced<f64>) {
        self.add_amount(item, unit, quantity, quantity * price.value, price.citation());
    }

    fn add_amount(&mut self, item: &str, unit: &str, quantity: f64, usd_per_month: f64, source: String) {
        if quantity > 0.0 {
            let (route, item, unit) = (self.route.to_owned(), item.to_owned(), unit.to_owned());
            self.items.push(CostItem { route, item, unit, quantity, usd_per_month, source });
        }
    }
}

fn load_balancers(bill: &mut Bill<'_>, profile: &Profile, usage: &Usage) {
    let prices = &profile.prices.load_balancer;
    let gigabytes = usage.gigabytes_per_month(usage.measured.load_balancer_bytes);
    if let Some(price) = &prices.usd_per_hour {
        bill.add("load balancers", "hour", f64::from(usage.load_balancers) * HOURS_PER_MONTH, price);
    }
    if let Some(rules) = &prices.rules {
        let hour = rule_hour(rules, usage.load_balancer_rules);
        let quantity = f64::from(usage.load_balancer_rules) * HOURS_PER_MONTH;
        let source = rules.first_usd_per_hour.citation();
        bill.add_amount("load balancer rules", "rule-hour", quantity, hour * HOURS_PER_MONTH, source);
    }
    if let Some(unit) = &prices.capacity_unit {
        let units = capacity_units(unit, usage, gigabytes / HOURS_PER_MONTH);
        let name = format!("{}-hour", unit.name);
        bill.add("load balancer capacity", &name, units * HOURS_PER_MONTH, &unit.usd_per_hour);
    }
    if let Some(price) = &prices.usd_per_gigabyte {
        bill.add("load balancer traffic", "GB", gigabytes, price);
    }
}

/// The price of `rules` for an hour: the first few at one price together, each further one on top.
fn rule_hour(prices: &RulePrices, rules: u32) -> f64 {
    if rules == 0 {
        return 0.0;
    }
    let further = rules.saturating_sub(prices.included.value);
    prices.first_usd_per_hour.value + f64::from(further) * prices.further_usd_per_hour.value
}

/// Units in use at a time: the greatest of the dimensions. Taken over all load balancers together, which equals the
/// sum over each if they are used alike, and is less than it otherwise.
fn capacity_units(unit: &CapacityUnit, usage: &Usage, gigabytes_per_hour: f64) -> f64 {
    let connections = usage.new_connections_per_second / unit.new_connections_per_second.value;
    let active = usage.active_connections / unit.active_connections.value;
    let bytes = gigabytes_per_hour / unit.gigabytes_per_hour.value;
    connections.max(active).max(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTHLY: f64 = 730e9;

    fn usage(load_balancers: u32) -> Usage {
        Usage {
            load_balancers,
            load_balancer_rules: load_balancers * 4,
            public_addresses: 3,
            new_connections_per_second: 1.0,
            active_connections: 30.0,
            measured: Traffic {
                record_bytes: 1_000_000,
                load_balancer_bytes: if load_balancers > 0 { 2_000_000 } else { 0 },
                cross_zone_bytes: 500_000,
                egress_bytes: 1_000_000,
            },
            monthly_record_bytes: MONTHLY,
        }
    }

    fn bill(profile: &str, usage: &Usage) -> String {
        let profile = Profile::named(profile).expect("embedded");
        let items = monthly("way", &profile, usage);
        items
            .iter()
            .map(|item| {
                format!("{} {:.2} {} = ${:.4}\n", item.item, item.quantity, item.unit, item.usd_per_month)
            })
            .collect()
    }

    #[test]
    fn three_network_load_balancers() {
        // 3 x 730 h x $0.0225 = $49.275; 2 GB per hour are 2 NLCU, which outweighs 1/800 and 30/100000.
        insta::assert_snapshot!(bill("aws", &usage(3)), @r"
        load balancers 2190.00 hour = $49.2750
        load balancer capacity 1460.00 NLCU-hour = $8.7600
        traffic between zones 365.00 GB = $7.3000
        traffic to the internet 730.00 GB = $65.7000
        public IPv4 addresses 2190.00 address-hour = $10.9500
        ");
    }

    #[test]
    fn without_load_balancers_nothing_is_billed_for_them() {
        insta::assert_snapshot!(bill("aws", &usage(0)), @r"
        traffic between zones 365.00 GB = $7.3000
        traffic to the internet 730.00 GB = $65.7000
        public IPv4 addresses 2190.00 address-hour = $10.9500
        ");
    }

    #[test]
    fn rules_beyond_the_first_five_cost_more() {
        // 12 rules: $0.025 for five and 7 x $0.01 = $0.095 per hour.
        insta::assert_snapshot!(bill("gcp", &usage(3)), @r"
        load balancer rules 8760.00 rule-hour = $69.3500
        load balancer traffic 1460.00 GB = $11.6800
        traffic between zones 365.00 GB = $3.6500
        traffic to the internet 730.00 GB = $87.6000
        ");
    }

    #[test]
    fn new_connections_can_be_the_greatest_dimension() {
        let mut busy = usage(1);
        busy.new_connections_per_second = 8_000.0;
        let items = monthly("way", &Profile::named("aws").expect("embedded"), &busy);
        let capacity = items.iter().find(|item| item.item == "load balancer capacity").expect("billed");
        assert_eq!(capacity.quantity, 10.0 * HOURS_PER_MONTH);
    }

    #[test]
    fn bare_metal_bills_nothing_and_an_idle_run_no_traffic() {
        assert_eq!(bill("bare-metal", &usage(3)), "");
        let mut idle = usage(0);
        idle.measured.record_bytes = 0;
        idle.public_addresses = 0;
        assert_eq!(bill("aws", &idle), "");
    }
}
