package dev.millstream;

import dev.millstream.internal.Wire;
import java.nio.charset.StandardCharsets;

/**
 * Every failure that Millstream reports: a call that ended with another status than OK, or a misuse
 * or a limit of the environment.
 *
 * <pre>{@code
 * try {
 *     byte[] reply = channel.unary("/weather.v1.Weather/GetObservation", request);
 * } catch (MillstreamException e) {
 *     if (e.code() == StatusCode.NOT_FOUND) {
 *         return Optional.empty();
 *     }
 *     throw e;
 * }
 * }</pre>
 */
public final class MillstreamException extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final byte[] NO_DETAILS = {};

    /** From here on numbers are of {@link ErrorCode}. */
    private static final int FIRST_OWN = 100;

    private final Code code;
    private final transient Status status;

    /**
     * A failure of any kind.
     *
     * @param code what kind of failure it is
     * @param message what was wrong, where, and what to do
     * @param status how the call ended if it is about that, else {@code null}
     * @param cause what led to it, or {@code null}
     */
    public MillstreamException(Code code, String message, Status status, Throwable cause) {
        super(message, cause);
        this.code = code;
        this.status = status;
    }

    /**
     * The failure of a call.
     *
     * @param status how the call ended
     * @param cause what led to it, or {@code null}
     */
    public MillstreamException(Status status, Throwable cause) {
        this(status.code(), status.toString(), status, cause);
    }

    /** Called by the native library, with the text in UTF-8 and the status of an ended call. */
    private MillstreamException(int number, byte[] message, byte[] status) {
        super(new String(message, StandardCharsets.UTF_8));
        this.code = number < FIRST_OWN ? StatusCode.of(number) : ErrorCode.of(number);
        this.status = status == null ? null : Wire.status(status);
    }

    /**
     * What kind of failure it is.
     *
     * @return gRPC's code of a call that ended (numbers 0 to 16), or a code of Millstream's own
     *     (from 100)
     */
    public Code code() {
        return code;
    }

    /**
     * How the call ended.
     *
     * @return the status, or {@code null} when the failure is not about a call that ended
     */
    public Status status() {
        return status;
    }

    /**
     * The decoded {@code grpc-status-details-bin}, by convention a serialized {@code
     * google.rpc.Status}.
     *
     * @return the details; empty when there are none
     */
    public byte[] details() {
        return status == null ? NO_DETAILS : status.details();
    }

    /**
     * What the server sent in its trailers.
     *
     * @return the trailers; empty when there are none
     */
    public Metadata trailers() {
        return status == null ? Metadata.empty() : status.trailers();
    }

    /**
     * Whether the same operation may well succeed when it is tried again unchanged.
     *
     * @return what the error table says of the code
     */
    public boolean isRetryable() {
        return code.isRetryable();
    }
}
