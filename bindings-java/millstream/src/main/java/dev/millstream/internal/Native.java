package dev.millstream.internal;

/**
 * Every native function. Only numbers and arrays cross the border; objects of the library are
 * handles, which the native side checks: a stale or foreign one gives an error, never harm.
 *
 * <p>Every function may throw {@link dev.millstream.MillstreamException}. None but {@link
 * #callWait} and {@link #queueWait} ever waits.
 */
public final class Native {
    /** What {@link #describe} tells. */
    public static final int VERSION = 0;

    public static final int BUILD_ID = 1;

    /** The error table: number, name, gRPC number or -1, retryable, tab-separated in lines. */
    public static final int ERROR_TABLE = 2;

    /** The channel options: name and form, tab-separated in lines. */
    public static final int CHANNEL_OPTIONS = 3;

    /** What {@link #live} counts. */
    public static final int CHANNELS = 0;

    public static final int CALLS = 1;
    public static final int QUEUES = 2;

    /** What a waiter is interested in. */
    public static final int HEADERS = 1;

    public static final int MESSAGES = 2;
    public static final int SENDABLE = 4;
    public static final int STATUS = 8;

    /** What {@link #callRead} reads beside {@link #HEADERS} and {@link #STATUS}. */
    public static final int RESULT = 16;

    /** What {@link #callTake} answers instead of a number of bytes. */
    public static final int EMPTY = 0;

    public static final int END = -1;

    static {
        NativeLibrary.load();
    }

    private Native() {}

    /** A constant of the library as UTF-8 text. */
    public static native byte[] describe(int what);

    /** How many objects of a sort are alive in the library. */
    public static native long live(int what);

    /** A new channel: target, options and certificates as {@link Wire} writes them. */
    public static native long channelOpen(byte[] spec);

    /** The number of the connectivity state; optionally starts to connect. */
    public static native int channelState(long channel, boolean connect);

    /** Puts the tag into the queue once the state is another than the last one. */
    public static native void channelWatch(long channel, int last, long queue, long tag);

    /** Ends all calls and connections. The handle stays valid until it is released. */
    public static native void channelClose(long channel);

    /** A new call. With a message: that one is the only one, and the request is half-closed. */
    public static native long callStart(
            long channel, int kind, byte[] path, byte[] options, byte[] message);

    /**
     * Sends one message: answers 1 when it was accepted and 0 when the send buffer is full. When
     * packed, sends a sequence of gRPC frames: answers how many bytes of whole frames were
     * accepted. After less than all, wait for {@link #SENDABLE}.
     */
    public static native int callSend(
            long call, byte[] data, int offset, int length, boolean packed);

    public static native void callHalfClose(long call);

    public static native void callCancel(long call, byte[] reason);

    /**
     * Moves received messages as whole gRPC frames to the start of the array and answers how many
     * bytes they are; or {@link #EMPTY}, or {@link #END}; or, when not even the first one fits, the
     * size of that one, negated.
     */
    public static native int callTake(long call, byte[] into);

    /** Waits until one of the interests is ready; false when the time ran out. */
    public static native boolean callWait(long call, int interest, long nanos);

    /** Puts the tag into the queue once the interest is ready. */
    public static native void callWatch(long call, int interest, long queue, long tag);

    /**
     * The headers, the status, or the one message of a call with one response ({@link #RESULT});
     * null when not (yet) there.
     */
    public static native byte[] callRead(long call, int what);

    /** A new completion queue. */
    public static native long queueOpen();

    /** Waits for tags and answers how many were put into the array; 0 when the time ran out. */
    public static native int queueWait(long queue, long[] tags, long nanos);

    /** Drops the library's reference of any handle. An unfinished call is cancelled by that. */
    public static native void release(long handle);
}
