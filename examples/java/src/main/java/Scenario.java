import chat.v1.ChatMessage;
import chat.v1.Join;
import com.google.protobuf.MessageLite;
import com.google.protobuf.Parser;
import dev.millstream.Batch;
import dev.millstream.Call;
import dev.millstream.CallKind;
import dev.millstream.CallOptions;
import dev.millstream.Channel;
import dev.millstream.Method;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import logs.v1.LogBatch;
import market.v1.SubscribeRequest;
import sync.v1.Ack;
import sync.v1.Record;
import sync.v1.StreamMessage;
import telemetry.v1.TelemetryReport;
import weather.v1.GetObservationRequest;
import weather.v1.GetWeatherStreamRequest;
import weather.v1.Observation;

/** What the demo does with each service. */
final class Scenario {
    private static final CallOptions OPTIONS =
            CallOptions.DEFAULT.withTimeout(Duration.ofMinutes(5));

    private final Channel channel;
    private final Path data;

    Scenario(Channel channel, Path data) {
        this.channel = channel;
        this.data = data;
    }

    /** Requests are messages; responses stay bytes, which are what is summed up. */
    private static <Q extends MessageLite> Method<Q, byte[]> method(String path, CallKind kind) {
        return Method.of(
                path,
                kind,
                MessageLite::toByteArray,
                (array, offset, length) -> Arrays.copyOfRange(array, offset, offset + length));
    }

    /** The length-delimited messages of a file. */
    private <T> List<T> read(String name, Parser<T> parser) throws IOException {
        List<T> messages = new ArrayList<>();
        Path file = data.resolve(name);
        try (InputStream in = new BufferedInputStream(Files.newInputStream(file))) {
            for (T one = parser.parseDelimitedFrom(in);
                    one != null;
                    one = parser.parseDelimitedFrom(in)) {
                messages.add(one);
            }
        } catch (IOException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        }
        return messages;
    }

    private static byte[] expect(Call<?, byte[]> call) {
        byte[] message = call.receive();
        if (message == null) {
            throw new IllegalStateException("the stream of " + call.method() + " ended early");
        }
        return message;
    }

    private static void expectEnd(Call<?, byte[]> call) {
        if (call.receive() != null) {
            throw new IllegalStateException("a message came behind the last one: " + call.method());
        }
    }

    void weather() throws IOException {
        int every = 1000;
        Tally tally = new Tally("weather.v1.Weather", 26_115);
        Method<GetWeatherStreamRequest, byte[]> stream =
                method("/weather.v1.Weather/GetWeatherStream", CallKind.SERVER_STREAM);
        List<Observation> picked = new ArrayList<>();
        int index = 0;
        GetWeatherStreamRequest all = GetWeatherStreamRequest.getDefaultInstance();
        try (var call = channel.serverStream(stream, all, OPTIONS)) {
            for (Batch batch : call.batches()) {
                while (batch.advance()) {
                    if (index++ % every == 0) {
                        picked.add(
                                Observation.parser()
                                        .parseFrom(batch.array(), batch.offset(), batch.length()));
                    }
                    tally.add(batch.array(), batch.offset(), batch.length());
                }
            }
        }
        Method<GetObservationRequest, byte[]> unary =
                method("/weather.v1.Weather/GetObservation", CallKind.UNARY);
        for (Observation observation : picked) {
            GetObservationRequest request =
                    GetObservationRequest.newBuilder()
                            .setOrigin(observation.getOrigin())
                            .setHour(observation.getHour())
                            .build();
            tally.add(channel.unary(unary, request, OPTIONS));
        }
        tally.finish();
    }

    void logs() throws IOException {
        List<LogBatch> batches = read("log_batches.binpb", LogBatch.parser());
        Tally tally = new Tally("logs.v1.LogCollector", 1);
        Method<LogBatch, byte[]> upload =
                method("/logs.v1.LogCollector/Upload", CallKind.CLIENT_STREAM);
        tally.add(channel.clientStream(upload, batches.iterator(), OPTIONS));
        tally.finish();
    }

    /** One member of the demo's room. */
    private final class Member implements AutoCloseable {
        private final String name;
        private final Call<ChatMessage, byte[]> call;
        private final List<byte[]> received = new ArrayList<>();

        Member(String name) {
            this.name = name;
            call = channel.bidi(method("/chat.v1.ChatService/Chat", CallKind.BIDI), OPTIONS);
            call.send(message().setJoin(Join.getDefaultInstance()).build());
            receive();
        }

