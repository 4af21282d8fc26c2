package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;

/** Blocking calls from virtual threads, which must not hold their carriers. */
@EnabledForJreRange(min = JRE.JAVA_21)
class VirtualThreadsTest {
    @Test
    void manyVirtualThreadsWaitOnOneCarrier() throws Exception {
        // Were a waiting thread pinned, the second one could not even begin.
        List<String> options =
                List.of(
                        "-Djdk.virtualThreadScheduler.parallelism=1",
                        "-Djdk.virtualThreadScheduler.maxPoolSize=1",
                        "-Xcheck:jni");
        Jvm.Result result = Jvm.run(options, Main.class, TestServer.reference().get("http"));
        assertEquals("100 calls, 100 interrupted, 100 in time\n", result.output());
        assertEquals(0, result.exitCode());
    }

    /** Compiled for Java 17, so threads are started by reflection. */
    public static final class Main {
        private static final int THREADS = 100;

        private Main() {}

        private static Thread start(Runnable task) {
            try {
                return (Thread)
                        Thread.class
                                .getMethod("startVirtualThread", Runnable.class)
                                .invoke(null, task);
            } catch (ReflectiveOperationException e) {
                throw new AssertionError(e);
            }
        }

        public static void main(String[] args) throws Exception {
            Counters counters = new Counters();
            try (Channel channel = Channel.open(args[0])) {
                List<Thread> calling = threads(() -> counters.call(channel));
                for (Thread thread : calling) {
                    thread.join();
                }
                List<Thread> waiting = threads(() -> counters.beInterrupted(channel));
                List<Thread> timing = threads(() -> counters.timeOut(channel));
                Expect.soon("all wait", () -> Echo.stats(channel, "virtual").getOpen() == THREADS);
                waiting.forEach(Thread::interrupt);
                for (Thread thread : waiting) {
                    thread.join();
                }
                for (Thread thread : timing) {
                    thread.join();
                }
            }
            System.out.println(
                    counters.calls
                            + " calls, "
                            + counters.interrupted
                            + " interrupted, "
                            + counters.inTime
                            + " in time");
        }

        private static List<Thread> threads(Runnable task) {
            return java.util.stream.IntStream.range(0, THREADS).mapToObj(i -> start(task)).toList();
        }
    }

    private static final class Counters {
        private int calls;
        private int interrupted;
        private int inTime;

        void call(Channel channel) {
            try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
                for (int i = 1; i <= 20; i++) {
                    call.send(Echo.request("x"));
                    assertEquals(i, call.receive().getSequence());
                }
                call.halfClose();
                call.receive();
            }
            channel.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED);
            synchronized (this) {
                calls++;
            }
        }

        void beInterrupted(Channel channel) {
            Expect.failure(
                    StatusCode.CANCELLED,
                    () -> channel.unary(Echo.UNARY, Echo.never(), Echo.named("virtual")));
            synchronized (this) {
                interrupted++;
            }
        }

        void timeOut(Channel channel) {
            try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
                Expect.failure(
                        ErrorCode.TIMEOUT, () -> call.receive(java.time.Duration.ofMillis(200)));
            }
            synchronized (this) {
                inTime++;
            }
        }
    }
}
