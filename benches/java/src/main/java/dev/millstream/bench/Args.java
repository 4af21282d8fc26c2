package dev.millstream.bench;

import dev.millstream.bench.v1.StreamRequest;
import dev.millstream.bench.v1.Tick;

/** The command line of both clients. */
record Args(
        String address,
        String mode,
        long messages,
        long rate,
        int size,
        boolean objects,
        boolean batches,
        boolean single,
        boolean plain,
        double stall) {

    static final String SERVICE = "bench.v1.Bench";

    /** Streams are warmed up until the JVM has compiled what they run. */
    static final long WARM_UP_MESSAGES = 2_000_000;

    static final int WARM_UP_CALLS = 5_000;

    /** Of a paced stream every so many messages are looked at. */
    static final int LATENCY_EVERY = 64;

    private static final long FIREHOSE = 1L << 30;

    private static final String USAGE =
            """
            usage: CLIENT HOST:PORT MODE [OPTIONS]
            modes:
              packed   server stream, many messages to a DATA frame
              single   server stream, one message to a DATA frame
              paced    server stream at a rate; latency from the due time
              publish  client stream
              unary    unary calls, one after the other
              echo     bidirectional: a message goes out when the last one is back
              stalled  a stream of 1 GB whose consumer stops after the first message
            options:
              --messages N  or calls; default 1000000
              --objects     parsed messages, not bytes
              --batches     walk batches without an object per message (Millstream)
              --plain       the default executor and windows, not the tuned ones (grpc-java)
              --rate N      messages a second (paced); default 500000
              --size N      pad messages to this many bytes
              --single      one DATA frame for each message (paced, stalled)
              --stall S     seconds (stalled); default 4
            """;

    static Args parse(String[] words) {
        if (words.length < 2) {
            throw usage("HOST:PORT and MODE are missing");
        }
        long messages = 1_000_000;
        long rate = 500_000;
        int size = 0;
        boolean objects = false;
        boolean batches = false;
        boolean single = false;
        boolean plain = false;
        double stall = 4;
        for (int i = 2; i < words.length; i++) {
            switch (words[i]) {
                case "--objects" -> objects = true;
                case "--batches" -> batches = true;
                case "--single" -> single = true;
                case "--plain" -> plain = true;
                case "--messages" -> messages = Long.parseLong(value(words, ++i));
                case "--rate" -> rate = Long.parseLong(value(words, ++i));
                case "--size" -> size = Integer.parseInt(value(words, ++i));
                case "--stall" -> stall = Double.parseDouble(value(words, ++i));
                default -> throw usage("unknown option " + words[i]);
            }
        }
        return new Args(
                words[0], words[1], messages, rate, size, objects, batches, single, plain, stall);
    }

    private static String value(String[] words, int at) {
        if (at >= words.length) {
            throw usage(words[at - 1] + " needs a value");
        }
        return words[at];
    }

    static IllegalArgumentException usage(String what) {
        return new IllegalArgumentException(what + "\n" + USAGE);
    }

    /** What the streaming methods are asked for. */
    StreamRequest request() {
        return request(messages);
    }

    /** The same for another number of messages. */
    StreamRequest request(long count) {
        return StreamRequest.newBuilder()
                .setCount(count)
                .setRate(rate)
                .setSize(size)
                .setBytes(FIREHOSE)
                .setSingle(single)
                .build();
    }

    /** A tick to send. */
    static Tick tick(int number) {
        return Tick.newBuilder()
                .setDueNanos(1)
                .setSequence(number + 1)
                .setSymbol("MSFT")
                .setVenue("XNAS")
                .setBid(100 + number / 64.0)
                .setAsk(100.5 + number / 64.0)
                .setLast(100.25 + number / 64.0)
                .setBidSize(200 + number % 800)
                .setAskSize(200 + number % 700)
                .setVolume(20_000 + number)
                .setTradedNanos(1_700_000_000_000_000_000L + number * 1000L)
                .build();
    }
}
