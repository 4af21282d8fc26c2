package dev.millstream.internal;

import dev.millstream.ErrorCode;
import dev.millstream.Metadata;
import dev.millstream.MillstreamException;
import dev.millstream.Status;
import dev.millstream.StatusCode;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;

/**
 * One call at the level of bytes: the native handle, what is known of its end, and the waiting.
 *
 * <p>The handle is released as soon as the call has ended and nothing of it is left to fetch;
 * status and headers are kept here. Safe for use by many threads.
 */
public final class NativeCall {
    /** A thread that waits in native code looks this often whether it was interrupted. */
    private static final long SLICE_NANOS = 50_000_000L;

    /** As a number of nanoseconds: wait for ever. */
    public static final long FOREVER = Waiter.FOREVER;

    private final String path;
    private final Handle handle;
    private final Watch[] watches = {
        watchFor(Native.HEADERS),
        watchFor(Native.MESSAGES),
        watchFor(Native.SENDABLE),
        watchFor(Native.STATUS)
    };
    private volatile Metadata headers;
    private volatile Status ended;
    private volatile boolean closed;

    /** Takes over the handle of a call. */
    public NativeCall(long handle, String path) {
        this.path = path;
        this.handle = new Handle(handle, "the call of " + path);
    }

    // ---- sending

