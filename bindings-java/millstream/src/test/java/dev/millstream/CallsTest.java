package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The four kinds of calls, blocking and with futures. */
class CallsTest {
    private static Channel channel;

    @BeforeAll
    static void open() throws Exception {
        channel = Channel.open(TestServer.reference().get("http"));
    }

    @AfterAll
    static void close() {
        channel.close();
    }

    @Test
    void aUnaryCallGivesItsResponse() {
        EchoResponse response = channel.unary(Echo.UNARY, Echo.request("hello"), Echo.BOUNDED);
        assertEquals("hello", response.getPayload().toStringUtf8());
    }

    @Test
    void aUnaryCallWorksOnBytesAlone() throws Exception {
        byte[] request = Echo.request("bytes").toByteArray();
        byte[] response = channel.unary("/contract.v1.Echo/Unary", request);
        assertEquals("bytes", EchoResponse.parseFrom(response).getPayload().toStringUtf8());
    }

    @Test
    void anEmptyMessageIsAMessage() {
        EchoResponse response =
                channel.unary(Echo.UNARY, EchoRequest.getDefaultInstance(), Echo.BOUNDED);
        assertEquals(0, response.getPayload().size());
        assertEquals(1, response.getRequests());
    }

    @Test
    void aUnaryFutureCompletes() throws Exception {
        EchoResponse response =
                Expect.value(channel.unaryAsync(Echo.UNARY, Echo.request("x"), Echo.BOUNDED));
        assertEquals("x", response.getPayload().toStringUtf8());
    }

    @Test
    void manyUnaryFuturesAtOnceGetEachItsOwnResponse() throws Exception {
        List<CompletableFuture<EchoResponse>> futures =
                IntStream.range(0, 500)
                        .mapToObj(
                                i ->
                                        channel.unaryAsync(
                                                Echo.UNARY, Echo.request("m" + i), Echo.BOUNDED))
                        .toList();
        for (int i = 0; i < futures.size(); i++) {
            assertEquals("m" + i, Expect.value(futures.get(i)).getPayload().toStringUtf8());
        }
    }

    @Test
    void aServerStreamIsIteratedInOrder() {
        List<Long> sequences = new ArrayList<>();
        try (var call =
                channel.serverStream(Echo.SERVER_STREAM, Echo.answers(1000, 10), Echo.BOUNDED)) {
            for (EchoResponse response : call) {
                assertEquals(10, response.getPayload().size());
                sequences.add(response.getSequence());
            }
            assertTrue(call.status().isOk());
        }
        assertEquals(IntStream.rangeClosed(1, 1000).mapToObj(Long::valueOf).toList(), sequences);
    }

    @Test
    void aServerStreamOfNothingIsEmpty() {
        try (var call =
                channel.serverStream(Echo.SERVER_STREAM, Echo.answers(0, 1), Echo.BOUNDED)) {
            assertFalse(call.iterator().hasNext());
            assertNull(call.receive());
        }
    }

    @Test
    void iterationGoesOnWhereItWasLeft() {
        try (var call =
                channel.serverStream(Echo.SERVER_STREAM, Echo.answers(3, 1), Echo.BOUNDED)) {
            for (EchoResponse response : call) {
                assertEquals(1, response.getSequence());
                break;
            }
            assertEquals(2, call.receive().getSequence());
            assertEquals(3, call.iterator().next().getSequence());
            assertFalse(call.iterator().hasNext());
        }
    }

    @Test
    void batchesHoldEveryMessageAndFarLessThanOneCrossingForEach() throws Exception {
        int messages = 200_000;
        int batches = 0;
        long sum = 0;
        byte[] request = Echo.answers(messages, 20).toByteArray();
        try (var call =
                channel.serverStream("/contract.v1.Echo/ServerStream", request, Echo.BOUNDED)) {
            for (Batch batch : call.batches()) {
                batches++;
                int remaining = batch.remaining();
                while (batch.advance()) {
                    EchoResponse response =
                            EchoResponse.parser()
                                    .parseFrom(batch.array(), batch.offset(), batch.length());
                    sum += response.getSequence();
                    remaining--;
                }
                assertEquals(0, remaining);
            }
        }
        assertEquals((long) messages * (messages + 1) / 2, sum);
        assertTrue(batches <= messages / 8, batches + " batches for " + messages + " messages");
    }

    @Test
    void messagesOfABatchThatWereNotReadAreSkippedByTheNextOne() {
        int seen = 0;
        int batches = 0;
        byte[] request = Echo.answers(10_000, 20).toByteArray();
        try (var call =
                channel.serverStream("/contract.v1.Echo/ServerStream", request, Echo.BOUNDED)) {
            for (Batch batch : call.batches()) {
                batches++;
                for (byte[] message : batch) {
                    assertTrue(message.length > 20);
                    seen++;
                    break;
                }
            }
        }
        assertEquals(batches, seen);
    }

