package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import java.util.ArrayDeque;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;

/** Sends what a publisher publishes, and requests no more than a small window ahead. */
final class RequestSubscriber<Q> implements Flow.Subscriber<Q> {
    /** How many messages may be on their way from the publisher. */
    private static final int WINDOW = 64;

    private final NativeCall call;
    private final Sender<Q> sender;
    private final Executor executor;
    private final CompletableFuture<Void> done = new CompletableFuture<>();

    /** Serialized messages that found the send buffer full. */
    private final Queue<byte[]> waiting = new ArrayDeque<>();

    private Flow.Subscription subscription;
    private int sent;
    private boolean complete;

    RequestSubscriber(NativeCall call, Sender<Q> sender, Executor executor) {
        this.call = call;
        this.sender = sender;
        this.executor = executor;
    }

    CompletableFuture<Void> done() {
        return done;
    }

    @Override
    public void onSubscribe(Flow.Subscription subscription) {
        Objects.requireNonNull(subscription, "subscription");
        synchronized (this) {
            if (this.subscription != null) {
                subscription.cancel();
                return;
            }
            this.subscription = subscription;
        }
        awaitEnd();
        subscription.request(WINDOW);
    }

    @Override
    public void onNext(Q message) {
        Objects.requireNonNull(message, "message");
        if (done.isDone()) {
            return;
        }
        try {
            byte[] bytes = sender.serialize(message);
            synchronized (this) {
                if (waiting.isEmpty() && sender.trySendBytes(bytes)) {
                    sent++;
                } else {
                    waiting.add(bytes);
                    if (waiting.size() > 1) {
                        return; // the wait is on already
                    }
                    awaitRoom();
                }
            }
        } catch (Throwable e) {
            fail(e);
            return;
        }
        replenish();
    }

    private void awaitRoom() {
        call.watch(Native.SENDABLE, () -> executor.execute(this::flush));
    }

    private void flush() {
        if (done.isDone()) {
            return;
        }
        try {
            synchronized (this) {
                while (!waiting.isEmpty()) {
                    if (!sender.trySendBytes(waiting.peek())) {
                        awaitRoom();
                        break;
                    }
                    waiting.remove();
                    sent++;
                }
                if (complete && waiting.isEmpty()) {
                    finish();
                    return;
                }
            }
        } catch (Throwable e) {
            fail(e);
            return;
        }
        replenish();
    }

    /** Asks for as many as were sent, in halves of the window. */
    private void replenish() {
        int count;
        synchronized (this) {
            if (sent < WINDOW / 2 || complete) {
                return;
            }
            count = sent;
            sent = 0;
        }
        subscription.request(count);
    }

    @Override
    public void onComplete() {
        synchronized (this) {
            complete = true;
            if (!waiting.isEmpty()) {
                return;
            }
        }
        finish();
    }

    private void finish() {
        try {
            call.halfClose();
            done.complete(null);
        } catch (MillstreamException e) {
            done.completeExceptionally(e);
        }
    }

    @Override
    public void onError(Throwable reason) {
        Objects.requireNonNull(reason, "reason");
        // First the reason, or the end of the call, which follows, would pass for it.
        done.completeExceptionally(reason);
        call.cancel("the publisher of the requests failed: " + reason);
    }

    /** A message that cannot be sent: the publisher is told to stop. */
    private void fail(Throwable reason) {
        done.completeExceptionally(reason);
        subscription.cancel();
        call.cancel("a request could not be sent: " + reason);
    }

    private void awaitEnd() {
        call.watch(
                Native.STATUS,
                () -> {
                    if (!done.isDone()) {
                        executor.execute(this::stopIfEnded);
                    }
                });
    }

    private void stopIfEnded() {
        Status status = call.statusNow();
        if (status == null) {
            awaitEnd();
        } else if (done.completeExceptionally(call.callEnded(status, null))) {
            subscription.cancel();
        }
    }
}
