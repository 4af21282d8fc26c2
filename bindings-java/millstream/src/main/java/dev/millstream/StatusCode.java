package dev.millstream;

// Generated from the error table of the native library. Do not edit.

/** How a call ended. Numbers and names are gRPC's. */
public enum StatusCode implements Code {
    /** Not an error. */
    OK(0, false),
    /** The call was cancelled, typically by the caller. */
    CANCELLED(1, false),
    /** An error without a code of its own. */
    UNKNOWN(2, false),
    /** The server refused an argument, whatever the state of the system. */
    INVALID_ARGUMENT(3, false),
    /** The deadline passed before the call ended. */
    DEADLINE_EXCEEDED(4, false),
    /** The server does not have what was asked for. */
    NOT_FOUND(5, false),
    /** What the call was to create exists. */
    ALREADY_EXISTS(6, false),
    /** The caller is known and may not do this. */
    PERMISSION_DENIED(7, false),
    /** A quota, a limit or a buffer is used up. */
    RESOURCE_EXHAUSTED(8, false),
    /** The system is not in the state that the call needs. */
    FAILED_PRECONDITION(9, false),
    /** Aborted, typically by a conflict of concurrent work. */
    ABORTED(10, false),
    /** Past the valid range. */
    OUT_OF_RANGE(11, false),
    /** The server does not implement the method, or the cardinality of the call was broken. */
    UNIMPLEMENTED(12, false),
    /** An invariant of the protocol or of the peer is broken. */
    INTERNAL(13, false),
    /** The service cannot be reached now; most likely it is worth trying again. */
    UNAVAILABLE(14, true),
    /** Data was lost or damaged beyond repair. */
    DATA_LOSS(15, false),
    /** The caller did not authenticate, or not well enough. */
    UNAUTHENTICATED(16, false);

    private static final StatusCode[] BY_NUMBER = values();

    private final int number;
    private final boolean retryable;

    StatusCode(int number, boolean retryable) {
        this.number = number;
        this.retryable = retryable;
    }

    /**
     * The code of a number.
     *
     * @param number a number
     * @return the code; {@link #UNKNOWN} for a number outside 0 to 16
     */
    public static StatusCode of(int number) {
        return number >= 0 && number < BY_NUMBER.length ? BY_NUMBER[number] : UNKNOWN;
    }

    @Override
    public int number() {
        return number;
    }

    @Override
    public boolean isRetryable() {
        return retryable;
    }

    @Override
    public StatusCode grpc() {
        return this;
    }
}
