//! ListTransactions (KIP-664): the transactional ids that this broker coordinates.
//!
//! Left out: version 2, whose filter is a regular expression of another dialect.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::now;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::transactions::request::DescribedTransaction;
use crate::transactions::state_names;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: ListTransactionsRequest,
    version: i16,
) -> ListTransactionsResponse {
    let known = |name: &StrBytes| state_names().any(|state| state == name.as_str());
    let unknown = request.state_filters.iter().filter(|name| !known(name)).cloned().collect();
    let now = now(session);
    let duration_ms = if version >= 1 { request.duration_filter } else { -1 };
    let wanted = |transaction: &DescribedTransaction| {
        let states = &request.state_filters;
        let producers = &request.producer_id_filters;
        let open_ms = if transaction.start_ms < 0 { -1 } else { now.unix_ms - transaction.start_ms };
        (states.is_empty() || states.iter().any(|name| name.as_str() == transaction.state))
            && (producers.is_empty() || producers.contains(&ProducerId(transaction.producer.id)))
            && (duration_ms < 0 || open_ms >= duration_ms)
    };
    let mut listed = Vec::new();
    let mut error = 0;
    for shard in session.node.transactions.shards(&session.node) {
        match shard.with(now, |machine, _| machine.list().filter(wanted).collect::<Vec<_>>()) {
            Ok(found) => listed.extend(found),
            Err(ResponseError::CoordinatorLoadInProgress) => {
                error = ResponseError::CoordinatorLoadInProgress.code();
            }
            // Another broker lists those.
            Err(_) => {}
        }
    }
    let may = |id: &str| authorize(session, Operation::Describe, Resource::TransactionalId(id)).is_ok();
    listed.retain(|transaction| may(&transaction.transactional_id));
    listed.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
    let states = listed.into_iter().map(|transaction| {
        TransactionState::default()
            .with_transactional_id(TransactionalId(text(transaction.transactional_id)))
            .with_producer_id(ProducerId(transaction.producer.id))
            .with_transaction_state(text(transaction.state))
    });
    ListTransactionsResponse::default()
        .with_error_code(error)
        .with_unknown_state_filters(unknown)
        .with_transaction_states(states.collect())
}
