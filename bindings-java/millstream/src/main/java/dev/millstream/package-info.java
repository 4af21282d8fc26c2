/**
 * Streaming gRPC calls: a {@link dev.millstream.Channel} to a server and {@link
 * dev.millstream.Call}s of the four kinds over it.
 *
 * <p>All work on the network is done by a native library with threads of its own. No native thread
 * ever runs Java code: the calling thread fetches what has arrived, many messages in one step.
 *
 * <h2>The native library</h2>
 *
 * It is loaded with the first channel, once for each class loader, and looked for
 *
 * <ol>
 *   <li>at the system property {@code millstream.library.path}: the library itself, or a folder
 *       with it. When it is set, nothing else is tried;
 *   <li>in the folders of {@code java.library.path};
 *   <li>on the class path, at {@code META-INF/native/<platform>/}. It is copied once to a folder
 *       that is named by the content, below the system property {@code millstream.cache.path} or
 *       else in the user's cache folder.
 * </ol>
 *
 * An {@link java.lang.UnsatisfiedLinkError} lists everything that was tried.
 */
package dev.millstream;