    @Test
    void messagesOfEverySizeArriveWhole() {
        int[] sizes = {0, 1, 100, 4_000, 4_096, 100_000, 262_144, 3_000_000, 5, 1_000_000, 1};
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            for (int size : sizes) {
                byte[] payload = new byte[size];
                for (int i = 0; i < size; i++) {
                    payload[i] = (byte) (i * 31);
                }
                ByteString bytes = ByteString.copyFrom(payload);
                call.send(EchoRequest.newBuilder().setPayload(bytes).build());
                assertEquals(bytes, call.receive().getPayload());
            }
            call.halfClose();
            assertNull(call.receive());
        }
    }

    @Test
    void aClientStreamIsAnsweredAfterTheHalfClose() {
        try (var call = channel.clientStream(Echo.CLIENT_STREAM, Echo.BOUNDED)) {
            for (int i = 0; i < 100; i++) {
                call.send(Echo.request("abc"));
            }
            call.halfClose();
            EchoResponse response = call.receive();
            assertEquals(100, response.getRequests());
            assertEquals(300, response.getRequestBytes());
            assertNull(call.receive());
        }
    }

    @Test
    void aCollectionIsSentPackedAndComplete() {
        List<EchoRequest> requests =
                new ArrayList<>(Collections.nCopies(50_000, Echo.request("abc")));
        byte[] large = new byte[100_000];
        requests.add(17, EchoRequest.newBuilder().setPayload(ByteString.copyFrom(large)).build());
        requests.add(0, EchoRequest.getDefaultInstance());
        try (var call = channel.clientStream(Echo.CLIENT_STREAM, Echo.BOUNDED)) {
            call.sendAll(requests);
            call.halfClose();
            EchoResponse response = call.receive();
            assertEquals(50_002, response.getRequests());
            assertEquals(150_000 + 100_000, response.getRequestBytes());
        }
    }

    @Test
    void anIteratorIsSentMessageByMessage() {
        // Each message is taken from the iterator only after the one before came back.
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            call.sendAll(
                    new Iterator<EchoRequest>() {
                        private int sent;

                        @Override
                        public boolean hasNext() {
                            return sent < 50;
                        }

                        @Override
                        public EchoRequest next() {
                            if (sent > 0) {
                                assertEquals(sent, call.receive().getSequence());
                            }
                            sent++;
                            return Echo.request("one");
                        }
                    });
            call.halfClose();
            assertEquals(50, call.receive().getSequence());
            assertNull(call.receive());
        }
    }

    @Test
    void aClientStreamOfAnIteratorGivesItsResponse() {
        Iterator<EchoRequest> requests =
                IntStream.range(0, 1000).mapToObj(i -> Echo.request("ab")).iterator();
        EchoResponse response = channel.clientStream(Echo.CLIENT_STREAM, requests, Echo.BOUNDED);
        assertEquals(1000, response.getRequests());
    }

    @Test
    void aClientStreamThatTheServerEndsEarlyGivesItsStatus() {
        byte[] details = {1, 2, 3};
        Iterator<EchoRequest> endless =
                new Iterator<>() {
                    private boolean first = true;

                    @Override
                    public boolean hasNext() {
                        return true;
                    }

                    @Override
                    public EchoRequest next() {
                        boolean finish = first;
                        first = false;
                        return finish ? Echo.finish(0, 9, "enough", details) : Echo.request("x");
                    }
                };
        MillstreamException e =
                Expect.failure(
                        StatusCode.FAILED_PRECONDITION,
                        "enough",
                        () -> channel.clientStream(Echo.CLIENT_STREAM, endless, Echo.BOUNDED));
        assertArrayEquals(details, e.details());
    }

    @Test
    void bothDirectionsOfABidirectionalCallAreIndependent() throws Exception {
        int count = 20_000;
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            CompletableFuture<Void> sending =
                    Expect.async(
                            () -> {
                                for (int i = 0; i < count; i++) {
                                    call.send(Echo.request("ping"));
                                }
                                call.halfClose();
                            });
            int received = 0;
            for (EchoResponse response : call) {
                assertEquals(++received, response.getSequence());
            }
            assertEquals(count, received);
            Expect.value(sending);
        }
    }

    @Test
    void trySendNeverWaitsAndSaysWhenThereIsRoom() throws Exception {
        // The server does not read on: its answers are not taken.
        EchoRequest large =
                EchoRequest.newBuilder().setPayload(ByteString.copyFrom(new byte[60_000])).build();
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            int accepted = 0;
            while (call.trySend(large)) {
                accepted++;
                assertTrue(accepted < 10_000, "the send buffer never fills");
            }
            CompletableFuture<Void> room = call.sendable();
            for (int i = 0; i < accepted; i++) {
                assertEquals(60_000, call.receive().getPayload().size());
            }
            Expect.value(room);
            Expect.soon("there is room again", () -> call.trySend(large));
        }
    }

    @Test
    void headersComeBeforeTheEndAndTrailersWithIt() {
        Metadata sent =
                Metadata.of("x-echo-text", "value")
                        .with("x-echo-text", "second")
                        .with("x-echo-data-bin", new byte[] {0, 1, (byte) 0xff});
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED.withMetadata(sent))) {
            Metadata headers = call.headers();
            assertEquals("value", headers.get("x-echo-text"));
            assertEquals(2, headers.getAll("x-echo-text").size());
            assertArrayEquals(new byte[] {0, 1, (byte) 0xff}, headers.getBytes("x-echo-data-bin"));
            assertFalse(call.isEnded());
            call.halfClose();
            assertNull(call.receive());
            Metadata trailers = call.trailers();
            assertEquals("value", trailers.get("x-echo-text"));
            assertArrayEquals(new byte[] {0, 1, (byte) 0xff}, trailers.getBytes("x-echo-data-bin"));
            assertTrue(call.isEnded());
            // They outlive the call.
            call.close();
            assertEquals("value", call.headers().get("x-echo-text"));
            assertTrue(call.status().isOk());
        }
    }

    @Test
    void futuresOfHeadersAndStatusComplete() throws Exception {
        Metadata sent = Metadata.of("x-echo-a", "b");
        try (var call = channel.call(Echo.UNARY, Echo.BOUNDED.withMetadata(sent))) {
            CompletableFuture<Metadata> headers = call.headersAsync();
            CompletableFuture<Status> status = call.statusAsync();
            assertFalse(status.isDone());
            call.send(Echo.request("x"));
            call.halfClose();
            assertEquals("b", Expect.value(headers).get("x-echo-a"));
            assertEquals(StatusCode.OK, Expect.value(status).code());
            assertEquals("x", call.receive().getPayload().toStringUtf8());
        }
    }

    @Test
    void requestMetadataReachesTheServer() {
        Metadata sent = Metadata.of("x-one", "1").with("x-two-bin", new byte[] {(byte) 200});
        EchoRequest request = EchoRequest.newBuilder().setReportMetadata(true).build();
        EchoResponse response = channel.unary(Echo.UNARY, request, Echo.BOUNDED.withMetadata(sent));
        var entries = response.getMetadataList();
        assertTrue(
                entries.stream()
                        .anyMatch(
                                e ->
                                        e.getKey().equals("x-one")
                                                && e.getValue().toStringUtf8().equals("1")));
        assertTrue(
                entries.stream()
                        .anyMatch(
                                e ->
                                        e.getKey().equals("x-two-bin")
                                                && e.getValue().byteAt(0) == (byte) 200));
    }

    @Test
    void aStatusHasCodeTextDetailsAndTrailers() {
        byte[] details = {8, 5, 18, 3, 'f', 'o', 'o'};
        CallOptions options = Echo.BOUNDED.withMetadata(Metadata.of("x-echo-t", "v"));
        MillstreamException e =
                Expect.failure(
                        StatusCode.NOT_FOUND,
                        "no such thing: ä",
                        () ->
                                channel.unary(
                                        Echo.UNARY,
                                        Echo.finish(0, 5, "no such thing: ä", details),
                                        options));
        assertArrayEquals(details, e.details());
        assertEquals("v", e.trailers().get("x-echo-t"));
        assertEquals("5", e.trailers().get("grpc-status"));
        assertFalse(e.isRetryable());
    }

    @Test
    void theMessagesOfAFailedStreamComeBeforeItsStatus() {
        try (var call =
                channel.serverStream(
                        Echo.SERVER_STREAM,
                        Echo.finish(3, 10, "conflict", new byte[0]),
                        Echo.BOUNDED)) {
            Iterator<EchoResponse> responses = call.iterator();
            for (int i = 1; i <= 3; i++) {
                assertEquals(i, responses.next().getSequence());
            }
            Expect.failure(StatusCode.ABORTED, "conflict", responses::hasNext);
            Expect.failure(StatusCode.ABORTED, "conflict", responses::next);
            assertEquals(StatusCode.ABORTED, call.status().code());
        }
    }

    @ParameterizedTest
    @EnumSource(Compression.class)
    void messagesAreCompressedBothWays(Compression compression) {
        Metadata answer =
                compression == Compression.IDENTITY
                        ? Metadata.empty()
                        : Metadata.of("x-respond-with", compression.name().toLowerCase());
        CallOptions options = Echo.BOUNDED.withCompression(compression).withMetadata(answer);
        String text = "again and again ".repeat(1000);
        EchoResponse response = channel.unary(Echo.UNARY, Echo.request(text), options);
        assertEquals(text, response.getPayload().toStringUtf8());
    }

    @Test
    void responsesGatherWhenTheCallAsksForIt() {
        CallOptions options = Echo.BOUNDED.withMaxBatchDelay(java.time.Duration.ofMillis(2));
        EchoRequest request = Echo.answers(5_000, 10);
        int count = 0;
        try (var call = channel.serverStream(Echo.SERVER_STREAM, request, options)) {
            for (Batch batch : call.batches()) {
                count += batch.remaining();
            }
        }
        assertEquals(5_000, count);
    }
}
