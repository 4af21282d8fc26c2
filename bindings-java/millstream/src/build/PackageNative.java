import dev.millstream.internal.Native;
import dev.millstream.internal.Platform;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** Run by the build: puts a native library and the id of its build where the loader looks. */
final class PackageNative {
    private PackageNative() {}

    public static void main(String[] args) throws IOException {
        Path library = Path.of(args[0]);
        Path folder = Path.of(args[1], "META-INF", "native");
        Platform platform = Platform.current();
        Path copy = folder.resolve(platform.id()).resolve(platform.fileName());
        Files.createDirectories(copy.getParent());
        // A stale id would keep the library from being asked for its own.
        Files.deleteIfExists(folder.resolve("build-id"));
        String id = new String(Native.describe(Native.BUILD_ID), StandardCharsets.UTF_8);
        Files.copy(library, copy, StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(folder.resolve("build-id"), id + "\n");
    }
}
