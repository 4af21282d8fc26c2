// How calls end: status, details, metadata, deadlines, cancellation, limits.
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"

enum { PATIENCE = 60000 };

static mill_call_options options_with(int64_t timeout_ms) {
    mill_call_options options;
    CHECK_INT(MILL_OK, mill_call_options_init(&options, sizeof options));
    options.timeout_ms = timeout_ms;
    return options;
}

static void
check_value(const mill_metadata* metadata, const char* key, const char* value, size_t len) {
    mill_slice found;
    if (!mill_metadata_find(metadata, key, &found)) {
        check_failed(__FILE__, __LINE__, "there is no %s", key);
    }
    CHECK_INT(len, found.len);
    CHECK(memcmp(value, found.data, len) == 0);
}

TEST(a_status_has_code_message_details_and_trailers) {
    mill_channel channel = open_reference();
    mill_metadata_entry sent[] = {
        {"x-echo-trace", slice_of("one")},
        {"x-echo-key-bin", {(const uint8_t*)"\0\xff\x01", 3}},
        {"x-echo-trace", slice_of("two")},
    };
    mill_call_options options = options_with(PATIENCE);
    options.metadata = sent;
    options.metadata_count = 3;
    echo_request request = ECHO_REQUEST_INIT;
    Contract__V1__Finish finish;
    echo_finish(&request, &finish, MILL_STATUS_FAILED_PRECONDITION, "größer als erlaubt\n%");
    finish.details = (ProtobufCBinaryData){4, (uint8_t*)"\x08\x09\0\xfe"};
    mill_slice packed = echo_pack(&request);

    mill_buffer* buffer = NULL;
    mill_call_status* unwritten = NULL;
    mill_error* refusal = NULL;
    mill_status code =
        mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, &unwritten, &refusal);
    CHECK_INT(MILL_STATUS_FAILED_PRECONDITION, code);
    CHECK(buffer == NULL && unwritten == NULL);
    CHECK_INT(MILL_STATUS_FAILED_PRECONDITION, mill_error_code(refusal));
    CHECK_TEXT("FAILED_PRECONDITION", mill_status_name(mill_error_code(refusal)));
    CHECK(strstr(mill_error_message(refusal), "größer als erlaubt") != NULL);

    const mill_call_status* status = mill_error_status(refusal);
    CHECK_INT(MILL_STATUS_FAILED_PRECONDITION, mill_call_status_code(status));
    CHECK_TEXT("größer als erlaubt\n%", mill_call_status_message(status));
    CHECK_INT(4, mill_call_status_details(status).len);
    CHECK(memcmp("\x08\x09\0\xfe", mill_call_status_details(status).data, 4) == 0);
    const mill_metadata* trailers = mill_call_status_trailers(status);
    check_value(trailers, "x-echo-trace", "one", 3);
    check_value(trailers, "X-Echo-Key-Bin", "\0\xff\x01", 3);
    check_value(trailers, "grpc-status", "9", 1);
    CHECK(!mill_metadata_find(trailers, "x-echo-other", NULL));

    size_t count = 0, traces = 0;
    const mill_metadata_entry* entries = mill_metadata_entries(trailers, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].key, "x-echo-trace") == 0) {
            CHECK_TEXT(traces++ == 0 ? "one" : "two", (const char*)entries[i].value.data);
        }
    }
    CHECK_INT(2, traces);
    mill_error_free(refusal);
    echo_free(packed);
    OK(mill_channel_close(channel, &error));
}

TEST(an_ok_status_has_its_trailers_too) {
    mill_channel channel = open_reference();
    mill_metadata_entry sent = {"x-echo-a", slice_of("b")};
    mill_call_options options = options_with(PATIENCE);
    options.metadata = &sent;
    options.metadata_count = 1;
    mill_slice nothing = {NULL, 0};
    mill_buffer* buffer = NULL;
    mill_call_status* status = NULL;
    OK(mill_unary(channel, ECHO_UNARY, &options, nothing, &buffer, &status, &error));
    CHECK_INT(MILL_OK, mill_call_status_code(status));
    CHECK_TEXT("", mill_call_status_message(status));
    CHECK_INT(0, mill_call_status_details(status).len);
    check_value(mill_call_status_trailers(status), "x-echo-a", "b", 1);
    mill_call_status_free(status);
    mill_buffer_free(buffer);
    OK(mill_channel_close(channel, &error));
}

