package dev.millstream;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Objects;

/**
 * A method of a service: its path, its kind, and how its messages become bytes and back. Immutable
 * and safe for use by many threads; keep it in a constant.
 *
 * <p>protobuf-java plugs in with method references:
 *
 * <pre>{@code
 * static final Method<GetWeatherStreamRequest, Observation> WEATHER =
 *         Method.of(
 *                 "/weather.v1.Weather/GetWeatherStream",
 *                 CallKind.SERVER_STREAM,
 *                 GetWeatherStreamRequest::toByteArray,
 *                 Observation.parser()::parseFrom);
 * }</pre>
 *
 * @param <Q> the request messages
 * @param <R> the response messages
 */
public final class Method<Q, R> {
    /**
     * Turns a message into bytes.
     *
     * @param <T> the messages
     */
    @FunctionalInterface
    public interface Serializer<T> {
        /**
         * Turns a message into bytes.
         *
         * @param message the message
         * @return its bytes, without any prefix; not changed afterwards by the serializer
         * @throws Exception when the message cannot be serialized; it is not sent
         */
        byte[] serialize(T message) throws Exception;
    }

    /**
     * Makes a message of bytes.
     *
     * @param <T> the messages
     */
    @FunctionalInterface
    public interface Parser<T> {
        /**
         * Makes a message of a range of an array. The array is reused for later messages: a parser
         * copies what the message keeps.
         *
         * @param buffer the array
         * @param offset where the message starts
         * @param length the length of the message in bytes
         * @return the message
         * @throws Exception when the bytes are no such message; the call then ends with {@link
         *     StatusCode#INTERNAL}
         */
        T parse(byte[] buffer, int offset, int length) throws Exception;
    }

    private static final Serializer<byte[]> AS_IS = message -> message;
    private static final Parser<byte[]> COPY =
            (buffer, offset, length) -> Arrays.copyOfRange(buffer, offset, offset + length);

    private final String path;
    private final CallKind kind;
    private final Serializer<? super Q> serializer;
    private final Parser<? extends R> parser;
    final byte[] pathBytes;

    private Method(
            String path,
            CallKind kind,
            Serializer<? super Q> serializer,
            Parser<? extends R> parser) {
        this.path = Objects.requireNonNull(path, "path");
        this.kind = Objects.requireNonNull(kind, "kind");
        this.serializer = Objects.requireNonNull(serializer, "serializer");
        this.parser = Objects.requireNonNull(parser, "parser");
        this.pathBytes = path.getBytes(StandardCharsets.UTF_8);
    }

    /**
     * A method with messages of any type.
     *
     * @param path the full name, such as {@code /weather.v1.Weather/GetObservation}
     * @param kind the kind
     * @param serializer makes bytes of requests
     * @param parser makes responses of bytes
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the method
     */
    public static <Q, R> Method<Q, R> of(
            String path,
            CallKind kind,
            Serializer<? super Q> serializer,
            Parser<? extends R> parser) {
        return new Method<>(path, kind, serializer, parser);
    }

    /**
     * A method whose messages stay bytes.
     *
     * @param path the full name, such as {@code /weather.v1.Weather/GetObservation}
     * @param kind the kind
     * @return the method
     */
    public static Method<byte[], byte[]> ofBytes(String path, CallKind kind) {
        return new Method<>(path, kind, AS_IS, COPY);
    }

    /**
     * The full name.
     *
     * @return the path, such as {@code /weather.v1.Weather/GetObservation}
     */
    public String path() {
        return path;
    }

    /**
     * The kind.
     *
     * @return the kind
     */
    public CallKind kind() {
        return kind;
    }

    byte[] serialize(Q message) {
        Objects.requireNonNull(message, "message");
        byte[] bytes;
        try {
            bytes = serializer.serialize(message);
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new MillstreamException(
                    ErrorCode.INVALID_ARGUMENT,
                    "a request of " + path + " could not be serialized: " + e,
                    null,
                    e);
        }
        return Objects.requireNonNull(bytes, "the serializer returned null");
    }

    /** Fails with what the parser throws; the caller ends the call. */
    R parse(byte[] buffer, int offset, int length) throws Exception {
        return parser.parse(buffer, offset, length);
    }

    MillstreamException doesNotParse(Exception reason) {
        return new MillstreamException(
                StatusCode.INTERNAL,
                "a response of " + path + " does not parse: " + reason,
                null,
                reason);
    }

    @Override
    public String toString() {
        return path + " (" + kind + ")";
    }
}
