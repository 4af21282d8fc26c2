//! The status codes of gRPC (doc/statuscodes.md).

use std::fmt;

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// How a call ended. Numbers and names are gRPC's.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Code {
            $($(#[$meta])* $variant = $number,)*
        }

        impl Code {
            /// Every code, in the order of its number.
            pub const ALL: [Code; 17] = [$(Code::$variant,)*];

            /// The code of a number; `None` outside 0 to 16.
            pub fn from_i32(number: i32) -> Option<Code> {
                match number {
                    $($number => Some(Code::$variant),)*
                    _ => None,
                }
            }

            /// The name of the specification, such as `DEADLINE_EXCEEDED`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    /// Not an error.
    Ok = 0, "OK";
    /// The call was cancelled, typically by the caller.
    Cancelled = 1, "CANCELLED";
    /// An error without a code of its own.
    #[default]
    Unknown = 2, "UNKNOWN";
    /// The server refused an argument, whatever the state of the system.
    InvalidArgument = 3, "INVALID_ARGUMENT";
    /// The deadline passed before the call ended.
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
    /// The server does not have what was asked for.
    NotFound = 5, "NOT_FOUND";
    /// What the call was to create exists.
    AlreadyExists = 6, "ALREADY_EXISTS";
    /// The caller is known and may not do this.
    PermissionDenied = 7, "PERMISSION_DENIED";
    /// A quota, a limit or a buffer is used up.
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
    /// The system is not in the state that the call needs.
    FailedPrecondition = 9, "FAILED_PRECONDITION";
    /// Aborted, typically by a conflict of concurrent work.
    Aborted = 10, "ABORTED";
    /// Past the valid range.
    OutOfRange = 11, "OUT_OF_RANGE";
    /// The server does not implement the method, or the cardinality of the call was broken.
    Unimplemented = 12, "UNIMPLEMENTED";
    /// An invariant of the protocol or of the peer is broken.
    Internal = 13, "INTERNAL";
    /// The service cannot be reached now; most likely it is worth trying again.
    Unavailable = 14, "UNAVAILABLE";
    /// Data was lost or damaged beyond repair.
    DataLoss = 15, "DATA_LOSS";
    /// The caller did not authenticate, or not well enough.
    Unauthenticated = 16, "UNAUTHENTICATED";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
