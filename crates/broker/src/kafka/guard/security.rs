//! Outlines of the requests for authentication, users and ACLs. Source: the protocol guide's request schemas.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Bytes, Fixed, Structures, Text};
use super::{Field, all};

/// The outline of a request that this file knows.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::SaslHandshake => SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => SASL_AUTHENTICATE,
        ApiKey::DescribeAcls => DESCRIBE_ACLS,
        ApiKey::CreateAcls => CREATE_ACLS,
        ApiKey::DeleteAcls => DELETE_ACLS,
        ApiKey::DescribeUserScramCredentials => DESCRIBE_USER_SCRAM_CREDENTIALS,
        ApiKey::AlterUserScramCredentials => ALTER_USER_SCRAM_CREDENTIALS,
        _ => return None,
    })
}

const SASL_HANDSHAKE: &[Field] = &[all(Text)];
const SASL_AUTHENTICATE: &[Field] = &[all(Bytes)];
const DESCRIBE_ACLS: &[Field] =
    &[all(Fixed(1)), all(Text), all(Fixed(1)), all(Text), all(Text), all(Fixed(2))];
const CREATE_ACLS: &[Field] =
    &[all(Structures(&[all(Fixed(1)), all(Text), all(Fixed(1)), all(Text), all(Text), all(Fixed(2))]))];
const DELETE_ACLS: &[Field] =
    &[all(Structures(&[all(Fixed(1)), all(Text), all(Fixed(1)), all(Text), all(Text), all(Fixed(2))]))];
const DESCRIBE_USER_SCRAM_CREDENTIALS: &[Field] = &[all(Structures(&[all(Text)]))];
const ALTER_USER_SCRAM_CREDENTIALS: &[Field] = &[
    all(Structures(&[all(Text), all(Fixed(1))])),
    all(Structures(&[all(Text), all(Fixed(5)), all(Bytes), all(Bytes)])),
];
