package dev.millstream;

/** The four kinds of a gRPC method. */
public enum CallKind {
    // The ordinals are the numbers at the native border.
    /** One request, one response. */
    UNARY,
    /** Many requests, one response. */
    CLIENT_STREAM,
    /** One request, many responses. */
    SERVER_STREAM,
    /** Many requests, many responses. */
    BIDI;

    /**
     * Whether the client sends exactly one message.
     *
     * @return true for {@link #UNARY} and {@link #SERVER_STREAM}
     */
    public boolean oneRequest() {
        return this == UNARY || this == SERVER_STREAM;
    }

    /**
     * Whether the server answers with exactly one message.
     *
     * @return true for {@link #UNARY} and {@link #CLIENT_STREAM}
     */
    public boolean oneResponse() {
        return this == UNARY || this == CLIENT_STREAM;
    }
}
