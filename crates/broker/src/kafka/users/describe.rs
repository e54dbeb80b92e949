//! DescribeUserScramCredentials: which mechanisms users have, and with how many iterations.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use super::code;
use crate::cluster::users::{ScramCredential, ScramMechanism};
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

type Credentials = BTreeMap<ScramMechanism, ScramCredential>;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeUserScramCredentialsRequest,
    _version: i16,
) -> DescribeUserScramCredentialsResponse {
    if let Err(error) = authorize(session, Operation::Describe, Resource::Cluster) {
        return DescribeUserScramCredentialsResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text("the client may not describe the cluster")));
    }
    let asked: Vec<String> =
        request.users.unwrap_or_default().into_iter().map(|user| user.name.to_string()).collect();
    let results = session.node.with_cluster(|cluster| describe(&asked, &cluster.state.users));
    DescribeUserScramCredentialsResponse::default().with_results(results)
}

/// Nobody in particular means everybody.
fn describe(
    asked: &[String],
    users: &BTreeMap<String, Credentials>,
) -> Vec<DescribeUserScramCredentialsResult> {
    if asked.is_empty() {
        return users.iter().map(|(name, credentials)| described(name, credentials)).collect();
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    asked.iter().for_each(|name| *times.entry(name).or_default() += 1);
    let describe = |(name, times): (&str, usize)| match users.get(name) {
        _ if times > 1 => failed(name, ResponseError::DuplicateResource, "the user is asked for twice"),
        Some(credentials) => described(name, credentials),
        None => failed(name, ResponseError::ResourceNotFound, "there is no such user"),
    };
    times.into_iter().map(describe).collect()
}

fn described(name: &str, credentials: &Credentials) -> DescribeUserScramCredentialsResult {
    let info = |credential: &ScramCredential| {
        CredentialInfo::default()
            .with_mechanism(code(credential.mechanism))
            .with_iterations(i32::try_from(credential.iterations).unwrap_or(i32::MAX))
    };
    DescribeUserScramCredentialsResult::default()
        .with_user(text(name))
        .with_credential_infos(credentials.values().map(info).collect())
}

fn failed(name: &str, error: ResponseError, reason: &str) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult::default()
        .with_user(text(name))
        .with_error_code(error.code())
        .with_error_message(Some(text(reason)))
}