        private ChatMessage.Builder message() {
            return ChatMessage.newBuilder().setRoom("demo").setMember(name);
        }

        void say(String text) {
            call.send(message().setText(text).build());
        }

        void receive() {
            received.add(expect(call));
        }

        void leave() {
            call.halfClose();
            expectEnd(call);
        }

        @Override
        public void close() {
            call.close();
        }
    }

    void chat() {
        Tally tally = new Tally("chat.v1.ChatService", 104);
        try (Member ada = new Member("ada");
                Member bob = new Member("bob")) {
            ada.receive();
            for (int number = 0; number < 100; number++) {
                Member speaker = number % 2 == 0 ? ada : bob;
                Member listener = number % 2 == 0 ? bob : ada;
                speaker.say("message " + number);
                listener.receive();
            }
            ada.leave();
            bob.receive();
            bob.leave();
            ada.received.forEach(tally::add);
            bob.received.forEach(tally::add);
        }
        tally.finish();
    }

    void market() {
        Tally tally = new Tally("market.v1.MarketData", 560);
        Method<SubscribeRequest, byte[]> subscribe =
                method("/market.v1.MarketData/Subscribe", CallKind.BIDI);
        try (var call = channel.bidi(subscribe, OPTIONS)) {
            call.send(
                    SubscribeRequest.newBuilder()
                            .addAllAdd(List.of("MSFT", "AMZN", "IBM", "GOOG", "AAPL"))
                            .build());
            call.halfClose();
            call.forEach(tally::add);
        }
        tally.finish();
    }

    void telemetry() throws IOException {
        List<TelemetryReport> reports = read("telemetry_reports.binpb", TelemetryReport.parser());
        Tally tally = new Tally("telemetry.v1.DeviceManager", reports.size());
        Method<TelemetryReport, byte[]> stream =
                method("/telemetry.v1.DeviceManager/StreamTelemetry", CallKind.BIDI);
        try (var call = channel.bidi(stream, OPTIONS)) {
            CompletableFuture<Void> sending =
                    CompletableFuture.runAsync(
                            () -> {
                                call.sendAll(reports);
                                call.halfClose();
                            },
                            task -> new Thread(task, "sender").start());
            call.forEach(tally::add);
            sending.join();
        }
        tally.finish();
    }

    /** Our side of the exchange: numbers and stamps what is sent. */
    private static final class Side {
        private final Call<StreamMessage, byte[]> call;
        private final Tally tally;
        private long sequence;
        private long clock;

        Side(Call<StreamMessage, byte[]> call, Tally tally) {
            this.call = call;
            this.tally = tally;
        }

        void send(StreamMessage.Builder message) {
            call.send(message.setSequenceId(++sequence).setLogicalClock(++clock).build());
        }

        StreamMessage receive() throws IOException {
            byte[] payload = expect(call);
            tally.add(payload);
            StreamMessage message = StreamMessage.parseFrom(payload);
            clock = Math.max(clock, message.getLogicalClock()) + 1;
            return message;
        }
    }

    void sync() throws IOException {
        int serverRecordEvery = 10;
        List<Record> records = read("sync_records.binpb", Record.parser());
        long expected = records.size() + records.size() / serverRecordEvery;
        Tally tally = new Tally("sync.v1.DataSync", expected);
        Method<StreamMessage, byte[]> exchange =
                method("/sync.v1.DataSync/ExchangeData", CallKind.BIDI);
        try (var call = channel.bidi(exchange, OPTIONS)) {
            Side side = new Side(call, tally);
            int sent = 0;
            for (Record record : records) {
                side.send(StreamMessage.newBuilder().setRecord(record));
                StreamMessage answer = side.receive();
                if (!answer.hasAck() || answer.getAck().getSequenceId() != side.sequence) {
                    throw new IllegalStateException(
                            "wanted an ack of " + side.sequence + ", got " + answer);
                }
                if (++sent % serverRecordEvery == 0) {
                    StreamMessage theirs = side.receive();
                    if (!theirs.hasRecord()) {
                        throw new IllegalStateException(
                                "wanted a record of the server, got " + theirs);
                    }
                    Ack ack = Ack.newBuilder().setSequenceId(theirs.getSequenceId()).build();
                    side.send(StreamMessage.newBuilder().setAck(ack));
                }
            }
            call.halfClose();
            expectEnd(call);
        }
        tally.finish();
    }
}
