package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import java.util.Collection;
import java.util.Iterator;

/** The sending side of a call. */
final class Sender<Q> {
    /** Packed messages cross the border when they are this many bytes together. */
    private static final int PACK = 16 << 10;

    private static final String ITERATOR_FAILED = "the iterator of the requests failed: ";

    private final NativeCall call;
    private final Method<Q, ?> method;

    Sender(NativeCall call, Method<Q, ?> method) {
        this.call = call;
        this.method = method;
    }

    boolean trySend(Q message) {
        byte[] bytes = method.serialize(message);
        return trySendBytes(bytes);
    }

    boolean trySendBytes(byte[] bytes) {
        return call.trySend(bytes, 0, bytes.length, false) != 0;
    }

    void send(Q message) {
        sendBytes(method.serialize(message));
    }

    private void sendBytes(byte[] bytes) {
        while (!trySendBytes(bytes)) {
            call.await(Native.SENDABLE, NativeCall.FOREVER);
        }
    }

    byte[] serialize(Q message) {
        return method.serialize(message);
    }

    void sendAll(Iterator<? extends Q> messages) {
        while (hasNext(messages)) {
            send(next(messages));
        }
    }

    void sendAll(Collection<? extends Q> collection) {
        Pack pack = new Pack();
        Iterator<? extends Q> messages = collection.iterator();
        while (hasNext(messages)) {
            Q message = next(messages);
            byte[] bytes;
            try {
                bytes = method.serialize(message);
            } catch (Throwable e) {
                // What stands before the message that cannot be sent is sent.
                pack.flush();
                throw e;
            }
            pack.add(bytes);
        }
        pack.flush();
    }

    private boolean hasNext(Iterator<? extends Q> messages) {
        try {
            return messages.hasNext();
        } catch (Throwable e) {
            call.cancel(ITERATOR_FAILED + e);
            throw e;
        }
    }

    private Q next(Iterator<? extends Q> messages) {
        try {
            return messages.next();
        } catch (Throwable e) {
            call.cancel(ITERATOR_FAILED + e);
            throw e;
        }
    }

    /** Messages with their prefixes, side by side. */
    private final class Pack {
        private final byte[] frames = new byte[PACK];
        private int size;

        void add(byte[] message) {
            long framed = (long) Batch.PREFIX + message.length;
            if (size + framed > PACK) {
                flush();
            }
            if (framed > PACK) {
                sendBytes(message);
                return;
            }
            Batch.putPrefix(frames, size, message.length);
            System.arraycopy(message, 0, frames, size + Batch.PREFIX, message.length);
            size += (int) framed;
        }

        void flush() {
            int sent = 0;
            while (sent < size) {
                int accepted = call.trySend(frames, sent, size - sent, true);
                sent += accepted;
                if (accepted == 0) {
                    call.await(Native.SENDABLE, NativeCall.FOREVER);
                }
            }
            size = 0;
        }
    }
}
