// The shared vectors of contract-tests/vectors/faults.json against the fault server.
//
// The file's path is in MILLSTREAM_FAULTS, the name of a case in MILLSTREAM_FAULT_CASE; without one
// all cases run one after the other in this process. The README beside the file says what its keys
// mean.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "support/base64.h"
#include "support/check.h"
#include "support/server.h"

enum { PATIENCE = 120000 };

static const char* case_name;

/// Ends the test with the name of the case.
#define CASE_FAILED(...)                                                                           \
    do {                                                                                           \
        fprintf(stderr, "%s\n", case_name);                                                        \
        check_failed(__FILE__, __LINE__, __VA_ARGS__);                                             \
    } while (0)

static const cJSON* get(const cJSON* object, const char* key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char* text(const cJSON* object, const char* key) {
    const cJSON* item = get(object, key);
    if (!cJSON_IsString(item)) {
        CASE_FAILED("%s is not a text", key);
    }
    return item->valuestring;
}

static int64_t number(const cJSON* object, const char* key, int64_t otherwise) {
    const cJSON* item = get(object, key);
    if (item == NULL) {
        return otherwise;
    }
    if (!cJSON_IsNumber(item)) {
        CASE_FAILED("%s is not a number", key);
    }
    return (int64_t)item->valuedouble;
}

static int truth(const cJSON* object, const char* key, int otherwise) {
    const cJSON* item = get(object, key);
    return item == NULL ? otherwise : cJSON_IsTrue(item);
}

/// An expectation that this driver does not know must not pass unseen.
static void only_known(const cJSON* object, const char* known) {
    const cJSON* item;
    cJSON_ArrayForEach(item, object) {
        char padded[64];
        snprintf(padded, sizeof padded, " %s ", item->string);
        if (strstr(known, padded) == NULL) {
            CASE_FAILED("the key %s is unknown", item->string);
        }
    }
}

/// The place of a text in a list; fails the test when it is not there.
static int place(const char* what, const char* const* list, int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(what, list[i]) == 0) {
            return i;
        }
    }
    CASE_FAILED("%s is unknown", what);
}

/// One call of a case.
typedef struct {
    mill_call call;
    mill_batch* batch;
    size_t sent;
    int half_closed;
    int ended;
    uint64_t messages;
    uLong crc32;
} run_state;

typedef struct {
    mill_slice* requests;
    int request_count;
    size_t to_send;
    int half_close;
} request_script;

/// Sends what there is room for.
static void send_some(run_state* run, const request_script* script) {
    while (run->sent < script->to_send && script->request_count > 0) {
        mill_slice request = script->requests[run->sent % (size_t)script->request_count];
        mill_status status = mill_call_send(run->call, request, 0, NULL);
        if (status == MILL_ERROR_TIMEOUT) {
            return;
        }
        if (status == MILL_ERROR_CALL_ENDED) {
            run->sent = script->to_send;
            return;
        }
        CHECK_INT(MILL_OK, status);
        run->sent++;
    }
    if (script->half_close && !run->half_closed) {
        OK(mill_call_half_close(run->call, &error));
        run->half_closed = 1;
    }
}

/// Takes what has come.
static void receive_some(run_state* run) {
    for (;;) {
        mill_slice message;
        mill_status status = mill_call_next(run->call, run->batch, 0, &message, NULL);
        if (status == MILL_ERROR_TIMEOUT) {
            return;
        }
        CHECK_INT(MILL_OK, status);
        if (message.data == NULL) {
            run->ended = 1;
            return;
        }
        run->messages++;
        run->crc32 = crc32(run->crc32, message.data, (uInt)message.len);
    }
}

