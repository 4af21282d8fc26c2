package dev.millstream;

import dev.millstream.internal.Wire;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/** Sets a {@link Channel} up. For one thread. */
public final class ChannelBuilder {
    private final String target;
    private final Map<String, String> options = new LinkedHashMap<>();
    private byte[] roots;
    private byte[] chain;
    private byte[] key;
    private Executor executor = new CompletableFuture<Void>().defaultExecutor();

    ChannelBuilder(String target) {
        this.target = Objects.requireNonNull(target, "target");
    }

    /**
     * Sets an option by its name, such as {@code keepalive_time} to {@code 30s} or {@code
     * max_receive_message} to {@code 16MiB}. The guide lists the options; {@link #open} refuses
     * unknown ones with a list of those that there are.
     *
     * @param name the name
     * @param value durations are digits and a unit ({@code 1500ms}, {@code 30s}, {@code 5m}, {@code
     *     1h}), sizes digits and an optional unit ({@code 65536}, {@code 64KiB}, {@code 4MiB})
     * @return this
     */
    public ChannelBuilder option(String name, String value) {
        options.put(Objects.requireNonNull(name, "name"), Objects.requireNonNull(value, "value"));
        return this;
    }

    /**
     * The {@code :authority} of every call.
     *
     * @param authority host and port; that of the target by default
     * @return this
     */
    public ChannelBuilder authority(String authority) {
        return option("authority", authority);
    }

    /**
     * What stands before Millstream's own user agent.
     *
     * @param userAgent a product with its version, such as {@code billing/2.1}
     * @return this
     */
    public ChannelBuilder userAgent(String userAgent) {
        return option("user_agent", userAgent);
    }

    /**
     * The certificates to trust instead of those of the operating system.
     *
     * @param pem certificates in PEM
     * @return this
     */
    public ChannelBuilder trustedRoots(byte[] pem) {
        roots = pem.clone();
        return this;
    }

    /**
     * The certificates to trust instead of those of the operating system.
     *
     * @param file a file with certificates in PEM
     * @return this
     * @throws UncheckedIOException when the file cannot be read
     */
    public ChannelBuilder trustedRoots(Path file) {
        return trustedRoots(read(file));
    }

    /**
     * The certificate that the client shows, for mutual TLS.
     *
     * @param chainPem the certificate and those that it was signed with, in PEM
     * @param keyPem its private key, in PEM
     * @return this
     */
    public ChannelBuilder clientCertificate(byte[] chainPem, byte[] keyPem) {
        chain = chainPem.clone();
        key = keyPem.clone();
        return this;
    }

    /**
     * The certificate that the client shows, for mutual TLS.
     *
     * @param chain a file with the certificate and those that it was signed with, in PEM
     * @param key a file with its private key, in PEM
     * @return this
     * @throws UncheckedIOException when a file cannot be read
     */
    public ChannelBuilder clientCertificate(Path chain, Path key) {
        return clientCertificate(read(chain), read(key));
    }

    /**
     * The name that the server's certificate must be for.
     *
     * @param name a DNS name or an IP address; the host of the target by default
     * @return this
     */
    public ChannelBuilder serverName(String name) {
        return option("server_name", name);
    }

    /**
     * Where futures are completed and subscribers are signalled. By default the common pool, as for
     * {@link CompletableFuture}. With {@code Runnable::run} it is the thread that waits for the
     * native library on behalf of all channels: fastest, but whoever blocks it blocks all of them.
     * When the executor refuses a task, that thread runs it.
     *
     * @param executor the executor; not shut down by the channel
     * @return this
     */
    public ChannelBuilder executor(Executor executor) {
        this.executor = Objects.requireNonNull(executor, "executor");
        return this;
    }

    /**
     * Opens the channel. Does not connect yet and never waits.
     *
     * @return the channel
     * @throws MillstreamException {@link ErrorCode#INVALID_TARGET}, {@link ErrorCode#INVALID_TLS},
     *     {@link ErrorCode#INVALID_ARGUMENT} for an option
     */
    public Channel open() {
        Wire.Writer spec = new Wire.Writer().text(target).number(options.size());
        options.forEach((name, value) -> spec.text(name).text(value));
        spec.bytes(roots).bytes(chain).bytes(key);
        return new Channel(target, spec.toByteArray(), executor);
    }

    private static byte[] read(Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + file, e);
        }
    }
}
