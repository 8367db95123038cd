//! Established IKE SAs as bytes, so that a restarted process can continue them.
//!
//! A record holds keys: the caller keeps it where only the successor can read it, guards it by a
//! checksum, and writes it *before* it sends the datagrams of the call that changed it. IVs are
//! reserved ahead: a record is valid for [`RESERVED_IVS`] messages, and the restored IKE SA begins
//! after the reserved IVs (RFC 5282 §3.1: no IV twice under a key).

mod bytes;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{ChildId, IkeId, IkeInfo, ProofMethod};
use crate::algorithm::{Encryption, Group, Integrity, Prf};
use crate::config::{ChildTag, Connection, ConnectionId};
use crate::identity::Identity;
use crate::keys::{IkeKeys, MessageKeys};
use crate::message::Exchange;
use crate::provider::{KeyKind, SignatureCurve};
use crate::sa::child::ChildSa;
use crate::sa::frame::Framer;
use crate::sa::window::InFlight;
use crate::sa::{IkeSa, Nat, Phase};
use crate::secret::Secret;
use crate::selector::TrafficSelector;
use crate::suite::{Additional, Agreed, EspSuite, IkeSuite};
use crate::task::Task;
use crate::time::Time;
use bytes::{Reader, Writer};

/// IVs that a record reserves: this many messages may be sent before the next record must be
/// written.
pub const RESERVED_IVS: u64 = 1 << 20;

const VERSION: u8 = 2;

/// Why a record cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It was written by another version of this code.
    #[error("the checkpoint record has version {0}, this build reads {VERSION}: renegotiate")]
    Version(u8),
    /// It is not a record, or a damaged one.
    #[error("the checkpoint record is damaged: renegotiate")]
    Damaged,
    /// Its connection is not configured any more.
    #[error("the checkpoint record belongs to connection {0:?}, which is not configured")]
    UnknownConnection(ConnectionId),
    /// An IKE SA of this name or SPI exists already.
    #[error("the IKE SA of the checkpoint record exists already")]
    Exists,
}

/// A Child SA of a restored IKE SA; its keys are where the data plane has them.
#[derive(Clone, Debug)]
pub struct RestoredChild {
    /// Its name, as before.
    pub child: ChildId,
    /// Its policy.
    pub tag: ChildTag,
    /// Its inbound SPI.
    pub inbound_spi: u32,
    /// Its outbound SPI.
    pub outbound_spi: u32,
    /// Its outbound half may carry traffic.
    pub outbound_ready: bool,
}

/// A restored IKE SA.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its state.
    pub info: IkeInfo,
    /// Its Child SAs.
    pub children: Vec<RestoredChild>,
}

/// The record of an IKE SA, or `None` if it cannot be continued: not established, or in the middle
/// of being replaced (the peer moves the children to an IKE SA whose private key only this process
/// knows).
pub(crate) fn write(sa: &IkeSa) -> Option<Secret> {
    if !sa.is_established() || sa.orphan_until.is_some() || matches!(sa.active, Some(Task::RekeyIke(_))) {
        return None;
    }
    let framer = sa.framer.as_ref()?;
    let mut w = Writer::new();
    w.u8(VERSION);
    w.u64(sa.id.0);
    w.u64(sa.connection.id.0);
    w.bool(sa.initiator);
    w.u64(sa.local_spi);
    w.u64(sa.remote_spi);
    w.endpoint(sa.local);
    w.endpoint(sa.remote);
    w.bool(sa.nat.local);
    w.bool(sa.nat.remote);
    w.bool(sa.mobike);
    w.bool(sa.redirects.announced);
    w.identity(sa.local_identity.as_ref());
    w.identity(sa.remote_identity.as_ref());
    w.u8(method_number(sa.local_method));
    w.u8(method_number(sa.remote_method));
    w.u64(sa.born.as_millis());
    for time in [sa.established_at, sa.rekey_at, sa.hard_at, sa.keepalive_at] {
        w.time(time);
    }
    w.bytes(&sa.low_nonce);

    write_suite(&mut w, &framer.suite);
    for key in key_list(&framer.keys) {
        w.bytes(key.expose());
    }
    w.u64(framer.next_iv.checked_add(RESERVED_IVS)?);
    w.u64(framer.fragment_size.map_or(0, |size| size as u64));

    w.u32(sa.sender.next_id);
    w.bool(sa.sender.in_flight.is_some());
    if let Some(request) = &sa.sender.in_flight {
        w.u32(request.id);
        w.u8(request.exchange.number());
        w.packets(&request.packets);
    }
    // A child that is being created is lost with this process; a Delete for its SPI lets the peer
    // remove its half.
    let spi = match &sa.active {
        Some(Task::CreateChild(task)) => task.open_spi(),
        Some(Task::DeleteSpi { spi }) => Some(*spi),
        _ => None,
    };
    w.u32(spi.unwrap_or(0));
    w.u32(sa.receiver.next_id);
    w.packets(&sa.receiver.reply);

    w.u32(sa.children.len() as u32);
    for child in &sa.children {
        write_child(&mut w, child);
    }
    Some(w.finish())
}