/// Sends and receives on all calls at once until the last of them has ended.
static void pump(run_state* runs, int count, const request_script* script) {
    mill_queue queue = {0};
    OK(mill_queue_new(&queue, &error));
    for (int i = 0; i < count; i++) {
        OK(mill_call_watch(runs[i].call, queue, MILL_INTEREST_SENDABLE, (uint64_t)i, &error));
    }
    for (int open = count; open > 0;) {
        uint64_t tag;
        size_t tags;
        OK(mill_queue_next(queue, PATIENCE, &tag, 1, &tags, &error));
        run_state* run = &runs[tag];
        if (run->ended) {
            continue;
        }
        send_some(run, script);
        receive_some(run);
        if (run->ended) {
            open--;
            continue;
        }
        uint32_t interests = MILL_INTEREST_MESSAGES;
        if (run->sent < script->to_send) {
            interests |= MILL_INTEREST_SENDABLE;
        }
        OK(mill_call_watch(run->call, queue, interests, tag, &error));
    }
    OK(mill_queue_close(queue, &error));
}

/// Each key of the expected pairs has exactly its values, in their order.
static void check_metadata(const char* what, const cJSON* expected, const mill_metadata* got) {
    size_t count = 0;
    const mill_metadata_entry* entries = mill_metadata_entries(got, &count);
    const cJSON* pair;
    cJSON_ArrayForEach(pair, expected) {
        const char* key = cJSON_GetArrayItem(pair, 0)->valuestring;
        // How many values of this key there are, and which of them this is.
        size_t nth = 0, values = 0, wanted = 0;
        const cJSON* other;
        cJSON_ArrayForEach(other, expected) {
            if (other == pair) {
                nth = wanted;
            }
            wanted += strcmp(cJSON_GetArrayItem(other, 0)->valuestring, key) == 0;
        }
        mill_slice value = base64_decode(cJSON_GetArrayItem(pair, 1)->valuestring);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(entries[i].key, key) != 0) {
                continue;
            }
            if (values++ == nth && (entries[i].value.len != value.len ||
                                    memcmp(entries[i].value.data, value.data, value.len) != 0)) {
                CASE_FAILED("value %zu of %s in the %s is another", nth, key, what);
            }
        }
        if (values != wanted) {
            CASE_FAILED("%s is %zu times in the %s, expected %zu", key, values, what, wanted);
        }
        free((void*)value.data);
    }
}

static void check_code(const cJSON* expect, const char* code, const char* message) {
    const cJSON* any = get(expect, "code_any_of");
    if (any == NULL) {
        if (strcmp(text(expect, "code"), code) != 0) {
            CASE_FAILED("ended with %s: %s, expected %s", code, message, text(expect, "code"));
        }
        return;
    }
    const cJSON* item;
    cJSON_ArrayForEach(item, any) {
        if (strcmp(item->valuestring, code) == 0) {
            return;
        }
    }
    CASE_FAILED("ended with %s: %s, which is not among the expected", code, message);
}

static void check_status(const cJSON* expect, const mill_call_status* status) {
    const char* message = mill_call_status_message(status);
    check_code(expect, mill_status_name((int)mill_call_status_code(status)), message);
    const cJSON* item;
    cJSON_ArrayForEach(item, get(expect, "message_contains")) {
        if (strstr(message, item->valuestring) == NULL) {
            CASE_FAILED("\"%s\" is not in the text \"%s\"", item->valuestring, message);
        }
    }
    int64_t most = number(expect, "message_max_bytes", INT64_MAX);
    if (strlen(message) > (size_t)most) {
        CASE_FAILED("the text has %zu bytes", strlen(message));
    }
    check_metadata("trailers", get(expect, "trailers"), mill_call_status_trailers(status));
    if (get(expect, "details_base64") != NULL) {
        mill_slice expected = base64_decode(text(expect, "details_base64"));
        mill_slice details = mill_call_status_details(status);
        if (details.len != expected.len || memcmp(details.data, expected.data, details.len) != 0) {
            CASE_FAILED("the details are others, %zu bytes", details.len);
        }
        free((void*)expected.data);
    }
}

