package dev.millstream.bench;

import dev.millstream.Batch;
import dev.millstream.Call;
import dev.millstream.CallKind;
import dev.millstream.CallOptions;
import dev.millstream.Channel;
import dev.millstream.Method;
import dev.millstream.bench.v1.StreamRequest;
import dev.millstream.bench.v1.Summary;
import dev.millstream.bench.v1.Tick;
import java.util.function.ToLongFunction;

/** Millstream with its defaults. */
public final class MillstreamClient {
    private static final Method.Parser<Tick> PARSE_TICK =
            (buffer, offset, length) -> Tick.parser().parseFrom(buffer, offset, length);
    private static final Method.Parser<byte[]> COPY =
            (buffer, offset, length) -> {
                byte[] message = new byte[length];
                System.arraycopy(buffer, offset, message, 0, length);
                return message;
            };

    private final Args args;
    private final Channel channel;

    private MillstreamClient(Args args, Channel channel) {
        this.args = args;
        this.channel = channel;
    }

    /** Measures one mode. */
    public static void main(String[] words) throws Exception {
        Args args = Args.parse(words);
        try (Channel channel = Channel.open("http://" + args.address())) {
            new MillstreamClient(args, channel).run();
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

    private static String path(String name) {
        return "/" + Args.SERVICE + "/" + name;
    }

    private static <R> Method<StreamRequest, R> serverStream(String name, Method.Parser<R> parser) {
        return Method.of(path(name), CallKind.SERVER_STREAM, StreamRequest::toByteArray, parser);
    }

    private void receive(String name) {
        if (args.batches()) {
            Method<StreamRequest, byte[]> method = serverStream(name, COPY);
            walk(method, args.request(Args.WARM_UP_MESSAGES));
            Measurement watch = Measurement.start();
            long messages = walk(method, args.request());
            watch.stop(args.mode(), messages, args.messages()).print();
        } else if (args.objects()) {
            receive(serverStream(name, PARSE_TICK));
        } else {
            receive(serverStream(name, COPY));
        }
    }

    private <R> void receive(Method<StreamRequest, R> method) {
        count(method, args.request(Args.WARM_UP_MESSAGES));
        Measurement watch = Measurement.start();
        long messages = count(method, args.request());
        watch.stop(args.mode(), messages, args.messages()).print();
    }

    private <R> long count(Method<StreamRequest, R> method, StreamRequest request) {
        long messages = 0;
        try (Call<StreamRequest, R> call =
                channel.serverStream(method, request, CallOptions.DEFAULT)) {
            for (R message : call) {
                if (message != null) {
                    messages++;
                }
            }
        }
        return messages;
    }

    /** Looks into every message where it lies. */
    private long walk(Method<StreamRequest, byte[]> method, StreamRequest request) {
        long messages = 0;
        long sum = 0;
        try (Call<StreamRequest, byte[]> call =
                channel.serverStream(method, request, CallOptions.DEFAULT)) {
            for (Batch batch : call.batches()) {
                while (batch.advance()) {
                    messages++;
                    sum += batch.array()[batch.offset() + batch.length() / 2];
                }
            }
        }
        return sum == Long.MIN_VALUE ? 0 : messages;
    }

    private void paced() {
        if (args.objects()) {
            paced(serverStream("Paced", PARSE_TICK), Tick::getDueNanos);
        } else {
            paced(serverStream("Paced", COPY), tick -> Measurement.due(tick, 0));
        }
    }

    private <R> void paced(Method<StreamRequest, R> method, ToLongFunction<R> due) {
        paced(method, due, args.request(args.rate()), new Measurement.Latencies());
        Measurement.Latencies latencies = new Measurement.Latencies();
        Measurement watch = Measurement.start();
        long messages = paced(method, due, args.request(), latencies);
        watch.stop("paced", messages, args.messages()).with(latencies).print();
    }

    private <R> long paced(
            Method<StreamRequest, R> method,
            ToLongFunction<R> due,
            StreamRequest request,
            Measurement.Latencies latencies) {
        long messages = 0;
        try (Call<StreamRequest, R> call =
                channel.serverStream(method, request, CallOptions.DEFAULT)) {
            for (R message : call) {
                if (messages++ % Args.LATENCY_EVERY == 0) {
                    latencies.add(System.nanoTime() - due.applyAsLong(message));
                }
            }
        }
        return messages;
    }

    private void publish() throws Exception {
        if (args.objects()) {
            Tick[] ticks = new Tick[1000];
            for (int i = 0; i < ticks.length; i++) {
                ticks[i] = Args.tick(i);
            }
            publish(Tick::toByteArray, ticks);
        } else {
            byte[][] ticks = new byte[1000][];
            for (int i = 0; i < ticks.length; i++) {
                ticks[i] = Args.tick(i).toByteArray();
            }
            publish(message -> message, ticks);
        }
    }

    private <Q> void publish(Method.Serializer<Q> serializer, Q[] ticks) {
        Method<Q, Summary> method =
                Method.of(
                        path("Publish"),
                        CallKind.CLIENT_STREAM,
                        serializer,
                        (buffer, offset, length) ->
                                Summary.parser().parseFrom(buffer, offset, length));
        publish(method, ticks, args.messages() / 4);
        Measurement watch = Measurement.start();
        Summary summary = publish(method, ticks, args.messages());
        watch.stop("publish", summary.getMessages(), args.messages()).print();
    }

    private <Q> Summary publish(Method<Q, Summary> method, Q[] ticks, long count) {
        try (Call<Q, Summary> call = channel.clientStream(method, CallOptions.DEFAULT)) {
            int index = 0;
            for (long sent = 0; sent < count; sent++) {
                call.send(ticks[index]);
                index = index + 1 == ticks.length ? 0 : index + 1;
            }
            call.halfClose();
            return call.receive();
        }
    }

    private void unary() {
        if (args.objects()) {
            unary(
                    Method.of(path("Unary"), CallKind.UNARY, Tick::toByteArray, PARSE_TICK),
                    Args.tick(0));
        } else {
            unary(Method.ofBytes(path("Unary"), CallKind.UNARY), Args.tick(0).toByteArray());
        }
    }

    private <M> void unary(Method<M, M> method, M message) {
        for (int i = 0; i < Args.WARM_UP_CALLS; i++) {
            channel.unary(method, message, CallOptions.DEFAULT);
        }
        Measurement.Latencies latencies = new Measurement.Latencies();
        Measurement watch = Measurement.start();
        for (long i = 0; i < args.messages(); i++) {
            long begin = System.nanoTime();
            channel.unary(method, message, CallOptions.DEFAULT);
            latencies.add(System.nanoTime() - begin);
        }
        watch.stop("unary", args.messages(), args.messages()).with(latencies).print();
    }

    private void echo() {
        byte[] message = Args.tick(0).toByteArray();
        try (Call<byte[], byte[]> call = channel.bidi(path("Echo"))) {
            Measurement.Latencies latencies = new Measurement.Latencies();
            Measurement watch = Measurement.start();
            for (long i = -Args.WARM_UP_CALLS; i < args.messages(); i++) {
                if (i == 0) {
                    latencies = new Measurement.Latencies();
                    watch = Measurement.start();
                }
                long begin = System.nanoTime();
                call.send(message);
                call.receive();
                latencies.add(System.nanoTime() - begin);
            }
            watch.stop("echo", args.messages(), args.messages()).with(latencies).print();
            call.halfClose();
        }
    }

    private void stalled() throws InterruptedException {
        count(serverStream("Packed", COPY), args.request(Args.WARM_UP_MESSAGES));
        System.gc();
        long before = Measurement.residentKib();
        Measurement watch = Measurement.start();
        try (Call<StreamRequest, byte[]> call =
                channel.serverStream(
                        serverStream("Firehose", COPY), args.request(), CallOptions.DEFAULT)) {
            long bytes = call.receive().length;
            long growth = Measurement.watchMemory(before, args.stall());
            // The stream is whole all the same.
            for (byte[] message : call) {
                bytes += message.length;
            }
            watch.stop("stalled", 1, 1).with("rss_growth_kb", growth).with("bytes", bytes).print();
        }
    }
}
