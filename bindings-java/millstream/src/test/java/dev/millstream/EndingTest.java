package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Deadlines, cancellation, interrupts and servers that die. */
class EndingTest {
    private static final Duration SHORT = Duration.ofMillis(300);
    private static final CallOptions SOON = CallOptions.DEFAULT.withTimeout(SHORT);

    private static Channel channel;

    @BeforeAll
    static void open() throws Exception {
        channel = Channel.open(TestServer.reference().get("http"));
    }

    @AfterAll
    static void close() {
        channel.close();
    }

    // ---- deadlines

    @Test
    void aDeadlineThatHasPassedEndsTheCallBeforeItBegins() throws Exception {
        for (Duration none : new Duration[] {Duration.ZERO, Duration.ofSeconds(-5)}) {
            CallOptions options = Echo.named("expired").withTimeout(none);
            Expect.failure(
                    StatusCode.DEADLINE_EXCEEDED,
                    () -> channel.unary(Echo.UNARY, Echo.request("x"), options));
        }
        var stats = Echo.stats(channel, "expired");
        assertEquals(0, stats.getOpen() + stats.getCompleted() + stats.getCancelled());
    }

    @Test
    void aServerThatNeverAnswersIsGivenUpAtTheDeadline() {
        Expect.failure(
                StatusCode.DEADLINE_EXCEEDED, () -> channel.unary(Echo.UNARY, Echo.never(), SOON));
    }

    @Test
    void aDeadlineEndsAStreamThatHasBegun() {
        try (var call = channel.serverStream(Echo.SERVER_STREAM, Echo.endless(3), SOON)) {
            for (int i = 1; i <= 3; i++) {
                assertEquals(i, call.receive().getSequence());
            }
            Expect.failure(StatusCode.DEADLINE_EXCEEDED, call::receive);
        }
    }

    @Test
    void aDeadlineEndsAFuture() throws Exception {
        Expect.failureOf(
                channel.unaryAsync(Echo.UNARY, Echo.never(), SOON), StatusCode.DEADLINE_EXCEEDED);
    }

    @Test
    void aDeadlineWakesASenderThatWaitsForRoom() {
        EchoRequest large =
                EchoRequest.newBuilder()
                        .setPayload(ByteString.copyFrom(new byte[60_000]))
                        .setNeverAnswer(true)
                        .build();
        try (var call = channel.bidi(Echo.BIDI, CallOptions.DEFAULT.withTimeout(SHORT))) {
            MillstreamException e =
                    Expect.failure(
                            ErrorCode.CALL_ENDED,
                            () -> {
                                while (true) {
                                    call.send(large);
                                }
                            });
            assertEquals(StatusCode.DEADLINE_EXCEEDED, e.status().code());
        }
    }

