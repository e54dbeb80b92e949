//! The RPC listener: takes frames, checks whom they are for, and answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hopwise_fabric::net::{TcpListener, TcpStream};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

use super::frame::{self, Frame};
use super::ping::{self, Ping, Pong};
use super::{Refusal, Reply, ReplyHead, Request, RequestHead};
use crate::cluster::{discovery, health, submit};
use crate::config::Listener;
use crate::gathered::Outgoing;
use crate::node::Node;
use crate::operations::leadership;
use crate::replication::driver;
use crate::status::Counter;
use crate::transactions::{markers, verification};

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
    let _open = node.metrics.internal.open();
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let (replies, mut queue) = mpsc::channel::<Outgoing>(REQUESTS_MAX);
    let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
    let write = async {
        while let Some(mut frame) = queue.recv().await {
            if writer.write_all_buf(&mut frame).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
    };
    let read = async {
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let (head, body) = match frame::read::<RequestHead>(&mut reader).await {
                Ok(Some(Frame::Json(head, body))) => (head, body),
                Ok(Some(Frame::Raft(kind, content))) => {
                    node.metrics.internal.received_bytes.add(content.len() as u64);
                    let sound = match kind {
                        ping::PING => pinged(&node, content, &replies),
                        _ => driver::receive(&node, kind, content, Some(&replies)),
                    };
                    if !sound {
                        tracing::warn!(?peer, kind, "closing an RPC connection: no frame of Raft's");
                        node.status.add(Counter::MalformedFrames, 1);
                        node.metrics.internal.errors.add(1);
                        break;
                    }
                    node.status.add(Counter::RpcRequests, 1);
                    continue;
                }
                Ok(None) => break,
                Err(error) => {
                    if error.kind() == std::io::ErrorKind::InvalidData {
                        tracing::warn!(?peer, %error, "closing an RPC connection");
                        node.status.add(Counter::MalformedFrames, 1);
                        node.metrics.internal.errors.add(1);
                    }
                    break;
                }
            };
            let (node, replies) = (Arc::clone(&node), replies.clone());
            node.clone().tasks.spawn(async move {
                let _permit = permit;
                let (call, begun) = (head.call, Instant::now());
                node.metrics.internal.received_bytes.add(body.len() as u64);
                drop(body);
                let reply = answer(&node, head).await;
                node.status.add(Counter::RpcRequests, 1);
                node.metrics.internal.latency.observe(begun.elapsed());
                if let Ok(frame) = frame::encode(&ReplyHead { call, reply }, &[]) {
                    node.metrics.internal.sent_bytes.add(frame.len() as u64);
                    // The connection may be gone; then nobody waits for the reply.
                    let _ = replies.send(frame.into()).await;
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

/// Answers a ping; tells whether it was one.
fn pinged(node: &Node, content: Bytes, replies: &mpsc::Sender<Outgoing>) -> bool {
    let Some(Ping { call, route }) = Ping::decode(content) else { return false };
    let verdict = is_for(node, Some(route.to), Some(route.cluster));
    if verdict.is_ok() {
        node.with_cluster(|cluster| cluster.members.heard(route.from, Instant::now()));
        node.metrics.node_status.received.add(1);
    }
    // The queue is full when nobody reads the replies; then nobody waits for this one either.
    let _ = replies.try_send(Pong { call, verdict }.encode().outgoing());
    true
}

/// Whether a request is for this broker.
fn is_for(node: &Node, to: Option<i32>, cluster: Option<Uuid>) -> Result<(), Refusal> {
    let (own, own_cluster) = node.place().ok_or(Refusal::NotReady)?;
    if to.is_some_and(|id| id != own) {
        return Err(Refusal::WrongBroker);
    }
    match cluster.is_some_and(|cluster| cluster != own_cluster) {
        true => Err(Refusal::OtherCluster),
        false => Ok(()),
    }
}

async fn answer(node: &Arc<Node>, head: RequestHead) -> Result<Reply, Refusal> {
    if let Request::BootstrapInfo = head.request {
        return Ok(discovery::bootstrap_info(node));
    }
    is_for(node, head.to, head.cluster)?;
    if let (Some(from), Some(_)) = (head.from, head.cluster) {
        node.with_cluster(|cluster| cluster.members.heard(from, Instant::now()));
    }
    match head.request {
        Request::BootstrapInfo => Ok(discovery::bootstrap_info(node)),
        Request::Join(member) => discovery::admit(node, member).await,
        Request::NodeReport => Ok(Reply::NodeReport(health::own_report(node))),
        Request::TransferLeadership { topic, partition, target } => {
            leadership::transfer(node, (topic, partition), Some(target)).await.map(|()| Reply::Done)
        }
        Request::CheckTransaction(check) => {
            Ok(Reply::TransactionChecked(verification::answer(node, &check).await))
        }
        Request::WriteTxnMarkers(markers) => Ok(Reply::MarkersWritten(markers::write(node, &markers).await)),
        Request::Submit { request, command, timeout_ms } => {
            let deadline = Instant::now() + Duration::from_millis(timeout_ms);
            let (index, applied) = submit::submit_here(node, request, command, deadline).await?;
            Ok(Reply::Applied { index, applied })
        }
        Request::UpdateLeaders(news) => {
            node.raft.leaders.take(&news);
            Ok(Reply::Updated)
        }
        Request::GetLeaders => Ok(Reply::Leaders(node.raft.leaders.all())),
        Request::GroupConfiguration { key } => {
            let replica = node.replica(key).filter(|replica| replica.progress().leading);
            let configuration = replica.ok_or(Refusal::UnknownPartition)?.configuration();
            Ok(Reply::GroupConfiguration(configuration))
        }
    }
}