static void check_run(const cJSON* expect, const run_state* run) {
    if (get(expect, "headers") != NULL) {
        mill_metadata* headers = NULL;
        OK(mill_call_headers(run->call, PATIENCE, &headers, &error));
        check_metadata("headers", get(expect, "headers"), headers);
        mill_metadata_free(headers);
    }
    mill_call_status* ok = NULL;
    mill_error* failure = NULL;
    mill_status code = mill_call_finish(run->call, PATIENCE, &ok, &failure);
    const mill_call_status* status = code == MILL_OK ? ok : mill_error_status(failure);
    if (status == NULL) {
        CASE_FAILED("there is no status: %s", mill_error_message(failure));
    }
    CHECK_INT(code, mill_call_status_code(status));
    check_status(expect, status);
    mill_call_status_free(ok);
    mill_error_free(failure);
    int64_t messages = number(expect, "messages", -1);
    if (messages >= 0 && (uint64_t)messages != run->messages) {
        CASE_FAILED("%lld messages, expected %lld", (long long)run->messages, (long long)messages);
    }
    if (number(expect, "messages_crc32", (int64_t)run->crc32) != (int64_t)run->crc32) {
        CASE_FAILED("the messages have the checksum %lu", run->crc32);
    }
}

/// A unary call that has to work; the response is the caller's.
static mill_buffer* good_call(mill_channel channel, const char* path, const char* request) {
    mill_call_options options;
    CHECK_INT(MILL_OK, mill_call_options_init(&options, sizeof options));
    options.timeout_ms = 60000;
    options.wait_for_ready = 1;
    mill_buffer* response = NULL;
    mill_error* failure = NULL;
    mill_slice bytes = {(const uint8_t*)request, strlen(request)};
    if (mill_unary(channel, path, &options, bytes, &response, NULL, &failure) != MILL_OK) {
        CASE_FAILED("%s: %s", path, mill_error_message(failure));
    }
    return response;
}

/// How often the server has seen a call of the method.
static int64_t seen(const char* path) {
    mill_channel channel = {0};
    OK(mill_channel_open(fault_target("default"), NULL, &channel, &error));
    mill_buffer* response = good_call(channel, "/fault.v1.Fault/Seen", path);
    mill_slice bytes = mill_buffer_bytes(response);
    cJSON* answer = cJSON_ParseWithLength((const char*)bytes.data, bytes.len);
    int64_t calls = number(answer, "calls", -1);
    CHECK(calls >= 0);
    cJSON_Delete(answer);
    mill_buffer_free(response);
    OK(mill_channel_close(channel, &error));
    return calls;
}

static mill_channel open_channel(const cJSON* test) {
    mill_setting settings[8];
    mill_channel_options options;
    mill_channel channel = {0};
    CHECK_INT(MILL_OK, mill_channel_options_init(&options, sizeof options));
    const cJSON* item;
    cJSON_ArrayForEach(item, get(get(test, "options"), "channel")) {
        CHECK(options.settings_count < sizeof settings / sizeof *settings);
        settings[options.settings_count++] = (mill_setting){item->string, item->valuestring};
    }
    options.settings = settings;
    OK(mill_channel_open(fault_target(text(test, "listener")), &options, &channel, &error));
    return channel;
}

static mill_call start(const cJSON* test, mill_channel channel) {
    static const char* const kinds[] = {"unary", "client_stream", "server_stream", "bidi"};
    static const char* const encodings[] = {"identity", "gzip", "deflate", "zstd"};
    const cJSON* told = get(test, "options");
    mill_metadata_entry metadata[16];
    mill_call_options options;
    mill_call call = {0};
    CHECK_INT(MILL_OK, mill_call_options_init(&options, sizeof options));
    options.timeout_ms = number(told, "timeout_ms", -1);
    CHECK(options.timeout_ms >= 0);
    options.max_receive_message = (size_t)number(told, "max_receive_message", 0);
    options.wait_for_ready = truth(told, "wait_for_ready", 0);
    if (get(told, "compression") != NULL) {
        options.compression = place(text(told, "compression"), encodings, 4);
    }
    const cJSON* pair;
    cJSON_ArrayForEach(pair, get(told, "metadata")) {
        CHECK(options.metadata_count < sizeof metadata / sizeof *metadata);
        metadata[options.metadata_count++] = (mill_metadata_entry){
            cJSON_GetArrayItem(pair, 0)->valuestring,
            base64_decode(cJSON_GetArrayItem(pair, 1)->valuestring)};
    }
    options.metadata = metadata;
    OK(mill_call_start(
        channel, text(test, "path"), place(text(test, "kind"), kinds, 4), &options, &call, &error));
    for (size_t i = 0; i < options.metadata_count; i++) {
        free((void*)metadata[i].value.data);
    }
    return call;
}

