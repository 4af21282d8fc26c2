package dev.millstream.internal;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A native handle that is released exactly once: by {@link #release}, or after the owner, and with
 * it this object, became unreachable.
 */
public final class Handle {
    private static final Cleaner CLEANER = Cleaner.create();

    private final State state;
    private final Cleaner.Cleanable cleanable;

    /**
     * Takes a handle over.
     *
     * @param value the handle
     * @param name what to call the owner in the warning that it was never closed
     */
    public Handle(long value, String name) {
        state = new State(value, name);
        cleanable = CLEANER.register(this, state);
    }

    /** The handle, or 0 when it is released. */
    public long value() {
        return state.get();
    }

    public boolean isReleased() {
        return state.get() == 0;
    }

    /** From now on it is fine when the owner is forgotten. */
    public void expectRelease() {
        state.expected = true;
    }

    public void release() {
        expectRelease();
        cleanable.clean();
        Reference.reachabilityFence(this);
    }

    /** Static, since a reference to the owner would keep it reachable for ever. */
    private static final class State extends AtomicLong implements Runnable {
        private static final long serialVersionUID = 1;

        private final String name;
        private volatile boolean expected;

        State(long value, String name) {
            super(value);
            this.name = name;
        }

        @Override
        public void run() {
            long value = getAndSet(0);
            if (value != 0) {
                Native.release(value);
                if (!expected) {
                    System.getLogger("dev.millstream")
                            .log(System.Logger.Level.WARNING, "{0} was never closed", name);
                }
            }
        }
    }
}
