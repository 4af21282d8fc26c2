package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import java.util.zip.CRC32;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * How calls end when a server misbehaves: the vectors that all languages share, described in
 * contract-tests/vectors/README.md.
 */
class FaultVectorsTest {
    private static final Path VECTORS =
            Path.of("..", "..", "contract-tests", "vectors", "faults.json");
    private static final Method<byte[], byte[]> GOOD =
            Method.ofBytes("/fault.v1.Fault/Good", CallKind.UNARY);
    private static final Method<byte[], byte[]> SEEN =
            Method.ofBytes("/fault.v1.Fault/Seen", CallKind.UNARY);
    private static final Duration SOME_SECONDS = Duration.ofSeconds(30);

    @TestFactory
    Stream<DynamicTest> everyFaultEndsAsTheVectorsSay() throws Exception {
        JsonArray cases = JsonParser.parseString(Files.readString(VECTORS)).getAsJsonArray();
        assertTrue(cases.size() > 100, "the vectors are incomplete");
        JsonObject targets = TestServer.fault().ready();
        return StreamSupport.stream(cases.spliterator(), false)
                .map(JsonElement::getAsJsonObject)
                .map(
                        one ->
                                DynamicTest.dynamicTest(
                                        one.get("name").getAsString(),
                                        () -> new Case(one).run(targets)));
    }

    /** The members of an object; one that is not looked at is an error. */
    private static final class Members {
        private final JsonObject object;
        private final Set<String> unread;

        Members(JsonElement object) {
            this.object = object == null ? new JsonObject() : object.getAsJsonObject();
            this.unread = new LinkedHashSet<>(this.object.keySet());
        }

        JsonElement get(String name) {
            unread.remove(name);
            return object.get(name);
        }

        String text(String name, String otherwise) {
            JsonElement value = get(name);
            return value == null ? otherwise : value.getAsString();
        }

        long number(String name, long otherwise) {
            JsonElement value = get(name);
            return value == null ? otherwise : value.getAsLong();
        }

        boolean flag(String name, boolean otherwise) {
            JsonElement value = get(name);
            return value == null ? otherwise : value.getAsBoolean();
        }

        /** Null when absent. */
        List<JsonElement> list(String name) {
            JsonElement value = get(name);
            return value == null ? null : value.getAsJsonArray().asList();
        }

        void allRead() {
            assertEquals(Set.of(), unread, "unknown members of the vector");
        }
    }

    private static byte[] base64(JsonElement text) {
        return Base64.getDecoder().decode(text.getAsString());
    }

    private static Metadata metadata(List<JsonElement> pairs) {
        Metadata metadata = Metadata.empty();
        for (JsonElement pair : pairs) {
            metadata =
                    metadata.with(
                            pair.getAsJsonArray().get(0).getAsString(),
                            base64(pair.getAsJsonArray().get(1)));
        }
        return metadata;
    }

    private record Outcome(Status status, Metadata headers, int messages, long crc32) {}

    private static final class Case {
        private final String listener;
        private final Method<byte[], byte[]> method;
        private final List<byte[]> requests = new ArrayList<>();
        private final long repeat;
        private final boolean halfClose;
        private final long calls;
        private final boolean recovers;
        private final JsonObject channelOptions;
        private final CallOptions options;
        private final Members expect;

        Case(JsonObject one) {
            Members members = new Members(one);
            members.get("name");
            listener = members.text("listener", null);
            CallKind kind = CallKind.valueOf(members.text("kind", null).toUpperCase(Locale.ROOT));
            method = Method.ofBytes(members.text("path", null), kind);
            members.list("requests").forEach(request -> requests.add(base64(request)));
            repeat = members.number("request_repeat", 1);
            halfClose = members.flag("half_close", true);
            calls = members.number("calls", 1);
            recovers = members.flag("recovers", false);
            Members told = new Members(members.get("options"));
            channelOptions = new Members(told.get("channel")).object;
            options = callOptions(told);
            told.allRead();
            expect = new Members(members.get("expect"));
            members.allRead();
        }

        private static CallOptions callOptions(Members told) {
            CallOptions options =
                    CallOptions.DEFAULT
                            .withTimeout(Duration.ofMillis(told.number("timeout_ms", -1)))
                            .withWaitForReady(told.flag("wait_for_ready", false));
            String compression = told.text("compression", null);
            if (compression != null) {
                options =
                        options.withCompression(
                                Compression.valueOf(compression.toUpperCase(Locale.ROOT)));
            }
            long limit = told.number("max_receive_message", -1);
            if (limit >= 0) {
                options = options.withMaxReceiveMessage(limit);
            }
            List<JsonElement> metadata = told.list("metadata");
            return metadata == null ? options : options.withMetadata(metadata(metadata));
        }

