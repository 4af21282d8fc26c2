import java.util.Locale;
import java.util.zip.CRC32;

/** Sums up what one service sent and tells how far it is. */
final class Tally {
    private static final long TELL_NANOS = 100_000_000;

    private final String service;
    private final long expected;
    private final long started = System.nanoTime();
    private final CRC32 crc = new CRC32();
    private long messages;
    private long told;

    Tally(String service, long expected) {
        this.service = service;
        this.expected = expected;
    }

    void add(byte[] payload) {
        add(payload, 0, payload.length);
    }

    void add(byte[] array, int offset, int length) {
        crc.update(array, offset, length);
        messages++;
        // The clock is not asked for every message.
        if ((messages & 0xff) == 0 && System.nanoTime() - told > TELL_NANOS) {
            tell();
            told = System.nanoTime();
        }
    }

    private void tell() {
        System.err.println("progress " + service + " " + messages + " " + expected);
    }

    void finish() {
        tell();
        System.out.printf(
                Locale.ROOT,
                "{\"language\":\"java\",\"service\":\"%s\",\"messages\":%d,\"seconds\":%.6f,"
                        + "\"crc32\":\"%08x\"}%n",
                service,
                messages,
                (System.nanoTime() - started) / 1e9,
                crc.getValue());
    }
}
