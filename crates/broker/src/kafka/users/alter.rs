//! AlterUserScramCredentials: sets and removes users' credentials.
//!
//! The client sends the salted password; what is kept are the two keys that are made of it (RFC 5802, 3).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use sha2::{Digest, Sha256, Sha512};
use tokio::time::Instant;

use super::mechanism;
use crate::cluster::command::Command;
use crate::cluster::submit::submit;
use crate::cluster::users::{ScramCredential, ScramMechanism};
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::topic_creation::kafka_error;

/// How long the controller has: the request names no time.
const PATIENCE: Duration = Duration::from_secs(5);
/// RFC 5802 asks for at least 4096; Kafka takes up to 16384 (`ScramCredentialUtils`).
const ITERATIONS: RangeInclusive<i32> = 4096..=16384;
const NAME_BYTES_MAX: usize = 1024;
const SALT_BYTES_MAX: usize = 1024;

type Refused = (i16, String);

fn refused<T>(error: ResponseError, reason: impl Into<String>) -> Result<T, Refused> {
    Err((error.code(), reason.into()))
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: AlterUserScramCredentialsRequest,
    _version: i16,
) -> AlterUserScramCredentialsResponse {
    let allowed = authorize(session, Operation::Alter, Resource::Cluster)
        .or_else(|error| refused(error, "the client may not alter the cluster"));
    // A user's changes stand or fall together; each user has one result (Kafka: `ScramControlManager`).
    let mut by_user: BTreeMap<String, Vec<Result<Command, Refused>>> = BTreeMap::new();
    for deletion in &request.deletions {
        by_user.entry(deletion.name.to_string()).or_default().push(delete(deletion));
    }
    for upsertion in &request.upsertions {
        by_user.entry(upsertion.name.to_string()).or_default().push(upsert(upsertion));
    }
    let results = by_user.into_iter().map(|(user, commands)| {
        let allowed = allowed.clone();
        async move {
            let altered = match allowed.and_then(|()| checked(commands)) {
                Ok(commands) => submit_all(session, commands).await,
                Err(refused) => Err(refused),
            };
            let result = AlterUserScramCredentialsResult::default().with_user(text(user));
            match altered {
                Ok(()) => result,
                Err((code, reason)) => result.with_error_code(code).with_error_message(Some(text(reason))),
            }
        }
    });
    AlterUserScramCredentialsResponse::default().with_results(join_all(results).await)
}

async fn submit_all(session: &Session, commands: Vec<Command>) -> Result<(), Refused> {
    for command in commands {
        submit(&session.node, command, Instant::now() + PATIENCE).await.map_err(kafka_error)?;
    }
    Ok(())
}

/// A user's commands, if all are good and no two are about the same mechanism.
fn checked(commands: Vec<Result<Command, Refused>>) -> Result<Vec<Command>, Refused> {
    let commands = commands.into_iter().collect::<Result<Vec<Command>, Refused>>()?;
    let mut mechanisms: Vec<ScramMechanism> = commands.iter().filter_map(mechanism_of).collect();
    mechanisms.sort_unstable();
    if mechanisms.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused(ResponseError::DuplicateResource, "a user's credential is changed twice");
    }
    Ok(commands)
}

fn mechanism_of(command: &Command) -> Option<ScramMechanism> {
    match command {
        Command::UpsertUser { credential, .. } => Some(credential.mechanism),
        Command::DeleteUser { mechanism, .. } => *mechanism,
        _ => None,
    }
}

fn check_name_and_mechanism(name: &str, code: i8) -> Result<ScramMechanism, Refused> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let reason = format!("a user's name has 1 to {NAME_BYTES_MAX} bytes");
        return refused(ResponseError::UnacceptableCredential, reason);
    }
    mechanism(code).ok_or_else(|| {
        let reason = format!("mechanism {code}; use 1 (SCRAM-SHA-256) or 2 (SCRAM-SHA-512)");
        (ResponseError::UnsupportedSaslMechanism.code(), reason)
    })
}

fn delete(deletion: &ScramCredentialDeletion) -> Result<Command, Refused> {
    let mechanism = check_name_and_mechanism(&deletion.name, deletion.mechanism)?;
    Ok(Command::DeleteUser { name: deletion.name.to_string(), mechanism: Some(mechanism) })
}

