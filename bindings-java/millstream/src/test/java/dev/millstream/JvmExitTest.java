package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Flow;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A JVM ends at once and well, whatever is open. */
class JvmExitTest {
    private static final int TIMES = 5;

    @ParameterizedTest
    @ValueSource(strings = {"return", "exit", "halt", "hook"})
    void theJvmEndsWithOpenStreams(String how) throws Exception {
        String target = TestServer.reference().get("http");
        for (int i = 0; i < TIMES; i++) {
            Jvm.Result result = Jvm.run(List.of("-Xcheck:jni"), OpenStreams.class, target, how);
            assertEquals("ready\n", result.output());
            assertEquals(how.equals("exit") ? 3 : 0, result.exitCode());
        }
    }

    @Test
    void everyNativeIsQuietUnderTheChecksOfTheJvm() throws Exception {
        String target = TestServer.reference().get("http");
        Jvm.run(List.of("-Xcheck:jni"), Everything.class, target).expect("done\n");
    }

    /** Leaves streams of every sort open, with threads that wait for them. */
    public static final class OpenStreams {
        /** Reachable to the end. */
        private static final List<Object> OPEN = new ArrayList<>();

        private OpenStreams() {}

        public static void main(String[] args) throws Exception {
            Channel channel = Channel.open(args[0]);
            OPEN.add(channel);
            CountDownLatch received = new CountDownLatch(6);
            for (int i = 0; i < 2; i++) {
                var call =
                        channel.serverStream(
                                Echo.SERVER_STREAM, Echo.endless(1), CallOptions.DEFAULT);
                OPEN.add(call);
                Thread thread =
                        new Thread(
                                () -> {
                                    call.receive();
                                    received.countDown();
                                    try {
                                        call.receive();
                                    } catch (MillstreamException e) {
                                        // The hook closes the channel.
                                        assertEquals(StatusCode.CANCELLED, e.code());
                                    }
                                });
                thread.setDaemon(true);
                thread.start();
                // A stream that never stops sending, too.
                Flow.Publisher<?> publisher =
                        channel.publisher(
                                Echo.SERVER_STREAM,
                                Echo.answers(100_000_000, 50),
                                CallOptions.DEFAULT);
                publisher.subscribe(new Counter<>(received));
                OPEN.add(
                        channel.unaryAsync(Echo.UNARY, Echo.never(), CallOptions.DEFAULT)
                                .thenRun(received::countDown));
                var bidi = channel.bidi(Echo.BIDI, CallOptions.DEFAULT);
                bidi.send(Echo.request("x"));
                bidi.receive();
                received.countDown();
                OPEN.add(bidi);
            }
            received.await();
            System.out.println("ready");
            switch (args[1]) {
                case "exit" -> System.exit(3);
                case "halt" -> Runtime.getRuntime().halt(0);
                case "hook" ->
                        Runtime.getRuntime()
                                .addShutdownHook(
                                        new Thread(
                                                () -> {
                                                    // Calls work until the very end.
                                                    channel.unary(
                                                            Echo.UNARY,
                                                            Echo.request("bye"),
                                                            CallOptions.DEFAULT);
                                                    channel.close();
                                                }));
                default -> {}
            }
        }
    }

    private static final class Counter<T> implements Flow.Subscriber<T> {
        private final CountDownLatch received;

        Counter(CountDownLatch received) {
            this.received = received;
        }

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            subscription.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(T message) {
            received.countDown();
        }

        @Override
        public void onError(Throwable failure) {}

        @Override
        public void onComplete() {}
    }

    /** Crosses the border by every native, with failures too. */
    public static final class Everything {
        private Everything() {}

        public static void main(String[] args) throws Exception {
            try (Channel channel = Channel.open(args[0])) {
                channel.awaitReady(Echo.LONG);
                for (int i = 0; i < 200; i++) {
                    channel.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED);
                    channel.unaryAsync(Echo.UNARY, Echo.request("x"), Echo.BOUNDED).get();
                    try {
                        channel.unary(
                                Echo.UNARY, Echo.finish(0, 5, "no", new byte[3]), Echo.BOUNDED);
                    } catch (MillstreamException e) {
                        assertEquals(StatusCode.NOT_FOUND, e.code());
                    }
                    try {
                        Channel.open("nonsense");
                    } catch (MillstreamException e) {
                        assertEquals(ErrorCode.INVALID_TARGET, e.code());
                    }
                }
                try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
                    for (int i = 0; i < 20; i++) {
                        call.sendAll(List.of(Echo.request("a"), Echo.request("b")));
                        call.send(Echo.request("c"));
                    }
                    call.halfClose();
                    int count = 0;
                    for (Batch batch : call.batches()) {
                        count += batch.remaining();
                    }
                    assertEquals(60, count);
                    call.headers();
                    call.trailers();
                }
                try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
                    call.cancel("enough");
                    call.statusAsync().get();
                }
            }
            System.out.println("done");
        }
    }
}
