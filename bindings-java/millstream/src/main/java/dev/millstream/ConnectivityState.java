package dev.millstream;

/** Where a channel stands. */
public enum ConnectivityState {
    // The ordinals are the numbers at the native border.
    /** No connection, and none is being made. */
    IDLE,
    /** A connection is being made. */
    CONNECTING,
    /** Calls can be made at once. */
    READY,
    /** The last attempt failed; the next one comes after a wait that grows. */
    TRANSIENT_FAILURE,
    /** The channel is closed. */
    SHUTDOWN;

    static final ConnectivityState[] BY_NUMBER = values();
}
