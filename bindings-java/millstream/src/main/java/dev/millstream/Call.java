package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import dev.millstream.internal.Wire;
import java.time.Duration;
import java.util.Collection;
import java.util.Iterator;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.function.Supplier;

/**
 * One call. Requests go in by {@link #send}, responses come out by iteration:
 *
 * <pre>{@code
 * try (var call = channel.bidi("/chat.v1.ChatService/Chat")) {
 *     call.send(hello);
 *     call.halfClose();
 *     for (byte[] message : call) {
 *         ...
 *     }
 * }
 * }</pre>
 *
 * <p>The messages come first, then the status: iteration ends quietly when the call ended {@link
 * StatusCode#OK}, and throws a {@link MillstreamException} with the status otherwise. {@link
 * #close} cancels the call if it has not ended, so that leaving a try block early never leaks one.
 *
 * <p><b>Threads.</b> One thread may send while another one receives, and any thread may cancel or
 * close. Two threads that receive from one call get {@link ErrorCode#BUSY}. Methods that wait may
 * be used from platform and from virtual threads; when the waiting thread is interrupted, the call
 * is cancelled, {@link StatusCode#CANCELLED} is thrown and the interrupt status is set again.
 *
 * @param <Q> the request messages
 * @param <R> the response messages
 */
public final class Call<Q, R> implements Iterable<R>, AutoCloseable {
    private final Channel channel;
    private final Method<Q, R> method;
    private final NativeCall call;
    private final Executor executor;
    private final Sender<Q> sender;
    private final Receiver<R> receiver;

    Call(Channel channel, Method<Q, R> method, NativeCall call, Executor executor) {
        this.channel = channel;
        this.method = method;
        this.call = call;
        this.executor = executor;
        this.sender = new Sender<>(call, method);
        this.receiver = new Receiver<>(call, method);
    }

    /**
     * The method that is called.
     *
     * @return the method
     */
    public Method<Q, R> method() {
        return method;
    }

    /**
     * The channel that the call was made on.
     *
     * @return the channel
     */
    public Channel channel() {
        return channel;
    }

    // ---- sending

    /**
     * Sends a request; waits while the send buffer is full. The message is on its way when this
     * returns: nothing is held back until more come.
     *
     * @param message the request
     * @throws MillstreamException {@link ErrorCode#CALL_ENDED} when the call has ended, with its
     *     status; {@link ErrorCode#INVALID_STATE} after the half-close or on a method with one
     *     request
     */
    public void send(Q message) {
        sender.send(message);
    }

    /**
     * Sends a request if there is room, without waiting.
     *
     * @param message the request
     * @return false when the send buffer is full; {@link #sendable} tells when to try again
     * @throws MillstreamException as {@link #send}
     */
    public boolean trySend(Q message) {
        return sender.trySend(message);
    }

    /**
     * Completes as soon as there is room to send, or the call has ended; rarely without cause.
     *
     * @return a future, completed by the channel's executor
     */
    public CompletableFuture<Void> sendable() {
        CompletableFuture<Void> future = new CompletableFuture<>();
        call.watch(Native.SENDABLE, () -> future.completeAsync(() -> null, executor));
        return future;
    }

    /**
     * Sends many requests; waits while the send buffer is full. Packs them, so that many cross the
     * border to the native library in one step.
     *
     * @param messages the requests; a collection, since its elements are there at once
     * @throws MillstreamException as {@link #send}
     */
    public void sendAll(Collection<? extends Q> messages) {
        sender.sendAll(messages);
    }

    /**
     * Sends what an iterator yields; waits while the send buffer is full. Each message is on its
     * way before the next one is asked for.
     *
     * @param messages the requests; when it throws, the call is cancelled and the exception goes on
     *     to the caller
     * @throws MillstreamException as {@link #send}
     */
    public void sendAll(Iterator<? extends Q> messages) {
        sender.sendAll(messages);
    }

    /**
     * Sends what a publisher publishes, then half-closes. Requests as many as there is room for.
     *
     * @param messages the requests; when it fails, the call is cancelled
     * @return completes once everything was accepted and the request half-closed; exceptionally
     *     with what the publisher failed with, or {@link ErrorCode#CALL_ENDED} when the call ended
     *     before
     */
    public CompletableFuture<Void> sendAll(Flow.Publisher<? extends Q> messages) {
        Objects.requireNonNull(messages, "messages");
        RequestSubscriber<Q> subscriber = new RequestSubscriber<>(call, sender, executor);
        messages.subscribe(subscriber);
        return subscriber.done();
    }

    /** Tells the server that no more requests come. Does nothing when it was told before. */
    public void halfClose() {
        call.halfClose();
    }

    // ---- receiving