    @Test
    void aLocalWaitThatRunsOutLeavesTheCallAsItIs() {
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            Expect.failure(ErrorCode.TIMEOUT, () -> call.receive(Duration.ofMillis(100)));
            Expect.failure(ErrorCode.TIMEOUT, () -> call.receive(Duration.ZERO));
            call.send(Echo.request("late"));
            assertEquals("late", call.receive(Echo.LONG).getPayload().toStringUtf8());
            call.halfClose();
            assertNull(call.receive(Echo.LONG));
        }
    }

    @Test
    void callsToNobodyEndAtTheirDeadlineWhenTheyWaitForReady() {
        try (Channel nobody = Channel.open("http://127.0.0.1:1")) {
            Expect.failure(
                    StatusCode.UNAVAILABLE,
                    () -> nobody.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED));
            Expect.failure(
                    StatusCode.DEADLINE_EXCEEDED,
                    () -> nobody.unary(Echo.UNARY, Echo.request("x"), SOON.withWaitForReady(true)));
        }
    }

    @Test
    void waitingForReadinessEndsInTime() throws Exception {
        assertTrue(channel.awaitReady(Echo.LONG));
        assertEquals(ConnectivityState.READY, channel.state());
        try (Channel nobody = Channel.open("http://127.0.0.1:1")) {
            assertFalse(nobody.awaitReady(Duration.ofMillis(200)));
            assertFalse(nobody.awaitReady(Duration.ZERO));
        }
    }

    // ---- cancellation

    @Test
    void cancellingBeforeAnythingWasSentEndsTheCall() {
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            call.cancel("changed my mind");
            call.cancel("twice");
            Expect.failure(StatusCode.CANCELLED, "changed my mind", call::receive);
        }
    }

    @Test
    void cancellingInTheMiddleReachesTheServer() throws Exception {
        CallOptions options = Echo.named("cancel-during");
        try (var call = channel.serverStream(Echo.SERVER_STREAM, Echo.endless(2), options)) {
            assertEquals(1, call.receive().getSequence());
            call.cancel("enough");
            assertEquals(StatusCode.CANCELLED, call.status().code());
        }
        Expect.soon(
                "the server sees it",
                () -> Echo.stats(channel, "cancel-during").getCancelled() == 1);
    }

    @Test
    void cancellingAfterTheEndChangesNothing() {
        try (var call =
                channel.serverStream(Echo.SERVER_STREAM, Echo.answers(1, 1), Echo.BOUNDED)) {
            assertEquals(1, call.receive().getSequence());
            assertNull(call.receive());
            call.cancel("too late");
            assertTrue(call.status().isOk());
        }
    }

    @Test
    void cancellingAFutureCancelsItsCall() throws Exception {
        CompletableFuture<EchoResponse> future =
                channel.unaryAsync(Echo.UNARY, Echo.never(), Echo.named("cancel-future"));
        Expect.soon("it arrives", () -> Echo.stats(channel, "cancel-future").getOpen() == 1);
        assertTrue(future.cancel(false));
        Expect.soon(
                "the server sees it",
                () -> Echo.stats(channel, "cancel-future").getCancelled() == 1);
    }

    @Test
    void aTimeoutOfAFutureCancelsItsCall() throws Exception {
        CompletableFuture<EchoResponse> future =
                channel.unaryAsync(Echo.UNARY, Echo.never(), Echo.named("timeout-future"))
                        .orTimeout(300, TimeUnit.MILLISECONDS);
        Expect.failureOf(future);
        Expect.soon(
                "the server sees it",
                () -> Echo.stats(channel, "timeout-future").getCancelled() == 1);
    }

    // ---- interrupts

    @Test
    void interruptingAThreadThatReceivesCancelsItsCall() throws Exception {
        CallOptions options = Echo.named("interrupt");
        CompletableFuture<MillstreamException> outcome = new CompletableFuture<>();
        CompletableFuture<Boolean> stillSet = new CompletableFuture<>();
        Thread thread =
                new Thread(
                        () -> {
                            try (var call =
                                    channel.serverStream(
                                            Echo.SERVER_STREAM, Echo.never(), options)) {
                                call.receive();
                            } catch (MillstreamException e) {
                                stillSet.complete(Thread.currentThread().isInterrupted());
                                outcome.complete(e);
                            }
                        });
        thread.start();
        Expect.soon("it arrives", () -> Echo.stats(channel, "interrupt").getOpen() == 1);
        thread.interrupt();
        MillstreamException e = Expect.value(outcome);
        assertEquals(StatusCode.CANCELLED, e.code());
        assertInstanceOf(InterruptedException.class, e.getCause());
        assertTrue(Expect.value(stillSet));
        Expect.soon(
                "the server sees it", () -> Echo.stats(channel, "interrupt").getCancelled() == 1);
    }

    @Test
    void interruptingAUnaryCallEndsIt() throws Exception {
        CompletableFuture<MillstreamException> outcome = new CompletableFuture<>();
        Thread thread =
                new Thread(
                        () ->
                                outcome.complete(
                                        Expect.failure(
                                                StatusCode.CANCELLED,
                                                () ->
                                                        channel.unary(
                                                                Echo.UNARY,
                                                                Echo.never(),
                                                                Echo.BOUNDED))));
        thread.start();
        Thread.sleep(100);
        thread.interrupt();
        Expect.value(outcome);
    }

    @Test
    void interruptingAWaitForReadinessIsAnInterruptedException() throws Exception {
        CompletableFuture<Throwable> outcome = new CompletableFuture<>();
        try (Channel nobody = Channel.open("http://127.0.0.1:1")) {
            Thread thread =
                    new Thread(
                            () -> {
                                try {
                                    nobody.awaitReady(Echo.LONG);
                                } catch (Throwable e) {
                                    outcome.complete(e);
                                }
                            });
            thread.start();
            Thread.sleep(100);
            thread.interrupt();
            assertInstanceOf(InterruptedException.class, Expect.value(outcome));
        }
    }

    // ---- servers that die

    @Test
    void aServerThatIsKilledEndsItsCallsAsUnavailable() throws Exception {
        try (TestServer server = TestServer.startReference();
                Channel own = Channel.open(server.get("http"))) {
            CompletableFuture<EchoResponse> unary =
                    own.unaryAsync(Echo.UNARY, Echo.never(), Echo.BOUNDED);
            try (var call = own.serverStream(Echo.SERVER_STREAM, Echo.endless(1), Echo.BOUNDED)) {
                assertEquals(1, call.receive().getSequence());
                server.kill();
                MillstreamException e = Expect.failure(StatusCode.UNAVAILABLE, call::receive);
                assertTrue(e.isRetryable());
            }
            Expect.failureOf(unary, StatusCode.UNAVAILABLE);
            Expect.failure(
                    StatusCode.UNAVAILABLE,
                    () -> own.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED));
        }
    }
}
