package dev.millstream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import app.ModuleMain;
import java.lang.ref.WeakReference;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The jar in several class loaders of one JVM, as in a server for web applications. */
class ClassLoaderTest {
    private static final byte[] REQUEST = Echo.request("hello").toByteArray();

    /** The classes of Millstream once more, apart from those of the tests. */
    private static URLClassLoader loader() throws Exception {
        URL[] classes = {Jvm.CLASSES.toUri().toURL()};
        return new URLClassLoader("application", classes, ClassLoader.getPlatformClassLoader());
    }

    /** A unary call, a future and the closing, by reflection. */
    private static void use(ClassLoader loader) throws Exception {
        Class<?> type = loader.loadClass("dev.millstream.Channel");
        assertNotSame(Channel.class, type);
        Object channel =
                type.getMethod("open", String.class)
                        .invoke(null, TestServer.reference().get("http"));
        byte[] response =
                (byte[])
                        type.getMethod("unary", String.class, byte[].class)
                                .invoke(channel, "/contract.v1.Echo/Unary", REQUEST);
        assertTrue(new String(response, StandardCharsets.UTF_8).contains("hello"));
        CompletableFuture<?> future =
                (CompletableFuture<?>)
                        type.getMethod("unaryAsync", String.class, byte[].class)
                                .invoke(channel, "/contract.v1.Echo/Unary", REQUEST);
        assertEquals(response.length, ((byte[]) future.get(60, TimeUnit.SECONDS)).length);
        type.getMethod("close").invoke(channel);
    }

    @Test
    void severalClassLoadersUseTheLibraryAtOnce() throws Exception {
        try (URLClassLoader one = loader();
                URLClassLoader two = loader();
                URLClassLoader three = loader()) {
            List<CompletableFuture<Void>> uses =
                    Stream.of(one, two, three)
                            .map(
                                    loader ->
                                            Expect.async(
                                                    () -> {
                                                        try {
                                                            use(loader);
                                                        } catch (Exception e) {
                                                            throw new AssertionError(e);
                                                        }
                                                    }))
                            .toList();
            for (CompletableFuture<Void> use : uses) {
                Expect.value(use);
            }
        }
    }

    @Test
    void aFailureIsAnExceptionOfItsOwnClassLoader() throws Exception {
        try (URLClassLoader loader = loader()) {
            Class<?> type = loader.loadClass("dev.millstream.Channel");
            Throwable failure = null;
            try {
                type.getMethod("open", String.class).invoke(null, "nonsense");
            } catch (java.lang.reflect.InvocationTargetException e) {
                failure = e.getCause();
            }
            assertEquals(
                    loader.loadClass("dev.millstream.MillstreamException"), failure.getClass());
        }
    }

    @Test
    void aClassLoaderThatIsDroppedIsCollected() throws Exception {
        // The thread that waits for the library lingers a little before it lets go.
        WeakReference<ClassLoader> dropped = useAndDrop();
        Expect.soon(
                "the class loader is collected",
                () -> {
                    System.gc();
                    return dropped.get() == null;
                });
    }

    private static WeakReference<ClassLoader> useAndDrop() throws Exception {
        try (URLClassLoader loader = loader()) {
            use(loader);
            return new WeakReference<>(loader);
        }
    }

    @Test
    void theLibraryIsCachedOnceAndAChangedCopyIsReplaced(@TempDir Path cache) throws Exception {
        String target = TestServer.reference().get("http");
        List<String> options =
                List.of("-Dmillstream.cache.path=" + cache, "-Djava.library.path=" + cache);
        Jvm.run(options, Once.class, target).expect("hello\n");
        Jvm.run(options, Once.class, target).expect("hello\n");
        List<Path> files;
        try (Stream<Path> walk = Files.walk(cache)) {
            files = walk.filter(Files::isRegularFile).toList();
        }
        assertEquals(1, files.size(), files.toString());
        Files.writeString(files.get(0), "not a library");
        Jvm.run(options, Once.class, target).expect("hello\n");
        assertTrue(Files.size(files.get(0)) > 100_000);
    }

    @Test
    void aCacheThatCannotBeUsedIsNoObstacle(@TempDir Path folder) throws Exception {
        Path file = Files.writeString(folder.resolve("file"), "no folder");
        List<String> options =
                List.of(
                        "-Dmillstream.cache.path=" + file,
                        "-Duser.home=" + file,
                        "-Djava.io.tmpdir=" + folder,
                        "-Djava.library.path=" + folder);
        Jvm.run(options, Once.class, TestServer.reference().get("http")).expect("hello\n");
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(file), left.filter(p -> !p.endsWith("hsperfdata_root")).toList());
        }
    }

    @Test
    void aConfiguredLibraryThatIsNoneIsNamedAndNothingElseIsTried(@TempDir Path folder)
            throws Exception {
        List<String> options = List.of("-Dmillstream.library.path=" + folder);
        Jvm.Result result = Jvm.run(options, Once.class, "http://localhost:1");
        assertEquals(1, result.exitCode());
        assertTrue(result.output().contains("UnsatisfiedLinkError"), result.output());
        assertTrue(result.output().contains(folder.toString()), result.output());
        assertTrue(result.output().contains("millstream.library.path"), result.output());
    }

    @Test
    void aLibraryOfAnotherBuildIsRefused(@TempDir Path folder) throws Exception {
        // Classes whose id is another one, in front of the usual ones.
        Path id = folder.resolve("META-INF/native/build-id");
        Files.createDirectories(id.getParent());
        Files.writeString(id, "0000000000000000\n");
        Jvm.Result result =
                Jvm.java(
                        List.of(
                                Jvm.NATIVE_ACCESS,
                                "-cp",
                                folder
                                        + System.getProperty("path.separator")
                                        + System.getProperty("java.class.path"),
                                Once.class.getName(),
                                "http://localhost:1"));
        assertEquals(1, result.exitCode());
        assertTrue(result.output().contains("is of build 0000000000000000"), result.output());
    }

    @Test
    void theJarIsANamedModuleThatHidesItsInternals() throws Exception {
        Path tests =
                Path.of(
                        ModuleMain.class
                                .getProtectionDomain()
                                .getCodeSource()
                                .getLocation()
                                .toURI());
        List<String> arguments =
                List.of(
                        Jvm.nativeAccess("dev.millstream"),
                        "-p",
                        Jvm.CLASSES.toString(),
                        "--add-modules=dev.millstream",
                        "-cp",
                        tests.toString(),
                        ModuleMain.class.getName());
        Jvm.java(arguments).expect("dev.millstream false\n");
    }

    /** Makes one call. */
    public static final class Once {
        private Once() {}

        public static void main(String[] args) {
            try (Channel channel = Channel.open(args[0])) {
                byte[] response = channel.unary("/contract.v1.Echo/Unary", REQUEST);
                assertTrue(response.length > 0);
                System.out.println("hello");
            }
        }
    }
}
