package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.SubmissionPublisher;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Publishers of responses, subscribers to requests, executors. */
class FlowTest {
    private static Channel channel;

    @BeforeAll
    static void open() throws Exception {
        channel = Channel.open(TestServer.reference().get("http"));
    }

    @AfterAll
    static void close() {
        channel.close();
    }

    /** Keeps what it is signalled; requests by hand. */
    private static class Recorder<T> implements Flow.Subscriber<T> {
        final BlockingQueue<T> messages = new LinkedBlockingQueue<>();
        final CompletableFuture<Flow.Subscription> subscription = new CompletableFuture<>();
        final CompletableFuture<Void> done = new CompletableFuture<>();

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            this.subscription.complete(subscription);
        }

        @Override
        public void onNext(T message) {
            messages.add(message);
        }

        @Override
        public void onError(Throwable failure) {
            done.completeExceptionally(failure);
        }

        @Override
        public void onComplete() {
            done.complete(null);
        }

        void request(long count) {
            subscription.join().request(count);
        }

        T take() throws InterruptedException {
            T message = messages.poll(60, TimeUnit.SECONDS);
            assertTrue(message != null, "no message came");
            return message;
        }
    }

    private static Recorder<EchoResponse> subscribe(EchoRequest request) {
        Recorder<EchoResponse> recorder = new Recorder<>();
        channel.publisher(Echo.SERVER_STREAM, request, Echo.BOUNDED).subscribe(recorder);
        return recorder;
    }

    // ---- responses

    @Test
    void whatIsRequestedIsPublishedAndNoMore() throws Exception {
        Recorder<EchoResponse> recorder = subscribe(Echo.answers(10, 1));
        recorder.request(2);
        assertEquals(1, recorder.take().getSequence());
        assertEquals(2, recorder.take().getSequence());
        assertNull(recorder.messages.poll(200, TimeUnit.MILLISECONDS));
        recorder.request(100);
        for (int i = 3; i <= 10; i++) {
            assertEquals(i, recorder.take().getSequence());
        }
        Expect.value(recorder.done);
    }

    @Test
    void aStreamThatIsRequestedWithoutBoundComesWhole() throws Exception {
        Recorder<EchoResponse> recorder = subscribe(Echo.answers(50_000, 10));
        recorder.request(Long.MAX_VALUE);
        recorder.request(Long.MAX_VALUE);
        Expect.value(recorder.done);
        assertEquals(50_000, recorder.messages.size());
    }

    @Test
    void withoutDemandTheServerIsHeldBack() throws Exception {
        // Far more than the windows and buffers between us: the server must wait.
        Recorder<EchoResponse> recorder = new Recorder<>();
        CallOptions options = Echo.named("held-back");
        channel.publisher(Echo.SERVER_STREAM, Echo.answers(1_000, 60_000), options)
                .subscribe(recorder);
        recorder.request(1);
        recorder.take();
        Thread.sleep(500);
        assertEquals(1, Echo.stats(channel, "held-back").getOpen());
        recorder.request(Long.MAX_VALUE);
        Expect.value(recorder.done);
        assertEquals(999, recorder.messages.size());
        assertEquals(1, Echo.stats(channel, "held-back").getCompleted());
    }

    @Test
    void theEndIsSignalledWithoutDemand() throws Exception {
        Recorder<EchoResponse> recorder = subscribe(Echo.answers(0, 1));
        Expect.value(recorder.done);
        Recorder<EchoResponse> failed = subscribe(Echo.finish(0, 5, "nothing", new byte[0]));
        Expect.failureOf(failed.done, StatusCode.NOT_FOUND);
    }

    @Test
    void messagesComeBeforeTheFailure() throws Exception {
        Recorder<EchoResponse> recorder = subscribe(Echo.finish(3, 10, "conflict", new byte[0]));
        recorder.request(2);
        recorder.take();
        recorder.take();
        Thread.sleep(100);
        assertTrue(!recorder.done.isDone());
        recorder.request(1);
        recorder.take();
        Expect.failureOf(recorder.done, StatusCode.ABORTED);
    }

    @Test
    void cancellingTheSubscriptionCancelsTheCall() throws Exception {
        Recorder<EchoResponse> recorder = new Recorder<>();
        channel.publisher(Echo.SERVER_STREAM, Echo.endless(5), Echo.named("flow-cancel"))
                .subscribe(recorder);
        recorder.request(1);
        recorder.take();
        recorder.subscription.join().cancel();
        recorder.subscription.join().cancel();
        Expect.soon(
                "the server sees it", () -> Echo.stats(channel, "flow-cancel").getCancelled() == 1);
        recorder.request(5);
        assertNull(recorder.messages.poll(100, TimeUnit.MILLISECONDS));
        assertTrue(!recorder.done.isDone());
    }

    @Test
    void aRequestForNothingIsAnError() throws Exception {
        Recorder<EchoResponse> recorder = subscribe(Echo.endless(5));
        recorder.request(0);
        assertInstanceOf(IllegalArgumentException.class, Expect.failureOf(recorder.done));
    }

    @Test
    void aSubscriberThatRaisesIsToldAndItsCallIsCancelled() throws Exception {
        RuntimeException reason = new RuntimeException("cannot handle it");
        Recorder<EchoResponse> recorder =
                new Recorder<>() {
                    @Override
                    public void onNext(EchoResponse response) {
                        throw reason;
                    }
                };
        channel.publisher(Echo.SERVER_STREAM, Echo.endless(5), Echo.named("flow-raises"))
                .subscribe(recorder);
        recorder.request(5);
        assertSame(reason, Expect.failureOf(recorder.done));
        Expect.soon(
                "the server sees it", () -> Echo.stats(channel, "flow-raises").getCancelled() == 1);
    }

    @Test
    void eachSubscriberOfAChannelsPublisherHasItsOwnCall() throws Exception {
        Flow.Publisher<EchoResponse> publisher =
                channel.publisher(Echo.SERVER_STREAM, Echo.answers(3, 1), Echo.BOUNDED);
        for (int i = 0; i < 2; i++) {
            Recorder<EchoResponse> recorder = new Recorder<>();
            publisher.subscribe(recorder);
            recorder.request(10);
            Expect.value(recorder.done);
            assertEquals(3, recorder.messages.size());
        }
    }

    @Test
    void theResponsesOfOneCallHaveOneSubscriber() throws Exception {
        try (var call =
                channel.serverStream(Echo.SERVER_STREAM, Echo.answers(3, 1), Echo.BOUNDED)) {
            Recorder<EchoResponse> first = new Recorder<>();
            Recorder<EchoResponse> second = new Recorder<>();
            call.publisher().subscribe(first);
            call.publisher().subscribe(second);
            Expect.failureOf(second.done, ErrorCode.BUSY);
            first.request(10);
            Expect.value(first.done);
            assertTrue(call.status().isOk());
        }
    }

    @Test
    void aSubscriberOfAClosedChannelIsTold() throws Exception {
        Channel closed = Channel.open(TestServer.reference().get("http"));
        Flow.Publisher<EchoResponse> publisher =
                closed.publisher(Echo.SERVER_STREAM, Echo.answers(3, 1), Echo.BOUNDED);
        closed.close();
        Recorder<EchoResponse> recorder = new Recorder<>();
        publisher.subscribe(recorder);
        Expect.failureOf(recorder.done, ErrorCode.CLOSED);
        assertThrows(NullPointerException.class, () -> publisher.subscribe(null));
    }

    // ---- requests

    @Test
    void theRequestsOfAPublisherAreSentInOrder() throws Exception {
        try (SubmissionPublisher<EchoRequest> requests = new SubmissionPublisher<>();
                var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            CompletableFuture<Void> sent = call.sendAll(requests);
            CompletableFuture<Void> submitted =
                    Expect.async(
                            () -> {
                                for (int i = 0; i < 5_000; i++) {
                                    requests.submit(Echo.request("m" + i));
                                }
                                requests.close();
                            });
            for (int i = 0; i < 5_000; i++) {
                assertEquals("m" + i, call.receive().getPayload().toStringUtf8());
            }
            assertNull(call.receive());
            Expect.value(submitted);
            Expect.value(sent);
        }
    }

    @Test
    void aPublisherIsHeldBackWhenTheServerDoesNotRead() throws Exception {
        EchoRequest large =
                EchoRequest.newBuilder()
                        .setPayload(ByteString.copyFrom(new byte[60_000]))
                        .setNeverAnswer(true)
                        .build();
        AtomicInteger published = new AtomicInteger();
        CompletableFuture<Void> cancelled = new CompletableFuture<>();
        Flow.Publisher<EchoRequest> endless =
                subscriber ->
                        subscriber.onSubscribe(
                                new Flow.Subscription() {
                                    @Override
                                    public void request(long count) {
                                        for (long i = 0; i < count; i++) {
                                            published.incrementAndGet();
                                            subscriber.onNext(large);
                                        }
                                    }

                                    @Override
                                    public void cancel() {
                                        cancelled.complete(null);
                                    }
                                });
        try (var call = channel.bidi(Echo.BIDI, Echo.BOUNDED)) {
            CompletableFuture<Void> sent = call.sendAll(endless);
            Thread.sleep(500);
            int before = published.get();
            assertTrue(before < 500, before + " messages of 60 kB were requested");
            Thread.sleep(200);
            assertEquals(before, published.get());
            call.cancel("enough");
            Expect.failureOf(sent, ErrorCode.CALL_ENDED);
            Expect.value(cancelled);
        }
    }

    @Test
    void aPublisherOfRequestsThatFailsCancelsTheCall() throws Exception {
        RuntimeException reason = new RuntimeException("the source is gone");
        try (SubmissionPublisher<EchoRequest> requests = new SubmissionPublisher<>();
                var call = channel.clientStream(Echo.CLIENT_STREAM, Echo.BOUNDED)) {
            CompletableFuture<Void> sent = call.sendAll(requests);
            requests.submit(Echo.request("x"));
            requests.closeExceptionally(reason);
            assertSame(reason, Expect.failureOf(sent));
            Expect.failure(StatusCode.CANCELLED, "the source is gone", call::receive);
        }
    }

    @Test
    void aClientStreamOfAPublisherGivesItsResponse() throws Exception {
        try (SubmissionPublisher<EchoRequest> requests = new SubmissionPublisher<>()) {
            CompletableFuture<EchoResponse> response =
                    channel.clientStreamAsync(Echo.CLIENT_STREAM, requests, Echo.BOUNDED);
            for (int i = 0; i < 1000; i++) {
                requests.submit(Echo.request("ab"));
            }
            requests.close();
            assertEquals(1000, Expect.value(response).getRequests());
        }
    }

    @Test
    void aClientStreamOfAPublisherThatTheServerEndsEarlyGivesItsStatus() throws Exception {
        try (SubmissionPublisher<EchoRequest> requests = new SubmissionPublisher<>()) {
            CompletableFuture<EchoResponse> response =
                    channel.clientStreamAsync(Echo.CLIENT_STREAM, requests, Echo.BOUNDED);
            requests.submit(Echo.finish(0, 9, "enough", new byte[0]));
            Expect.failureOf(response, StatusCode.FAILED_PRECONDITION);
            Expect.soon("it is told to stop", () -> !requests.hasSubscribers());
        }
    }

    @Test
    void cancellingTheFutureOfAClientStreamStopsItsPublisher() throws Exception {
        try (SubmissionPublisher<EchoRequest> requests = new SubmissionPublisher<>()) {
            CompletableFuture<EchoResponse> response =
                    channel.clientStreamAsync(Echo.CLIENT_STREAM, requests, Echo.BOUNDED);
            requests.submit(Echo.request("x"));
            response.cancel(false);
            Expect.soon("it is told to stop", () -> !requests.hasSubscribers());
        }
    }

    // ---- executors

    private static void withExecutor(java.util.concurrent.Executor executor, Consumer<Channel> use)
            throws Exception {
        String target = TestServer.reference().get("http");
        try (Channel own = Channel.builder(target).executor(executor).open()) {
            use.accept(own);
        }
    }

    @Test
    void theExecutorOfTheChannelCompletesAndSignals() throws Exception {
        AtomicInteger tasks = new AtomicInteger();
        withExecutor(
                task -> {
                    tasks.incrementAndGet();
                    new Thread(task, "mine").start();
                },
                own -> {
                    CompletableFuture<String> where =
                            own.unaryAsync(
                                            Echo.UNARY,
                                            EchoRequest.newBuilder().setDelayMs(100).build(),
                                            Echo.BOUNDED)
                                    .thenApply(response -> Thread.currentThread().getName());
                    assertEquals("mine", where.join());
                });
        assertEquals(1, tasks.get());
    }

    @Test
    void anExecutorThatRunsAtOnceWorks() throws Exception {
        withExecutor(
                Runnable::run,
                own -> {
                    Recorder<EchoResponse> recorder = new Recorder<>();
                    own.publisher(Echo.SERVER_STREAM, Echo.answers(10_000, 10), Echo.BOUNDED)
                            .subscribe(recorder);
                    recorder.request(Long.MAX_VALUE);
                    recorder.done.orTimeout(60, TimeUnit.SECONDS).join();
                    assertEquals(10_000, recorder.messages.size());
                    own.unaryAsync(Echo.UNARY, Echo.request("x"), Echo.BOUNDED).join();
                });
    }

    @Test
    void anExecutorThatRefusesLosesNoCompletion() throws Exception {
        withExecutor(
                task -> {
                    throw new RejectedExecutionException("shut down");
                },
                own -> {
                    CompletableFuture<EchoResponse> future =
                            own.unaryAsync(Echo.UNARY, Echo.request("x"), Echo.BOUNDED);
                    assertEquals(
                            "x",
                            future.orTimeout(60, TimeUnit.SECONDS)
                                    .join()
                                    .getPayload()
                                    .toStringUtf8());
                    Recorder<EchoResponse> recorder = new Recorder<>();
                    own.publisher(Echo.SERVER_STREAM, Echo.answers(10, 1), Echo.BOUNDED)
                            .subscribe(recorder);
                    recorder.request(20);
                    recorder.done.orTimeout(60, TimeUnit.SECONDS).join();
                });
    }

    @Test
    void aFailingDependentOfOneCallDoesNotStopTheOthers() throws Exception {
        withExecutor(
                Runnable::run,
                own -> {
                    List<CompletableFuture<EchoResponse>> futures =
                            java.util.stream.IntStream.range(0, 50)
                                    .mapToObj(
                                            i ->
                                                    own.unaryAsync(
                                                            Echo.UNARY,
                                                            Echo.request("x"),
                                                            Echo.BOUNDED))
                                    .toList();
                    for (CompletableFuture<EchoResponse> future : futures) {
                        future.thenRun(
                                () -> {
                                    throw new IllegalStateException("in a dependent");
                                });
                    }
                    futures.forEach(f -> f.orTimeout(60, TimeUnit.SECONDS).join());
                });
    }
}
