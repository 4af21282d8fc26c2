#include "scenario.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "chat/v1/chat.pb-c.h"
#include "market/v1/market.pb-c.h"
#include "sync/v1/sync.pb-c.h"
#include "weather/v1/weather.pb-c.h"

// --- What was received
// ----------------------------------------------------------------------------

/// Sums up what one service sent and tells how far it is.
typedef struct {
    const char* service;
    double started;
    double told;
    uint64_t messages;
    uint64_t expected;
    uLong crc;
} tally;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static tally tally_start(const char* service, uint64_t expected) {
    tally new = {.service = service, .started = seconds(), .expected = expected};
    return new;
}

static void tally_tell(const tally* tally) {
    fprintf(
        stderr, "progress %s %" PRIu64 " %" PRIu64 "\n", tally->service, tally->messages,
        tally->expected);
}

static void tally_add(tally* tally, mill_slice payload) {
    tally->messages++;
    tally->crc = crc32_z(tally->crc, payload.data, payload.len);
    // The clock is not asked for every message.
    if ((tally->messages & 0xff) == 0 && seconds() - tally->told > 0.1) {
        tally_tell(tally);
        tally->told = seconds();
    }
}

static void tally_finish(const tally* tally) {
    tally_tell(tally);
    printf(
        "{\"language\":\"c\",\"service\":\"%s\",\"messages\":%" PRIu64
        ",\"seconds\":%.6f,\"crc32\":\"%08lx\"}\n",
        tally->service, tally->messages, seconds() - tally->started, tally->crc);
    fflush(stdout);
}

// --- Calls
// ----------------------------------------------------------------------------------------

/// A call and the batch that its messages come with.
typedef struct {
    const char* method;
    mill_call call;
    mill_batch* batch;
} stream;

static mill_call_options options(void) {
    mill_call_options options;
    mill_call_options_init(&options, sizeof options);
    options.timeout_ms = 300000;
    return options;
}

static void* allocate(size_t size) {
    void* memory = malloc(size == 0 ? 1 : size);
    if (memory == NULL) {
        fail("out of memory", NULL);
    }
    return memory;
}

static stream start(mill_channel channel, const char* method, mill_call_kind kind) {
    stream stream = {.method = method, .batch = mill_batch_new()};
    mill_call_options told = options();
    mill_error* error = NULL;
    if (mill_call_start(channel, method, kind, &told, &stream.call, &error) != MILL_OK) {
        fail(method, error);
    }
    return stream;
}

static void half_close(const stream* stream) {
    mill_error* error = NULL;
    if (mill_call_half_close(stream->call, &error) != MILL_OK) {
        fail(stream->method, error);
    }
}

/// Sends the packed form of a message of protobuf.
static void send_message(const stream* stream, const ProtobufCMessage* message) {
    mill_slice packed = {NULL, protobuf_c_message_get_packed_size(message)};
    uint8_t* bytes = allocate(packed.len);
    protobuf_c_message_pack(message, bytes);
    packed.data = bytes;
    mill_error* error = NULL;
    if (mill_call_send(stream->call, packed, MILL_FOREVER, &error) != MILL_OK) {
        fail(stream->method, error);
    }
    free(bytes);
}

/// The next message, which lives until the one after it is asked for. False at the end of the
/// stream, which has then ended with OK.
static bool next(const stream* stream, mill_slice* message) {
    mill_error* error = NULL;
    mill_status status = mill_call_next(stream->call, stream->batch, MILL_FOREVER, message, &error);
    if (status == MILL_OK && message->data == NULL) {
        status = mill_call_finish(stream->call, MILL_FOREVER, NULL, &error);
    }
    if (status != MILL_OK) {
        fail(stream->method, error);
    }
    return message->data != NULL;
}

static mill_slice expect(const stream* stream) {
    mill_slice message;
    if (!next(stream, &message)) {
        fail(stream->method, NULL);
    }
    return message;
}

/// Waits for the end of the stream, which has to come now, and lets go of it.
static void end(stream* stream) {
    mill_slice message;
    if (next(stream, &message)) {
        fail("a message came behind the last one", NULL);
    }
    mill_call_close(stream->call, NULL);
    mill_batch_free(stream->batch);
}

