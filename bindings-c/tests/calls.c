// The four kinds of calls, and what a call can be told.
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"
#include "weather/v1/weather.pb-c.h"

enum { PATIENCE = 60000 };

TEST(a_unary_call_hands_over_the_response) {
    mill_channel channel = open_reference();
    echo_request request = ECHO_REQUEST_INIT;
    request.payload = (ProtobufCBinaryData){5, (uint8_t*)"h\0llo"};
    mill_slice packed = echo_pack(&request);
    mill_buffer* buffer = NULL;
    OK(mill_unary(channel, ECHO_UNARY, NULL, packed, &buffer, NULL, &error));
    echo_response* response = echo_unpack(mill_buffer_bytes(buffer));
    CHECK_INT(5, response->payload.len);
    CHECK(memcmp("h\0llo", response->payload.data, 5) == 0);
    echo_free_response(response);
    mill_buffer_free(buffer);
    echo_free(packed);
    OK(mill_channel_close(channel, &error));
}

TEST(a_unary_call_can_be_made_step_by_step) {
    mill_channel channel = open_reference();
    echo_request request = ECHO_REQUEST_INIT;
    mill_call call = start_echo(channel, MILL_UNARY, &request, NULL);
    mill_batch* batch = mill_batch_new();
    mill_slice message = {NULL, 0};
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    echo_check_sequence(message, 1);
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_server_stream_hands_out_every_message_in_order) {
    enum { COUNT = 20000 };
    mill_channel channel = open_reference();
    echo_request request = echo_count(COUNT);
    mill_slice packed = echo_pack(&request);
    mill_call call = {0};
    OK(mill_call_start_with(
        channel, ECHO_SERVER_STREAM, MILL_SERVER_STREAM, NULL, packed, &call, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message = {NULL, 0};
    uint64_t sequence = 0;
    for (;;) {
        OK(mill_call_next(call, batch, PATIENCE, &message, &error));
        if (message.data == NULL) {
            break;
        }
        echo_check_sequence(message, ++sequence);
    }
    CHECK_INT(COUNT, sequence);
    // The end stays the end.
    OK(mill_call_next(call, batch, 0, &message, &error));
    CHECK(message.data == NULL);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    echo_free(packed);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_server_stream_can_be_taken_in_batches_and_as_frames) {
    enum { COUNT = 20000 };
    mill_channel channel = open_reference();
    echo_request request = echo_count(COUNT);
    mill_call call = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    mill_batch* batch = mill_batch_new();
    uint64_t sequence = 0, batches = 0;
    for (;;) {
        OK(mill_call_next_batch(call, batch, PATIENCE, &error));
        size_t left = mill_batch_len(batch);
        if (left == 0) {
            break;
        }
        // The first of each batch by the cursor, the rest as frames.
        mill_slice message;
        CHECK(mill_batch_next(batch, &message));
        echo_check_sequence(message, ++sequence);
        mill_slice frames = mill_batch_frames(batch);
        CHECK_INT(0, mill_batch_len(batch));
        for (size_t at = 0; at < frames.len;) {
            const uint8_t* frame = frames.data + at;
            CHECK_INT(0, frame[0]);
            message.len =
                (size_t)frame[1] << 24 | (size_t)frame[2] << 16 | (size_t)frame[3] << 8 | frame[4];
            message.data = frame + 5;
            echo_check_sequence(message, ++sequence);
            at += 5 + message.len;
            CHECK(at <= frames.len);
            left--;
        }
        CHECK_INT(1, left);
        CHECK(!mill_batch_next(batch, &message));
        batches++;
    }
    CHECK_INT(COUNT, sequence);
    CHECK(batches < COUNT);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_client_stream_sends_many_messages_and_receives_one) {
    enum { COUNT = 10000 };
    mill_channel channel = open_reference();
    mill_call call = {0};
    OK(mill_call_start(channel, ECHO_CLIENT_STREAM, MILL_CLIENT_STREAM, NULL, &call, &error));
    echo_request request = ECHO_REQUEST_INIT;
    request.payload = (ProtobufCBinaryData){100, calloc(1, 100)};
    mill_slice packed = echo_pack(&request);
    mill_slice* messages = calloc(COUNT, sizeof *messages);
    for (size_t i = 0; i < COUNT; i++) {
        messages[i] = packed;
    }
    // More than the send buffer holds, so it takes several rounds.
    size_t rounds = 0;
    for (size_t done = 0, sent = 0; done < COUNT; done += sent, rounds++) {
        OK(mill_call_send_many(call, messages + done, COUNT - done, PATIENCE, &sent, &error));
        CHECK(sent > 0 && sent <= COUNT - done);
    }
    CHECK(rounds > 1);
    OK(mill_call_half_close(call, &error));
    OK(mill_call_half_close(call, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    echo_response* response = echo_unpack(message);
    CHECK_INT(COUNT, response->requests);
    CHECK_INT(COUNT * 100, response->request_bytes);
    echo_free_response(response);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    free(request.payload.data);
    free(messages);
    echo_free(packed);
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_bidirectional_stream_answers_each_request_before_the_next_is_sent) {
    mill_channel channel = open_reference();
    mill_call call = {0};
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    echo_request request = ECHO_REQUEST_INIT;
    for (uint64_t i = 1; i <= 500; i++) {
        request.payload = (ProtobufCBinaryData){sizeof i, (uint8_t*)&i};
        mill_slice packed = echo_pack(&request);
        OK(mill_call_send(call, packed, PATIENCE, &error));
        OK(mill_call_next(call, batch, PATIENCE, &message, &error));
        echo_response* response = echo_unpack(message);
        CHECK_INT(i, response->sequence);
        CHECK(response->payload.len == sizeof i && memcmp(response->payload.data, &i, 8) == 0);
        echo_free_response(response);
        echo_free(packed);
    }
    // Nothing more comes while nothing more is sent.
    FAILS(MILL_ERROR_TIMEOUT, mill_call_next(call, batch, 20, &message, &error));
    FAILS(MILL_ERROR_TIMEOUT, mill_call_finish(call, 20, NULL, &error));
    OK(mill_call_half_close(call, &error));
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_stream_without_messages_ends_with_ok) {
    mill_channel channel = open_reference();
    echo_request request = echo_count(0);
    mill_call call = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    mill_batch* batch = mill_batch_new();
    OK(mill_call_next_batch(call, batch, PATIENCE, &error));
    CHECK_INT(0, mill_batch_len(batch));
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(an_empty_slice_is_an_empty_message_that_is_not_the_end) {
    // Of the weather of no more than one hour, asked for by an empty request.
    mill_channel channel = open_reference();
    mill_call call = {0};
    mill_slice nothing = {NULL, 0};
    OK(mill_call_start_with(channel, ECHO_UNARY, MILL_UNARY, NULL, nothing, &call, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    echo_check_sequence(message, 1);
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_message_of_three_mebibytes_goes_through_in_both_directions) {
    enum { SIZE = 3 << 20 };
    mill_channel channel = open_reference();
    echo_request request = ECHO_REQUEST_INIT;
    request.payload = (ProtobufCBinaryData){SIZE, malloc(SIZE)};
    for (size_t i = 0; i < SIZE; i++) {
        request.payload.data[i] = (uint8_t)(i % 251);
    }
    mill_slice packed = echo_pack(&request);
    mill_buffer* buffer = NULL;
    OK(mill_unary(channel, ECHO_UNARY, NULL, packed, &buffer, NULL, &error));
    echo_response* response = echo_unpack(mill_buffer_bytes(buffer));
    CHECK_INT(SIZE, response->payload.len);
    CHECK(memcmp(response->payload.data, request.payload.data, SIZE) == 0);
    echo_free_response(response);
    mill_buffer_free(buffer);
    echo_free(packed);
    free(request.payload.data);
    OK(mill_channel_close(channel, &error));
}

TEST(the_weather_of_an_airport_is_streamed_and_asked_for) {
    mill_channel channel = open_reference();
    Weather__V1__GetWeatherStreamRequest filter = WEATHER__V1__GET_WEATHER_STREAM_REQUEST__INIT;
    filter.origin = "JFK";
    filter.limit = 7;
    uint8_t packed[64];
    mill_slice request = {packed, weather__v1__get_weather_stream_request__pack(&filter, packed)};
    mill_call call = {0};
    OK(mill_call_start_with(
        channel, "/weather.v1.Weather/GetWeatherStream", MILL_SERVER_STREAM, NULL, request, &call,
        &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    int observations = 0;
    int64_t hour = 0;
    for (;;) {
        OK(mill_call_next(call, batch, PATIENCE, &message, &error));
        if (message.data == NULL) {
            break;
        }
        Weather__V1__Observation* observation =
            weather__v1__observation__unpack(NULL, message.len, message.data);
        CHECK(observation != NULL && observation->hour != NULL);
        CHECK_TEXT("JFK", observation->origin);
        CHECK(observation->hour->seconds > hour);
        hour = observation->hour->seconds;
        observations++;
        weather__v1__observation__free_unpacked(observation, NULL);
    }
    CHECK_INT(7, observations);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));

    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    time.seconds = hour;
    Weather__V1__GetObservationRequest one = WEATHER__V1__GET_OBSERVATION_REQUEST__INIT;
    one.origin = "JFK";
    one.hour = &time;
    request.len = weather__v1__get_observation_request__pack(&one, packed);
    mill_buffer* response = NULL;
    OK(mill_unary(
        channel, "/weather.v1.Weather/GetObservation", NULL, request, &response, NULL, &error));
    Weather__V1__Observation* observation = weather__v1__observation__unpack(
        NULL, mill_buffer_bytes(response).len, mill_buffer_bytes(response).data);
    CHECK(observation != NULL);
    CHECK_INT(hour, observation->hour->seconds);
    weather__v1__observation__free_unpacked(observation, NULL);
    mill_buffer_free(response);
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(messages_are_compressed_by_every_encoding) {
    mill_channel channel = open_reference();
    const struct {
        mill_compression compression;
        const char* name;
    } encodings[] = {
        {MILL_COMPRESSION_GZIP, "gzip"},
        {MILL_COMPRESSION_DEFLATE, "deflate"},
        {MILL_COMPRESSION_ZSTD, "zstd"},
    };
    echo_request request = ECHO_REQUEST_INIT;
    request.payload = (ProtobufCBinaryData){100000, calloc(1, 100000)};
    mill_slice packed = echo_pack(&request);
    for (size_t i = 0; i < 3; i++) {
        mill_metadata_entry respond = {"x-respond-with", slice_of(encodings[i].name)};
        mill_call_options options;
        CHECK_INT(MILL_OK, mill_call_options_init(&options, sizeof options));
        options.compression = encodings[i].compression;
        options.metadata = &respond;
        options.metadata_count = 1;
        mill_buffer* buffer = NULL;
        OK(mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, NULL, &error));
        echo_response* response = echo_unpack(mill_buffer_bytes(buffer));
        CHECK_INT(100000, response->payload.len);
        echo_free_response(response);
        mill_buffer_free(buffer);
    }
    free(request.payload.data);
    echo_free(packed);
    OK(mill_channel_close(channel, &error));
}

static void echo_once(const char* target, const mill_channel_options* channel_options) {
    mill_channel channel = {0};
    OK(mill_channel_open(target, channel_options, &channel, &error));
    mill_buffer* buffer = NULL;
    mill_slice nothing = {NULL, 0};
    OK(mill_unary(channel, ECHO_UNARY, NULL, nothing, &buffer, NULL, &error));
    mill_buffer_free(buffer);
    OK(mill_channel_close(channel, &error));
}

TEST(a_channel_goes_over_a_unix_socket) {
    echo_once(reference_target("unix"), NULL);
}

TEST(a_channel_goes_over_tls_and_proves_who_it_is) {
    mill_channel_options options;
    CHECK_INT(MILL_OK, mill_channel_options_init(&options, sizeof options));
    const char* roots = reference_pem("ca.pem");
    const char* chain = reference_pem("client.pem");
    const char* key = reference_pem("client.key");
    options.roots_pem = slice_of(roots);
    echo_once(reference_target("https"), &options);
    options.cert_chain_pem = slice_of(chain);
    options.private_key_pem = slice_of(key);
    echo_once(reference_target("mtls"), &options);
    free((void*)roots);
    free((void*)chain);
    free((void*)key);
}

TEST(one_channel_carries_many_calls_at_a_time) {
    enum { CALLS = 300 };
    mill_channel channel = open_reference();
    mill_call calls[CALLS];
    echo_request request = ECHO_REQUEST_INIT;
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    for (int i = 0; i < CALLS; i++) {
        calls[i] = start_echo(channel, MILL_BIDI, &request, NULL);
    }
    for (int i = 0; i < CALLS; i++) {
        OK(mill_call_next(calls[i], batch, PATIENCE, &message, &error));
        echo_check_sequence(message, 1);
        OK(mill_call_half_close(calls[i], &error));
        OK(mill_call_finish(calls[i], PATIENCE, NULL, &error));
        OK(mill_call_close(calls[i], &error));
    }
    mill_batch_free(batch);
    OK(mill_channel_close(channel, &error));
}

TEST(the_state_of_a_channel_can_be_asked_for_and_waited_for) {
    mill_channel channel = open_reference();
    mill_connectivity state;
    OK(mill_channel_state(channel, &state, &error));
    CHECK_INT(MILL_CONNECTIVITY_IDLE, state);
    FAILS(MILL_ERROR_TIMEOUT, mill_channel_wait_state(channel, MILL_CONNECTIVITY_IDLE, 20, &error));
    OK(mill_channel_connect(channel, &error));
    long long end = now_ms() + PATIENCE;
    do {
        OK(mill_channel_wait_state(channel, state, end - now_ms(), &error));
        OK(mill_channel_state(channel, &state, &error));
    } while (state != MILL_CONNECTIVITY_READY && now_ms() < end);
    CHECK_INT(MILL_CONNECTIVITY_READY, state);
    OK(mill_channel_close(channel, &error));
}