/// The IKE SA of a record. Everything is read before anything changes.
pub(crate) fn read(
    record: &[u8],
    now: Time,
    connection: impl Fn(ConnectionId) -> Option<Arc<Connection>>,
) -> Result<Box<IkeSa>, RestoreError> {
    let mut r = Reader::new(record);
    let version = r.u8()?;
    if version != VERSION {
        return Err(RestoreError::Version(version));
    }
    let id = IkeId(r.u64()?);
    let connection_id = ConnectionId(r.u64()?);
    let connection = connection(connection_id).ok_or(RestoreError::UnknownConnection(connection_id))?;
    let initiator = r.bool()?;
    let (local_spi, remote_spi) = (r.u64()?, r.u64()?);
    let path: (SocketAddr, SocketAddr) = (r.endpoint()?, r.endpoint()?);
    let nat = Nat { local: r.bool()?, remote: r.bool()? };
    let (mobike, announced) = (r.bool()?, r.bool()?);
    let identities: [Option<Identity>; 2] = [r.identity()?, r.identity()?];
    let methods = [method_of(r.u8()?)?, method_of(r.u8()?)?];
    let born = Time::from_millis(r.u64()?);
    let times: [Option<Time>; 4] = [r.time()?, r.time()?, r.time()?, r.time()?];
    let low_nonce = r.bytes()?.to_vec();

    let suite = read_suite(&mut r)?;
    let keys = read_keys(&mut r)?;
    let next_iv = r.u64()?;
    let fragment_size = usize::try_from(r.u64()?).ok().filter(|&size| size > 0);

    let mut sa = Box::new(IkeSa::new(id, connection, initiator, local_spi, path, Phase::Established, born));
    sa.remote_spi = remote_spi;
    (sa.nat, sa.mobike, sa.redirects.announced) = (nat, mobike, announced);
    [sa.local_identity, sa.remote_identity] = identities;
    [sa.local_method, sa.remote_method] = methods;
    [sa.established_at, sa.rekey_at, sa.hard_at, sa.keepalive_at] = times;
    sa.low_nonce = low_nonce;
    sa.reported_up = true;
    let (spi_i, spi_r) = sa.spis();
    let mut framer = Framer::new(initiator, spi_i, spi_r, suite, keys);
    (framer.next_iv, framer.fragment_size) = (next_iv, fragment_size);
    sa.framer = Some(framer);

    sa.sender.next_id = r.u32()?;
    if r.bool()? {
        // RFC 7296 §2.1: the peer may have answered it; the same bytes get the same answer, and
        // then the next ID is free.
        let (id, exchange, packets) = (r.u32()?, Exchange::from_number(r.u8()?), r.packets()?);
        let settings = sa.connection.established;
        sa.sender.in_flight = Some(InFlight::backoff(id, exchange, packets, now, settings));
    }
    let lost_spi = r.u32()?;
    sa.receiver.next_id = r.u32()?;
    sa.receiver.reply = r.packets()?;

    for _ in 0..r.u32()? {
        let child = read_child(&mut r)?;
        sa.children.push(child);
    }
    r.end()?;

    if lost_spi != 0 {
        sa.enqueue(Task::DeleteSpi { spi: lost_spi }, now);
    }
    let closing: Vec<ChildId> =
        sa.children.iter().filter(|child| child.deleting).map(|child| child.id).collect();
    if !closing.is_empty() {
        sa.enqueue(Task::DeleteChild { children: closing }, now);
    }
    Ok(sa)
}

