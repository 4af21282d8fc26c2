package dev.millstream.bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.lang.management.ManagementFactory;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/** Time, CPU time of the process and what else was measured, as one line of JSON. */
final class Measurement {
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private static final VarHandle LITTLE_ENDIAN =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final Map<String, Object> fields = new LinkedHashMap<>();
    private final long wall = System.nanoTime();
    private final long cpu = SYSTEM.getProcessCpuTime();

    /** Starts now. */
    static Measurement start() {
        return new Measurement();
    }

    /** Stops: so many messages came, and as many were expected. */
    Measurement stop(String name, long messages, long expected) {
        double seconds = (System.nanoTime() - wall) / 1e9;
        double cpuSeconds = (SYSTEM.getProcessCpuTime() - cpu) / 1e9;
        if (messages != expected) {
            throw new IllegalStateException(
                    name + ": " + messages + " messages came instead of " + expected);
        }
        fields.put("name", '"' + name + '"');
        fields.put("messages", messages);
        fields.put("seconds", seconds);
        fields.put("cpu_seconds", cpuSeconds);
        return this;
    }

    Measurement with(String field, Object value) {
        fields.put(field, value);
        return this;
    }

    Measurement with(Latencies latencies) {
        long[] sorted = Arrays.copyOf(latencies.nanos, latencies.count);
        Arrays.sort(sorted);
        fields.put("p50_us", percentile(sorted, 0.5));
        fields.put("p99_us", percentile(sorted, 0.99));
        fields.put("p999_us", percentile(sorted, 0.999));
        fields.put("max_us", percentile(sorted, 1));
        return this;
    }

    private static double percentile(long[] sorted, double share) {
        int rank = (int) Math.ceil(sorted.length * share);
        return sorted[Math.max(rank - 1, 0)] / 1e3;
    }

    void print() {
        System.out.println(
                fields.entrySet().stream()
                        .map(field -> '"' + field.getKey() + "\": " + field.getValue())
                        .collect(Collectors.joining(", ", "{", "}")));
    }

    /** The due time of an encoded tick: its first field, behind its key. */
    static long due(byte[] tick, int offset) {
        return (long) LITTLE_ENDIAN.get(tick, offset + 1);
    }

    /** Resident memory of this process. */
    static long residentKib() {
        try {
            String line =
                    Files.readAllLines(Path.of("/proc/self/status")).stream()
                            .filter(l -> l.startsWith("VmRSS:"))
                            .findFirst()
                            .orElseThrow();
            return Long.parseLong(line.replaceAll("\\D", ""));
        } catch (IOException e) {
            throw new IllegalStateException("the resident memory cannot be read", e);
        }
    }

    /** Waits, and returns the largest growth of the resident memory that was seen. */
    static long watchMemory(long before, double seconds) throws InterruptedException {
        long most = 0;
        long end = System.nanoTime() + (long) (seconds * 1e9);
        while (System.nanoTime() < end) {
            most = Math.max(most, residentKib() - before);
            Thread.sleep(20);
        }
        return most;
    }

    /** Latencies, without boxes. */
    static final class Latencies {
        private long[] nanos = new long[1024];
        private int count;

        void add(long value) {
            if (count == nanos.length) {
                nanos = Arrays.copyOf(nanos, count * 2);
            }
            nanos[count++] = value;
        }
    }
}
