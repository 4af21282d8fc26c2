package dev.millstream.internal;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Which native library fits this machine.
 *
 * @param os the operating system, such as {@code linux}
 * @param arch the processor, such as {@code x86_64}
 * @param musl whether the C library is musl
 */
public record Platform(String os, String arch, boolean musl) {
    /** The platform that this JVM runs on. */
    public static Platform current() {
        String os = os(System.getProperty("os.name"));
        return new Platform(
                os,
                arch(System.getProperty("os.arch")),
                os.equals("linux") && isMusl(Path.of("/")));
    }

    /** The name of its folder in the jar, such as {@code linux-x86_64}. */
    public String id() {
        return os + "-" + arch + (musl ? "-musl" : "");
    }

    /** The file name of the library on this platform. */
    public String fileName() {
        return switch (os) {
            case "windows" -> "millstream_jni.dll";
            case "osx" -> "libmillstream_jni.dylib";
            default -> "libmillstream_jni.so";
        };
    }

    static String os(String name) {
        String lower = name.toLowerCase(Locale.ROOT);
        if (lower.startsWith("linux")) {
            return "linux";
        }
        if (lower.startsWith("mac") || lower.startsWith("darwin")) {
            return "osx";
        }
        if (lower.startsWith("windows")) {
            return "windows";
        }
        return lower.replaceAll("[^a-z0-9]+", "");
    }

    static String arch(String name) {
        return switch (name.toLowerCase(Locale.ROOT)) {
            case "amd64", "x86_64", "x64" -> "x86_64";
            case "aarch64", "arm64" -> "aarch_64";
            default -> name.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "");
        };
    }

    /**
     * Whether the C library is musl. Found out before anything is loaded, since loading a library
     * for the other one may crash the process instead of failing.
     *
     * @param root the root of the file system
     */
    static boolean isMusl(Path root) {
        // What this very process has mapped is the surest sign: a machine may have both.
        try {
            String maps = Files.readString(root.resolve("proc/self/maps"));
            if (maps.contains("/ld-musl-")) {
                return true;
            }
            if (maps.contains("/libc.so.6") || maps.contains("/libc-2.")) {
                return false;
            }
        } catch (IOException | SecurityException e) {
            // No /proc: look at what is installed.
        }
        try (DirectoryStream<Path> loaders =
                Files.newDirectoryStream(root.resolve("lib"), "ld-musl-*.so.1")) {
            return loaders.iterator().hasNext();
        } catch (IOException | SecurityException e) {
            return false;
        }
    }
}
