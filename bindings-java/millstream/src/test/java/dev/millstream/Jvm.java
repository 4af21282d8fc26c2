package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Runs programs in JVMs of their own. */
final class Jvm {
    /** The classes of Millstream, with the native library as in the jar. */
    static final Path CLASSES = Path.of(System.getProperty("millstream.classes"));

    /** Lets the class path load natives; on JVMs that do not ask for it, something harmless. */
    static final String NATIVE_ACCESS = nativeAccess("ALL-UNNAMED");

    private Jvm() {}

    static String nativeAccess(String module) {
        return Runtime.version().feature() < 22 ? "-esa" : "--enable-native-access=" + module;
    }

    record Result(int exitCode, String output) {
        /** That it ended well and wrote this and nothing more. */
        void expect(String text) {
            assertEquals(text, output);
            assertEquals(0, exitCode, output);
        }
    }

    /** Runs a main class of the tests. What the JVM itself warns of is part of the output. */
    static Result run(List<String> options, Class<?> main, String... arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(options);
        command.add(NATIVE_ACCESS);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(Arrays.asList(arguments));
        return java(command);
    }

    static Result java(List<String> arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(arguments);
        File output = File.createTempFile("millstream-", ".txt");
        try {
            Process process =
                    new ProcessBuilder(command)
                            .redirectErrorStream(true)
                            .redirectOutput(output)
                            .start();
            boolean ended = process.waitFor(120, TimeUnit.SECONDS);
            if (!ended) {
                process.destroyForcibly().waitFor();
            }
            String text = Files.readString(output.toPath());
            assertTrue(ended, "hangs: " + text);
            return new Result(process.exitValue(), text);
        } finally {
            Files.delete(output.toPath());
        }
    }
}
