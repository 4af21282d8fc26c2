package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.millstream.internal.Native;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.junit.jupiter.api.function.Executable;

/** What many tests expect. */
final class Expect {
    /** For what waits: the common pool may have one thread only. */
    private static final Executor THREADS =
            task -> {
                Thread thread = new Thread(task, "test");
                thread.setDaemon(true);
                thread.start();
            };

    private Expect() {}

    /** Runs something on a thread of its own. */
    static CompletableFuture<Void> async(Runnable action) {
        return CompletableFuture.runAsync(action, THREADS);
    }

    /** Computes something on a thread of its own. */
    static <T> CompletableFuture<T> async(Supplier<T> action) {
        return CompletableFuture.supplyAsync(action, THREADS);
    }

    /** A failure of a kind, whose text has a part. */
    static MillstreamException failure(Code code, String part, Executable action) {
        MillstreamException e = assertThrows(MillstreamException.class, action);
        assertEquals(code, e.code(), e.toString());
        assertTrue(e.getMessage().contains(part), e.getMessage());
        return e;
    }

    static MillstreamException failure(Code code, Executable action) {
        return failure(code, "", action);
    }

    /** That a future completes in time. */
    static <T> T value(CompletableFuture<T> future) throws Exception {
        return future.get(60, TimeUnit.SECONDS);
    }

    /** That a future fails in time. */
    static Throwable failureOf(CompletableFuture<?> future) throws InterruptedException {
        try {
            return fail("completed with " + future.get(60, TimeUnit.SECONDS));
        } catch (ExecutionException e) {
            return e.getCause();
        } catch (TimeoutException e) {
            return fail("did not complete");
        }
    }

    static MillstreamException failureOf(CompletableFuture<?> future, Code code)
            throws InterruptedException {
        Throwable failure = failureOf(future);
        return failure(
                code,
                () -> {
                    throw failure;
                });
    }

    /** That something becomes true in time. */
    static void soon(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (!condition.call()) {
            assertTrue(System.nanoTime() < end, () -> "in vain: " + what);
            Thread.sleep(10);
        }
    }

    /** That the library holds no more calls and channels than before. */
    static void nothingAlive() throws Exception {
        soon(
                "no calls and channels are left",
                () -> {
                    System.gc();
                    return Native.live(Native.CALLS) == 0 && Native.live(Native.CHANNELS) == 0;
                });
    }
}
