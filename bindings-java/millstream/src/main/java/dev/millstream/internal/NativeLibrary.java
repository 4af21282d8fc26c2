package dev.millstream.internal;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds and loads the native library, once for each class loader. The search order:
 *
 * <ol>
 *   <li>the system property {@code millstream.library.path}: the library itself, or a folder with
 *       it. When it is set, nothing else is tried;
 *   <li>the folders of {@code java.library.path};
 *   <li>the resource {@code META-INF/native/<platform>/<library>} on the class path, such as {@code
 *       META-INF/native/linux-x86_64/libmillstream_jni.so}; for musl {@code linux-x86_64-musl}. It
 *       is copied once to a cache folder that is named by the content, and loaded from there. The
 *       cache is below the system property {@code millstream.cache.path}, else in the user's cache
 *       folder. Where neither can be used (read-only, or mounted without the right to execute), it
 *       is loaded from a private temporary file, which is deleted at once.
 * </ol>
 *
 * <p>A JVM loads a library file for one class loader only. For the second one (two web applications
 * with the jar, say) a private copy is loaded, which shares nothing with the first.
 *
 * <p>The library and the Java classes must be from one build: the build ids are compared.
 */
final class NativeLibrary {
    static final String PATH_PROPERTY = "millstream.library.path";
    static final String CACHE_PROPERTY = "millstream.cache.path";

    private static final String RESOURCES = "/META-INF/native/";

    /** Holds the id of the native build that the classes were packaged with. */
    private static final String BUILD_ID = RESOURCES + "build-id";

    private final Platform platform;
    private final List<String> tried = new ArrayList<>();

    private NativeLibrary(Platform platform) {
        this.platform = platform;
    }

    /**
     * Loads the library.
     *
     * @throws UnsatisfiedLinkError with everything that was tried
     */
    static void load() {
        NativeLibrary library = new NativeLibrary(Platform.current());
        String loaded = library.search();
        if (loaded == null) {
            throw new UnsatisfiedLinkError(library.report());
        }
        checkBuild(loaded);
    }

    /** Where it was loaded from, or null. */
    private String search() {
        String configured = System.getProperty(PATH_PROPERTY);
        if (configured != null) {
            Path path = Path.of(configured);
            return tryFile(Files.isDirectory(path) ? path.resolve(platform.fileName()) : path);
        }
        for (String folder :
                System.getProperty("java.library.path", "").split(File.pathSeparator)) {
            if (!folder.isEmpty()) {
                String loaded = tryFile(Path.of(folder, platform.fileName()));
                if (loaded != null) {
                    return loaded;
                }
            }
        }
        return tryResource();
    }

    private String tryFile(Path file) {
        Path absolute = file.toAbsolutePath();
        if (!Files.isRegularFile(absolute)) {
            tried.add(absolute + ": no such file");
            return null;
        }
        return tryLoad(absolute);
    }

    private String tryLoad(Path file) {
        try {
            System.load(file.toString());
            return file.toString();
        } catch (UnsatisfiedLinkError e) {
            // The text is all that tells this case apart.
            if (!String.valueOf(e.getMessage()).contains("already loaded in another classloader")) {
                tried.add(file + ": " + e.getMessage());
                return null;
            }
        }
        try {
            return tryPrivateCopy(Files.readAllBytes(file));
        } catch (IOException e) {
            tried.add(file + ": " + e);
            return null;
        }
    }

    private String tryPrivateCopy(byte[] content) {
        try {
            return NativeCache.loadPrivateCopy(platform.fileName(), content);
        } catch (IOException | SecurityException | UnsatisfiedLinkError e) {
            tried.add("a private copy below java.io.tmpdir: " + e.getMessage());
            return null;
        }
    }

    private String tryResource() {
        String resource = RESOURCES + platform.id() + "/" + platform.fileName();
        byte[] content;
        try (InputStream in = NativeLibrary.class.getResourceAsStream(resource)) {
            if (in == null) {
                tried.add(resource + ": not in the jar");
                return null;
            }
            content = in.readAllBytes();
        } catch (IOException e) {
            tried.add(resource + ": " + e);
            return null;
        }
        for (Path folder : NativeCache.folders(platform.os())) {
            try {
                Path file = NativeCache.store(folder, platform.fileName(), content);
                String loaded = tryLoad(file);
                if (loaded != null) {
                    return loaded;
                }
            } catch (IOException | SecurityException e) {
                tried.add(folder + ": " + e);
            }
        }
        return tryPrivateCopy(content);
    }

    private String report() {
        StringBuilder text =
                new StringBuilder("the native library of Millstream was not found for ")
                        .append(platform.id())
                        .append("; tried:");
        for (String one : tried) {
            text.append("\n  ").append(one);
        }
        return text.append("\nAdd the jar with the natives of this platform, or set -D")
                .append(PATH_PROPERTY)
                .append("=<folder of ")
                .append(platform.fileName())
                .append(">.")
                .toString();
    }

    /** Classes and library of different builds would misunderstand each other. */
    private static void checkBuild(String loaded) {
        String expected;
        try (InputStream in = NativeLibrary.class.getResourceAsStream(BUILD_ID)) {
            if (in == null) {
                return; // classes that were not packaged, in a build of Millstream itself
            }
            expected = new String(in.readAllBytes(), StandardCharsets.UTF_8).strip();
        } catch (IOException e) {
            throw new UnsatisfiedLinkError("cannot read " + BUILD_ID + ": " + e);
        }
        String actual = new String(Native.describe(Native.BUILD_ID), StandardCharsets.UTF_8);
        if (!expected.equals(actual)) {
            throw new UnsatisfiedLinkError(
                    loaded
                            + " is of build "
                            + actual
                            + ", but the jar of Millstream is of build "
                            + expected
                            + "; use the library that came with the jar, or remove -D"
                            + PATH_PROPERTY);
        }
    }
}
