package dev.millstream.bench;

import dev.millstream.bench.v1.StreamRequest;
import dev.millstream.bench.v1.Summary;
import dev.millstream.bench.v1.Tick;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.KnownLength;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.Marshaller;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;
import java.util.function.ToLongFunction;

/** grpc-java over Netty, tuned for throughput unless {@code --plain} is given. */
public final class GrpcJavaClient {
    private static final int WINDOW = 4 << 20;
    private static final int REQUESTED = 4096;

    private static final Marshaller<Tick> TICKS = ProtoUtils.marshaller(Tick.getDefaultInstance());
    private static final Marshaller<StreamRequest> REQUESTS =
            ProtoUtils.marshaller(StreamRequest.getDefaultInstance());
    private static final Marshaller<Summary> SUMMARIES =
            ProtoUtils.marshaller(Summary.getDefaultInstance());

    private static final Marshaller<byte[]> BYTES =
            new Marshaller<>() {
                @Override
                public InputStream stream(byte[] value) {
                    return new KnownBytes(value);
                }

                @Override
                public byte[] parse(InputStream stream) {
                    try {
                        // The stream knows its length, so one array of the right size does.
                        byte[] value = new byte[stream.available()];
                        stream.readNBytes(value, 0, value.length);
                        return value;
                    } catch (IOException e) {
                        throw new UncheckedIOException(e);
                    }
                }
            };

    /** Spares the framer a copy. */
    private static final class KnownBytes extends ByteArrayInputStream implements KnownLength {
        KnownBytes(byte[] value) {
            super(value);
        }
    }

    private final Args args;
    private final ManagedChannel channel;

    private GrpcJavaClient(Args args) {
        this.args = args;
        NettyChannelBuilder builder = NettyChannelBuilder.forTarget(args.address()).usePlaintext();
        if (!args.plain()) {
            builder.directExecutor().flowControlWindow(WINDOW);
        }
        channel = builder.build();
    }

    /** Measures one mode. */
    public static void main(String[] words) throws Exception {
        Args args = Args.parse(words);
        GrpcJavaClient client = new GrpcJavaClient(args);
        try {
            client.run();
        } finally {
            client.channel.shutdownNow();
        }
    }

    private void run() throws Exception {
        switch (args.mode()) {
            case "packed" -> receive("Packed");
            case "single" -> receive("Single");
            case "paced" -> paced();
            case "publish" -> publish();
            case "unary" -> unary();
            case "echo" -> echo();
            case "stalled" -> stalled();
            default -> throw Args.usage("unknown mode " + args.mode());
        }
    }

    private static <Q, R> MethodDescriptor<Q, R> method(
            String name, MethodType type, Marshaller<Q> request, Marshaller<R> response) {
        return MethodDescriptor.newBuilder(request, response)
                .setFullMethodName(MethodDescriptor.generateFullMethodName(Args.SERVICE, name))
                .setType(type)
                .build();
    }

    private static <R> MethodDescriptor<StreamRequest, R> serverStream(
            String name, Marshaller<R> response) {
        return method(name, MethodType.SERVER_STREAMING, REQUESTS, response);
    }

