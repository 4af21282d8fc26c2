package dev.millstream;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Iterator;
import java.util.NoSuchElementException;

/**
 * Received messages, as many as had arrived, side by side in one array. A cursor: {@link #advance}
 * goes to the next message, whose place {@link #array}, {@link #offset} and {@link #length} tell.
 *
 * <pre>{@code
 * for (Batch batch : call.batches()) {
 *     while (batch.advance()) {
 *         sum += decode(batch.array(), batch.offset(), batch.length());
 *     }
 * }
 * }</pre>
 *
 * <p>The array is reused: it and the batch are valid until the next step of the iteration over
 * {@link Call#batches}. For one thread at a time.
 */
public final class Batch implements Iterable<byte[]> {
    /** A flag and a big-endian length stand before each message. */
    static final int PREFIX = 5;

    private static final VarHandle LENGTH =
            MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.BIG_ENDIAN);

    private byte[] array = {};
    private int end;
    private int next;
    private int offset;
    private int length;

    Batch() {}

    /** Takes over frames that fill the array from its start. */
    void reset(byte[] frames, int size) {
        array = frames;
        end = size;
        next = 0;
        offset = 0;
        length = 0;
    }

    boolean hasMore() {
        return next < end;
    }

    /**
     * Goes to the next message.
     *
     * @return false when there is none
     */
    public boolean advance() {
        if (next >= end) {
            return false;
        }
        offset = next + PREFIX;
        length = (int) LENGTH.get(array, next + 1);
        next = offset + length;
        return true;
    }

    /**
     * The array with the message. It must not be changed.
     *
     * @return the array
     */
    public byte[] array() {
        return array;
    }

    /**
     * Where the message starts.
     *
     * @return the index of its first byte
     */
    public int offset() {
        return offset;
    }

    /**
     * How long the message is.
     *
     * @return its length in bytes
     */
    public int length() {
        return length;
    }

    /**
     * A copy of the message.
     *
     * @return the bytes of the message alone
     */
    public byte[] toByteArray() {
        return Arrays.copyOfRange(array, offset, offset + length);
    }

    /**
     * The number of messages that {@link #advance} has not gone to yet. Takes a look at each.
     *
     * @return the number of messages
     */
    public int remaining() {
        int count = 0;
        for (int at = next; at < end; count++) {
            at += PREFIX + (int) LENGTH.get(array, at + 1);
        }
        return count;
    }

    /**
     * Copies of the messages that were not gone to yet; each step advances.
     *
     * @return an iterator
     */
    @Override
    public Iterator<byte[]> iterator() {
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return hasMore();
            }

            @Override
            public byte[] next() {
                if (!advance()) {
                    throw new NoSuchElementException();
                }
                return toByteArray();
            }
        };
    }

    /** Writes the prefix of a message. */
    static void putPrefix(byte[] array, int at, int length) {
        array[at] = 0;
        LENGTH.set(array, at + 1, length);
    }
}