TEST(the_server_sees_the_metadata_as_it_was_given) {
    mill_channel channel = open_reference();
    mill_metadata_entry sent[] = {
        {"X-Upper", slice_of("a b")},
        {"data-bin", {(const uint8_t*)"\0\x80", 2}},
        {"empty", {NULL, 0}},
    };
    mill_call_options options = options_with(PATIENCE);
    options.metadata = sent;
    options.metadata_count = 3;
    echo_request request = ECHO_REQUEST_INIT;
    request.report_metadata = 1;
    mill_slice packed = echo_pack(&request);
    mill_buffer* buffer = NULL;
    OK(mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, NULL, &error));
    echo_response* response = echo_unpack(mill_buffer_bytes(buffer));
    int seen = 0;
    for (size_t i = 0; i < response->n_metadata; i++) {
        const Contract__V1__MetadataEntry* entry = response->metadata[i];
        if (strcmp(entry->key, "x-upper") == 0) {
            CHECK(entry->value.len == 3 && memcmp(entry->value.data, "a b", 3) == 0);
            seen |= 1;
        } else if (strcmp(entry->key, "data-bin") == 0) {
            CHECK(entry->value.len == 2 && memcmp(entry->value.data, "\0\x80", 2) == 0);
            seen |= 2;
        } else if (strcmp(entry->key, "empty") == 0) {
            CHECK_INT(0, entry->value.len);
            seen |= 4;
        }
    }
    CHECK_INT(7, seen);
    echo_free_response(response);
    mill_buffer_free(buffer);
    echo_free(packed);
    OK(mill_channel_close(channel, &error));
}

TEST(headers_come_before_the_first_message) {
    mill_channel channel = open_reference();
    mill_metadata_entry sent = {"x-echo-early", slice_of("yes")};
    mill_call_options options = options_with(PATIENCE);
    options.metadata = &sent;
    options.metadata_count = 1;
    mill_call call = {0};
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &options, &call, &error));
    mill_metadata* headers = NULL;
    OK(mill_call_headers(call, PATIENCE, &headers, &error));
    check_value(headers, "x-echo-early", "yes", 3);
    mill_metadata_free(headers);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_server_that_never_answers_is_ended_by_the_deadline) {
    mill_channel channel = open_reference();
    mill_call_options options = options_with(300);
    echo_request request = ECHO_REQUEST_INIT;
    request.never_answer = 1;
    mill_slice packed = echo_pack(&request);
    mill_buffer* buffer = NULL;
    long long start = now_ms();
    FAILS(
        MILL_STATUS_DEADLINE_EXCEEDED,
        mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, NULL, &error));
    CHECK(now_ms() - start >= 290);
    CHECK(buffer == NULL);
    echo_free(packed);
    OK(mill_channel_close(channel, &error));
}

