//! The namespace's interface and its routes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder, new_connection};
use rustix::net::{AddressFamily, SocketType};

/// The interface's name, as in a pod.
pub(crate) const NAME: &str = "eth0";
/// The loopback interface's index in every network namespace.
const LOOPBACK: u32 = 1;

/// Gives the interface its addresses and lets all packets leave by it.
pub(crate) fn configure(addresses: &[IpAddr]) -> io::Result<()> {
    if !addresses.iter().any(IpAddr::is_ipv6) {
        // Without it the kernel looks for routers and neighbours that are not there. Some containers do not allow it.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let index = index_of_interface()?;
        let (connection, handle, _) = new_connection()?;
        let connection = tokio::spawn(connection);
        let configured = links_and_routes(&handle, index, addresses).await.map_err(io::Error::other);
        connection.abort();
        configured
    })
}

async fn links_and_routes(handle: &Handle, index: u32, addresses: &[IpAddr]) -> Result<(), rtnetlink::Error> {
    for link in [LOOPBACK, index] {
        handle.link().set(LinkUnspec::new_with_index(link).up().build()).execute().await?;
    }
    for address in addresses {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        handle.address().add(index, *address, bits).execute().await?;
    }
    if addresses.iter().any(IpAddr::is_ipv4) {
        let everywhere =
            RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).scope(RouteScope::Link);
        handle.route().add(everywhere.build()).execute().await?;
    }
    if addresses.iter().any(IpAddr::is_ipv6) {
        let everywhere = RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index);
        handle.route().add(everywhere.build()).execute().await?;
    }
    Ok(())
}

fn index_of_interface() -> io::Result<u32> {
    let any = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(any, NAME)?)
}
