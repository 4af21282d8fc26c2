package dev.millstream;

/**
 * How a call ended.
 *
 * @param code the code; one of gRPC's, numbers 0 to 16
 * @param message the text for a developer; empty when there is none
 * @param details the decoded {@code grpc-status-details-bin}, by convention a serialized {@code
 *     google.rpc.Status}; empty when there is none. Not copied, so it must not be changed
 * @param trailers everything that the server sent in its trailers, in order, duplicates and
 *     reserved keys included; empty when the client itself ended the call
 */
public record Status(StatusCode code, String message, byte[] details, Metadata trailers) {
    /**
     * Whether the call succeeded.
     *
     * @return true for {@link StatusCode#OK}
     */
    public boolean isOk() {
        return code == StatusCode.OK;
    }

    @Override
    public String toString() {
        return message.isEmpty() ? code.name() : code + ": " + message;
    }
}
