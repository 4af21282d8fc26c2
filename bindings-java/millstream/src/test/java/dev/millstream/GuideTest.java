package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.millstream.internal.Native;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** The guide says what is true: its programs run. */
class GuideTest {
    private static final Path GUIDE = Path.of("..", "..", "docs", "guide-java.md");

    /** What each program writes. */
    private static final Map<String, String> OUTPUT =
            new LinkedHashMap<>(
                    Map.of(
                            "Blocking", "one of \\d+ bytes and \\d+ others\n\\d+ bytes\n",
                            "Protobuf", "(true -?\\d+\\.\\d+\n){3}",
                            "Futures", "100 checks\n",
                            "Reactive", "\\d{3,} bytes\n",
                            "Tls", "healthy\n",
                            "Errors", "true\nfalse 0 \\d+\ntrue\n"));

    @TestFactory
    Stream<DynamicTest> everyProgramOfTheGuideRuns(@TempDir Path folder) throws Exception {
        TestServer server = TestServer.reference();
        Matcher blocks =
                Pattern.compile("^```java\n(.*?)^```", Pattern.DOTALL | Pattern.MULTILINE)
                        .matcher(Files.readString(GUIDE));
        Map<String, String> programs = new LinkedHashMap<>();
        while (blocks.find()) {
            Matcher name =
                    Pattern.compile("^class (\\w+)", Pattern.MULTILINE).matcher(blocks.group(1));
            assertTrue(name.find(), blocks.group(1));
            programs.put(
                    name.group(1),
                    blocks.group(1)
                            .replace("http://127.0.0.1:50051", server.get("http"))
                            .replace("https://localhost:50052", server.get("mtls"))
                            .replace("tls/", server.get("tls_dir") + "/"));
        }
        assertEquals(OUTPUT.keySet(), programs.keySet());
        return programs.entrySet().stream()
                .map(
                        program ->
                                DynamicTest.dynamicTest(
                                        program.getKey(),
                                        () -> run(folder, program.getKey(), program.getValue())));
    }

    private static void run(Path folder, String name, String source) throws Exception {
        Path file = Files.writeString(folder.resolve(name + ".java"), source);
        Jvm.Result result =
                Jvm.java(
                        List.of(
                                Jvm.NATIVE_ACCESS,
                                "-cp",
                                System.getProperty("java.class.path"),
                                file.toString()));
        assertTrue(result.output().matches(OUTPUT.get(name)), result.output());
        assertEquals(0, result.exitCode());
    }

    @Test
    void theGuideNamesEveryOptionOfAChannel() throws Exception {
        String guide = Files.readString(GUIDE);
        String options =
                new String(Native.describe(Native.CHANNEL_OPTIONS), StandardCharsets.UTF_8);
        List<String> bySetter = List.of("authority", "user_agent", "server_name");
        for (String line : options.lines().toList()) {
            String name = line.split("\t")[0];
            assertTrue(bySetter.contains(name) || guide.contains("`" + name + "`"), name);
        }
    }
}