    /** The shortest way there is: a listener on the call, and requests far ahead. */
    private <R> void stream(
            MethodDescriptor<StreamRequest, R> method, StreamRequest request, Consumer<R> each)
            throws Exception {
        CompletableFuture<Status> end = new CompletableFuture<>();
        ClientCall<StreamRequest, R> call = channel.newCall(method, CallOptions.DEFAULT);
        call.start(
                new ClientCall.Listener<>() {
                    private int taken;

                    @Override
                    public void onMessage(R message) {
                        each.accept(message);
                        if (++taken == REQUESTED / 2) {
                            taken = 0;
                            call.request(REQUESTED / 2);
                        }
                    }

                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        end.complete(status);
                    }
                },
                new Metadata());
        call.request(REQUESTED);
        call.sendMessage(request);
        call.halfClose();
        Status status = end.get();
        if (!status.isOk()) {
            throw status.asException();
        }
    }

    private static final class Count<R> implements Consumer<R> {
        private long messages;

        @Override
        public void accept(R message) {
            messages++;
        }
    }

    private void receive(String name) throws Exception {
        if (args.objects()) {
            receive(serverStream(name, TICKS));
        } else {
            receive(serverStream(name, BYTES));
        }
    }

    private <R> void receive(MethodDescriptor<StreamRequest, R> method) throws Exception {
        stream(method, args.request(warmUp()), new Count<>());
        Count<R> count = new Count<>();
        Measurement watch = Measurement.start();
        stream(method, args.request(), count);
        watch.stop(args.mode(), count.messages, args.messages()).print();
    }

    /** The default executor is so slow that a long warm-up would take minutes. */
    private long warmUp() {
        return args.plain() ? Args.WARM_UP_MESSAGES / 20 : Args.WARM_UP_MESSAGES;
    }

    private void paced() throws Exception {
        if (args.objects()) {
            paced(serverStream("Paced", TICKS), Tick::getDueNanos);
        } else {
            paced(serverStream("Paced", BYTES), tick -> Measurement.due(tick, 0));
        }
    }

    private <R> void paced(MethodDescriptor<StreamRequest, R> method, ToLongFunction<R> due)
            throws Exception {
        Paced<R> warmUp = new Paced<>(due);
        stream(method, args.request(args.rate()), warmUp);
        Paced<R> paced = new Paced<>(due);
        Measurement watch = Measurement.start();
        stream(method, args.request(), paced);
        watch.stop("paced", paced.messages, args.messages()).with(paced.latencies).print();
    }

    /** Looks at some of the messages of a paced stream. */
    private static final class Paced<R> implements Consumer<R> {
        private final ToLongFunction<R> due;
        private final Measurement.Latencies latencies = new Measurement.Latencies();
        private long messages;

        Paced(ToLongFunction<R> due) {
            this.due = due;
        }

        @Override
        public void accept(R message) {
            if (messages++ % Args.LATENCY_EVERY == 0) {
                latencies.add(System.nanoTime() - due.applyAsLong(message));
            }
        }
    }

    private void publish() throws Exception {
        if (args.objects()) {
            Tick[] ticks = new Tick[1000];
            for (int i = 0; i < ticks.length; i++) {
                ticks[i] = Args.tick(i);
            }
            publish(TICKS, ticks);
        } else {
            byte[][] ticks = new byte[1000][];
            for (int i = 0; i < ticks.length; i++) {
                ticks[i] = Args.tick(i).toByteArray();
            }
            publish(BYTES, ticks);
        }
    }

    private <Q> void publish(Marshaller<Q> marshaller, Q[] ticks) throws Exception {
        publish(marshaller, ticks, args.messages() / 4);
        Measurement watch = Measurement.start();
        Summary summary = publish(marshaller, ticks, args.messages());
        watch.stop("publish", summary.getMessages(), args.messages()).print();
    }

    private <Q> Summary publish(Marshaller<Q> marshaller, Q[] ticks, long count) throws Exception {
        MethodDescriptor<Q, Summary> method =
                method("Publish", MethodType.CLIENT_STREAMING, marshaller, SUMMARIES);
        CompletableFuture<Summary> answer = new CompletableFuture<>();
        Semaphore ready = new Semaphore(0);
        ClientResponseObserver<Q, Summary> observer =
                new ClientResponseObserver<>() {
                    @Override
                    public void beforeStart(ClientCallStreamObserver<Q> requests) {
                        requests.setOnReadyHandler(ready::release);
                    }

                    @Override
                    public void onNext(Summary summary) {
                        answer.complete(summary);
                    }

                    @Override
                    public void onError(Throwable t) {
                        answer.completeExceptionally(t);
                        ready.release();
                    }

                    @Override
                    public void onCompleted() {}
                };
        ClientCallStreamObserver<Q> requests =
                (ClientCallStreamObserver<Q>)
                        ClientCalls.asyncClientStreamingCall(
                                channel.newCall(method, CallOptions.DEFAULT), observer);
        int index = 0;
        for (long sent = 0; sent < count; sent++) {
            while (!requests.isReady() && !answer.isDone()) {
                ready.acquire();
            }
            requests.onNext(ticks[index]);
            index = index + 1 == ticks.length ? 0 : index + 1;
        }
        requests.onCompleted();
        return answer.get();
    }

    private void unary() {
        if (args.objects()) {
            unary(TICKS, Args.tick(0));
        } else {
            unary(BYTES, Args.tick(0).toByteArray());
        }
    }

    private <M> void unary(Marshaller<M> marshaller, M message) {
        MethodDescriptor<M, M> method = method("Unary", MethodType.UNARY, marshaller, marshaller);
        for (int i = 0; i < Args.WARM_UP_CALLS; i++) {
            ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, message);
        }
        Measurement.Latencies latencies = new Measurement.Latencies();
        Measurement watch = Measurement.start();
        for (long i = 0; i < args.messages(); i++) {
            long begin = System.nanoTime();
            ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, message);
            latencies.add(System.nanoTime() - begin);
        }
        watch.stop("unary", args.messages(), args.messages()).with(latencies).print();
    }

    private void echo() throws InterruptedException {
        MethodDescriptor<byte[], byte[]> method =
                method("Echo", MethodType.BIDI_STREAMING, BYTES, BYTES);
        BlockingQueue<byte[]> answers = new ArrayBlockingQueue<>(1);
        CountDownLatch end = new CountDownLatch(1);
        StreamObserver<byte[]> requests =
                ClientCalls.asyncBidiStreamingCall(
                        channel.newCall(method, CallOptions.DEFAULT),
                        new StreamObserver<>() {
                            @Override
                            public void onNext(byte[] message) {
                                answers.add(message);
                            }

                            @Override
                            public void onError(Throwable t) {
                                t.printStackTrace();
                                end.countDown();
                            }

                            @Override
                            public void onCompleted() {
                                end.countDown();
                            }
                        });
        byte[] message = Args.tick(0).toByteArray();
        Measurement.Latencies latencies = new Measurement.Latencies();
        Measurement watch = Measurement.start();
        for (long i = -Args.WARM_UP_CALLS; i < args.messages(); i++) {
            if (i == 0) {
                latencies = new Measurement.Latencies();
                watch = Measurement.start();
            }
            long begin = System.nanoTime();
            requests.onNext(message);
            answers.take();
            latencies.add(System.nanoTime() - begin);
        }
        watch.stop("echo", args.messages(), args.messages()).with(latencies).print();
        requests.onCompleted();
        end.await();
    }

    private void stalled() throws Exception {
        stream(serverStream("Packed", BYTES), args.request(warmUp()), new Count<>());
        System.gc();
        long before = Measurement.residentKib();
        Measurement watch = Measurement.start();
        CountDownLatch first = new CountDownLatch(1);
        ClientCall<StreamRequest, byte[]> call =
                channel.newCall(serverStream("Firehose", BYTES), CallOptions.DEFAULT);
        call.start(
                new ClientCall.Listener<>() {
                    @Override
                    public void onMessage(byte[] message) {
                        first.countDown();
                    }

                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        first.countDown();
                    }
                },
                new Metadata());
        call.request(1);
        call.sendMessage(args.request());
        call.halfClose();
        first.await();
        long growth = Measurement.watchMemory(before, args.stall());
        watch.stop("stalled", 1, 1).with("rss_growth_kb", growth).print();
        call.cancel("measured", null);
    }
}
