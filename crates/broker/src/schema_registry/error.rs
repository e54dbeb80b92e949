//! What the Schema Registry answers when it refuses: the codes of redpanda.md 3.4, each with its message.

use axum::http::StatusCode;

use super::subject::Subject;

/// The number in the body's `error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    SubjectNotFound,
    VersionNotFound,
    SchemaNotFound,
    SubjectSoftDeleted,
    SubjectNotSoftDeleted,
    VersionSoftDeleted,
    VersionNotSoftDeleted,
    CompatibilityNotConfigured,
    ModeNotConfigured,
    Incompatible,
    InvalidSchema,
    InvalidVersion,
    InvalidCompatibility,
    InvalidMode,
    OperationNotPermitted,
    ReferenceExists,
    IdInUse,
    WriteCollision,
    Store,
    Internal,
    /// A code that is the HTTP status itself.
    Http(StatusCode),
}

impl ErrorCode {
    pub fn number(self) -> u32 {
        match self {
            ErrorCode::SubjectNotFound => 40401,
            ErrorCode::VersionNotFound => 40402,
            ErrorCode::SchemaNotFound => 40403,
            ErrorCode::SubjectSoftDeleted => 40404,
            ErrorCode::SubjectNotSoftDeleted => 40405,
            ErrorCode::VersionSoftDeleted => 40406,
            ErrorCode::VersionNotSoftDeleted => 40407,
            ErrorCode::CompatibilityNotConfigured => 40408,
            ErrorCode::ModeNotConfigured => 40409,
            ErrorCode::Incompatible => 409,
            ErrorCode::InvalidSchema => 42201,
            ErrorCode::InvalidVersion => 42202,
            ErrorCode::InvalidCompatibility => 42203,
            ErrorCode::InvalidMode => 42204,
            ErrorCode::OperationNotPermitted => 42205,
            ErrorCode::ReferenceExists => 42206,
            ErrorCode::IdInUse => 42207,
            ErrorCode::WriteCollision => 50301,
            ErrorCode::Store => 50001,
            ErrorCode::Internal => 500,
            ErrorCode::Http(status) => u32::from(status.as_u16()),
        }
    }

    /// The first three digits of the number.
    pub fn status(self) -> StatusCode {
        let number = self.number();
        let status = if number >= 10_000 { number / 100 } else { number };
        u16::try_from(status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (error code {})", code.number())]
pub(crate) struct RegistryError {
    pub code: ErrorCode,
    pub message: String,
}

impl RegistryError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> RegistryError {
        RegistryError { code, message: message.into() }
    }

    pub fn subject_not_found(subject: &Subject) -> RegistryError {
        RegistryError::new(ErrorCode::SubjectNotFound, format!("Subject '{subject}' not found."))
    }

    pub fn version_not_found(version: i32) -> RegistryError {
        RegistryError::new(ErrorCode::VersionNotFound, format!("Version {version} not found."))
    }

    pub fn schema_not_found(id: i32) -> RegistryError {
        RegistryError::new(ErrorCode::SchemaNotFound, format!("Schema {id} not found"))
    }

    pub fn subject_soft_deleted(subject: &Subject) -> RegistryError {
        RegistryError::new(
            ErrorCode::SubjectSoftDeleted,
            format!("Subject '{subject}' is soft-deleted already; use permanent=true to delete it for good"),
        )
    }

    pub fn subject_not_soft_deleted(subject: &Subject) -> RegistryError {
        RegistryError::new(
            ErrorCode::SubjectNotSoftDeleted,
            format!("Subject '{subject}' has to be soft-deleted before it can be deleted for good"),
        )
    }

    pub fn version_soft_deleted(subject: &Subject, version: i32) -> RegistryError {
        RegistryError::new(
            ErrorCode::VersionSoftDeleted,
            format!(
                "Subject '{subject}' version {version} is soft-deleted already; use permanent=true to \
                 delete it for good"
            ),
        )
    }

    pub fn version_not_soft_deleted(subject: &Subject, version: i32) -> RegistryError {
        RegistryError::new(
            ErrorCode::VersionNotSoftDeleted,
            format!(
                "Subject '{subject}' version {version} has to be soft-deleted before it can be deleted \
                 for good"
            ),
        )
    }

    pub fn compatibility_not_configured(subject: &Subject) -> RegistryError {
        RegistryError::new(
            ErrorCode::CompatibilityNotConfigured,
            format!("Subject '{subject}' does not have subject-level compatibility configured"),
        )
    }

    pub fn mode_not_configured(subject: &Subject) -> RegistryError {
        RegistryError::new(
            ErrorCode::ModeNotConfigured,
            format!("Subject '{subject}' does not have subject-level mode configured"),
        )
    }

    pub fn invalid_schema(problem: impl std::fmt::Display) -> RegistryError {
        RegistryError::new(ErrorCode::InvalidSchema, format!("Invalid schema: {problem}"))
    }

    pub fn invalid_version(version: &str) -> RegistryError {
        RegistryError::new(
            ErrorCode::InvalidVersion,
            format!(
                "The specified version '{version}' is not a valid version id. Allowed values are between \
                 [1, 2^31-1] and the string \"latest\""
            ),
        )
    }

    pub fn reference_exists(subject: &Subject, version: i32) -> RegistryError {
        RegistryError::new(
            ErrorCode::ReferenceExists,
            format!(
                "One or more references exist to the schema \
                 {{magic=1,keytype=SCHEMA,subject={subject},version={version}}}"
            ),
        )
    }

    pub fn write_collision() -> RegistryError {
        RegistryError::new(
            ErrorCode::WriteCollision,
            "Too many retries on write collision; send the request again",
        )
    }
}
