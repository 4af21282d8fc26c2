package dev.millstream.internal;

import dev.millstream.ErrorCode;
import dev.millstream.MillstreamException;
import java.lang.ref.Reference;
import java.time.Duration;

/** The native handle of a channel. Safe for use by many threads. */
public final class NativeChannel {
    private static final int SHUTDOWN = 4;

    private final String target;
    private final Handle handle;
    private volatile int last;
    private final Watch changes =
            new Watch(
                    action -> {
                        try {
                            long value = value();
                            return value == 0 ? 0 : Drain.watchChannel(value, last, action);
                        } catch (MillstreamException e) {
                            if (isStale(e)) {
                                return 0;
                            }
                            throw e;
                        }
                    });

    /** Takes over the handle of a channel. */
    public NativeChannel(long handle, String target) {
        this.target = target;
        this.handle = new Handle(handle, "the channel to " + target);
    }

    private long value() {
        return handle.value();
    }

    /** Starts a call; with a request that is the only one. */
    public NativeCall start(int kind, String path, byte[] utf8, byte[] options, byte[] request) {
        try {
            long value = handle.value();
            if (value == 0) {
                throw closed(null);
            }
            return new NativeCall(Native.callStart(value, kind, utf8, options, request), path);
        } catch (MillstreamException e) {
            throw isStale(e) ? closed(e) : e;
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** The number of the state. */
    public int state(boolean connect) {
        try {
            long value = handle.value();
            return value == 0 ? SHUTDOWN : Native.channelState(value, connect);
        } catch (MillstreamException e) {
            if (isStale(e)) {
                return SHUTDOWN;
            }
            throw e;
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** Runs the action once, when the state is another than the one seen, or without cause. */
    public void watch(int seen, Runnable action) {
        last = seen;
        changes.add(action);
    }

    /** Connects, and waits until the state is the wanted one. False when the time ran out. */
    public boolean awaitState(int wanted, Duration timeout) throws InterruptedException {
        long nanos = Wire.nanos(timeout);
        long start = System.nanoTime();
        int now = state(true);
        while (now != wanted) {
            if (now == SHUTDOWN) {
                throw closed(null);
            }
            last = now;
            if (!Waiter.park(changes, Waiter.left(nanos, start))) {
                return false;
            }
            now = state(true);
        }
        return true;
    }

    /** Ends the calls and the connections. */
    public void close() {
        try {
            long value = handle.value();
            if (value != 0) {
                Native.channelClose(value);
            }
        } catch (MillstreamException e) {
            if (!isStale(e)) {
                throw e;
            }
        } finally {
            handle.release();
            changes.close();
        }
    }

    private boolean isStale(MillstreamException e) {
        return e.code() == ErrorCode.INVALID_HANDLE && handle.isReleased();
    }

    private MillstreamException closed(Throwable cause) {
        return new MillstreamException(
                ErrorCode.CLOSED, "the channel to " + target + " is closed", null, cause);
    }
}
