package dev.millstream;

import com.google.protobuf.ByteString;
import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import contract.v1.Finish;
import contract.v1.StatsRequest;
import contract.v1.StatsResponse;
import java.time.Duration;

/** The service of the reference server that does what a test asks for. */
final class Echo {
    static final Duration LONG = Duration.ofSeconds(60);
    static final CallOptions BOUNDED = CallOptions.DEFAULT.withTimeout(LONG);

    static final Method<EchoRequest, EchoResponse> UNARY = echo("Unary", CallKind.UNARY);
    static final Method<EchoRequest, EchoResponse> SERVER_STREAM =
            echo("ServerStream", CallKind.SERVER_STREAM);
    static final Method<EchoRequest, EchoResponse> CLIENT_STREAM =
            echo("ClientStream", CallKind.CLIENT_STREAM);
    static final Method<EchoRequest, EchoResponse> BIDI = echo("Bidi", CallKind.BIDI);
    static final Method<StatsRequest, StatsResponse> STATS =
            Method.of(
                    "/contract.v1.Echo/Stats",
                    CallKind.UNARY,
                    StatsRequest::toByteArray,
                    StatsResponse.parser()::parseFrom);

    private Echo() {}

    private static Method<EchoRequest, EchoResponse> echo(String name, CallKind kind) {
        return Method.of(
                "/contract.v1.Echo/" + name,
                kind,
                EchoRequest::toByteArray,
                EchoResponse.parser()::parseFrom);
    }

    static EchoRequest request(String payload) {
        return EchoRequest.newBuilder().setPayload(ByteString.copyFromUtf8(payload)).build();
    }

    /** Asks for many answers of a size. */
    static EchoRequest answers(int count, int size) {
        return EchoRequest.newBuilder().setCount(count).setResponseSize(size).build();
    }

    /** Asks for answers, and then nothing more: the call stays open. */
    static EchoRequest endless(int count) {
        return EchoRequest.newBuilder().setCount(count).setNeverFinish(true).build();
    }

    static EchoRequest never() {
        return EchoRequest.newBuilder().setNeverAnswer(true).build();
    }

    static EchoRequest finish(int count, int code, String message, byte[] details) {
        return EchoRequest.newBuilder()
                .setCount(count)
                .setFinish(
                        Finish.newBuilder()
                                .setCode(code)
                                .setMessage(message)
                                .setDetails(ByteString.copyFrom(details)))
                .build();
    }

    /** Options with a deadline and a name under which the server counts the call. */
    static CallOptions named(String id) {
        return BOUNDED.withMetadata(Metadata.of("x-call-id", id));
    }

    static StatsResponse stats(Channel channel, String id) {
        return channel.unary(STATS, StatsRequest.newBuilder().setCallId(id).build(), BOUNDED);
    }
}
