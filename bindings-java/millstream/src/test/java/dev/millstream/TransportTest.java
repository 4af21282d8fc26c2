package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import contract.v1.EchoRequest;
import contract.v1.EchoResponse;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Plain text, TLS, mutual TLS and Unix sockets. */
class TransportTest {
    private static TestServer server;

    @BeforeAll
    static void start() throws Exception {
        server = TestServer.reference();
    }

    private static void works(ChannelBuilder builder) {
        try (Channel channel = builder.open()) {
            EchoResponse response = channel.unary(Echo.UNARY, Echo.request("hello"), Echo.BOUNDED);
            assertEquals("hello", response.getPayload().toStringUtf8());
        }
    }

    private static MillstreamException fails(ChannelBuilder builder) {
        try (Channel channel = builder.open()) {
            return Expect.failure(
                    StatusCode.UNAVAILABLE,
                    () -> channel.unary(Echo.UNARY, Echo.request("hello"), Echo.BOUNDED));
        }
    }

    @Test
    void plainTextWorks() {
        works(Channel.builder(server.get("http")));
    }

    @Test
    void aUnixSocketWorks() {
        works(Channel.builder(server.get("unix")));
    }

    @Test
    void tlsWorksWithTheRightRoots() {
        works(Channel.builder(server.get("https")).trustedRoots(server.tlsFile("ca.pem")));
    }

    @Test
    void tlsFailsWithOtherRootsAndSaysWhy() {
        MillstreamException e =
                fails(
                        Channel.builder(server.get("https"))
                                .trustedRoots(server.tlsFile("other-ca.pem")));
        assertTrue(e.getMessage().toLowerCase().contains("certificate"), e.getMessage());
        fails(Channel.builder(server.get("https")));
    }

    @Test
    void tlsChecksTheNameOfTheServer() {
        Path roots = server.tlsFile("ca.pem");
        works(
                Channel.builder(server.get("https"))
                        .trustedRoots(roots)
                        .serverName("reference-server.test"));
        fails(Channel.builder(server.get("https")).trustedRoots(roots).serverName("other.test"));
    }

    @Test
    void mutualTlsWorksWithACertificateAndFailsWithout() {
        Path roots = server.tlsFile("ca.pem");
        works(
                Channel.builder(server.get("mtls"))
                        .trustedRoots(roots)
                        .clientCertificate(
                                server.tlsFile("client.pem"), server.tlsFile("client.key")));
        fails(Channel.builder(server.get("mtls")).trustedRoots(roots));
    }

    @Test
    void aFileThatCannotBeReadIsNamed() {
        UncheckedIOException e =
                assertThrows(
                        UncheckedIOException.class,
                        () -> Channel.builder("https://a:1").trustedRoots(Path.of("no/such.pem")));
        assertTrue(e.getMessage().contains("such.pem"), e.getMessage());
    }

    @Test
    void authorityAndUserAgentReachTheServer() {
        EchoRequest request = EchoRequest.newBuilder().setReportMetadata(true).build();
        ChannelBuilder builder =
                Channel.builder(server.get("http"))
                        .authority("the.authority.test")
                        .userAgent("billing/2.1");
        try (Channel channel = builder.open()) {
            List<String> agents =
                    channel.unary(Echo.UNARY, request, Echo.BOUNDED).getMetadataList().stream()
                            .filter(entry -> entry.getKey().equals("user-agent"))
                            .map(entry -> entry.getValue().toStringUtf8())
                            .toList();
            assertEquals(1, agents.size());
            assertTrue(agents.get(0).startsWith("billing/2.1 "), agents.get(0));
        }
    }
}