static void run_case(const cJSON* test) {
    only_known(
        test, " name listener path kind requests request_repeat half_close calls options expect "
              "recovers ");
    only_known(
        get(test, "options"),
        " timeout_ms compression max_receive_message wait_for_ready metadata channel ");
    const cJSON* expect = get(test, "expect");
    only_known(
        expect, " code code_any_of message_contains message_max_bytes messages messages_crc32 "
                "headers trailers details_base64 attempts note ");

    const cJSON* requests = get(test, "requests");
    request_script script = {
        .request_count = cJSON_GetArraySize(requests),
        .half_close = truth(test, "half_close", 1),
    };
    script.to_send = (size_t)(script.request_count * number(test, "request_repeat", 1));
    script.requests = calloc((size_t)script.request_count + 1, sizeof *script.requests);
    for (int i = 0; i < script.request_count; i++) {
        script.requests[i] = base64_decode(cJSON_GetArrayItem(requests, i)->valuestring);
    }

    int64_t before = get(expect, "attempts") == NULL ? 0 : seen(text(test, "path"));
    mill_channel channel = open_channel(test);
    int count = (int)number(test, "calls", 1);
    run_state* runs = calloc((size_t)count, sizeof *runs);
    for (int i = 0; i < count; i++) {
        runs[i].batch = mill_batch_new();
        runs[i].call = start(test, channel);
    }
    pump(runs, count, &script);
    for (int i = 0; i < count; i++) {
        check_run(expect, &runs[i]);
        mill_batch_free(runs[i].batch);
        OK(mill_call_close(runs[i].call, &error));
    }
    if (get(expect, "attempts") != NULL) {
        int64_t attempts = seen(text(test, "path")) - before;
        if (attempts != number(expect, "attempts", -1)) {
            CASE_FAILED("the server saw %lld calls", (long long)attempts);
        }
    }
    if (truth(test, "recovers", 0)) {
        mill_buffer* back = good_call(channel, "/fault.v1.Fault/Good", "are you there");
        mill_slice bytes = mill_buffer_bytes(back);
        CHECK(bytes.len == 13 && memcmp(bytes.data, "are you there", 13) == 0);
        mill_buffer_free(back);
    }
    OK(mill_channel_close(channel, &error));
    for (int i = 0; i < script.request_count; i++) {
        free((void*)script.requests[i].data);
    }
    free(script.requests);
    free(runs);
}

TEST(a_call_ends_as_the_vectors_say_and_the_process_stays_healthy) {
    const char* name = getenv("MILLSTREAM_FAULT_CASE");
    const char* path = getenv("MILLSTREAM_FAULTS");
    FILE* file = path == NULL ? NULL : fopen(path, "rb");
    if (file == NULL) {
        check_failed(__FILE__, __LINE__, "MILLSTREAM_FAULTS is not the path of faults.json");
    }
    CHECK(fseek(file, 0, SEEK_END) == 0);
    size_t length = (size_t)ftell(file);
    rewind(file);
    char* content = malloc(length);
    CHECK(content != NULL && fread(content, 1, length, file) == length);
    fclose(file);
    cJSON* cases = cJSON_ParseWithLength(content, length);
    free(content);
    CHECK(cJSON_IsArray(cases));
    int ran = 0;
    const cJSON* test;
    cJSON_ArrayForEach(test, cases) {
        case_name = text(test, "name");
        if (name == NULL || strcmp(name, case_name) == 0) {
            run_case(test);
            ran++;
        }
    }
    cJSON_Delete(cases);
    fprintf(stderr, "%d cases\n", ran);
    CHECK(ran > 0);
}
