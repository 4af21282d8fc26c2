package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The receiving side of a call: one reused array that batches are copied into. There is one per
 * call, however many iterators were asked for.
 */
final class Receiver<R> implements Iterator<R> {
    private static final int FIRST_BUFFER = 4 << 10;

    /** What a call receives ahead by default; larger arrays are made for larger messages only. */
    private static final int USUAL_BUFFER = 256 << 10;

    private final NativeCall call;
    private final Method<?, R> method;
    private final Batch batch = new Batch();
    private final AtomicBoolean busy = new AtomicBoolean();
    private final AtomicBoolean subscribed = new AtomicBoolean();
    private byte[] buffer = {};

    Receiver(NativeCall call, Method<?, R> method) {
        this.call = call;
        this.method = method;
    }

    /** False when there is a subscriber already. */
    boolean subscribe() {
        return subscribed.compareAndSet(false, true);
    }

    /** Whether a message waits in the array. */
    boolean hasBuffered() {
        return batch.hasMore();
    }

    /**
     * Replaces the batch by what has arrived.
     *
     * @return a positive number, {@link Native#EMPTY} or {@link Native#END}
     */
    int tryFill() {
        claim();
        try {
            return fillNow();
        } finally {
            busy.set(false);
        }
    }

    /**
     * Replaces the batch, waiting until there are messages.
     *
     * @param nanos how long to wait at most, or {@link NativeCall#FOREVER}
     * @return false at the end of a call that ended OK
     * @throws MillstreamException the status of a call that ended otherwise
     */
    boolean fill(long nanos) {
        long start = System.nanoTime();
        claim();
        try {
            while (true) {
                int found = fillNow();
                if (found == Native.EMPTY) {
                    call.await(Native.MESSAGES, NativeCall.left(nanos, start));
                } else if (found == Native.END) {
                    Status status = call.finish();
                    if (!status.isOk()) {
                        throw new MillstreamException(status, null);
                    }
                    return false;
                } else {
                    return true;
                }
            }
        } finally {
            busy.set(false);
        }
    }

    private void claim() {
        if (!busy.compareAndSet(false, true)) {
            throw new MillstreamException(
                    ErrorCode.BUSY,
                    "another thread is receiving from the call of " + method.path(),
                    null,
                    null);
        }
    }

    private int fillNow() {
        batch.reset(buffer, 0);
        if (buffer.length == 0 || buffer.length > USUAL_BUFFER) {
            buffer = new byte[buffer.length == 0 ? FIRST_BUFFER : USUAL_BUFFER];
        }
        int taken = call.take(buffer);
        if (taken < Native.END) {
            buffer = new byte[-taken];
            taken = call.take(buffer);
        }
        if (taken > 0) {
            batch.reset(buffer, taken);
            // The batch keeps the full array; the next one may be larger.
            if (taken > buffer.length / 2 && buffer.length < USUAL_BUFFER) {
                buffer = new byte[Math.min(buffer.length * 4, USUAL_BUFFER)];
            }
        }
        return taken;
    }

    // ---- message by message

    @Override
    public boolean hasNext() {
        return batch.hasMore() || fill(NativeCall.FOREVER);
    }

    @Override
    public R next() {
        if (!hasNext()) {
            throw new NoSuchElementException("the call of " + method.path() + " has ended");
        }
        return parseNext();
    }

    /** The next message of the array. A message that does not parse ends the call. */
    R parseNext() {
        batch.advance();
        try {
            return method.parse(batch.array(), batch.offset(), batch.length());
        } catch (Exception e) {
            call.cancel("a response does not parse");
            throw method.doesNotParse(e);
        }
    }

    // ---- batch by batch

    Iterator<Batch> batches() {
        return new Iterator<>() {
            private boolean ahead = hasBuffered();

            @Override
            public boolean hasNext() {
                ahead = ahead || fill(NativeCall.FOREVER);
                return ahead;
            }

            @Override
            public Batch next() {
                if (!hasNext()) {
                    throw new NoSuchElementException("the call of " + method.path() + " has ended");
                }
                ahead = false;
                return batch;
            }
        };
    }
}
