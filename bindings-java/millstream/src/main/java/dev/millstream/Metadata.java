package dev.millstream;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;

/**
 * The headers or trailers of a call: ordered pairs of key and value. A key may be there several
 * times. Immutable and safe for use by many threads.
 *
 * <p>Values are bytes: text for most keys, anything for keys that end in {@code -bin} (base64 is
 * only on the wire). Keys are lower case. Keys and values of a request are checked when the call is
 * made: {@link ErrorCode#INVALID_METADATA}.
 */
public final class Metadata implements Iterable<Metadata.Entry> {
    private static final Metadata EMPTY = new Metadata(List.of());

    private final List<Entry> entries;

    private Metadata(List<Entry> entries) {
        this.entries = entries;
    }

    /**
     * Metadata without entries.
     *
     * @return the empty metadata
     */
    public static Metadata empty() {
        return EMPTY;
    }

    /**
     * Metadata with one text value.
     *
     * @param key the key
     * @param value the value
     * @return the metadata
     */
    public static Metadata of(String key, String value) {
        return EMPTY.with(key, value);
    }

    /**
     * Metadata with the given entries.
     *
     * @param entries the entries in their order
     * @return the metadata
     */
    public static Metadata of(List<Entry> entries) {
        return entries.isEmpty() ? EMPTY : new Metadata(List.copyOf(entries));
    }

    /**
     * This metadata with a text value behind the others.
     *
     * @param key the key
     * @param value the value
     * @return new metadata
     */
    public Metadata with(String key, String value) {
        return with(key, value.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * This metadata with a binary value behind the others.
     *
     * @param key the key; it ends in {@code -bin} unless the bytes are printable ASCII
     * @param value the value; not copied, so it must not be changed afterwards
     * @return new metadata
     */
    public Metadata with(String key, byte[] value) {
        List<Entry> longer = new ArrayList<>(entries.size() + 1);
        longer.addAll(entries);
        longer.add(new Entry(key, value));
        return new Metadata(List.copyOf(longer));
    }

    /**
     * The first text value of a key.
     *
     * @param key the key, in lower case
     * @return the value, or {@code null} when the key is absent
     */
    public String get(String key) {
        byte[] value = getBytes(key);
        return value == null ? null : new String(value, StandardCharsets.UTF_8);
    }

    /**
     * The first value of a key as bytes.
     *
     * @param key the key, in lower case
     * @return the value, or {@code null} when the key is absent
     */
    public byte[] getBytes(String key) {
        for (Entry entry : entries) {
            if (entry.key.equals(key)) {
                return entry.value;
            }
        }
        return null;
    }

    /**
     * Every value of a key, in order.
     *
     * @param key the key, in lower case
     * @return the values; empty when the key is absent
     */
    public List<byte[]> getAll(String key) {
        return entries.stream().filter(e -> e.key.equals(key)).map(Entry::value).toList();
    }

    /**
     * The number of entries.
     *
     * @return the number of entries
     */
    public int size() {
        return entries.size();
    }

    /**
     * Whether there are no entries.
     *
     * @return true when there are none
     */
    public boolean isEmpty() {
        return entries.isEmpty();
    }

    @Override
    public Iterator<Entry> iterator() {
        return entries.iterator();
    }

    @Override
    public String toString() {
        return entries.toString();
    }

    /**
     * One pair of key and value.
     *
     * @param key the key, in lower case
     * @param value the value; not copied, so it must not be changed
     */
    public record Entry(String key, byte[] value) {
        /** Refuses null. */
        public Entry {
            Objects.requireNonNull(key, "key");
            Objects.requireNonNull(value, "value");
        }

        /**
         * The value as text.
         *
         * @return the value, decoded as UTF-8
         */
        public String text() {
            return new String(value, StandardCharsets.UTF_8);
        }

        @Override
        public String toString() {
            return key + "=" + (key.endsWith("-bin") ? value.length + " bytes" : text());
        }
    }
}
