//! Captures: what a device received and sent, as pcapng.
//!
//! Each port of the device is an interface of the file. A packet is written as it arrives and as it leaves, so
//! that what the device did to it is visible; its comment is the packet's number in the run. Checksums, which the fabric
//! does not compute, are filled in. What programs outside send as one (see `segmentation`) is written as the packets that it
//! stands for, all with the same number.
//! Format: draft-ietf-opsawg-pcapng, link type RAW (101), timestamps in nanoseconds since the Unix epoch, from
//! virtual time and the simulation's start date.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::{Time, clock::start_unix_ms};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError};
use rustc_hash::FxHashMap;

use crate::device::PortIndex;
use crate::packet::Packet;
use crate::{checksum, segmentation};

/// Which way a packet goes, seen from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It arrives.
    In,
    /// It leaves.
    Out,
}

impl Way {
    /// The direction bits of a packet block's flags.
    fn flags(self) -> u32 {
        match self {
            Way::In => 0b01,
            Way::Out => 0b10,
        }
    }
}

/// The capture of one device.
pub(crate) struct Capture {
    writer: PcapNgWriter<Box<dyn Write>>,
    interfaces: FxHashMap<PortIndex, u32>,
    /// The first error; after it nothing more is written.
    failed: Option<io::Error>,
}

impl Capture {
    /// Begins a capture.
    pub(crate) fn new(writer: Box<dyn Write>) -> io::Result<Self> {
        let writer = PcapNgWriter::with_endianness(writer, Endianness::Little).map_err(into_io)?;
        Ok(Capture { writer, interfaces: FxHashMap::default(), failed: None })
    }

    /// Writes a packet that passes `port`; `name` names the port and is asked once.
    pub(crate) fn write(
        &mut self,
        port: PortIndex,
        name: impl FnOnce() -> (String, String),
        way: Way,
        packet: &Packet,
        now: Time,
    ) {
        if self.failed.is_none() {
            self.failed = self.try_write(port, name, way, packet, now).err().map(into_io);
        }
    }

    /// Ends the capture.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.writer.get_mut().flush(),
        }
    }

    fn try_write(
        &mut self,
        port: PortIndex,
        name: impl FnOnce() -> (String, String),
        way: Way,
        packet: &Packet,
        now: Time,
    ) -> Result<(), PcapError> {
        let interface_id = match self.interfaces.get(&port) {
            Some(interface) => *interface,
            None => self.add_interface(port, name())?,
        };
        for bytes in segmentation::segments(packet) {
            self.write_packet(interface_id, bytes, way, packet.id, now)?;
        }
        Ok(())
    }

    fn write_packet(
        &mut self,
        interface_id: u32,
        bytes: Vec<u8>,
        way: Way,
        id: u64,
        now: Time,
    ) -> Result<(), PcapError> {
        let mut seen = Packet::new(bytes, id);
        checksum::fill(&mut seen);
        let start = Duration::from_millis(start_unix_ms().unsigned_abs());
        self.writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id,
            timestamp: start + Duration::from_nanos(now.as_nanos()),
            original_len: seen.bytes.len() as u32,
            data: Cow::Owned(seen.bytes),
            options: vec![
                EnhancedPacketOption::Flags(way.flags()),
                EnhancedPacketOption::Comment(Cow::Owned(format!("packet {id}"))),
            ],
        })?;
        Ok(())
    }

    fn add_interface(
        &mut self,
        port: PortIndex,
        (name, description): (String, String),
    ) -> Result<u32, PcapError> {
        /// Timestamps are in units of 10^-9 s.
        const NANOSECONDS: u8 = 9;
        let interface = self.interfaces.len() as u32;
        self.writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                InterfaceDescriptionOption::IfDescription(Cow::Owned(description)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })?;
        self.interfaces.insert(port, interface);
        Ok(interface)
    }
}

/// Bytes of a capture that is kept in memory; its clones are the same bytes.
#[derive(Clone, Debug, Default)]
pub struct CaptureBuffer(Rc<RefCell<Vec<u8>>>);

impl CaptureBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl Write for CaptureBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
