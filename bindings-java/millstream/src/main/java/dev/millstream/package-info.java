/**
 * Streaming gRPC calls: a {@link dev.millstream.Channel} to a server and {@link
 * dev.millstream.Call}s of the four kinds over it.
 *
 * <p>All work on the network is done by a native library with threads of its own. No native thread
 * ever runs Java code: the calling thread fetches what has arrived, many messages in one step.
 */
package dev.millstream;
