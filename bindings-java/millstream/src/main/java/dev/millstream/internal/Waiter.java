package dev.millstream.internal;

import java.util.concurrent.locks.LockSupport;

/** A thread that waits on a Java object: for virtual threads, whose carrier is free meanwhile. */
final class Waiter implements Runnable {
    /** As a number of nanoseconds: wait for ever. */
    static final long FOREVER = Long.MAX_VALUE;

    private final Thread thread = Thread.currentThread();
    private volatile boolean woken;

    private Waiter() {}

    /**
     * Waits until the watch fires.
     *
     * @return false when the time ran out
     */
    static boolean park(Watch watch, long nanos) throws InterruptedException {
        Waiter waiter = new Waiter();
        watch.add(waiter);
        long start = System.nanoTime();
        while (!waiter.woken) {
            if (Thread.interrupted()) {
                watch.remove(waiter);
                throw new InterruptedException();
            }
            long left = left(nanos, start);
            if (left <= 0) {
                watch.remove(waiter);
                return waiter.woken;
            }
            LockSupport.parkNanos(watch, left);
        }
        return true;
    }

    /** What is left of a time that began at the start. */
    static long left(long nanos, long start) {
        return nanos == FOREVER ? FOREVER : nanos - (System.nanoTime() - start);
    }

    @Override
    public void run() {
        woken = true;
        LockSupport.unpark(thread);
    }
}