// --- Data
// -----------------------------------------------------------------------------------------

/// The messages of a file, each behind its length as a varint.
typedef struct {
    uint8_t* content;
    mill_slice* messages;
    size_t count;
} messages;

static messages read_messages(const char* directory, const char* name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE* file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fail(path, NULL);
    }
    long length = ftell(file);
    rewind(file);
    messages read = {.content = allocate((size_t)length)};
    if (fread(read.content, 1, (size_t)length, file) != (size_t)length) {
        fail(path, NULL);
    }
    fclose(file);

    size_t room = 0;
    const uint8_t* at = read.content;
    const uint8_t* last = at + length;
    while (at < last) {
        size_t size = 0;
        int shift = 0;
        uint8_t byte;
        do {
            byte = at < last ? *at++ : 0;
            size |= (size_t)(byte & 0x7f) << shift;
            shift += 7;
        } while (byte >= 0x80 && shift < 64);
        if (size > (size_t)(last - at)) {
            fail(path, NULL);
        }
        if (read.count == room) {
            room = room == 0 ? 1024 : 2 * room;
            read.messages = realloc(read.messages, room * sizeof *read.messages);
            if (read.messages == NULL) {
                fail("out of memory", NULL);
            }
        }
        read.messages[read.count++] = (mill_slice){at, size};
        at += size;
    }
    return read;
}

static void free_messages(messages* read) {
    free(read->messages);
    free(read->content);
}

static void send_all(const stream* stream, const messages* all) {
    size_t sent = 0;
    for (size_t done = 0; done < all->count; done += sent) {
        mill_error* error = NULL;
        if (mill_call_send_many(
                stream->call, all->messages + done, all->count - done, MILL_FOREVER, &sent,
                &error) != MILL_OK) {
            fail(stream->method, error);
        }
    }
    half_close(stream);
}

// --- The services
// ---------------------------------------------------------------------------------

/// Asks once more for an observation of the stream.
static void get_observation(mill_channel channel, tally* tally, mill_slice streamed) {
    Weather__V1__Observation* observation =
        weather__v1__observation__unpack(NULL, streamed.len, streamed.data);
    if (observation == NULL) {
        fail("an observation cannot be read", NULL);
    }
    Weather__V1__GetObservationRequest request = WEATHER__V1__GET_OBSERVATION_REQUEST__INIT;
    request.origin = observation->origin;
    request.hour = observation->hour;
    uint8_t bytes[64];
    mill_slice packed = {NULL, weather__v1__get_observation_request__get_packed_size(&request)};
    if (packed.len > sizeof bytes) {
        fail("a request is too long", NULL);
    }
    weather__v1__get_observation_request__pack(&request, bytes);
    packed.data = bytes;
    mill_call_options told = options();
    mill_buffer* response = NULL;
    mill_error* error = NULL;
    if (mill_unary(
            channel, "/weather.v1.Weather/GetObservation", &told, packed, &response, NULL,
            &error) != MILL_OK) {
        fail("GetObservation", error);
    }
    tally_add(tally, mill_buffer_bytes(response));
    mill_buffer_free(response);
    weather__v1__observation__free_unpacked(observation, NULL);
}

void scenario_weather(mill_channel channel) {
    enum { EVERY = 1000, PICKED = 64 };
    tally tally = tally_start("weather.v1.Weather", 26115);
    stream weather = start(channel, "/weather.v1.Weather/GetWeatherStream", MILL_SERVER_STREAM);
    Weather__V1__GetWeatherStreamRequest request = WEATHER__V1__GET_WEATHER_STREAM_REQUEST__INIT;
    send_message(&weather, &request.base);
    half_close(&weather);
    mill_slice message, picked[PICKED];
    size_t picked_count = 0;
    for (size_t index = 0; next(&weather, &message); index++) {
        if (index % EVERY == 0 && picked_count < PICKED) {
            uint8_t* copy = allocate(message.len);
            memcpy(copy, message.data, message.len);
            picked[picked_count++] = (mill_slice){copy, message.len};
        }
        tally_add(&tally, message);
    }
    end(&weather);
    for (size_t i = 0; i < picked_count; i++) {
        get_observation(channel, &tally, picked[i]);
        free((void*)picked[i].data);
    }
    tally_finish(&tally);
}

