package dev.millstream.internal;

import java.util.ArrayList;
import java.util.List;
import java.util.function.ToLongFunction;

/**
 * All who wait for one kind of readiness of one object. The native side knows one watch of each
 * kind, so it is shared here.
 *
 * <p>An action may run without cause: it looks, and adds itself again.
 */
final class Watch implements Runnable {
    /** Makes the drain thread run an action once; answers the tag, or 0 when all is over. */
    private final ToLongFunction<Runnable> registration;

    private List<Runnable> waiting = new ArrayList<>(1);
    private boolean armed;
    private boolean closed;
    private long tag;

    Watch(ToLongFunction<Runnable> registration) {
        this.registration = registration;
    }

    /** Runs the action once: on the drain thread, or here when there is nothing to wait for. */
    void add(Runnable action) {
        synchronized (this) {
            waiting.add(action);
            if (armed && !closed) {
                return;
            }
            armed = true;
        }
        long registered;
        try {
            registered = registration.applyAsLong(this);
        } catch (Throwable e) {
            synchronized (this) {
                waiting.remove(action);
                armed = false;
            }
            throw e;
        }
        boolean over;
        synchronized (this) {
            tag = registered;
            over = closed || registered == 0;
        }
        if (over) {
            close();
        }
    }

    synchronized void remove(Runnable action) {
        waiting.remove(action);
    }

    /** The native side forgets the watch with its object, so nobody else would run the actions. */
    void close() {
        synchronized (this) {
            closed = true;
            Drain.forget(tag);
        }
        run();
    }

    @Override
    public void run() {
        List<Runnable> woken;
        synchronized (this) {
            woken = waiting;
            waiting = new ArrayList<>(1);
            armed = false;
        }
        for (Runnable action : woken) {
            Drain.perform(action);
        }
    }
}
