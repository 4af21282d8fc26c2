package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import dev.millstream.internal.Native;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** What is dropped is freed, and what waits is bounded. */
class LifetimeTest {
    private static final long MIB = 1 << 20;

    private static Channel open() throws Exception {
        return Channel.open(TestServer.reference().get("http"));
    }

    /** Other test classes share this JVM: theirs are closed, but may wait for the collector. */
    private static void settle() throws Exception {
        Expect.nothingAlive();
    }

    @Test
    void closingFreesEverything() throws Exception {
        settle();
        try (Channel channel = open()) {
            try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
                call.send(Echo.request("x"));
                assertEquals(1, call.receive().getSequence());
                assertEquals(1, Native.live(Native.CALLS));
            }
            assertEquals(0, Native.live(Native.CALLS));
            assertEquals(1, Native.live(Native.CHANNELS));
        }
        assertEquals(0, Native.live(Native.CHANNELS));
    }

    @Test
    void aCallThatWasReceivedToItsEndHoldsNothing() throws Exception {
        settle();
        try (Channel channel = open()) {
            List<Call<EchoRequest, EchoResponse>> calls = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                Call<EchoRequest, EchoResponse> call =
                        channel.serverStream(Echo.SERVER_STREAM, Echo.answers(3, 3), Echo.BOUNDED);
                call.forEach(response -> {});
                calls.add(call);
            }
            assertEquals(0, Native.live(Native.CALLS));
            calls.forEach(call -> assertTrue(call.status().isOk()));
        }
    }

    @Test
    void unaryCallsHoldNothingHoweverTheyEnd() throws Exception {
        settle();
        try (Channel channel = open()) {
            for (int i = 0; i < 50; i++) {
                channel.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED);
                Expect.failure(
                        StatusCode.ABORTED,
                        () ->
                                channel.unary(
                                        Echo.UNARY,
                                        Echo.finish(0, 10, "", new byte[0]),
                                        Echo.BOUNDED));
                assertEquals(0, Native.live(Native.CALLS));
                CompletableFuture<EchoResponse> future =
                        channel.unaryAsync(Echo.UNARY, Echo.never(), Echo.BOUNDED);
                future.cancel(false);
            }
            assertEquals(0, Native.live(Native.CALLS));
        }
    }

    @Test
    void whatIsForgottenIsFreedByTheCollector() throws Exception {
        settle();
        forget();
        Expect.nothingAlive();
    }

    private static void forget() throws Exception {
        Channel channel = open();
        for (int i = 0; i < 10; i++) {
            var call = channel.serverStream(Echo.SERVER_STREAM, Echo.endless(3), Echo.BOUNDED);
            assertEquals(1, call.receive().getSequence());
        }
        assertEquals(10, Native.live(Native.CALLS));
    }

    @Test
    void aSubscriptionThatNobodyElseHoldsGoesOn() throws Exception {
        settle();
        CompletableFuture<Integer> count = new CompletableFuture<>();
        subscribe(count);
        for (int i = 0; i < 5; i++) {
            System.gc();
            Thread.sleep(50);
        }
        assertEquals(20, Expect.value(count));
        Expect.nothingAlive();
    }

    private static void subscribe(CompletableFuture<Integer> count) throws Exception {
        EchoRequest slowly = EchoRequest.newBuilder().setCount(20).setIntervalMs(30).build();
        open().publisher(Echo.SERVER_STREAM, slowly, Echo.BOUNDED)
                .subscribe(
                        new java.util.concurrent.Flow.Subscriber<>() {
                            private int seen;

                            @Override
                            public void onSubscribe(
                                    java.util.concurrent.Flow.Subscription subscription) {
                                subscription.request(Long.MAX_VALUE);
                            }

                            @Override
                            public void onNext(EchoResponse response) {
                                seen++;
                            }

                            @Override
                            public void onError(Throwable failure) {
                                count.completeExceptionally(failure);
                            }

                            @Override
                            public void onComplete() {
                                count.complete(seen);
                            }
                        });
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void aStalledConsumerOfAGigabyteHoldsLittleMemory() throws Exception {
        // A JVM of its own: the heap of this one grows as it pleases.
        Jvm.Result result =
                Jvm.run(
                        List.of("-Xmx64m", "-Xms64m", "-XX:+AlwaysPreTouch"),
                        Stalled.class,
                        TestServer.reference().get("http"));
        assertEquals(0, result.exitCode(), result.output());
        long grown = Long.parseLong(result.output().strip());
        assertTrue(grown < 32 * MIB, "grew by " + grown / MIB + " MiB");
    }

    /** Opens streams of a gigabyte, takes one message of each, stalls, and tells its growth. */
    public static final class Stalled {
        private Stalled() {}

        public static void main(String[] args) throws Exception {
            try (Channel channel = Channel.open(args[0])) {
                // Everything that is used below is warm.
                for (int i = 0; i < 20; i++) {
                    stream(channel, 2_000, 60_000, true).close();
                    stream(channel, 20_000, 60, true).close();
                }
                long before = resident();
                List<Call<?, ?>> stalled = new ArrayList<>();
                stalled.add(stream(channel, 17_000, 60_000, false));
                stalled.add(stream(channel, 17_000_000, 60, false));
                long most = 0;
                for (int i = 0; i < 30; i++) {
                    Thread.sleep(100);
                    most = Math.max(most, resident());
                }
                System.out.println(most - before);
                stalled.forEach(Call::close);
            }
        }

        private static Call<EchoRequest, EchoResponse> stream(
                Channel channel, int count, int size, boolean whole) {
            Call<EchoRequest, EchoResponse> call =
                    channel.serverStream(
                            Echo.SERVER_STREAM, Echo.answers(count, size), Echo.BOUNDED);
            call.receive();
            if (whole) {
                call.forEach(response -> {});
            }
            return call;
        }

        private static long resident() throws Exception {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmRSS:")) {
                    return Long.parseLong(line.replaceAll("\\D", "")) << 10;
                }
            }
            throw new IllegalStateException("no VmRSS");
        }
    }
}
