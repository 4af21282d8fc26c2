package dev.millstream.internal;

import dev.millstream.Metadata;
import dev.millstream.Status;
import dev.millstream.StatusCode;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * How options, metadata and statuses cross the border: big-endian numbers, and byte strings behind
 * their length, where -1 stands for an absent one.
 */
public final class Wire {
    private Wire() {}

    /** Writes what the native side reads. */
    public static final class Writer {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream(128);

        public Writer flag(boolean value) {
            out.write(value ? 1 : 0);
            return this;
        }

        public Writer number(int value) {
            out.write(value >>> 24);
            out.write(value >>> 16);
            out.write(value >>> 8);
            out.write(value);
            return this;
        }

        public Writer number(long value) {
            return number((int) (value >>> 32)).number((int) value);
        }

        /** Nanoseconds, or -1 for null. */
        public Writer duration(Duration value) {
            return number(value == null ? -1 : nanos(value));
        }

        public Writer bytes(byte[] value) {
            if (value == null) {
                return number(-1);
            }
            number(value.length);
            out.writeBytes(value);
            return this;
        }

        public Writer text(String value) {
            return bytes(value == null ? null : value.getBytes(StandardCharsets.UTF_8));
        }

        public Writer metadata(Metadata metadata) {
            number(metadata.size());
            for (Metadata.Entry entry : metadata) {
                text(entry.key()).bytes(entry.value());
            }
            return this;
        }

        public byte[] toByteArray() {
            return out.toByteArray();
        }
    }

    /** Nanoseconds from 0 to {@link Long#MAX_VALUE}, about 292 years. */
    public static long nanos(Duration duration) {
        if (duration.isNegative()) {
            return 0;
        }
        try {
            return duration.toNanos();
        } catch (ArithmeticException e) {
            return Long.MAX_VALUE;
        }
    }

    /** Reads a status. */
    public static Status status(byte[] encoded) {
        ByteBuffer in = ByteBuffer.wrap(encoded);
        return new Status(StatusCode.of(in.getInt()), text(in), bytes(in), metadata(in));
    }

    /** Reads metadata. */
    public static Metadata metadata(byte[] encoded) {
        return metadata(ByteBuffer.wrap(encoded));
    }

    private static Metadata metadata(ByteBuffer in) {
        int count = in.getInt();
        List<Metadata.Entry> entries = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            entries.add(new Metadata.Entry(text(in), bytes(in)));
        }
        return Metadata.of(entries);
    }

    private static byte[] bytes(ByteBuffer in) {
        byte[] value = new byte[in.getInt()];
        in.get(value);
        return value;
    }

    private static String text(ByteBuffer in) {
        return new String(bytes(in), StandardCharsets.UTF_8);
    }
}
