package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import dev.millstream.internal.NativeChannel;
import java.lang.ref.Reference;
import java.time.Duration;
import java.util.Iterator;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;

/**
 * A connection to a server, made when the first call needs it and again when it is lost. Calls of
 * any number share it. Safe for use by many threads; make one per server and keep it.
 *
 * <pre>{@code
 * try (Channel channel = Channel.open("http://localhost:50051")) {
 *     byte[] reply = channel.unary("/weather.v1.Weather/GetObservation", request);
 * }
 * }</pre>
 *
 * <p>Each kind of call comes in two forms: with the path of a method, where messages are bytes, and
 * with a {@link Method}, where they are objects. Calls never fail to start for reasons of the
 * network: what happens to a call is in its status.
 */
public final class Channel implements AutoCloseable {
    private final String target;
    private final NativeChannel channel;
    private final Executor executor;

    Channel(String target, byte[] spec, Executor executor) {
        this.target = target;
        this.channel = new NativeChannel(Native.channelOpen(spec), target);
        this.executor = new ReliableExecutor(executor);
    }

    /**
     * Opens a channel with default options.
     *
     * @param target {@code http://host:port}, {@code https://host:port} or {@code unix:/path}
     * @return the channel; it does not connect yet
     * @throws MillstreamException {@link ErrorCode#INVALID_TARGET}
     */
    public static Channel open(String target) {
        return builder(target).open();
    }

    /**
     * Sets a channel up.
     *
     * @param target {@code http://host:port}, {@code https://host:port} or {@code unix:/path}
     * @return a builder
     */
    public static ChannelBuilder builder(String target) {
        return new ChannelBuilder(target);
    }

    /**
     * The target.
     *
     * @return the target as it was given
     */
    public String target() {
        return target;
    }

    // ---- connectivity

    /**
     * Where the channel stands.
     *
     * @return the state; {@link ConnectivityState#SHUTDOWN} once it is closed
     */
    public ConnectivityState state() {
        return ConnectivityState.BY_NUMBER[channel.state(false)];
    }

    /** Starts to connect if the channel is idle. Does not wait. */
    public void connect() {
        channel.state(true);
    }

    /**
     * Connects and waits until calls can be made at once. A failed attempt is followed by the next
     * one as long as there is time.
     *
     * @param timeout the longest wait
     * @return false when the time ran out
     * @throws InterruptedException when the thread is interrupted
     * @throws MillstreamException {@link ErrorCode#CLOSED} when the channel is or gets closed
     */
    public boolean awaitReady(Duration timeout) throws InterruptedException {
        return channel.awaitState(ConnectivityState.READY.ordinal(), timeout);
    }

    /**
     * Tells when the state is another one.
     *
     * @param last the last state that was seen
     * @return completes with the state once it is another than the last one
     */
    public CompletableFuture<ConnectivityState> stateChange(ConnectivityState last) {
        Objects.requireNonNull(last, "last");
        CompletableFuture<ConnectivityState> change = new CompletableFuture<>();
        completeOnChange(change, last);
        return change;
    }

    private void completeOnChange(
            CompletableFuture<ConnectivityState> change, ConnectivityState last) {
        ConnectivityState now = state();
        if (now != last) {
            change.completeAsync(() -> now, executor);
        } else {
            channel.watch(last.ordinal(), () -> completeOnChange(change, last));
        }
    }

    /**
     * Ends the open calls with {@link StatusCode#CANCELLED} and closes the connections. Later calls
     * fail with {@link ErrorCode#CLOSED}. Does nothing when closed.
     */
    @Override
    public void close() {
        channel.close();
    }

    // ---- calls with messages as bytes

    /**
     * One request, one response; waits for it.
     *
     * @param path the method, such as {@code /weather.v1.Weather/GetObservation}
     * @param request the request
     * @return the response
     * @throws MillstreamException the status if it is not OK
     */
    public byte[] unary(String path, byte[] request) {
        return unary(path, request, CallOptions.DEFAULT);
    }

