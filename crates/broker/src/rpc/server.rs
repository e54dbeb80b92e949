//! The RPC listener: takes frames, checks whom they are for, and answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hopwise_fabric::net::{TcpListener, TcpStream};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{Refusal, Reply, ReplyHead, Request, RequestHead, frame};
use crate::cluster::{discovery, gossip, health, submit};
use crate::config::Listener;
use crate::node::Node;
use crate::operations::leadership;
use crate::replication;
use crate::status::Counter;
use crate::transactions::markers;

/// Requests of one connection that are worked on at a time; further ones wait in the socket.
const REQUESTS_MAX: usize = 128;

/// Accepts connections for ever.
pub(crate) async fn serve(node: Arc<Node>, listener: Listener, socket: TcpListener) {
    let listener = Arc::new(listener);
    loop {
        let stream = node.accept(&socket).await;
        let connection = connection(Arc::clone(&node), Arc::clone(&listener), stream);
        node.tasks.spawn(connection);
    }
}

async fn connection(node: Arc<Node>, listener: Arc<Listener>, stream: TcpStream) {
    let peer = stream.peer_addr().ok();
    let Some(stream) = node.secure(&listener, stream).await else { return };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (replies, mut queue) = mpsc::channel::<Bytes>(REQUESTS_MAX);
    let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
    let write = async {
        while let Some(frame) = queue.recv().await {
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
    };
    let read = async {
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let (head, body) = match frame::read::<RequestHead>(&mut reader).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    if error.kind() == std::io::ErrorKind::InvalidData {
                        tracing::warn!(?peer, %error, "closing an RPC connection");
                        node.status.add(Counter::MalformedFrames, 1);
                    }
                    break;
                }
            };
            let (node, replies) = (Arc::clone(&node), replies.clone());
            node.clone().tasks.spawn(async move {
                let _permit = permit;
                let call = head.call;
                let (reply, body) = match answer(&node, head, body).await {
                    Ok((reply, body)) => (Ok(reply), body),
                    Err(refusal) => (Err(refusal), Vec::new()),
                };
                node.status.add(Counter::RpcRequests, 1);
                if let Ok(frame) = frame::encode(&ReplyHead { call, reply }, &body) {
                    // The connection may be gone; then nobody waits for the reply.
                    let _ = replies.send(frame).await;
                }
            });
        }
    };
    tokio::select! {
        biased;
        () = read => {}
        () = write => {}
    }
}

async fn answer(node: &Arc<Node>, head: RequestHead, body: Bytes) -> Result<(Reply, Vec<u8>), Refusal> {
    if let Request::BootstrapInfo = head.request {
        return Ok((discovery::bootstrap_info(node), Vec::new()));
    }
    let membership = node.membership().ok_or(Refusal::NotReady)?;
    if head.to.is_some_and(|id| id != membership.id) {
        return Err(Refusal::WrongBroker);
    }
    if head.cluster.is_some_and(|cluster| cluster != membership.cluster) {
        return Err(Refusal::OtherCluster);
    }
    if let (Some(from), Some(_)) = (head.from, head.cluster) {
        node.with_cluster(|cluster| cluster.members.heard(from, Instant::now()));
    }
    let reply = match head.request {
        Request::BootstrapInfo => discovery::bootstrap_info(node),
        Request::Join(member) => discovery::admit(node, member).await?,
        Request::NodeReport => Reply::NodeReport(health::own_report(node)),
        Request::TransferLeadership { topic, partition, target } => {
            leadership::transfer(node, (topic, partition), Some(target)).await?;
            Reply::Done
        }
        Request::Ping(_) => {
            node.metrics.node_status.received.add(1);
            Reply::Pong(gossip::fingerprints(node))
        }
        Request::Sync { members, state } => gossip::take(node, members, state),
        Request::Submit { command, timeout_ms } => {
            let patience = Duration::from_millis(timeout_ms);
            Reply::Applied(submit::submit_here(node, command, patience).await?)
        }
        Request::WriteTxnMarkers(markers) => Reply::MarkersWritten(markers::write(node, &markers).await),
        Request::Append { topic, partition, base_offset, high_watermark } => {
            replication::follower::append(node, (topic, partition), base_offset, high_watermark, &body)?
        }
        Request::ReadReplica { topic, partition, offset, bytes_max } => {
            return replication::follower::read(node, (topic, partition), offset, bytes_max);
        }
    };
    Ok((reply, Vec::new()))
}