        void run(JsonObject targets) throws Exception {
            ChannelBuilder builder = Channel.builder(targets.get(listener).getAsString());
            channelOptions
                    .entrySet()
                    .forEach(
                            entry ->
                                    builder.option(entry.getKey(), entry.getValue().getAsString()));
            long expectedAttempts = expect.number("attempts", -1);
            try (Channel channel = builder.open()) {
                long seenBefore = expectedAttempts < 0 ? 0 : seen(targets);
                // At once: they may have to wait for each other's streams.
                List<CompletableFuture<Outcome>> running = new ArrayList<>();
                for (long i = 0; i < calls; i++) {
                    Call<byte[], byte[]> call = channel.call(method, options);
                    running.add(Expect.async(() -> outcome(call)));
                }
                List<Outcome> outcomes = new ArrayList<>();
                for (CompletableFuture<Outcome> one : running) {
                    outcomes.add(Expect.value(one));
                }
                compare(outcomes);
                if (expectedAttempts >= 0) {
                    assertEquals(expectedAttempts, seen(targets) - seenBefore, "attempts");
                }
                expect.allRead();
                if (recovers) {
                    byte[] good = {'g', 'o', 'o', 'd'};
                    CallOptions patient =
                            CallOptions.DEFAULT.withTimeout(SOME_SECONDS).withWaitForReady(true);
                    assertArrayEquals(good, channel.unary(GOOD, good, patient));
                }
            }
        }

        /** Sends from a thread of its own: the server may never read, or end the call first. */
        private Outcome outcome(Call<byte[], byte[]> call) {
            try (call) {
                return endOf(call);
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        }

        private Outcome endOf(Call<byte[], byte[]> call) throws Exception {
            CompletableFuture<Void> sender = Expect.async(() -> send(call));
            CRC32 crc = new CRC32();
            int messages = 0;
            Status status;
            try {
                for (Batch batch : call.batches()) {
                    while (batch.advance()) {
                        crc.update(batch.array(), batch.offset(), batch.length());
                        messages++;
                    }
                }
                status = call.status();
            } catch (MillstreamException e) {
                status = e.status();
                if (status == null) {
                    throw e;
                }
            }
            assertEquals(status, call.status());
            // A sender that waits for room is woken by the end of the call.
            Expect.value(sender);
            return new Outcome(status, call.headers(), messages, crc.getValue());
        }

        private void send(Call<byte[], byte[]> call) {
            try {
                for (long i = 0; i < repeat; i++) {
                    requests.forEach(call::send);
                }
                if (halfClose) {
                    call.halfClose();
                }
            } catch (MillstreamException e) {
                // The call has ended; its status is compared. A request may be over a limit.
                if (e.code() != ErrorCode.CALL_ENDED) {
                    throw e;
                }
            }
        }

        /** How often the server has seen the call. */
        private long seen(JsonObject targets) {
            byte[] path = method.path().getBytes(StandardCharsets.UTF_8);
            CallOptions patient = CallOptions.DEFAULT.withTimeout(SOME_SECONDS);
            try (Channel channel = Channel.open(targets.get("default").getAsString())) {
                String answer =
                        new String(channel.unary(SEEN, path, patient), StandardCharsets.UTF_8);
                return JsonParser.parseString(answer).getAsJsonObject().get("calls").getAsLong();
            }
        }

        private void compare(List<Outcome> outcomes) {
            String code = expect.text("code", null);
            List<JsonElement> anyOf = expect.list("code_any_of");
            List<String> codes =
                    anyOf == null
                            ? List.of(code)
                            : anyOf.stream().map(JsonElement::getAsString).toList();
            List<JsonElement> parts = expect.list("message_contains");
            long longest = expect.number("message_max_bytes", Long.MAX_VALUE);
            long messages = expect.number("messages", -1);
            long crc = expect.number("messages_crc32", -1);
            List<JsonElement> headers = expect.list("headers");
            List<JsonElement> trailers = expect.list("trailers");
            JsonElement details = expect.get("details_base64");
            expect.get("note");
            for (Outcome outcome : outcomes) {
                Status status = outcome.status();
                assertTrue(codes.contains(status.code().name()), status + " is none of " + codes);
                if (parts != null) {
                    for (JsonElement part : parts) {
                        assertTrue(
                                status.message().contains(part.getAsString()),
                                status + " lacks " + part);
                    }
                }
                int length = status.message().getBytes(StandardCharsets.UTF_8).length;
                assertTrue(length <= longest, "a text of " + length + " bytes");
                if (messages >= 0) {
                    assertEquals(messages, outcome.messages(), "messages");
                }
                if (crc >= 0) {
                    assertEquals(crc, outcome.crc32(), "crc32");
                }
                compare("headers", headers, outcome.headers());
                compare("trailers", trailers, status.trailers());
                if (details != null) {
                    assertArrayEquals(base64(details), status.details());
                }
            }
        }

        private static void compare(String what, List<JsonElement> expected, Metadata actual) {
            if (expected == null) {
                return;
            }
            Metadata wanted = metadata(expected);
            for (Metadata.Entry entry : wanted) {
                assertArrayEquals(
                        wanted.getAll(entry.key()).toArray(),
                        actual.getAll(entry.key()).toArray(),
                        () -> what + ", key " + entry.key() + ": " + actual);
            }
        }
    }
}