    /**
     * One request, one response; waits for it.
     *
     * @param path the method, such as {@code /weather.v1.Weather/GetObservation}
     * @param request the request
     * @param options what the call is told
     * @return the response
     * @throws MillstreamException the status if it is not OK
     */
    public byte[] unary(String path, byte[] request, CallOptions options) {
        return unary(Method.ofBytes(path, CallKind.UNARY), request, options);
    }

    /**
     * One request, one response.
     *
     * @param path the method
     * @param request the request
     * @return the response, or a {@link MillstreamException}; cancelling the future cancels the
     *     call
     */
    public CompletableFuture<byte[]> unaryAsync(String path, byte[] request) {
        return unaryAsync(path, request, CallOptions.DEFAULT);
    }

    /**
     * One request, one response.
     *
     * @param path the method
     * @param request the request
     * @param options what the call is told
     * @return the response, or a {@link MillstreamException}; cancelling the future cancels the
     *     call
     */
    public CompletableFuture<byte[]> unaryAsync(String path, byte[] request, CallOptions options) {
        return unaryAsync(Method.ofBytes(path, CallKind.UNARY), request, options);
    }

    /**
     * One request, many responses.
     *
     * @param path the method
     * @param request the request
     * @return the call
     */
    public Call<byte[], byte[]> serverStream(String path, byte[] request) {
        return serverStream(path, request, CallOptions.DEFAULT);
    }

    /**
     * One request, many responses.
     *
     * @param path the method
     * @param request the request
     * @param options what the call is told
     * @return the call
     */
    public Call<byte[], byte[]> serverStream(String path, byte[] request, CallOptions options) {
        return serverStream(Method.ofBytes(path, CallKind.SERVER_STREAM), request, options);
    }

    /**
     * Many requests, one response: {@link Call#receive} it after the {@link Call#halfClose}.
     *
     * @param path the method
     * @return the call
     */
    public Call<byte[], byte[]> clientStream(String path) {
        return clientStream(path, CallOptions.DEFAULT);
    }

    /**
     * Many requests, one response: {@link Call#receive} it after the {@link Call#halfClose}.
     *
     * @param path the method
     * @param options what the call is told
     * @return the call
     */
    public Call<byte[], byte[]> clientStream(String path, CallOptions options) {
        return clientStream(Method.ofBytes(path, CallKind.CLIENT_STREAM), options);
    }

    /**
     * Many requests, many responses, independent of each other.
     *
     * @param path the method
     * @return the call
     */
    public Call<byte[], byte[]> bidi(String path) {
        return bidi(path, CallOptions.DEFAULT);
    }

    /**
     * Many requests, many responses, independent of each other.
     *
     * @param path the method
     * @param options what the call is told
     * @return the call
     */
    public Call<byte[], byte[]> bidi(String path, CallOptions options) {
        return bidi(Method.ofBytes(path, CallKind.BIDI), options);
    }

    // ---- calls with messages as objects