void scenario_logs(mill_channel channel, const char* data) {
    messages batches = read_messages(data, "log_batches.binpb");
    tally tally = tally_start("logs.v1.LogCollector", 1);
    stream upload = start(channel, "/logs.v1.LogCollector/Upload", MILL_CLIENT_STREAM);
    send_all(&upload, &batches);
    tally_add(&tally, expect(&upload));
    end(&upload);
    free_messages(&batches);
    tally_finish(&tally);
}

/// One member of the demo's room and what it has heard.
typedef struct {
    const char* name;
    stream stream;
    mill_slice heard[128];
    size_t heard_count;
} member;

static void say(const member* member, Chat__V1__ChatMessage* message) {
    message->room = "demo";
    message->member = (char*)member->name;
    send_message(&member->stream, &message->base);
}

static void say_text(const member* member, int number) {
    char text[32];
    snprintf(text, sizeof text, "message %d", number);
    Chat__V1__ChatMessage message = CHAT__V1__CHAT_MESSAGE__INIT;
    message.event_case = CHAT__V1__CHAT_MESSAGE__EVENT_TEXT;
    message.text = text;
    say(member, &message);
}

static void hear(member* member) {
    mill_slice message = expect(&member->stream);
    if (member->heard_count == sizeof member->heard / sizeof *member->heard) {
        fail("more was said than expected", NULL);
    }
    uint8_t* copy = allocate(message.len);
    memcpy(copy, message.data, message.len);
    member->heard[member->heard_count++] = (mill_slice){copy, message.len};
}

static member join(mill_channel channel, const char* name) {
    member member = {.name = name};
    member.stream = start(channel, "/chat.v1.ChatService/Chat", MILL_BIDI);
    Chat__V1__Join join = CHAT__V1__JOIN__INIT;
    Chat__V1__ChatMessage message = CHAT__V1__CHAT_MESSAGE__INIT;
    message.event_case = CHAT__V1__CHAT_MESSAGE__EVENT_JOIN;
    message.join = &join;
    say(&member, &message);
    hear(&member);
    return member;
}

static void leave(member* member) {
    half_close(&member->stream);
    end(&member->stream);
}

void scenario_chat(mill_channel channel) {
    tally tally = tally_start("chat.v1.ChatService", 104);
    member ada = join(channel, "ada");
    member bob = join(channel, "bob");
    hear(&ada);
    for (int number = 0; number < 100; number++) {
        say_text(number % 2 == 0 ? &ada : &bob, number);
        hear(number % 2 == 0 ? &bob : &ada);
    }
    leave(&ada);
    hear(&bob);
    leave(&bob);
    member* const members[] = {&ada, &bob};
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < members[m]->heard_count; i++) {
            tally_add(&tally, members[m]->heard[i]);
            free((void*)members[m]->heard[i].data);
        }
    }
    tally_finish(&tally);
}

void scenario_market(mill_channel channel) {
    tally tally = tally_start("market.v1.MarketData", 560);
    stream market = start(channel, "/market.v1.MarketData/Subscribe", MILL_BIDI);
    char* symbols[] = {"MSFT", "AMZN", "IBM", "GOOG", "AAPL"};
    Market__V1__SubscribeRequest request = MARKET__V1__SUBSCRIBE_REQUEST__INIT;
    request.add = symbols;
    request.n_add = sizeof symbols / sizeof *symbols;
    send_message(&market, &request.base);
    half_close(&market);
    mill_slice message;
    while (next(&market, &message)) {
        tally_add(&tally, message);
    }
    end(&market);
    tally_finish(&tally);
}

typedef struct {
    const stream* stream;
    const messages* reports;
} sending;

static void* send_reports(void* argument) {
    const sending* sending = argument;
    send_all(sending->stream, sending->reports);
    return NULL;
}

