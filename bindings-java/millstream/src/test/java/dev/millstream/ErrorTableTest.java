package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.millstream.internal.Native;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The enums are those of the native library. */
class ErrorTableTest {
    private static String line(Code code) {
        int grpc = code.grpc() == null ? -1 : code.grpc().number();
        return code.number() + "\t" + code.name() + "\t" + grpc + "\t" + code.isRetryable();
    }

    @Test
    void theEnumsEqualTheTableOfTheNativeLibrary() {
        List<String> ours = new ArrayList<>();
        Arrays.stream(StatusCode.values()).map(ErrorTableTest::line).forEach(ours::add);
        Arrays.stream(ErrorCode.values()).map(ErrorTableTest::line).forEach(ours::add);
        String table = new String(Native.describe(Native.ERROR_TABLE), StandardCharsets.UTF_8);
        assertEquals(table.lines().toList(), ours);
    }

    @Test
    void everyNumberGivesItsCode() {
        for (StatusCode code : StatusCode.values()) {
            assertEquals(code, StatusCode.of(code.number()));
        }
        for (ErrorCode code : ErrorCode.values()) {
            assertEquals(code, ErrorCode.of(code.number()));
        }
    }

    @Test
    void numbersThatWereNeverGivenOutHaveASafeMeaning() {
        assertEquals(StatusCode.UNKNOWN, StatusCode.of(-1));
        assertEquals(StatusCode.UNKNOWN, StatusCode.of(17));
        assertEquals(ErrorCode.INTERNAL_PANIC, ErrorCode.of(99));
    }

    @Test
    void theLibraryTellsItsVersionAndBuild() {
        String version = new String(Native.describe(Native.VERSION), StandardCharsets.UTF_8);
        assertTrue(version.matches("\\d+\\.\\d+\\.\\d+.*"), version);
        String build = new String(Native.describe(Native.BUILD_ID), StandardCharsets.UTF_8);
        assertTrue(build.matches("[0-9a-f]{16}"), build);
    }
}
