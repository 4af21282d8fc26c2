package dev.millstream;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A server program that prints its targets as one line of JSON and ends with its input. */
final class TestServer implements AutoCloseable {
    private static TestServer reference;
    private static TestServer fault;

    private final Process process;
    private final JsonObject ready;

    private TestServer(String variable, List<String> arguments) throws IOException {
        String program = System.getenv(variable);
        if (program == null || !Files.isExecutable(Path.of(program))) {
            throw new IOException(
                    variable + " must name the built server program, but is " + program);
        }
        List<String> command = new ArrayList<>(List.of(program));
        command.addAll(arguments);
        process =
                new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        BufferedReader out =
                new BufferedReader(
                        new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        String line = out.readLine();
        if (line == null) {
            throw new IOException(program + " ended without saying where it listens");
        }
        ready = JsonParser.parseString(line).getAsJsonObject();
    }

    /** The reference server that all tests share; it ends with this JVM. */
    static synchronized TestServer reference() throws IOException {
        if (reference == null) {
            Path folder = Files.createTempDirectory("millstream-test-");
            folder.toFile().deleteOnExit();
            Path socket = folder.resolve("server.sock");
            reference =
                    startReference(
                            "--tls",
                            "--mtls",
                            "--tls-dir=" + folder.resolve("tls"),
                            "--unix=" + socket);
        }
        return reference;
    }

    /** A reference server of its own, to be killed. */
    static TestServer startReference(String... arguments) throws IOException {
        List<String> all = new ArrayList<>(List.of("serve", "--exit-with-stdin"));
        all.addAll(List.of(arguments));
        return new TestServer("MILLSTREAM_REFERENCE_SERVER", all);
    }

    /** The fault server that all tests share; it ends with this JVM. */
    static synchronized TestServer fault() throws IOException {
        if (fault == null) {
            fault =
                    new TestServer(
                            "MILLSTREAM_FAULT_SERVER", List.of("serve", "--exit-with-stdin"));
        }
        return fault;
    }

    /** A value of the line that the server printed. */
    String get(String name) {
        return ready.get(name).getAsString();
    }

    JsonObject ready() {
        return ready;
    }

    Path tlsFile(String name) {
        return Path.of(get("tls_dir")).resolve(name);
    }

    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor(20, TimeUnit.SECONDS);
    }

    @Override
    public void close() throws InterruptedException {
        kill();
    }
}
