//! What a failed try means: again, there already, not there, or never with what we have; with the remedy in words.
//!
//! **Invariant**: nothing is given up that time can heal, and nothing is repeated that only a person can heal.

use crate::attempt::Answer;

/// What to do about a failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again later.
    Again,
    /// The name is taken.
    Exists,
    /// There is no such object.
    Missing,
    /// The object ends before the range begins.
    BeyondEnd,
    /// The storage is full.
    Full,
    /// Refused until a person changes something; the words say what.
    Refused(String),
}

/// Judges a try that failed, by what the server answered; none when it did not answer at all.
pub(crate) fn judge(answer: Option<&Answer>) -> Verdict {
    let Some(answer) = answer else { return Verdict::Again };
    answer.code.as_deref().and_then(|code| by_code(code, answer)).unwrap_or_else(|| by_status(answer))
}

/// The words in which providers are more exact than their status.
fn by_code(code: &str, answer: &Answer) -> Option<Verdict> {
    let refused = |remedy: &str| Some(Verdict::Refused(format!("{}; {remedy}", said(answer))));
    match code {
        "RequestTimeout"
        | "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "Md5Mismatch"
        | "IncompleteBody"
        | "SlowDown"
        | "InternalError"
        | "ServerBusy"
        | "OperationTimedOut"
        | "ConditionalRequestConflict"
        | "OperationAborted"
        | "ContainerBeingDeleted" => Some(Verdict::Again),
        "BlobAlreadyExists" => Some(Verdict::Exists),
        "QuotaExceeded" | "StorageQuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" => Some(Verdict::Full),
        "NoSuchBucket" | "ContainerNotFound" => {
            refused("create the bucket (Azure: the container), or correct its name in the vault's location")
        }
        "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" | "ExpiredAuthenticationToken" => {
            refused("the credentials have expired: set new ones, then run again; what was stored stays")
        }
        "InvalidAccessKeyId" | "InvalidToken" | "SignatureDoesNotMatch" | "AuthenticationFailed" => refused(
            "set the right credentials (README of nightkeep-storage: the environment variables), then run again",
        ),
        "RequestTimeTooSkewed" => refused("set this machine's clock, then run again"),
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => refused("the bucket is in another region: set AWS_REGION"),
        _ => None,
    }
}

fn by_status(answer: &Answer) -> Verdict {
    let refused = |remedy: &str| Verdict::Refused(format!("{}; {remedy}", said(answer)));
    match answer.status {
        // It answered well, and what came was torn or made no sense.
        200..=299 => Verdict::Again,
        304 | 409 | 412 => Verdict::Exists,
        300..=399 => refused("the bucket is elsewhere: check AWS_REGION and the endpoint"),
        400 => refused("check the credentials and the vault's location, then run again"),
        401 => refused("set the right credentials, then run again"),
        403 => refused(
            "the credentials may not do that: grant reading, writing and listing of the vault's prefix (without the right \
             to list, a missing object is answered like a forbidden one), then run again",
        ),
        404 => Verdict::Missing,
        408 | 425 | 429 => Verdict::Again,
        416 => Verdict::BeyondEnd,
        501 => refused("this storage lacks what a vault needs: creating an object only where none is"),
        507 => Verdict::Full,
        500..=599 => Verdict::Again,
        _ => refused("check the vault's location and the endpoint"),
    }
}

/// What the server said, as words.
pub(crate) fn said(answer: &Answer) -> String {
    let Answer { status, code, message } = answer;
    match (code, message) {
        (Some(code), Some(message)) => format!("it answered {status} {code}: {message}"),
        (Some(code), None) => format!("it answered {status} {code}"),
        (None, Some(message)) => format!("it answered {status}: {message}"),
        (None, None) => format!("it answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Answer {
        Answer { status, code: Some(code.to_owned()).filter(|code| !code.is_empty()), message: None }
    }

    #[test]
    fn what_time_heals_is_tried_again() {
        assert_eq!(judge(None), Verdict::Again, "no answer at all");
        for (status, code) in [
            (200, ""),
            (206, ""),
            (408, ""),
            (429, "TooManyRequests"),
            (500, "InternalError"),
            (502, ""),
            (503, "SlowDown"),
            (504, ""),
            (400, "RequestTimeout"),
            (400, "BadDigest"),
            (409, "ConditionalRequestConflict"),
        ] {
            assert_eq!(judge(Some(&answer(status, code))), Verdict::Again, "{status} {code}");
        }
    }

    #[test]
    fn a_taken_name_is_told_from_a_conflict_of_two_writers() {
        for (status, code) in [(412, "PreconditionFailed"), (304, ""), (409, "BlobAlreadyExists"), (409, "")] {
            assert_eq!(judge(Some(&answer(status, code))), Verdict::Exists, "{status} {code}");
        }
        assert_eq!(judge(Some(&answer(409, "OperationAborted"))), Verdict::Again);
    }

    #[test]
    fn what_only_a_person_heals_is_refused_with_the_remedy() {
        for (status, code, remedy) in [
            (400, "ExpiredToken", "set new ones"),
            (403, "InvalidAccessKeyId", "credentials"),
            (403, "", "grant reading"),
            (401, "", "credentials"),
            (403, "RequestTimeTooSkewed", "clock"),
            (404, "NoSuchBucket", "create the bucket"),
            (301, "PermanentRedirect", "AWS_REGION"),
            (307, "", "AWS_REGION"),
            (501, "NotImplemented", "lacks"),
        ] {
            let verdict = judge(Some(&answer(status, code)));
            let told = matches!(&verdict, Verdict::Refused(reason) if reason.contains(remedy));
            assert!(told, "{status} {code}: {verdict:?}");
        }
        assert_eq!(judge(Some(&answer(404, "NoSuchKey"))), Verdict::Missing);
        assert_eq!(judge(Some(&answer(416, "InvalidRange"))), Verdict::BeyondEnd);
        assert_eq!(judge(Some(&answer(507, ""))), Verdict::Full);
        assert_eq!(judge(Some(&answer(403, "QuotaExceeded"))), Verdict::Full);
    }
}
