//! What little free space on a broker's disk means: an alert, and at last that nothing is taken from clients.
//!
//! Source: redpanda.md 3.1.4 (`storage_disk_free_space_alert`) and the properties
//! `storage_space_alert_free_threshold_percent`, `storage_space_alert_free_threshold_bytes` and
//! `storage_min_free_bytes`. Produce looks at this broker's own disk only; Redpanda also refuses while another
//! broker's last report was of too little space. A disk of unknown size is never short of space.

use crate::config::ClusterProperties;
use crate::node::Node;
use crate::volume::DiskSpace;

/// How short of space a disk is; the metric has the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpaceAlert {
    /// There is enough.
    Ok = 0,
    /// There is less than an alert's threshold.
    Low = 1,
    /// There is so little that nothing is taken from clients any more.
    Degraded = 2,
}

/// How short of space a disk is.
pub(crate) fn of(space: DiskSpace, properties: &ClusterProperties) -> SpaceAlert {
    let share = space.total / 100 * u64::from(properties.storage_space_alert_free_threshold_percent);
    let threshold = share.max(properties.storage_space_alert_free_threshold_bytes);
    if space.free < properties.storage_min_free_bytes {
        SpaceAlert::Degraded
    } else if space.free < threshold {
        SpaceAlert::Low
    } else {
        SpaceAlert::Ok
    }
}

/// Whether Produce is refused for want of space.
pub(crate) fn refuses(node: &Node) -> bool {
    let counted = node.volume.counted_space();
    counted.is_some_and(|space| of(space, &node.properties()) == SpaceAlert::Degraded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_threshold_counts_and_the_minimum_comes_last() {
        let properties = ClusterProperties {
            storage_min_free_bytes: 10,
            storage_space_alert_free_threshold_percent: 5,
            storage_space_alert_free_threshold_bytes: 70,
            ..ClusterProperties::default()
        };
        let of = |total, free| of(DiskSpace { total, free }, &properties);
        assert_eq!(of(1000, 70), SpaceAlert::Ok);
        assert_eq!(of(1000, 69), SpaceAlert::Low);
        assert_eq!(of(2000, 99), SpaceAlert::Low, "five percent are more than 70 bytes");
        assert_eq!(of(2000, 100), SpaceAlert::Ok);
        assert_eq!((of(1000, 10), of(1000, 9)), (SpaceAlert::Low, SpaceAlert::Degraded));
    }
}