fn upsert(upsertion: &ScramCredentialUpsertion) -> Result<Command, Refused> {
    let mechanism = check_name_and_mechanism(&upsertion.name, upsertion.mechanism)?;
    if !ITERATIONS.contains(&upsertion.iterations) {
        let reason = format!(
            "{} iterations; use {} to {}",
            upsertion.iterations,
            ITERATIONS.start(),
            ITERATIONS.end()
        );
        return refused(ResponseError::UnacceptableCredential, reason);
    }
    if upsertion.salt.is_empty() || upsertion.salt.len() > SALT_BYTES_MAX {
        let reason = format!("a salt has 1 to {SALT_BYTES_MAX} bytes");
        return refused(ResponseError::UnacceptableCredential, reason);
    }
    let (length, keys) = match mechanism {
        ScramMechanism::Sha256 => (32, keys_256(&upsertion.salted_password)),
        ScramMechanism::Sha512 => (64, keys_512(&upsertion.salted_password)),
    };
    if upsertion.salted_password.len() != length {
        let reason = format!(
            "the salted password has {} bytes, the mechanism makes {length}",
            upsertion.salted_password.len()
        );
        return refused(ResponseError::UnacceptableCredential, reason);
    }
    let (stored_key, server_key) = keys;
    let credential = ScramCredential {
        mechanism,
        salt: upsertion.salt.to_vec(),
        iterations: upsertion.iterations.unsigned_abs(),
        stored_key,
        server_key,
    };
    Ok(Command::UpsertUser { name: upsertion.name.to_string(), credential })
}

macro_rules! keys {
    ($name:ident, $hash:ty) => {
        /// The stored key and the server key.
        fn $name(salted_password: &[u8]) -> (Vec<u8>, Vec<u8>) {
            let keyed = |text: &[u8]| -> Vec<u8> {
                // A key of any length is taken (RFC 2104); without one there is no MAC to make.
                let Ok(mut mac) = Hmac::<$hash>::new_from_slice(salted_password) else { return Vec::new() };
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            };
            (<$hash>::digest(keyed(b"Client Key")).to_vec(), keyed(b"Server Key"))
        }
    };
}

keys!(keys_256, Sha256);
keys!(keys_512, Sha512);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn upsertion(iterations: i32) -> ScramCredentialUpsertion {
        ScramCredentialUpsertion::default()
            .with_name(StrBytes::from_static_str("ann"))
            .with_mechanism(1)
            .with_iterations(iterations)
            .with_salt(Bytes::from_static(b"salt"))
            .with_salted_password(Bytes::from_static(&[7; 32]))
    }

    #[test]
    fn keys_are_those_of_rfc_7677() {
        // Section 3: user "user", password "pencil", i=4096; the salted password is PBKDF2 of them.
        let salted = [
            0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44, 0x19, 0x39,
            0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75, 0x13, 0xdc, 0x61, 0x5d,
        ];
        let (stored, server) = keys_256(&salted);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&stored), "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6");
        assert_eq!(hex(&server), "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5");
    }

    #[test]
    fn credentials_are_checked() {
        assert!(upsert(&upsertion(4096)).is_ok());
        let code = |result: Result<Command, Refused>| ResponseError::try_from_code(result.unwrap_err().0);
        for wrong in [
            upsertion(4095),
            upsertion(16385),
            upsertion(4096).with_salt(Bytes::new()),
            upsertion(4096).with_mechanism(2),
            upsertion(4096).with_name(StrBytes::new()),
        ] {
            assert_eq!(code(upsert(&wrong)), Some(ResponseError::UnacceptableCredential));
        }
        let unknown = upsert(&upsertion(4096).with_mechanism(3));
        assert_eq!(code(unknown), Some(ResponseError::UnsupportedSaslMechanism));
    }

    #[test]
    fn a_credential_is_changed_once() {
        let deletion =
            ScramCredentialDeletion::default().with_name(StrBytes::from_static_str("ann")).with_mechanism(1);
        let twice = checked(vec![upsert(&upsertion(4096)), delete(&deletion)]);
        assert_eq!(twice.unwrap_err().0, ResponseError::DuplicateResource.code());
    }
}
