package dev.millstream;

// Generated from the error table of the native library. Do not edit.

/** Misuse, and limits of the environment: what is not the status of a call. */
public enum ErrorCode implements Code {
    /** An argument has a value that can never be right. */
    INVALID_ARGUMENT(100, false, StatusCode.INVALID_ARGUMENT),
    /** The target is not one that can be connected to. */
    INVALID_TARGET(101, false, StatusCode.INVALID_ARGUMENT),
    /** A metadata key or value is not legal in gRPC. */
    INVALID_METADATA(102, false, StatusCode.INVALID_ARGUMENT),
    /** Certificates or keys cannot be used. */
    INVALID_TLS(103, false, StatusCode.INVALID_ARGUMENT),
    /** A handle is zero, stale or of another kind. */
    INVALID_HANDLE(104, false, StatusCode.FAILED_PRECONDITION),
    /** Used after close. */
    CLOSED(105, false, StatusCode.UNAVAILABLE),
    /** Made in the parent process and used after fork; open a new channel in the child. */
    FORKED(106, false, StatusCode.FAILED_PRECONDITION),
    /** Not possible in this state, such as a send after the half-close. */
    INVALID_STATE(107, false, StatusCode.FAILED_PRECONDITION),
    /** The call has ended; its status says how. */
    CALL_ENDED(108, false, null),
    /** A local wait ran out; the call goes on. */
    TIMEOUT(109, true, null),
    /** Another thread is already using this direction of the call. */
    BUSY(110, true, StatusCode.FAILED_PRECONDITION),
    /** A defect in Millstream; only this operation failed. */
    INTERNAL_PANIC(111, false, StatusCode.INTERNAL),
    /** Memory could not be reserved. */
    OUT_OF_MEMORY(112, false, StatusCode.RESOURCE_EXHAUSTED),
    /** The operating system refused something. */
    SYSTEM(113, false, StatusCode.INTERNAL);

    private final int number;
    private final boolean retryable;
    private final StatusCode grpc;

    ErrorCode(int number, boolean retryable, StatusCode grpc) {
        this.number = number;
        this.retryable = retryable;
        this.grpc = grpc;
    }

    /**
     * The code of a number.
     *
     * @param number a number
     * @return the code; {@link #INTERNAL_PANIC} for a number that was never given out
     */
    public static ErrorCode of(int number) {
        for (ErrorCode code : values()) {
            if (code.number == number) {
                return code;
            }
        }
        return INTERNAL_PANIC;
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
        return grpc;
    }
}
