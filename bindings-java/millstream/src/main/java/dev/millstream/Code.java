package dev.millstream;

/**
 * What kind of failure a {@link MillstreamException} is: a {@link StatusCode} when a call ended
 * with it, an {@link ErrorCode} for misuse and limits of the environment.
 */
public sealed interface Code permits StatusCode, ErrorCode {
    /**
     * The name.
     *
     * @return the name in upper case, the same in every language
     */
    String name();

    /**
     * The number.
     *
     * @return 0 to 16 for gRPC's codes, from 100 for the others; the same in every language
     */
    int number();

    /**
     * Whether the same operation may well succeed when it is tried again unchanged.
     *
     * @return true if so
     */
    boolean isRetryable();

    /**
     * The gRPC code to use where only those can be used.
     *
     * @return itself for a {@link StatusCode}; {@code null} for the codes that leave the call as it
     *     is or speak of its status
     */
    StatusCode grpc();
}