TEST(a_deadline_that_has_passed_ends_the_call_before_anything_is_sent) {
    mill_channel channel = open_reference();
    mill_call_options options = options_with(0);
    mill_buffer* buffer = NULL;
    mill_slice nothing = {NULL, 0};
    FAILS(
        MILL_STATUS_DEADLINE_EXCEEDED,
        mill_unary(channel, ECHO_UNARY, &options, nothing, &buffer, NULL, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_deadline_in_the_middle_of_a_stream_comes_after_the_messages_that_came) {
    mill_channel channel = open_reference();
    mill_call_options options = options_with(1500);
    echo_request request = echo_count(3);
    request.never_finish = 1;
    mill_call call = start_echo(channel, MILL_SERVER_STREAM, &request, &options);
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    for (uint64_t i = 1; i <= 3; i++) {
        OK(mill_call_next(call, batch, PATIENCE, &message, &error));
        echo_check_sequence(message, i);
    }
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    FAILS(MILL_STATUS_DEADLINE_EXCEEDED, mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_call_can_be_cancelled_before_during_and_after) {
    mill_channel channel = open_reference();
    mill_slice message;
    mill_batch* batch = mill_batch_new();

    mill_call before = {0};
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &before, &error));
    OK(mill_call_cancel(before, NULL, &error));
    FAILS(MILL_STATUS_CANCELLED, mill_call_finish(before, PATIENCE, NULL, &error));
    FAILS(MILL_ERROR_CALL_ENDED, mill_call_send(before, (mill_slice){NULL, 0}, 0, &error));
    CHECK(check_message_has("CANCELLED"));
    OK(mill_call_close(before, &error));

    echo_request request = echo_count(1);
    request.never_finish = 1;
    mill_call during = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    OK(mill_call_next(during, batch, PATIENCE, &message, &error));
    OK(mill_call_cancel(during, "enough seen", &error));
    OK(mill_call_cancel(during, "again", &error));
    OK(mill_call_next(during, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    FAILS(MILL_STATUS_CANCELLED, mill_call_finish(during, PATIENCE, NULL, &error));
    CHECK(check_message_has("enough seen"));
    OK(mill_call_close(during, &error));

    echo_request plain = ECHO_REQUEST_INIT;
    mill_call after = start_echo(channel, MILL_UNARY, &plain, NULL);
    OK(mill_call_next(after, batch, PATIENCE, &message, &error));
    OK(mill_call_finish(after, PATIENCE, NULL, &error));
    OK(mill_call_cancel(after, "too late", &error));
    OK(mill_call_finish(after, PATIENCE, NULL, &error));
    OK(mill_call_close(after, &error));

    mill_batch_free(batch);
    OK(mill_channel_close(channel, &error));
}

TEST(a_response_over_the_limit_of_the_call_or_of_the_channel_is_refused) {
    mill_setting small = {"max_receive_message", "1KiB"};
    mill_channel_options channel_options;
    CHECK_INT(MILL_OK, mill_channel_options_init(&channel_options, sizeof channel_options));
    channel_options.settings = &small;
    channel_options.settings_count = 1;
    mill_channel channel = {0};
    OK(mill_channel_open(reference_target("http"), &channel_options, &channel, &error));

    echo_request request = ECHO_REQUEST_INIT;
    request._response_size_case = CONTRACT__V1__ECHO_REQUEST___RESPONSE_SIZE_RESPONSE_SIZE;
    request.response_size = 900;
    mill_slice packed = echo_pack(&request);
    mill_call_options options = options_with(PATIENCE);
    mill_buffer* buffer = NULL;
    OK(mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, NULL, &error));
    mill_buffer_free(buffer);
    buffer = NULL;
    options.max_receive_message = 800;
    FAILS(
        MILL_STATUS_RESOURCE_EXHAUSTED,
        mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, NULL, &error));
    echo_free(packed);

    request.response_size = 2000;
    packed = echo_pack(&request);
    options.max_receive_message = 0;
    FAILS(
        MILL_STATUS_RESOURCE_EXHAUSTED,
        mill_unary(channel, ECHO_UNARY, &options, packed, &buffer, NULL, &error));
    CHECK(buffer == NULL);
    echo_free(packed);
    OK(mill_channel_close(channel, &error));
}

TEST(a_request_over_the_limit_ends_its_call) {
    mill_channel channel = open_reference();
    mill_call_options options = options_with(PATIENCE);
    options.max_send_message = 10;
    mill_call call = {0};
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &options, &call, &error));
    OK(mill_call_send(call, (mill_slice){NULL, 0}, PATIENCE, &error));
    FAILS(MILL_ERROR_CALL_ENDED, mill_call_send(call, slice_of("12345678901"), PATIENCE, &error));
    FAILS(MILL_STATUS_RESOURCE_EXHAUSTED, mill_call_finish(call, PATIENCE, NULL, &error));
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(an_unknown_method_is_unimplemented) {
    mill_channel channel = open_reference();
    mill_buffer* buffer = NULL;
    mill_slice nothing = {NULL, 0};
    FAILS(
        MILL_STATUS_UNIMPLEMENTED,
        mill_unary(channel, "/contract.v1.Echo/Nowhere", NULL, nothing, &buffer, NULL, &error));
    FAILS(
        MILL_STATUS_UNIMPLEMENTED,
        mill_unary(channel, "/no.such.Service/Method", NULL, nothing, &buffer, NULL, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_refused_connection_is_unavailable_unless_the_call_waits_for_one) {
    mill_channel channel = {0};
    OK(mill_channel_open(refused_target(), NULL, &channel, &error));
    mill_buffer* buffer = NULL;
    mill_slice nothing = {NULL, 0};
    mill_call_options options = options_with(PATIENCE);
    FAILS(
        MILL_STATUS_UNAVAILABLE,
        mill_unary(channel, ECHO_UNARY, &options, nothing, &buffer, NULL, &error));
    options.wait_for_ready = 1;
    options.timeout_ms = 300;
    FAILS(
        MILL_STATUS_DEADLINE_EXCEEDED,
        mill_unary(channel, ECHO_UNARY, &options, nothing, &buffer, NULL, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_server_that_is_not_trusted_or_does_not_trust_the_client_is_unavailable) {
    mill_channel_options options;
    CHECK_INT(MILL_OK, mill_channel_options_init(&options, sizeof options));
    const char* other = reference_pem("other-ca.pem");
    const char* roots = reference_pem("ca.pem");
    mill_buffer* buffer = NULL;
    mill_slice nothing = {NULL, 0};
    mill_call_options call_options = options_with(PATIENCE);

    mill_channel channel = {0};
    options.roots_pem = slice_of(other);
    OK(mill_channel_open(reference_target("https"), &options, &channel, &error));
    FAILS(
        MILL_STATUS_UNAVAILABLE,
        mill_unary(channel, ECHO_UNARY, &call_options, nothing, &buffer, NULL, &error));
    CHECK(check_message_has("ertificate"));
    OK(mill_channel_close(channel, &error));

    options.roots_pem = slice_of(roots);
    OK(mill_channel_open(reference_target("mtls"), &options, &channel, &error));
    FAILS(
        MILL_STATUS_UNAVAILABLE,
        mill_unary(channel, ECHO_UNARY, &call_options, nothing, &buffer, NULL, &error));
    OK(mill_channel_close(channel, &error));
    free((void*)other);
    free((void*)roots);
}

TEST(a_server_that_dies_in_the_middle_of_a_stream_ends_the_call_with_unavailable) {
    mill_channel channel = open_reference();
    echo_request request = echo_count(1);
    request.never_finish = 1;
    mill_call call = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    server_kill();
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    FAILS(MILL_STATUS_UNAVAILABLE, mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}
