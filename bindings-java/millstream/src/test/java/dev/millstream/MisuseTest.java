package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import dev.millstream.internal.Native;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is wrong gets a clear error and harms nothing else. */
class MisuseTest {
    private static Channel channel;

    @BeforeAll
    static void open() throws Exception {
        channel = Channel.open(TestServer.reference().get("http"));
    }

    @AfterAll
    static void close() {
        channel.close();
    }

    // ---- channels

    @ParameterizedTest
    @ValueSource(
            strings = {"", "localhost", "ftp://localhost:1", "http://", "http://a:port", "unix:"})
    void aTargetThatIsNoneIsRefused(String target) {
        Expect.failure(ErrorCode.INVALID_TARGET, () -> Channel.open(target));
    }

    @Test
    void anUnknownOptionIsRefusedWithTheOnesThatThereAre() {
        Expect.failure(
                ErrorCode.INVALID_ARGUMENT,
                "keepalive_time",
                () -> Channel.builder("http://localhost:1").option("keep_alive", "1s").open());
    }

    @Test
    void anOptionWithAnImpossibleValueIsRefused() {
        Expect.failure(
                ErrorCode.INVALID_ARGUMENT,
                "keepalive_time",
                () -> Channel.builder("http://localhost:1").option("keepalive_time", "x").open());
        Expect.failure(
                ErrorCode.INVALID_ARGUMENT,
                "max_connections",
                () -> Channel.builder("http://localhost:1").option("max_connections", "0").open());
    }

    @Test
    void everyOptionOfTheTableIsKnown() {
        String options =
                new String(Native.describe(Native.CHANNEL_OPTIONS), StandardCharsets.UTF_8);
        assertTrue(options.lines().count() >= 10, options);
        for (String line : options.lines().toList()) {
            String name = line.split("\t")[0];
            MillstreamException e =
                    assertThrows(
                            MillstreamException.class,
                            () -> Channel.builder("nowhere").option(name, "\u0000").open());
            assertFalse(e.getMessage().contains("unknown"), e.getMessage());
        }
    }

    @Test
    void certificatesThatAreNoneAreRefused() {
        byte[] nonsense = "no certificate".getBytes(StandardCharsets.UTF_8);
        Expect.failure(
                ErrorCode.INVALID_TLS,
                () -> Channel.builder("https://localhost:1").trustedRoots(nonsense).open());
        Expect.failure(
                ErrorCode.INVALID_TLS,
                () ->
                        Channel.builder("https://localhost:1")
                                .clientCertificate(nonsense, nonsense)
                                .open());
    }

