package dev.millstream.internal;

import dev.millstream.MillstreamException;
import java.lang.System.Logger.Level;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * The one thread that waits for the library on behalf of all who must not wait in native code:
 * futures, publishers and virtual threads.
 *
 * <p>A Java daemon thread, so that no native thread needs to attach to the JVM and the JVM can exit
 * at any time. It starts with the first use and ends when it had nothing to wait for for a while,
 * so that a class loader that is dropped can be collected.
 */
final class Drain implements Runnable {
    private static final System.Logger LOG = System.getLogger("dev.millstream");
    private static final Drain INSTANCE = new Drain();
    private static final long RETRY_NANOS = 100_000_000L;
    private static final long LINGER_NANOS = 10_000_000_000L;
    private static final int TAGS = 256;

    private final ConcurrentHashMap<Long, Runnable> actions = new ConcurrentHashMap<>();
    private final AtomicLong tags = new AtomicLong();
    private volatile long queue;
    private int users;

    private Drain() {}

    /**
     * Runs the action once on the drain thread once the interest is ready, or rarely without cause.
     *
     * @return what to {@link #forget}
     */
    static long watchCall(long call, int interest, Runnable action) {
        return INSTANCE.watch(action, (queue, tag) -> Native.callWatch(call, interest, queue, tag));
    }

    /**
     * Runs the action once on the drain thread once the state is another than the last, or rarely
     * without cause.
     *
     * @return what to {@link #forget}
     */
    static long watchChannel(long channel, int last, Runnable action) {
        return INSTANCE.watch(
                action, (queue, tag) -> Native.channelWatch(channel, last, queue, tag));
    }

    /** Forgets a watch that will not fire any more; does nothing when it has fired. */
    static void forget(long tag) {
        INSTANCE.take(tag);
    }

    private interface Registration {
        void register(long queue, long tag);
    }

    private long watch(Runnable action, Registration registration) {
        long tag = tags.incrementAndGet();
        enter();
        actions.put(tag, action);
        try {
            registration.register(queue, tag);
        } catch (Throwable e) {
            take(tag);
            throw e;
        }
        return tag;
    }

    private Runnable take(long tag) {
        Runnable action = actions.remove(tag);
        if (action != null) {
            leave();
        }
        return action;
    }

    /** From here on the thread stays alive until {@link #leave}. */
    private synchronized void enter() {
        if (queue == 0) {
            queue = Native.queueOpen();
            Thread thread = new Thread(null, this, "millstream-drain", 0, false);
            thread.setDaemon(true);
            thread.setContextClassLoader(null);
            thread.start();
        }
        users++;
    }

    private synchronized void leave() {
        users--;
    }

    @Override
    public void run() {
        long[] ready = new long[TAGS];
        int count;
        do {
            count = await(ready);
            for (int i = 0; i < count; i++) {
                Runnable action = take(ready[i]);
                if (action != null) {
                    perform(action);
                }
            }
        } while (count != 0 || !endsIdle());
    }

    private int await(long[] ready) {
        try {
            return Native.queueWait(queue, ready, LINGER_NANOS);
        } catch (MillstreamException e) {
            // Nobody else will wake those who wait, so giving up is no choice.
            LOG.log(Level.ERROR, "waiting for the native library failed; trying again", e);
            LockSupport.parkNanos(RETRY_NANOS);
            return 0;
        }
    }

    private synchronized boolean endsIdle() {
        if (users > 0) {
            return false;
        }
        Native.release(queue);
        queue = 0;
        return true;
    }

    /** Whatever goes wrong with one call, the others go on. */
    static void perform(Runnable action) {
        try {
            action.run();
        } catch (Throwable e) {
            LOG.log(Level.ERROR, "completing a call failed", e);
        }
    }
}