/// The inbound SPIs that a restored IKE SA holds.
pub(crate) fn held_spis(sa: &IkeSa) -> impl Iterator<Item = u32> {
    let children = sa.children.iter().map(|child| child.inbound_spi);
    let lost = sa.queue.iter().filter_map(|queued| match queued.task {
        Task::DeleteSpi { spi } => Some(spi),
        _ => None,
    });
    children.chain(lost)
}

/// The children of a restored IKE SA that the caller knows.
pub(crate) fn children(sa: &IkeSa) -> Vec<RestoredChild> {
    sa.children
        .iter()
        .filter(|child| !child.reported)
        .map(|child| RestoredChild {
            child: child.id,
            tag: child.tag,
            inbound_spi: child.inbound_spi,
            outbound_spi: child.outbound_spi,
            outbound_ready: child.outbound_ready,
        })
        .collect()
}

/// 0 for none; then by their place in the list.
const METHODS: [ProofMethod; 6] = [
    ProofMethod::PreShared,
    ProofMethod::Signature(KeyKind::Rsa),
    ProofMethod::Signature(KeyKind::Ecdsa(SignatureCurve::P256)),
    ProofMethod::Signature(KeyKind::Ecdsa(SignatureCurve::P384)),
    ProofMethod::Signature(KeyKind::Ecdsa(SignatureCurve::P521)),
    ProofMethod::Signature(KeyKind::Ed25519),
];

fn method_number(method: Option<ProofMethod>) -> u8 {
    let place = METHODS.iter().position(|known| Some(*known) == method);
    place.map_or(0, |place| place as u8 + 1)
}

fn method_of(number: u8) -> Result<Option<ProofMethod>, RestoreError> {
    match usize::from(number).checked_sub(1) {
        None => Ok(None),
        Some(place) => METHODS.get(place).copied().map(Some).ok_or(RestoreError::Damaged),
    }
}

fn key_list(keys: &IkeKeys) -> [&Secret; 7] {
    let (i, r) = (&keys.initiator, &keys.responder);
    [&keys.d, &i.encryption, &i.integrity, &r.encryption, &r.integrity, &keys.p_initiator, &keys.p_responder]
}

fn read_keys(r: &mut Reader<'_>) -> Result<IkeKeys, RestoreError> {
    let mut key = || r.bytes().map(Secret::from);
    Ok(IkeKeys {
        d: key()?,
        initiator: MessageKeys { encryption: key()?, integrity: key()? },
        responder: MessageKeys { encryption: key()?, integrity: key()? },
        p_initiator: key()?,
        p_responder: key()?,
    })
}

fn write_suite(w: &mut Writer, suite: &IkeSuite) {
    w.encryption(suite.encryption);
    w.u16(suite.integrity.map_or(0, Integrity::transform));
    w.u16(suite.prf.transform());
    w.u16(suite.group.number());
    for agreed in suite.additional.0 {
        w.u16(match agreed {
            Agreed::Method(group) => group.number(),
            Agreed::Nothing | Agreed::Declined => 0,
        });
    }
}