    @Test
    void aClosedChannelRefusesCallsAndCloseIsIdempotent() throws Exception {
        Channel closed = Channel.open(TestServer.reference().get("http"));
        closed.close();
        closed.close();
        Expect.failure(
                ErrorCode.CLOSED, () -> closed.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED));
        Expect.failure(
                ErrorCode.CLOSED,
                () -> closed.unaryAsync(Echo.UNARY, Echo.request("x"), Echo.BOUNDED));
        Expect.failure(ErrorCode.CLOSED, () -> closed.bidi(Echo.BIDI, Echo.BOUNDED));
        Expect.failure(ErrorCode.CLOSED, () -> closed.awaitReady(Duration.ofSeconds(1)));
        assertEquals(ConnectivityState.SHUTDOWN, closed.state());
        closed.connect();
        assertEquals(ConnectivityState.SHUTDOWN, closed.state());
    }

    @Test
    void closingAChannelEndsItsCalls() throws Exception {
        Channel own = Channel.open(TestServer.reference().get("http"));
        Call<EchoRequest, EchoResponse> call =
                own.serverStream(Echo.SERVER_STREAM, Echo.endless(1), Echo.BOUNDED);
        assertEquals(1, call.receive().getSequence());
        CompletableFuture<EchoResponse> pending =
                own.unaryAsync(Echo.UNARY, Echo.never(), Echo.BOUNDED);
        own.close();
        Expect.failure(StatusCode.CANCELLED, "closed", call::receive);
        Expect.failureOf(pending, StatusCode.CANCELLED);
        call.close();
    }

    @Test
    void closingAChannelWakesWhoWaitsForItsState() throws Exception {
        Channel own = Channel.open("http://127.0.0.1:1");
        CompletableFuture<Throwable> waiting =
                Expect.async(
                        () ->
                                assertThrows(
                                        MillstreamException.class,
                                        () -> own.awaitReady(Echo.LONG)));
        Expect.soon("it connects", () -> own.state() != ConnectivityState.IDLE);
        CompletableFuture<ConnectivityState> shutdown = new CompletableFuture<>();
        Thread.sleep(50);
        own.stateChange(own.state()).thenAccept(shutdown::complete);
        own.close();
        assertEquals(ErrorCode.CLOSED, ((MillstreamException) Expect.value(waiting)).code());
        Expect.value(shutdown);
    }

    // ---- calls

    @ParameterizedTest
    @ValueSource(strings = {"", "no slash", "/onlyservice", "/a/b\nc"})
    void aPathThatIsNoneIsRefused(String path) {
        Expect.failure(ErrorCode.INVALID_ARGUMENT, () -> channel.unary(path, new byte[0]));
    }

    @Test
    void anUnknownServiceIsUnimplemented() {
        Expect.failure(
                StatusCode.UNIMPLEMENTED, () -> channel.unary("/no.such.Service/M", new byte[0]));
    }

    @Test
    void anUnknownMethodIsUnimplemented() {
        Expect.failure(
                StatusCode.UNIMPLEMENTED, () -> channel.unary("/contract.v1.Echo/No", new byte[0]));
    }

    @Test
    void aMethodUsedAsAnotherKindIsRefused() {
        Expect.failure(
                ErrorCode.INVALID_ARGUMENT,
                "CLIENT_STREAM",
                () -> channel.unary(Echo.CLIENT_STREAM, Echo.request("x"), Echo.BOUNDED));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "with space", "grpc-mine", "content-type", ":path", "ä"})
    void anIllegalMetadataKeyIsRefused(String key) {
        CallOptions options = Echo.BOUNDED.withMetadata(Metadata.of(key, "value"));
        Expect.failure(
                ErrorCode.INVALID_METADATA,
                () -> channel.unary(Echo.UNARY, Echo.request("x"), options));
    }

    @Test
    void anIllegalMetadataValueIsRefused() {
        CallOptions options = Echo.BOUNDED.withMetadata(Metadata.of("x-key", "line\nbreak"));
        Expect.failure(
                ErrorCode.INVALID_METADATA,
                "x-key",
                () -> channel.unary(Echo.UNARY, Echo.request("x"), options));
    }

    @Test
    void nullsAreRefusedBeforeAnythingHappens() {
        assertThrows(NullPointerException.class, () -> Channel.open(null));
        assertThrows(
                NullPointerException.class,
                () -> channel.unary(Echo.UNARY, null, CallOptions.DEFAULT));
        assertThrows(NullPointerException.class, () -> channel.unary("/a/b", null));
        assertThrows(NullPointerException.class, () -> Metadata.of("key", (String) null));
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            assertThrows(NullPointerException.class, () -> call.send(null));
        }
    }

    @Test
    void negativeLimitsAreRefused() {
        Expect.failure(
                ErrorCode.INVALID_ARGUMENT, () -> CallOptions.DEFAULT.withMaxReceiveMessage(-1));
    }

    @Test
    void sendingAfterTheHalfCloseIsRefusedAndHalfCloseIsIdempotent() {
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            call.send(Echo.endless(1));
            call.halfClose();
            call.halfClose();
            Expect.failure(ErrorCode.INVALID_STATE, () -> call.send(Echo.request("late")));
            assertEquals(1, call.receive().getSequence());
        }
    }

    @Test
    void aSecondRequestOfAMethodWithOneIsRefused() {
        try (var call = channel.call(Echo.UNARY, Echo.BOUNDED)) {
            call.send(Echo.request("first"));
            Expect.failure(ErrorCode.INVALID_STATE, () -> call.send(Echo.request("second")));
            call.halfClose();
            assertEquals("first", call.receive().getPayload().toStringUtf8());
        }
    }

    @Test
    void sendingOnACallThatEndedTellsItsStatus() {
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            call.send(Echo.finish(0, 9, "over", new byte[0]));
            Expect.failure(StatusCode.FAILED_PRECONDITION, "over", call::receive);
            MillstreamException e =
                    Expect.failure(ErrorCode.CALL_ENDED, () -> call.send(Echo.request("late")));
            assertEquals(StatusCode.FAILED_PRECONDITION, e.status().code());
            Expect.failure(ErrorCode.CALL_ENDED, () -> call.sendAll(List.of(Echo.request("late"))));
            call.halfClose();
        }
    }

    @Test
    void aClosedCallRefusesRequestsAndCloseIsIdempotent() {
        Call<EchoRequest, EchoResponse> call = channel.bidi(Echo.BIDI, Echo.BOUNDED);
        call.close();
        call.close();
        call.cancel("again");
        Expect.failure(ErrorCode.CLOSED, () -> call.send(Echo.request("x")));
        Expect.failure(ErrorCode.CLOSED, call::halfClose);
        Expect.failure(StatusCode.CANCELLED, "closed", call::receive);
        assertEquals(StatusCode.CANCELLED, call.status().code());
        call.headers();
        assertTrue(call.sendable().orTimeout(60, TimeUnit.SECONDS).join() == null);
    }

    @Test
    void closingACallOfAnotherThreadWakesIt() throws Exception {
        try (var call = channel.serverStream(Echo.SERVER_STREAM, Echo.never(), Echo.BOUNDED)) {
            CompletableFuture<MillstreamException> waiting =
                    Expect.async(() -> Expect.failure(StatusCode.CANCELLED, call::receive));
            Thread.sleep(100);
            call.close();
            Expect.value(waiting);
        }
    }

    @Test
    void closingCallsThatAreUsedByOtherThreadsNeverHarms() throws Exception {
        for (int i = 0; i < 200; i++) {
            Call<EchoRequest, EchoResponse> call = channel.bidi(Echo.BIDI, Echo.BOUNDED);
            CountDownLatch started = new CountDownLatch(2);
            CompletableFuture<Void> sender =
                    Expect.async(
                            () -> {
                                started.countDown();
                                while (true) {
                                    call.send(Echo.request("x"));
                                }
                            });
            CompletableFuture<Void> receiver =
                    Expect.async(
                            () -> {
                                started.countDown();
                                call.forEach(response -> {});
                            });
            started.await(1, TimeUnit.SECONDS);
            call.close();
            Code sent = ((MillstreamException) Expect.failureOf(sender)).code();
            assertTrue(List.of(ErrorCode.CLOSED, ErrorCode.CALL_ENDED).contains(sent), sent.name());
            Expect.failureOf(receiver, StatusCode.CANCELLED);
        }
    }

    @Test
    void twoThreadsThatReceiveFromOneCallAreToldSo() throws Exception {
        try (var call = channel.serverStream(Echo.SERVER_STREAM, Echo.never(), Echo.BOUNDED)) {
            CompletableFuture<Throwable> first =
                    Expect.async(() -> assertThrows(MillstreamException.class, call::receive));
            Thread.sleep(200);
            Expect.failure(ErrorCode.BUSY, call::receive);
            call.cancel("enough");
            assertEquals(StatusCode.CANCELLED, ((MillstreamException) Expect.value(first)).code());
        }
    }

    @Test
    void aRequestIteratorThatRaisesCancelsTheCallAndIsPassedOn() throws Exception {
        RuntimeException reason = new RuntimeException("no more");
        CompletableFuture<Void> arrived = new CompletableFuture<>();
        Iterator<EchoRequest> broken =
                new Iterator<>() {
                    private int sent;

                    @Override
                    public boolean hasNext() {
                        return true;
                    }

                    @Override
                    public EchoRequest next() {
                        if (sent++ == 3) {
                            arrived.join();
                            throw reason;
                        }
                        return Echo.request("x");
                    }
                };
        CallOptions options = Echo.named("iterator-raises");
        try (var call = channel.clientStream(Echo.CLIENT_STREAM, options)) {
            Expect.async(
                    () -> {
                        while (Echo.stats(channel, "iterator-raises").getOpen() == 0) {
                            Thread.onSpinWait();
                        }
                        arrived.complete(null);
                    });
            RuntimeException e = assertThrows(RuntimeException.class, () -> call.sendAll(broken));
            assertSame(reason, e);
            assertEquals(StatusCode.CANCELLED, call.status().code());
            assertTrue(call.status().message().contains("no more"), call.status().message());
        }
        Expect.soon(
                "the server sees it",
                () -> Echo.stats(channel, "iterator-raises").getCancelled() == 1);
    }

    @Test
    void aConsumerThatRaisesEndsTheCallByItsTryBlock() throws Exception {
        IllegalStateException reason = new IllegalStateException("cannot handle it");
        CallOptions options = Echo.named("consumer-raises");
        Exception e =
                assertThrows(
                        IllegalStateException.class,
                        () -> {
                            try (var call =
                                    channel.serverStream(
                                            Echo.SERVER_STREAM, Echo.endless(5), options)) {
                                for (EchoResponse response : call) {
                                    throw reason;
                                }
                            }
                        });
        assertSame(reason, e);
        Expect.soon(
                "the server sees it",
                () -> Echo.stats(channel, "consumer-raises").getCancelled() == 1);
    }

    @Test
    void aSerializerThatFailsSendsNothingAndTheCallGoesOn() {
        Method<String, EchoResponse> method =
                Method.of(
                        "/contract.v1.Echo/Bidi",
                        CallKind.BIDI,
                        text -> {
                            if (text.equals("bad")) {
                                throw new Exception("cannot write this");
                            }
                            return Echo.request(text).toByteArray();
                        },
                        EchoResponse.parser()::parseFrom);
        try (var call = channel.bidi(method, Echo.BOUNDED)) {
            Expect.failure(ErrorCode.INVALID_ARGUMENT, "cannot write this", () -> call.send("bad"));
            Expect.failure(
                    ErrorCode.INVALID_ARGUMENT,
                    "cannot write this",
                    () -> call.sendAll(Arrays.asList("a", "b", "bad", "c")));
            call.halfClose();
            assertEquals("a", call.receive().getPayload().toStringUtf8());
            assertEquals("b", call.receive().getPayload().toStringUtf8());
            assertNull(call.receive());
        }
    }

    @Test
    void aResponseThatDoesNotParseEndsTheCallAsInternal() throws Exception {
        Method<EchoRequest, Object> method =
                Method.of(
                        "/contract.v1.Echo/ServerStream",
                        CallKind.SERVER_STREAM,
                        EchoRequest::toByteArray,
                        (buffer, offset, length) -> {
                            throw new Exception("not mine");
                        });
        CallOptions options = Echo.named("does-not-parse");
        try (var call = channel.serverStream(method, Echo.endless(1), options)) {
            MillstreamException e = Expect.failure(StatusCode.INTERNAL, "not mine", call::receive);
            assertInstanceOf(Exception.class, e.getCause());
        }
        Expect.soon(
                "the server sees it",
                () -> Echo.stats(channel, "does-not-parse").getCancelled() == 1);
    }

    @Test
    void aFutureWhoseResponseDoesNotParseFails() throws Exception {
        Method<EchoRequest, Object> method =
                Method.of(
                        "/contract.v1.Echo/Unary",
                        CallKind.UNARY,
                        EchoRequest::toByteArray,
                        (buffer, offset, length) -> {
                            throw new Exception("not mine");
                        });
        Expect.failureOf(
                channel.unaryAsync(method, Echo.request("x"), Echo.BOUNDED), StatusCode.INTERNAL);
        Expect.failure(
                StatusCode.INTERNAL,
                "not mine",
                () -> channel.unary(method, Echo.request("x"), Echo.BOUNDED));
    }

    @Test
    void aResponseOverTheLimitIsRefused() {
        CallOptions options = Echo.BOUNDED.withMaxReceiveMessage(1000);
        Expect.failure(
                StatusCode.RESOURCE_EXHAUSTED,
                () -> channel.unary(Echo.UNARY, Echo.answers(1, 2000), options));
    }

    @Test
    void aRequestOverTheLimitIsRefused() {
        EchoRequest large =
                EchoRequest.newBuilder().setPayload(ByteString.copyFrom(new byte[2000])).build();
        CallOptions options = Echo.BOUNDED.withMaxSendMessage(1000);
        MillstreamException e =
                assertThrows(
                        MillstreamException.class, () -> channel.unary(Echo.UNARY, large, options));
        assertTrue(e.getMessage().contains("1000"), e.getMessage());
    }

    @Test
    void metadataOverTheServersLimitFailsTheCallAlone() {
        CallOptions options =
                Echo.BOUNDED.withMetadata(Metadata.of("x-large", "x".repeat(1 << 20)));
        assertThrows(
                MillstreamException.class,
                () -> channel.unary(Echo.UNARY, Echo.request("x"), options));
        channel.unary(Echo.UNARY, Echo.request("x"), Echo.BOUNDED.withWaitForReady(true));
    }

    // ---- handles

    @Test
    void handlesThatAreNoneAreRefusedByTheLibrary() {
        for (long handle : new long[] {0, -1, 42, Long.MAX_VALUE, Long.MIN_VALUE}) {
            Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.callHalfClose(handle));
            Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.channelState(handle, false));
            Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.callTake(handle, new byte[1]));
            Expect.failure(
                    ErrorCode.INVALID_HANDLE, () -> Native.queueWait(handle, new long[1], 0));
            Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.release(handle));
        }
    }

    @Test
    void aHandleOfAnotherKindOrAReleasedOneIsRefusedByTheLibrary() {
        long queue = Native.queueOpen();
        Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.callHalfClose(queue));
        assertEquals(0, Native.queueWait(queue, new long[1], 0));
        Native.release(queue);
        Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.queueWait(queue, new long[1], 0));
        Expect.failure(ErrorCode.INVALID_HANDLE, () -> Native.release(queue));
    }

    @Test
    void nativesWithImpossibleArgumentsFailWithoutHarm() {
        Expect.failure(ErrorCode.INVALID_ARGUMENT, () -> Native.describe(99));
        Expect.failure(ErrorCode.INVALID_ARGUMENT, () -> Native.live(-1));
        Expect.failure(ErrorCode.INVALID_ARGUMENT, () -> Native.channelOpen(null));
        Expect.failure(ErrorCode.INVALID_ARGUMENT, () -> Native.channelOpen(new byte[] {0, 0, 1}));
    }
}
