package dev.millstream.internal;

import java.io.IOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

/** Native libraries as files: a JVM loads them from nothing else. */
final class NativeCache {
    private NativeCache() {}

    /** Where copies may be kept, best first. */
    static List<Path> folders(String os) {
        List<Path> folders = new ArrayList<>();
        String configured = System.getProperty(NativeLibrary.CACHE_PROPERTY);
        if (configured != null) {
            folders.add(Path.of(configured));
        }
        String home = System.getProperty("user.home");
        if (home != null && Files.isDirectory(Path.of(home))) {
            folders.add(userCache(os, Path.of(home)).resolve("millstream"));
        }
        return folders;
    }

    private static Path userCache(String os, Path home) {
        String variable = os.equals("windows") ? "LOCALAPPDATA" : "XDG_CACHE_HOME";
        String configured = System.getenv(variable);
        if (configured != null && Path.of(configured).isAbsolute()) {
            return Path.of(configured);
        }
        return os.equals("osx") ? home.resolve("Library/Caches") : home.resolve(".cache");
    }

    /**
     * The file with this content, made if it is not there.
     *
     * @return {@code folder/<hash of the content>/name}
     */
    static Path store(Path folder, String name, byte[] content) throws IOException {
        Path own = folder.resolve(hash(content));
        Path file = own.resolve(name);
        if (isIntact(file, content)) {
            return file;
        }
        Files.createDirectories(own, onlyForMe(own));
        Path partial = Files.createTempFile(own, name, ".partial", onlyForMe(own));
        try {
            Files.write(partial, content);
            moveAtomically(partial, file);
        } finally {
            Files.deleteIfExists(partial);
        }
        return file;
    }

    /** A half-written or changed file is replaced, not loaded. */
    private static boolean isIntact(Path file, byte[] content) throws IOException {
        return Files.isRegularFile(file)
                && Files.size(file) == content.length
                && Arrays.equals(Files.readAllBytes(file), content);
    }

    private static void moveAtomically(Path from, Path to) throws IOException {
        try {
            Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        } catch (AtomicMoveNotSupportedException e) {
            Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
        } catch (FileAlreadyExistsException e) {
            // Another process was faster, with the same content.
        }
    }

    /**
     * Loads a copy that nobody else loads, and leaves no file behind.
     *
     * @return what was loaded
     */
    static String loadPrivateCopy(String name, byte[] content) throws IOException {
        Path copy = Files.createTempFile("millstream-", "-" + name);
        try {
            Files.write(copy, content);
            System.load(copy.toString());
            return copy.toString();
        } finally {
            // Loaded libraries stay mapped; where that forbids it, delete the file in the end.
            if (!copy.toFile().delete()) {
                copy.toFile().deleteOnExit();
            }
        }
    }

    private static FileAttribute<?>[] onlyForMe(Path where) {
        if (!where.getFileSystem().supportedFileAttributeViews().contains("posix")) {
            return new FileAttribute<?>[0];
        }
        return new FileAttribute<?>[] {
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"))
        };
    }

    private static String hash(byte[] content) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(content);
            return HexFormat.of().formatHex(digest, 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every JVM has SHA-256", e);
        }
    }
}
