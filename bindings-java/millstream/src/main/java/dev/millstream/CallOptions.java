package dev.millstream;

import dev.millstream.internal.Wire;
import java.time.Duration;
import java.util.Objects;

/**
 * What one call can be told. Immutable and safe for use by many threads; start from {@link
 * #DEFAULT}:
 *
 * <pre>{@code
 * CallOptions options =
 *         CallOptions.DEFAULT
 *                 .withTimeout(Duration.ofSeconds(2))
 *                 .withMetadata(Metadata.of("x-tenant", "blue"));
 * }</pre>
 */
public final class CallOptions {
    /** No deadline, no metadata, no compression, the limits of the channel. */
    public static final CallOptions DEFAULT = new CallOptions(new Values());

    private static final class Values implements Cloneable {
        Duration timeout;
        Metadata metadata = Metadata.empty();
        Compression compression = Compression.IDENTITY;
        boolean waitForReady;
        String authority;
        long maxReceiveMessage = -1;
        long maxSendMessage = -1;
        Duration maxBatchDelay = Duration.ZERO;

        @Override
        public Values clone() {
            try {
                return (Values) super.clone();
            } catch (CloneNotSupportedException e) {
                throw new AssertionError(e);
            }
        }
    }

    private final Values values;

    /** As the native side reads it; made once, since options are mostly reused. */
    final byte[] encoded;

    private CallOptions(Values values) {
        this.values = values;
        this.encoded =
                new Wire.Writer()
                        .duration(values.timeout)
                        .number(values.compression.ordinal())
                        .flag(values.waitForReady)
                        .text(values.authority)
                        .number(values.maxReceiveMessage)
                        .number(values.maxSendMessage)
                        .duration(values.maxBatchDelay)
                        .metadata(values.metadata)
                        .toByteArray();
    }

    /**
     * Bounds the whole call, from its start to its status, connecting included. When it runs out,
     * the call ends with {@link StatusCode#DEADLINE_EXCEEDED} whatever the server does. The server
     * is told of it.
     *
     * @param timeout how long; zero or less ends the call at once; {@code null} for no bound
     * @return new options
     */
    public CallOptions withTimeout(Duration timeout) {
        Values changed = values.clone();
        changed.timeout = timeout;
        return new CallOptions(changed);
    }

    /**
     * The metadata to send with the request.
     *
     * @param metadata the metadata; checked when the call is made
     * @return new options
     */
    public CallOptions withMetadata(Metadata metadata) {
        Values changed = values.clone();
        changed.metadata = Objects.requireNonNull(metadata, "metadata");
        return new CallOptions(changed);
    }

    /**
     * How the requests are compressed.
     *
     * @param compression the algorithm
     * @return new options
     */
    public CallOptions withCompression(Compression compression) {
        Values changed = values.clone();
        changed.compression = Objects.requireNonNull(compression, "compression");
        return new CallOptions(changed);
    }

    /**
     * Whether to wait for a connection instead of failing with {@link StatusCode#UNAVAILABLE} while
     * there is none. Give such calls a timeout.
     *
     * @param wait whether to wait
     * @return new options
     */
    public CallOptions withWaitForReady(boolean wait) {
        Values changed = values.clone();
        changed.waitForReady = wait;
        return new CallOptions(changed);
    }

    /**
     * The {@code :authority} of the call.
     *
     * @param authority host and port; {@code null} for that of the channel
     * @return new options
     */
    public CallOptions withAuthority(String authority) {
        Values changed = values.clone();
        changed.authority = authority;
        return new CallOptions(changed);
    }

    /**
     * The largest response, inflated; a larger one ends the call with {@link
     * StatusCode#RESOURCE_EXHAUSTED}. The smaller one of this and the channel's limit counts.
     *
     * @param bytes the limit in bytes
     * @return new options
     */
    public CallOptions withMaxReceiveMessage(long bytes) {
        Values changed = values.clone();
        changed.maxReceiveMessage = notNegative(bytes, "maxReceiveMessage");
        return new CallOptions(changed);
    }

    /**
     * The largest request, before compression; a larger one ends the call with {@link
     * StatusCode#RESOURCE_EXHAUSTED}. The smaller one of this and the channel's limit counts.
     *
     * @param bytes the limit in bytes
     * @return new options
     */
    public CallOptions withMaxSendMessage(long bytes) {
        Values changed = values.clone();
        changed.maxSendMessage = notNegative(bytes, "maxSendMessage");
        return new CallOptions(changed);
    }

    /**
     * Lets responses gather this long before who waits for them is woken: larger batches and less
     * work per message, for some latency. Zero, the default, wakes at once.
     *
     * @param delay the longest delay
     * @return new options
     */
    public CallOptions withMaxBatchDelay(Duration delay) {
        Values changed = values.clone();
        changed.maxBatchDelay = Objects.requireNonNull(delay, "delay");
        return new CallOptions(changed);
    }

    private static long notNegative(long bytes, String name) {
        if (bytes < 0) {
            throw new MillstreamException(
                    ErrorCode.INVALID_ARGUMENT,
                    name + " is " + bytes + " bytes; it must be at least 0",
                    null,
                    null);
        }
        return bytes;
    }
}