    /** As {@link Native#callSend}. */
    public int trySend(byte[] data, int offset, int length, boolean packed) {
        try {
            return Native.callSend(open(), data, offset, length, packed);
        } catch (MillstreamException e) {
            throw explain(e);
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** Tells the server that no more requests come. */
    public void halfClose() {
        Status status = ended;
        if (status != null && !closed) {
            return;
        }
        try {
            Native.callHalfClose(open());
        } catch (MillstreamException e) {
            MillstreamException explained = explain(e);
            if (explained.code() != ErrorCode.CALL_ENDED) {
                throw explained;
            }
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    // ---- receiving

    /** As {@link Native#callTake}; {@link Native#END} too once the call was closed. */
    public int take(byte[] into) {
        try {
            long value = handle.value();
            return value == 0 ? Native.END : Native.callTake(value, into);
        } catch (MillstreamException e) {
            if (isStale(e)) {
                return Native.END;
            }
            throw e;
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** After {@link Native#END}: the status. Releases the handle. */
    public Status finish() {
        if (statusNow() == null) {
            throw new IllegalStateException("the call of " + path + " has not ended");
        }
        headersNow();
        release();
        return ended;
    }

    /** Releases the handle; directly for calls that nobody but the caller knows. */
    public void release() {
        handle.release();
        for (Watch watch : watches) {
            watch.close();
        }
    }

    /** Releases the handle of a call that is known to have ended so. */
    public void releaseAs(Status status) {
        ended = status;
        release();
    }

    /** The one response of a call with one response that has ended; null unless it ended OK. */
    public byte[] result() {
        return read(Native.RESULT);
    }

    // ---- head and end

    /** The status if the call has ended, else null. */
    public Status statusNow() {
        Status known = ended;
        if (known == null) {
            byte[] encoded = read(Native.STATUS);
            if (encoded != null) {
                known = Wire.status(encoded);
                ended = known;
            } else {
                // Another thread may have released the handle in between.
                known = ended;
            }
        }
        return known;
    }

    /** The headers if they have come or the call has ended, else null. */
    public Metadata headersNow() {
        Metadata known = headers;
        if (known == null) {
            byte[] encoded = read(Native.HEADERS);
            boolean over = encoded == null && statusNow() != null;
            if (over) {
                // The call may have ended between the two looks, after its headers.
                encoded = read(Native.HEADERS);
            }
            if (encoded != null) {
                known = Wire.metadata(encoded);
                headers = known;
            } else {
                // Another thread may have released the handle in between.
                known = headers == null && over ? Metadata.empty() : headers;
            }
        }
        return known;
    }

    private byte[] read(int what) {
        try {
            long value = handle.value();
            return value == 0 ? null : Native.callRead(value, what);
        } catch (MillstreamException e) {
            if (isStale(e)) {
                return null;
            }
            throw e;
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    // ---- ending it

    /** Ends the call if it has not ended. What was received and not taken may be dropped. */
    public void cancel(String reason) {
        handle.expectRelease();
        try {
            long value = handle.value();
            if (value != 0) {
                Native.callCancel(value, reason.getBytes(StandardCharsets.UTF_8));
            }
        } catch (MillstreamException e) {
            if (!isStale(e)) {
                throw e;
            }
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** Ends the call if it has not ended, and releases it. */
    public void close() {
        cancel("the call was closed by the application");
        headersNow();
        statusNow();
        closed = true;
        release();
    }

    public boolean isClosed() {
        return closed;
    }

    // ---- waiting

    /**
     * Waits until the interest is ready; may return early, so look again.
     *
     * @param nanos how long at most, or {@link #FOREVER}
     * @throws MillstreamException CANCELLED when the thread is interrupted, which cancels the call;
     *     TIMEOUT when the time runs out, which does not
     */
    public void await(int interest, long nanos) {
        boolean ready;
        try {
            ready =
                    Threads.isVirtual()
                            ? Waiter.park(watches[index(interest)], nanos)
                            : block(interest, nanos);
        } catch (InterruptedException e) {
            cancel("interrupted while waiting");
            Thread.currentThread().interrupt();
            throw new MillstreamException(
                    StatusCode.CANCELLED, "interrupted while waiting for " + path, null, e);
        }
        if (!ready) {
            throw new MillstreamException(
                    ErrorCode.TIMEOUT,
                    "nothing came from " + path + " in time; the call goes on",
                    null,
                    null);
        }
    }

    /** What is left of a time that began at the start. */
    public static long left(long nanos, long start) {
        return Waiter.left(nanos, start);
    }

    /** Waits in native code, in slices. */
    private boolean block(int interest, long nanos) throws InterruptedException {
        long start = System.nanoTime();
        while (true) {
            if (Thread.interrupted()) {
                throw new InterruptedException();
            }
            long left = Waiter.left(nanos, start);
            try {
                long value = handle.value();
                if (value == 0 || Native.callWait(value, interest, Math.min(left, SLICE_NANOS))) {
                    return true;
                }
            } catch (MillstreamException e) {
                if (isStale(e)) {
                    return true;
                }
                throw e;
            } finally {
                Reference.reachabilityFence(this);
            }
            if (left <= SLICE_NANOS) {
                return false;
            }
        }
    }

    /**
     * Runs the action once, as soon as the interest is ready or without cause: on the drain thread,
     * or at once when the call is released.
     */
    public void watch(int interest, Runnable action) {
        watches[index(interest)].add(action);
    }

    private static int index(int interest) {
        return Integer.numberOfTrailingZeros(interest);
    }

    private Watch watchFor(int interest) {
        return new Watch(
                action -> {
                    try {
                        long value = handle.value();
                        return value == 0 ? 0 : Drain.watchCall(value, interest, action);
                    } catch (MillstreamException e) {
                        if (isStale(e)) {
                            return 0;
                        }
                        throw e;
                    } finally {
                        Reference.reachabilityFence(this);
                    }
                });
    }

    /** Whether another thread released the handle just now. */
    private boolean isStale(MillstreamException e) {
        return e.code() == ErrorCode.INVALID_HANDLE && handle.isReleased();
    }

    // ---- errors

    private long open() {
        long value = handle.value();
        if (value == 0) {
            throw gone(null);
        }
        return value;
    }

    /** A handle that went stale between looking at it and using it. */
    private MillstreamException explain(MillstreamException e) {
        return isStale(e) ? gone(e) : e;
    }

    private MillstreamException gone(Throwable cause) {
        Status status = ended;
        if (closed || status == null) {
            return new MillstreamException(
                    ErrorCode.CLOSED, "the call of " + path + " is closed", status, cause);
        }
        return callEnded(status, cause);
    }

    /** The failure of an operation that comes after the end of the call. */
    public MillstreamException callEnded(Status status, Throwable cause) {
        return new MillstreamException(
                ErrorCode.CALL_ENDED,
                "the call of " + path + " has ended with " + status,
                status,
                cause);
    }
}