    /**
     * One request, one response; waits for it.
     *
     * @param method the method
     * @param request the request
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the response
     * @throws MillstreamException the status if it is not OK
     */
    public <Q, R> R unary(Method<Q, R> method, Q request, CallOptions options) {
        NativeCall call = start(method, CallKind.UNARY, options, method.serialize(request));
        try {
            return Single.await(call, method);
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /**
     * One request, one response.
     *
     * @param method the method
     * @param request the request
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the response, or a {@link MillstreamException}; cancelling the future cancels the
     *     call
     */
    public <Q, R> CompletableFuture<R> unaryAsync(
            Method<Q, R> method, Q request, CallOptions options) {
        NativeCall call = start(method, CallKind.UNARY, options, method.serialize(request));
        return Single.async(this, call, method, executor);
    }

    /**
     * One request, many responses.
     *
     * @param method the method
     * @param request the request
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the call
     */
    public <Q, R> Call<Q, R> serverStream(Method<Q, R> method, Q request, CallOptions options) {
        byte[] bytes = method.serialize(request);
        NativeCall call = start(method, CallKind.SERVER_STREAM, options, bytes);
        return new Call<>(this, method, call, executor);
    }

    /**
     * One request, many responses, as a publisher for any number of subscribers: each one starts a
     * call of its own. What a subscriber has not requested is not taken from the network: HTTP/2
     * flow control makes the server wait.
     *
     * @param method the method
     * @param request the request
     * @param options what each call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the publisher; it signals on the channel's executor
     */
    public <Q, R> Flow.Publisher<R> publisher(Method<Q, R> method, Q request, CallOptions options) {
        return subscriber -> {
            Objects.requireNonNull(subscriber, "subscriber");
            Call<Q, R> call;
            try {
                call = serverStream(method, request, options);
            } catch (RuntimeException e) {
                ResponseSubscription.refuse(subscriber, e);
                return;
            }
            call.publisher().subscribe(subscriber);
        };
    }

    /**
     * Many requests, one response: {@link Call#receive} it after the {@link Call#halfClose}.
     *
     * @param method the method
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the call
     */
    public <Q, R> Call<Q, R> clientStream(Method<Q, R> method, CallOptions options) {
        return open(method, CallKind.CLIENT_STREAM, options);
    }

    /**
     * Many requests, one response; sends what the iterator yields, and waits for the response.
     *
     * @param method the method
     * @param requests the requests; when it throws, the call is cancelled and the exception goes on
     *     to the caller
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the response
     * @throws MillstreamException the status if it is not OK
     */
    public <Q, R> R clientStream(
            Method<Q, R> method, Iterator<? extends Q> requests, CallOptions options) {
        try (Call<Q, R> call = clientStream(method, options)) {
            try {
                call.sendAll(requests);
            } catch (MillstreamException e) {
                // The server may answer before it has read everything: its status tells.
                if (e.code() != ErrorCode.CALL_ENDED) {
                    throw e;
                }
            }
            call.halfClose();
            return call.receive();
        }
    }

    /**
     * Many requests, one response; sends what the publisher publishes.
     *
     * @param method the method
     * @param requests the requests; when it fails, the call is cancelled
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the response, or a {@link MillstreamException}, or what the publisher failed with;
     *     cancelling the future cancels the call
     */
    public <Q, R> CompletableFuture<R> clientStreamAsync(
            Method<Q, R> method, Flow.Publisher<? extends Q> requests, CallOptions options) {
        Objects.requireNonNull(requests, "requests");
        NativeCall call = start(method, CallKind.CLIENT_STREAM, options, null);
        CompletableFuture<R> response = Single.async(this, call, method, executor);
        RequestSubscriber<Q> subscriber =
                new RequestSubscriber<>(call, new Sender<>(call, method), executor);
        subscriber
                .done()
                .whenComplete(
                        (sent, failure) -> {
                            // An ended call speaks for itself.
                            if (failure != null && !Single.isCallEnded(failure)) {
                                response.completeExceptionally(failure);
                            }
                        });
        requests.subscribe(subscriber);
        return response;
    }

    /**
     * Many requests, many responses, independent of each other.
     *
     * @param method the method
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the call
     */
    public <Q, R> Call<Q, R> bidi(Method<Q, R> method, CallOptions options) {
        return open(method, CallKind.BIDI, options);
    }

    /**
     * A call of whatever kind the method has, with nothing sent yet: {@link Call#send} and {@link
     * Call#halfClose}. The way to the headers and trailers of a unary call.
     *
     * @param method the method
     * @param options what the call is told
     * @param <Q> the request messages
     * @param <R> the response messages
     * @return the call
     */
    public <Q, R> Call<Q, R> call(Method<Q, R> method, CallOptions options) {
        return open(method, method.kind(), options);
    }

    private <Q, R> Call<Q, R> open(Method<Q, R> method, CallKind kind, CallOptions options) {
        return new Call<>(this, method, start(method, kind, options, null), executor);
    }

    /** Starts a call; when a request is given, it is the only one. */
    private NativeCall start(
            Method<?, ?> method, CallKind kind, CallOptions options, byte[] request) {
        if (method.kind() != kind) {
            throw new MillstreamException(
                    ErrorCode.INVALID_ARGUMENT,
                    method + " was called as " + kind + "; use the function for its kind",
                    null,
                    null);
        }
        return channel.start(
                kind.ordinal(), method.path(), method.pathBytes, options.encoded, request);
    }

    @Override
    public String toString() {
        return "Channel to " + target;
    }
}
