package dev.millstream;

/** How the messages that a call sends are compressed. What the server uses is its own choice. */
public enum Compression {
    // The ordinals are the numbers at the native border.
    /** Not at all. */
    IDENTITY,
    /** gzip. */
    GZIP,
    /** deflate in the zlib format. */
    DEFLATE,
    /** Zstandard. */
    ZSTD
}
