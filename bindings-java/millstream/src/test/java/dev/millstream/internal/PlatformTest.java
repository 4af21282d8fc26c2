package dev.millstream.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which library fits a machine. */
class PlatformTest {
    @Test
    void namesOfSystemsAndProcessorsAreNormalised() {
        assertEquals("linux", Platform.os("Linux"));
        assertEquals("osx", Platform.os("Mac OS X"));
        assertEquals("windows", Platform.os("Windows 11"));
        assertEquals("freebsd", Platform.os("FreeBSD"));
        assertEquals("x86_64", Platform.arch("amd64"));
        assertEquals("aarch_64", Platform.arch("aarch64"));
        assertEquals("riscv64", Platform.arch("riscv64"));
    }

    @Test
    void eachPlatformHasItsFolderAndFile() {
        assertEquals("linux-x86_64", new Platform("linux", "x86_64", false).id());
        assertEquals("linux-aarch_64-musl", new Platform("linux", "aarch_64", true).id());
        assertEquals("libmillstream_jni.so", new Platform("linux", "x86_64", true).fileName());
        assertEquals("libmillstream_jni.dylib", new Platform("osx", "aarch_64", false).fileName());
        assertEquals("millstream_jni.dll", new Platform("windows", "x86_64", false).fileName());
    }

    @Test
    void muslIsFoundByWhatTheProcessHasMapped(@TempDir Path root) throws Exception {
        Path maps = root.resolve("proc/self/maps");
        Files.createDirectories(maps.getParent());
        Files.writeString(maps, "7f r-xp 00 08:01 1 /lib/ld-musl-x86_64.so.1\n");
        assertTrue(Platform.isMusl(root));
        Files.createDirectories(root.resolve("lib"));
        Files.createFile(root.resolve("lib/ld-musl-x86_64.so.1"));
        Files.writeString(maps, "7f r-xp 00 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6\n");
        assertFalse(Platform.isMusl(root), "glibc runs, though musl is installed");
    }

    @Test
    void withoutProcMuslIsFoundByItsLoader(@TempDir Path root) throws Exception {
        assertFalse(Platform.isMusl(root));
        Files.createDirectories(root.resolve("lib"));
        assertFalse(Platform.isMusl(root));
        Files.createFile(root.resolve("lib/ld-musl-aarch64.so.1"));
        assertTrue(Platform.isMusl(root));
    }
}