    /**
     * The responses, one by one. All iterators of a call take from the same stream.
     *
     * @return an iterator that waits, and throws a {@link MillstreamException} at the end of a call
     *     that did not end OK
     */
    @Override
    public Iterator<R> iterator() {
        return receiver;
    }

    /**
     * The next response; waits for it.
     *
     * @return the response, or {@code null} when the call ended OK
     * @throws MillstreamException the status of a call that ended otherwise
     */
    public R receive() {
        return receiver.hasNext() ? receiver.next() : null;
    }

    /**
     * The next response; waits for it, but not longer than told.
     *
     * @param timeout the longest wait
     * @return the response, or {@code null} when the call ended OK
     * @throws MillstreamException {@link ErrorCode#TIMEOUT} when the time ran out, after which the
     *     call goes on; the status of a call that did not end OK
     */
    public R receive(Duration timeout) {
        Objects.requireNonNull(timeout, "timeout");
        return receiver.hasBuffered() || receiver.fill(Wire.nanos(timeout))
                ? receiver.parseNext()
                : null;
    }

    /**
     * The responses, many at a time and without an object for each: the fastest way to receive.
     *
     * @return an iterable over the one reused batch; messages of it that were not read are skipped
     *     by the next step
     */
    public Iterable<Batch> batches() {
        return receiver::batches;
    }

    /**
     * The responses as a publisher for one subscriber. What the subscriber has not requested is not
     * taken from the network: HTTP/2 flow control makes the server wait. Cancelling the
     * subscription cancels the call.
     *
     * @return the publisher; it signals on the channel's executor
     */
    public Flow.Publisher<R> publisher() {
        return subscriber -> {
            Objects.requireNonNull(subscriber, "subscriber");
            if (receiver.subscribe()) {
                ResponseSubscription.start(call, receiver, executor, subscriber);
            } else {
                ResponseSubscription.refuse(
                        subscriber,
                        new MillstreamException(
                                ErrorCode.BUSY,
                                "the responses of " + method.path() + " have a subscriber",
                                null,
                                null));
            }
        };
    }

    // ---- head and end

    /**
     * The headers of the response; waits for them.
     *
     * @return the headers; empty when the call ended without
     */
    public Metadata headers() {
        return awaitValue(Native.HEADERS, call::headersNow);
    }

    /**
     * The headers of the response.
     *
     * @return completes as {@link #headers} returns, by the channel's executor
     */
    public CompletableFuture<Metadata> headersAsync() {
        return whenReady(Native.HEADERS, call::headersNow);
    }

    /**
     * How the call ended; waits for its end. The server may wait for responses to be taken before
     * it ends a call, so take them first.
     *
     * @return the status
     */
    public Status status() {
        return awaitValue(Native.STATUS, call::statusNow);
    }

    /**
     * How the call ended.
     *
     * @return completes as {@link #status} returns, by the channel's executor; never exceptionally
     *     because of the status
     */
    public CompletableFuture<Status> statusAsync() {
        return whenReady(Native.STATUS, call::statusNow);
    }

    /**
     * The trailers of the response; waits for the end of the call, see {@link #status}.
     *
     * @return the trailers; empty when the client itself ended the call
     */
    public Metadata trailers() {
        return status().trailers();
    }

    /**
     * Whether the call has ended. Messages may wait to be taken even so.
     *
     * @return true once {@link #status} returns at once
     */
    public boolean isEnded() {
        return call.statusNow() != null;
    }

    /**
     * Ends the call with {@link StatusCode#CANCELLED} if it has not ended. Responses that were not
     * taken may be dropped.
     *
     * @param reason the text of the status
     */
    public void cancel(String reason) {
        call.cancel(reason);
    }

    /** Cancels the call if it has not ended, and frees what it holds. Does nothing when closed. */
    @Override
    public void close() {
        call.close();
    }

    private <T> T awaitValue(int interest, Supplier<T> now) {
        T value = now.get();
        while (value == null) {
            call.await(interest, NativeCall.FOREVER);
            value = now.get();
        }
        return value;
    }

    private <T> CompletableFuture<T> whenReady(int interest, Supplier<T> now) {
        CompletableFuture<T> future = new CompletableFuture<>();
        completeWhenReady(future, interest, now);
        return future;
    }

    private <T> void completeWhenReady(CompletableFuture<T> future, int interest, Supplier<T> now) {
        call.watch(
                interest,
                () -> {
                    T value = now.get();
                    if (value == null) {
                        completeWhenReady(future, interest, now);
                    } else {
                        future.completeAsync(() -> value, executor);
                    }
                });
    }

    @Override
    public String toString() {
        Status status = call.statusNow();
        return "Call of " + method + (status == null ? "" : ", " + status);
    }
}
