package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import java.lang.System.Logger.Level;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Publishes the responses of a call to one subscriber.
 *
 * <p>Nothing is taken from the native side while nothing is requested, so that flow control reaches
 * the server. The end of a call is signalled without a request, as the specification wants.
 */
final class ResponseSubscription<R> implements Flow.Subscription, Runnable {
    private final NativeCall call;
    private final Receiver<R> receiver;
    private final Executor executor;
    private final AtomicLong requested = new AtomicLong();

    /** Counts reasons to run; who makes it positive has to start a run. Signals are so serial. */
    private final AtomicInteger reasons = new AtomicInteger();

    /** Null once nothing may be signalled any more. Only touched within a run. */
    private Flow.Subscriber<? super R> subscriber;

    private volatile boolean cancelled;
    private volatile boolean refused;
    private volatile boolean awaitsMessages;
    private volatile boolean awaitsStatus;

    private ResponseSubscription(
            NativeCall call,
            Receiver<R> receiver,
            Executor executor,
            Flow.Subscriber<? super R> subscriber) {
        this.call = call;
        this.receiver = receiver;
        this.executor = executor;
        this.subscriber = subscriber;
    }

    static <R> void start(
            NativeCall call,
            Receiver<R> receiver,
            Executor executor,
            Flow.Subscriber<? super R> subscriber) {
        ResponseSubscription<R> subscription =
                new ResponseSubscription<>(call, receiver, executor, subscriber);
        // What onSubscribe requests is served when it has returned.
        subscription.reasons.set(1);
        try {
            subscriber.onSubscribe(subscription);
        } catch (Throwable e) {
            subscription.fail(e);
        }
        executor.execute(subscription);
    }

    /** Refuses a subscriber. */
    static <R> void refuse(Flow.Subscriber<? super R> subscriber, Throwable reason) {
        subscriber.onSubscribe(
                new Flow.Subscription() {
                    @Override
                    public void request(long count) {}

                    @Override
                    public void cancel() {}
                });
        subscriber.onError(reason);
    }

    @Override
    public void request(long count) {
        if (count <= 0) {
            refused = true;
        } else {
            requested.accumulateAndGet(
                    count, (a, b) -> a + b < 0 ? Long.MAX_VALUE : a + b); // saturates
        }
        wake();
    }

    @Override
    public void cancel() {
        if (!cancelled) {
            cancelled = true;
            call.close();
            wake();
        }
    }

    private void wake() {
        if (reasons.getAndIncrement() == 0) {
            executor.execute(this);
        }
    }

    @Override
    public void run() {
        int seen = reasons.get();
        while (seen != 0) {
            try {
                publish();
            } catch (Throwable e) {
                fail(e);
            }
            seen = reasons.addAndGet(-seen);
        }
    }

    private void publish() {
        while (subscriber != null) {
            if (cancelled) {
                subscriber = null;
            } else if (refused) {
                fail(new IllegalArgumentException("a subscriber must request at least 1 message"));
            } else if (receiver.hasBuffered()) {
                if (requested.get() == 0) {
                    return;
                }
                R message = receiver.parseNext();
                requested.updateAndGet(n -> n == Long.MAX_VALUE ? n : n - 1);
                subscriber.onNext(message);
            } else if (requested.get() == 0 && call.statusNow() == null) {
                awaitStatus();
                return;
            } else {
                int found = receiver.tryFill();
                if (found == Native.EMPTY) {
                    awaitMessages();
                    return;
                } else if (found == Native.END) {
                    end(call.finish());
                }
            }
        }
    }

    private void awaitStatus() {
        if (!awaitsStatus) {
            awaitsStatus = true;
            call.watch(
                    Native.STATUS,
                    () -> {
                        awaitsStatus = false;
                        wake();
                    });
        }
    }

    private void awaitMessages() {
        if (!awaitsMessages) {
            awaitsMessages = true;
            call.watch(
                    Native.MESSAGES,
                    () -> {
                        awaitsMessages = false;
                        wake();
                    });
        }
    }

    private void end(Status status) {
        Flow.Subscriber<? super R> last = subscriber;
        subscriber = null;
        if (cancelled) {
            return; // the status is that of the cancellation
        }
        if (status.isOk()) {
            quietly(last::onComplete);
        } else {
            quietly(() -> last.onError(new MillstreamException(status, null)));
        }
    }

    /** Cancels the call, whatever went wrong, and tells the subscriber. */
    private void fail(Throwable reason) {
        call.close();
        Flow.Subscriber<? super R> last = subscriber;
        subscriber = null;
        if (last != null && !cancelled) {
            quietly(() -> last.onError(reason));
        }
    }

    /** A subscriber that fails in its last signal has nobody left to be told. */
    private static void quietly(Runnable signal) {
        try {
            signal.run();
        } catch (Throwable e) {
            System.getLogger("dev.millstream").log(Level.ERROR, "a subscriber failed", e);
        }
    }
}
