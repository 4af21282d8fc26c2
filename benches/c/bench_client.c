/* Millstream from C. Prints one line of JSON; see usage(). */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "millstream.h"

enum { WARM_UP = 1000, TICK_SIZE = 76, REQUEST_SIZE = 64 };
static const uint64_t FIREHOSE = UINT64_C(1) << 30;

static void usage(void) {
    fputs(
        "usage: bench_client HOST:PORT MODE [MESSAGES]\n"
        "  packed   server stream, many messages to a DATA frame\n"
        "  single   server stream, one message to a DATA frame\n"
        "  publish  client stream\n"
        "  unary    unary calls, one after the other\n"
        "  stalled  a stream of 1 GB whose consumer stops after the first message\n",
        stderr);
    exit(2);
}

static void fail(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("bench_client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void check(mill_status status, const char* what, mill_error* error) {
    if (status != MILL_OK) {
        fail("%s: %s: %s", what, mill_status_name(status), mill_error_message(error));
    }
}

/* ---- clocks and memory */

static uint64_t nanos(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        fail("clock_gettime: %s", strerror(errno));
    }
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

typedef struct {
    uint64_t wall;
    uint64_t cpu;
} stopwatch;

static stopwatch start_watch(void) {
    stopwatch watch = {nanos(CLOCK_MONOTONIC), nanos(CLOCK_PROCESS_CPUTIME_ID)};
    return watch;
}

/* Prints the line, all but its end: more fields may follow. */
static void stop_watch(stopwatch watch, const char* name, uint64_t messages) {
    double seconds = (double)(nanos(CLOCK_MONOTONIC) - watch.wall) / 1e9;
    double cpu = (double)(nanos(CLOCK_PROCESS_CPUTIME_ID) - watch.cpu) / 1e9;
    printf(
        "{\"name\": \"%s\", \"messages\": %llu, \"seconds\": %.9f, \"cpu_seconds\": %.9f", name,
        (unsigned long long)messages, seconds, cpu);
}

static long resident_kib(void) {
    long pages = 0;
    FILE* statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%*s %ld", &pages) != 1) {
        fail("the resident memory cannot be read from /proc/self/statm");
    }
    fclose(statm);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- messages: three integers and one tick need no library */

static size_t put_varint(uint8_t* out, uint8_t key, uint64_t value) {
    size_t length = 0;
    out[length++] = key;
    while (value >= 0x80) {
        out[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[length++] = (uint8_t)value;
    return length;
}

/* StreamRequest: count = 1, bytes = 4. */
static mill_slice stream_request(uint8_t* out, uint64_t count, uint64_t bytes) {
    size_t length = put_varint(out, 1 << 3, count);
    length += put_varint(out + length, 4 << 3, bytes);
    mill_slice request = {out, length};
    return request;
}

/* A tick of the usual size: its fixed64 fields, and padding for the rest. */
static mill_slice tick(uint8_t* out) {
    memset(out, 0xa5, TICK_SIZE);
    memset(out, 0, 18);
    out[0] = 1 << 3 | 1;
    out[1] = 1;
    out[9] = 2 << 3 | 1;
    out[10] = 1;
    out[18] = 15 << 3 | 2;
    out[19] = TICK_SIZE - 20;
    mill_slice message = {out, TICK_SIZE};
    return message;
}

/* Summary: messages = 1, the first field. */
static uint64_t summary_messages(mill_slice summary) {
    uint64_t value = 0;
    if (summary.len < 2 || summary.data[0] != 1 << 3) {
        return 0;
    }
    for (size_t at = 1, shift = 0; at < summary.len && shift < 64; at++, shift += 7) {
        value |= (uint64_t)(summary.data[at] & 0x7f) << shift;
        if (summary.data[at] < 0x80) {
            break;
        }
    }
    return value;
}

/* ---- what is measured */

typedef struct {
    uint64_t messages;
    uint64_t bytes;
    uint64_t sum;
} received;

static mill_call start_stream(mill_channel channel, const char* method, uint64_t count) {
    char path[64];
    uint8_t buffer[REQUEST_SIZE];
    mill_call call;
    mill_error* error = NULL;
    snprintf(path, sizeof path, "/bench.v1.Bench/%s", method);
    mill_slice request = stream_request(buffer, count, FIREHOSE);
    check(
        mill_call_start_with(channel, path, MILL_SERVER_STREAM, NULL, request, &call, &error),
        method, error);
    return call;
}

/* Takes one batch, message by message; false at the end. Looks into every message. */
static bool take_batch(mill_call call, mill_batch* batch, received* all) {
    mill_error* error = NULL;
    mill_slice message;
    check(mill_call_next_batch(call, batch, MILL_FOREVER, &error), "receive", error);
    if (mill_batch_len(batch) == 0) {
        return false;
    }
    while (mill_batch_next(batch, &message)) {
        all->messages++;
        all->bytes += message.len;
        all->sum += message.data[message.len / 2];
    }
    return true;
}

static void finish(mill_call call) {
    mill_error* error = NULL;
    check(mill_call_finish(call, MILL_FOREVER, NULL, &error), "the call", error);
    check(mill_call_close(call, &error), "close", error);
}

static received stream(mill_channel channel, const char* method, uint64_t count) {
    received all = {0, 0, 0};
    mill_call call = start_stream(channel, method, count);
    mill_batch* batch = mill_batch_new();
    while (take_batch(call, batch, &all)) {
    }
    mill_batch_free(batch);
    finish(call);
    if (all.messages != count) {
        fail(
            "%s: %llu messages came instead of %llu", method, (unsigned long long)all.messages,
            (unsigned long long)count);
    }
    return all;
}

static void receive(mill_channel channel, const char* name, const char* method, uint64_t count) {
    stopwatch watch = start_watch();
    received all = stream(channel, method, count);
    stop_watch(watch, name, all.messages);
    printf(
        ", \"bytes\": %llu, \"sum\": %llu}\n", (unsigned long long)all.bytes,
        (unsigned long long)all.sum);
}

static void publish(mill_channel channel, uint64_t count) {
    uint8_t buffer[TICK_SIZE];
    mill_slice message = tick(buffer);
    mill_slice answer;
    mill_call call;
    mill_error* error = NULL;
    mill_batch* batch = mill_batch_new();
    stopwatch watch = start_watch();
    check(
        mill_call_start(
            channel, "/bench.v1.Bench/Publish", MILL_CLIENT_STREAM, NULL, &call, &error),
        "publish", error);
    for (uint64_t sent = 0; sent < count; sent++) {
        check(mill_call_send(call, message, MILL_FOREVER, &error), "send", error);
    }
    check(mill_call_half_close(call, &error), "half-close", error);
    check(mill_call_next(call, batch, MILL_FOREVER, &answer, &error), "the summary", error);
    uint64_t messages = answer.data == NULL ? 0 : summary_messages(answer);
    finish(call);
    if (messages != count) {
        fail("publish: the server counted %llu messages", (unsigned long long)messages);
    }
    stop_watch(watch, "publish", messages);
    puts("}");
    mill_batch_free(batch);
}

static int by_value(const void* a, const void* b) {
    uint64_t left = *(const uint64_t*)a;
    uint64_t right = *(const uint64_t*)b;
    return (left > right) - (left < right);
}

static void unary(mill_channel channel, uint64_t count) {
    uint8_t buffer[TICK_SIZE];
    mill_slice message = tick(buffer);
    mill_error* error = NULL;
    uint64_t* latencies = malloc(count * sizeof *latencies);
    stopwatch watch = start_watch();
    if (latencies == NULL) {
        fail("no memory for %llu latencies", (unsigned long long)count);
    }
    for (uint64_t call = 0; call < WARM_UP + count; call++) {
        mill_buffer* response = NULL;
        if (call == WARM_UP) {
            watch = start_watch();
        }
        uint64_t begin = nanos(CLOCK_MONOTONIC);
        check(
            mill_unary(channel, "/bench.v1.Bench/Unary", NULL, message, &response, NULL, &error),
            "unary", error);
        if (call >= WARM_UP) {
            latencies[call - WARM_UP] = nanos(CLOCK_MONOTONIC) - begin;
        }
        if (mill_buffer_bytes(response).len != TICK_SIZE) {
            fail("unary: the answer is not what was sent");
        }
        mill_buffer_free(response);
    }
    stop_watch(watch, "unary", count);
    qsort(latencies, count, sizeof *latencies, by_value);
    printf(
        ", \"p50_us\": %.3f, \"p99_us\": %.3f}\n", (double)latencies[(count - 1) / 2] / 1e3,
        (double)latencies[(count - 1) * 99 / 100] / 1e3);
    free(latencies);
}

static void stalled(mill_channel channel, double seconds) {
    received all = {0, 0, 0};
    const struct timespec pause = {0, 20000000};
    long before = resident_kib();
    long most = before;
    stopwatch watch = start_watch();
    mill_call call = start_stream(channel, "Firehose", 0);
    mill_batch* batch = mill_batch_new();
    take_batch(call, batch, &all);
    uint64_t end = nanos(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
    while (nanos(CLOCK_MONOTONIC) < end) {
        long now = resident_kib();
        most = now > most ? now : most;
        nanosleep(&pause, NULL);
    }
    /* The stream is whole all the same. */
    while (take_batch(call, batch, &all)) {
    }
    finish(call);
    long now = resident_kib();
    most = now > most ? now : most;
    stop_watch(watch, "stalled", 1);
    printf(
        ", \"rss_growth_kb\": %ld, \"bytes\": %llu}\n", most - before,
        (unsigned long long)all.bytes);
    mill_batch_free(batch);
}

int main(int argc, char** argv) {
    if (argc < 3 || argc > 4) {
        usage();
    }
    const char* mode = argv[2];
    char target[128];
    char* end = NULL;
    uint64_t count = argc == 4 ? strtoull(argv[3], &end, 10) : 1000000;
    if ((end != NULL && *end != '\0') || count == 0) {
        usage();
    }
    mill_channel channel;
    mill_error* error = NULL;
    snprintf(target, sizeof target, "http://%s", argv[1]);
    check(mill_channel_open(target, NULL, &channel, &error), target, error);
    stream(channel, "Packed", WARM_UP);
    if (strcmp(mode, "packed") == 0) {
        receive(channel, mode, "Packed", count);
    } else if (strcmp(mode, "single") == 0) {
        receive(channel, mode, "Single", count);
    } else if (strcmp(mode, "publish") == 0) {
        publish(channel, count);
    } else if (strcmp(mode, "unary") == 0) {
        unary(channel, count);
    } else if (strcmp(mode, "stalled") == 0) {
        stalled(channel, 4.0);
    } else {
        usage();
    }
    check(mill_channel_close(channel, &error), "close", error);
    return 0;
}