fn read_suite(r: &mut Reader<'_>) -> Result<IkeSuite, RestoreError> {
    let encryption = read_encryption(r)?;
    let integrity = read_integrity(r)?;
    Ok(IkeSuite {
        encryption,
        integrity,
        prf: Prf::from_transform(r.u16()?).ok_or(RestoreError::Damaged)?,
        group: Group::from_number(r.u16()?).ok_or(RestoreError::Damaged)?,
        additional: read_additional(r)?,
    })
}

fn read_additional(r: &mut Reader<'_>) -> Result<Additional, RestoreError> {
    let mut additional = Additional::default();
    for agreed in &mut additional.0 {
        *agreed = match r.u16()? {
            0 => Agreed::Nothing,
            number => Agreed::Method(Group::from_number(number).ok_or(RestoreError::Damaged)?),
        };
    }
    Ok(additional)
}

fn read_encryption(r: &mut Reader<'_>) -> Result<Encryption, RestoreError> {
    let (id, bits) = (r.u16()?, r.u16()?);
    Encryption::from_transform(id, Some(bits).filter(|&bits| bits > 0)).ok_or(RestoreError::Damaged)
}

fn read_integrity(r: &mut Reader<'_>) -> Result<Option<Integrity>, RestoreError> {
    match r.u16()? {
        0 => Ok(None),
        id => Integrity::from_transform(id).map(Some).ok_or(RestoreError::Damaged),
    }
}

fn write_child(w: &mut Writer, child: &ChildSa) {
    w.u64(child.id.0);
    w.u64(child.tag.0);
    w.u32(child.inbound_spi);
    w.u32(child.outbound_spi);
    w.encryption(child.suite.encryption);
    w.u16(child.suite.integrity.map_or(0, Integrity::transform));
    w.bool(child.suite.esn);
    w.u16(child.suite.group.map_or(0, Group::number));
    w.selectors(&child.local_selectors);
    w.selectors(&child.remote_selectors);
    w.u64(child.replaced_by.map_or(0, |id| id.0));
    w.bool(child.deleting);
    w.bool(child.reported);
    w.bool(child.outbound_ready);
    w.time(child.soft_at);
    w.time(child.hard_at);
}

fn read_child(r: &mut Reader<'_>) -> Result<ChildSa, RestoreError> {
    Ok(ChildSa {
        id: ChildId(r.u64()?),
        tag: ChildTag(r.u64()?),
        inbound_spi: r.u32()?,
        outbound_spi: r.u32()?,
        suite: EspSuite {
            encryption: read_encryption(r)?,
            integrity: read_integrity(r)?,
            esn: r.bool()?,
            group: match r.u16()? {
                0 => None,
                number => Some(Group::from_number(number).ok_or(RestoreError::Damaged)?),
            },
        },
        local_selectors: r.selectors()?,
        remote_selectors: r.selectors()?,
        rekeying: false,
        replaced_by: Some(r.u64()?).filter(|&id| id > 0).map(ChildId),
        deleting: r.bool()?,
        reported: r.bool()?,
        outbound_ready: r.bool()?,
        fate: None,
        soft_at: r.time()?,
        hard_at: r.time()?,
    })
}

impl Writer {
    fn encryption(&mut self, encryption: Encryption) {
        let (id, bits) = encryption.transform();
        self.u16(id);
        self.u16(bits.unwrap_or(0));
    }

    fn identity(&mut self, identity: Option<&Identity>) {
        self.u8(identity.map_or(0, Identity::id_type));
        self.bytes(&identity.map(Identity::data).unwrap_or_default());
    }

    fn selectors(&mut self, selectors: &[TrafficSelector]) {
        self.bytes(&crate::message::encode_selectors(selectors));
    }
}

impl Reader<'_> {
    fn identity(&mut self) -> Result<Option<Identity>, RestoreError> {
        let (id_type, data) = (self.u8()?, self.bytes()?);
        Ok((id_type != 0).then(|| Identity::from_wire(id_type, data)))
    }

    fn selectors(&mut self) -> Result<Vec<TrafficSelector>, RestoreError> {
        crate::message::parse_selectors(self.bytes()?).map_err(|_| RestoreError::Damaged)
    }
}