void scenario_telemetry(mill_channel channel, const char* data) {
    messages reports = read_messages(data, "telemetry_reports.binpb");
    tally tally = tally_start("telemetry.v1.DeviceManager", reports.count);
    stream telemetry = start(channel, "/telemetry.v1.DeviceManager/StreamTelemetry", MILL_BIDI);
    // The server answers while it is sent to: whoever sends everything first waits for ever.
    sending sending = {&telemetry, &reports};
    pthread_t sender;
    if (pthread_create(&sender, NULL, send_reports, &sending) != 0) {
        fail("no thread can be started", NULL);
    }
    mill_slice message;
    while (next(&telemetry, &message)) {
        tally_add(&tally, message);
    }
    pthread_join(sender, NULL);
    end(&telemetry);
    free_messages(&reports);
    tally_finish(&tally);
}

/// Our side of the exchange: numbers and stamps what is sent.
typedef struct {
    stream stream;
    uint64_t sequence;
    uint64_t clock;
} side;

static void side_send(side* side, Sync__V1__StreamMessage* message) {
    message->sequence_id = ++side->sequence;
    message->logical_clock = ++side->clock;
    send_message(&side->stream, &message->base);
}

static Sync__V1__StreamMessage* side_receive(side* side, tally* tally) {
    mill_slice payload = expect(&side->stream);
    tally_add(tally, payload);
    Sync__V1__StreamMessage* message =
        sync__v1__stream_message__unpack(NULL, payload.len, payload.data);
    if (message == NULL) {
        fail("a message of the exchange cannot be read", NULL);
    }
    if (message->logical_clock > side->clock) {
        side->clock = message->logical_clock;
    }
    side->clock++;
    return message;
}

static void exchange(side* side, tally* tally, mill_slice packed) {
    Sync__V1__Record* record = sync__v1__record__unpack(NULL, packed.len, packed.data);
    if (record == NULL) {
        fail("a record cannot be read", NULL);
    }
    Sync__V1__StreamMessage message = SYNC__V1__STREAM_MESSAGE__INIT;
    message.body_case = SYNC__V1__STREAM_MESSAGE__BODY_RECORD;
    message.record = record;
    side_send(side, &message);
    sync__v1__record__free_unpacked(record, NULL);
    Sync__V1__StreamMessage* answer = side_receive(side, tally);
    if (answer->body_case != SYNC__V1__STREAM_MESSAGE__BODY_ACK ||
        answer->ack->sequence_id != side->sequence) {
        fail("a record is not acknowledged", NULL);
    }
    sync__v1__stream_message__free_unpacked(answer, NULL);
}

static void acknowledge(side* side, tally* tally) {
    Sync__V1__StreamMessage* theirs = side_receive(side, tally);
    if (theirs->body_case != SYNC__V1__STREAM_MESSAGE__BODY_RECORD) {
        fail("the server did not send a record", NULL);
    }
    Sync__V1__Ack ack = SYNC__V1__ACK__INIT;
    ack.sequence_id = theirs->sequence_id;
    Sync__V1__StreamMessage message = SYNC__V1__STREAM_MESSAGE__INIT;
    message.body_case = SYNC__V1__STREAM_MESSAGE__BODY_ACK;
    message.ack = &ack;
    side_send(side, &message);
    sync__v1__stream_message__free_unpacked(theirs, NULL);
}

void scenario_sync(mill_channel channel, const char* data) {
    enum { SERVER_RECORD_EVERY = 10 };
    messages records = read_messages(data, "sync_records.binpb");
    tally tally =
        tally_start("sync.v1.DataSync", records.count + records.count / SERVER_RECORD_EVERY);
    side side = {.stream = start(channel, "/sync.v1.DataSync/ExchangeData", MILL_BIDI)};
    for (size_t i = 0; i < records.count; i++) {
        exchange(&side, &tally, records.messages[i]);
        if ((i + 1) % SERVER_RECORD_EVERY == 0) {
            acknowledge(&side, &tally);
        }
    }
    half_close(&side.stream);
    end(&side.stream);
    free_messages(&records);
    tally_finish(&tally);
}
