// What a program can do wrong: every case is an error with a name, and nothing breaks.
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"

enum { PATIENCE = 60000 };

static const mill_slice nothing = {NULL, 0};
// A channel needs no server until it is used.
static const char* const anywhere = "http://127.0.0.1:9";

TEST(every_required_pointer_that_is_null_is_refused) {
    mill_channel channel = {0};
    mill_queue queue = {0};
    mill_call call = {0};
    mill_slice message = {NULL, 0};
    mill_batch* batch = mill_batch_new();
    mill_buffer* buffer = NULL;
    uint64_t tag = 0;
    size_t count = 0;
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    OK(mill_queue_new(&queue, &error));
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    const mill_status refused = MILL_ERROR_INVALID_ARGUMENT;

    FAILS(refused, mill_channel_open(NULL, NULL, &channel, &error));
    CHECK(check_message_has("target is NULL"));
    FAILS(refused, mill_channel_open(anywhere, NULL, NULL, &error));
    FAILS(refused, mill_channel_state(channel, NULL, &error));
    FAILS(refused, mill_queue_new(NULL, &error));
    FAILS(refused, mill_queue_fd(queue, NULL, &error));
    FAILS(refused, mill_queue_next(queue, 0, NULL, 1, &count, &error));
    FAILS(refused, mill_queue_next(queue, 0, &tag, 1, NULL, &error));
    FAILS(refused, mill_queue_next(queue, 0, &tag, 0, &count, &error));
    FAILS(refused, mill_call_start(channel, NULL, MILL_BIDI, NULL, &call, &error));
    FAILS(refused, mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, NULL, &error));
    FAILS(refused, mill_call_start_with(channel, NULL, MILL_UNARY, NULL, nothing, &call, &error));
    FAILS(
        refused,
        mill_call_start_with(channel, ECHO_UNARY, MILL_UNARY, NULL, nothing, NULL, &error));
    FAILS(
        refused, mill_call_start_with(
                     channel, ECHO_UNARY, MILL_UNARY, NULL, (mill_slice){NULL, 1}, &call, &error));
    FAILS(refused, mill_call_send(call, (mill_slice){NULL, 1}, 0, &error));
    CHECK(check_message_has("length of 1"));
    FAILS(refused, mill_call_send_many(call, NULL, 1, 0, &count, &error));
    FAILS(refused, mill_call_send_many(call, &message, 1, 0, NULL, &error));
    FAILS(refused, mill_call_send_many(call, &(mill_slice){NULL, 7}, 1, 0, &count, &error));
    FAILS(refused, mill_call_headers(call, 0, NULL, &error));
    FAILS(refused, mill_call_next_batch(call, NULL, 0, &error));
    FAILS(refused, mill_call_next(call, NULL, 0, &message, &error));
    FAILS(refused, mill_call_next(call, batch, 0, NULL, &error));
    FAILS(refused, mill_unary(channel, NULL, NULL, nothing, &buffer, NULL, &error));
    FAILS(refused, mill_unary(channel, ECHO_UNARY, NULL, nothing, NULL, NULL, &error));
    CHECK_INT(refused, mill_channel_options_init(NULL, sizeof(mill_channel_options)));
    CHECK_INT(refused, mill_call_options_init(NULL, sizeof(mill_call_options)));

    // The error itself may be NULL.
    CHECK_INT(refused, mill_channel_open(NULL, NULL, NULL, NULL));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(what_takes_null_says_nothing_and_does_nothing) {
    mill_error_free(NULL);
    mill_call_status_free(NULL);
    mill_metadata_free(NULL);
    mill_buffer_free(NULL);
    mill_batch_free(NULL);
    mill_batch_clear(NULL);
    CHECK_INT(MILL_OK, mill_error_code(NULL));
    CHECK_TEXT("", mill_error_message(NULL));
    CHECK(mill_error_status(NULL) == NULL);
    CHECK_INT(MILL_STATUS_UNKNOWN, mill_call_status_code(NULL));
    CHECK_TEXT("", mill_call_status_message(NULL));
    CHECK_INT(0, mill_call_status_details(NULL).len);
    CHECK(mill_call_status_trailers(NULL) == NULL);
    size_t count = 1;
    CHECK(mill_metadata_entries(NULL, &count) == NULL);
    CHECK_INT(0, count);
    CHECK(!mill_metadata_find(NULL, "key", NULL));
    CHECK_INT(0, mill_buffer_bytes(NULL).len);
    CHECK_INT(0, mill_batch_len(NULL));
    CHECK_INT(0, mill_batch_frames(NULL).len);
    CHECK(!mill_batch_next(NULL, NULL));
    mill_live(NULL, NULL, NULL);
}

TEST(a_handle_is_closed_as_often_as_one_likes_and_not_used_after_it) {
    mill_channel channel = {0};
    mill_queue queue = {0};
    mill_call call = {0};
    mill_slice message;
    mill_metadata* metadata = NULL;
    mill_buffer* buffer = NULL;
    mill_connectivity state;
    uint64_t tag;
    size_t count;
    int fd;
    mill_batch* batch = mill_batch_new();
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    OK(mill_queue_new(&queue, &error));
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    for (int i = 0; i < 3; i++) {
        OK(mill_call_close(call, &error));
        OK(mill_queue_close(queue, &error));
        OK(mill_channel_close(channel, &error));
    }
    const mill_status closed = MILL_ERROR_CLOSED;
    FAILS(closed, mill_channel_connect(channel, &error));
    CHECK(check_message_has("channel handle"));
    FAILS(closed, mill_channel_state(channel, &state, &error));
    FAILS(closed, mill_channel_wait_state(channel, MILL_CONNECTIVITY_IDLE, 0, &error));
    FAILS(closed, mill_channel_watch_state(channel, MILL_CONNECTIVITY_IDLE, queue, 0, &error));
    FAILS(closed, mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    FAILS(closed, mill_unary(channel, ECHO_UNARY, NULL, nothing, &buffer, NULL, &error));
    FAILS(closed, mill_call_send(call, nothing, 0, &error));
    CHECK(check_message_has("call handle"));
    FAILS(closed, mill_call_send_many(call, &nothing, 1, 0, &count, &error));
    FAILS(closed, mill_call_half_close(call, &error));
    FAILS(closed, mill_call_cancel(call, NULL, &error));
    FAILS(closed, mill_call_headers(call, 0, &metadata, &error));
    FAILS(closed, mill_call_next_batch(call, batch, 0, &error));
    FAILS(closed, mill_call_next(call, batch, 0, &message, &error));
    FAILS(closed, mill_call_finish(call, 0, NULL, &error));
    FAILS(closed, mill_call_wait(call, MILL_INTEREST_STATUS, 0, &error));
    FAILS(closed, mill_call_watch(call, queue, MILL_INTEREST_STATUS, 0, &error));
    FAILS(closed, mill_queue_fd(queue, &fd, &error));
    CHECK(check_message_has("queue handle"));
    FAILS(closed, mill_queue_next(queue, 0, &tag, 1, &count, &error));
    mill_batch_free(batch);
}

TEST(a_zero_handle_is_closed_without_effect_and_cannot_be_used) {
    mill_channel channel = {0};
    mill_call call = {0};
    mill_queue queue = {0};
    mill_connectivity state;
    int fd;
    OK(mill_channel_close(channel, &error));
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    FAILS(MILL_ERROR_INVALID_HANDLE, mill_channel_state(channel, &state, &error));
    CHECK(check_message_has("zero"));
    FAILS(MILL_ERROR_INVALID_HANDLE, mill_call_half_close(call, &error));
    FAILS(MILL_ERROR_INVALID_HANDLE, mill_queue_fd(queue, &fd, &error));
}

TEST(a_handle_of_another_kind_or_from_nowhere_is_invalid) {
    mill_channel channel = {0};
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    mill_call call = {channel.id};
    mill_queue queue = {channel.id};
    int fd;
    FAILS(MILL_ERROR_INVALID_HANDLE, mill_call_half_close(call, &error));
    CHECK(check_message_has("another kind"));
    FAILS(MILL_ERROR_INVALID_HANDLE, mill_call_close(call, &error));
    FAILS(MILL_ERROR_INVALID_HANDLE, mill_queue_fd(queue, &fd, &error));
    const uint64_t garbage[] = {1, UINT64_MAX, 0xdeadbeefULL, (uint64_t)(uintptr_t)&channel};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        call.id = garbage[i];
        FAILS(MILL_ERROR_INVALID_HANDLE, mill_call_half_close(call, &error));
        FAILS(MILL_ERROR_INVALID_HANDLE, mill_call_close(call, &error));
    }
    OK(mill_channel_close(channel, &error));
}

TEST(a_new_handle_never_wakes_an_old_one) {
    mill_channel first = {0}, next = {0};
    mill_connectivity state;
    OK(mill_channel_open(anywhere, NULL, &first, &error));
    OK(mill_channel_close(first, &error));
    for (int i = 0; i < 100; i++) {
        OK(mill_channel_open(anywhere, NULL, &next, &error));
        CHECK(next.id != first.id);
        FAILS(MILL_ERROR_CLOSED, mill_channel_state(first, &state, &error));
        OK(mill_channel_close(next, &error));
    }
}

TEST(options_that_were_not_initialised_are_refused) {
    mill_channel channel = {0};
    mill_channel_options options;
    memset(&options, 0, sizeof options);
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_channel_open(anywhere, &options, &channel, &error));
    CHECK(check_message_has("mill_channel_options_init"));
    options.struct_size = sizeof options - 1;
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_channel_open(anywhere, &options, &channel, &error));
    options.struct_size = SIZE_MAX;
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_channel_open(anywhere, &options, &channel, &error));
    CHECK_INT(MILL_ERROR_INVALID_ARGUMENT, mill_channel_options_init(&options, 8));
    CHECK_INT(0, channel.id);

    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    mill_call_options call_options;
    memset(&call_options, 0, sizeof call_options);
    mill_call call = {0};
    FAILS(
        MILL_ERROR_INVALID_ARGUMENT,
        mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &call_options, &call, &error));
    CHECK(check_message_has("mill_call_options_init"));
    CHECK_INT(0, call.id);
    OK(mill_channel_close(channel, &error));
}

TEST(an_option_of_a_later_version_is_refused_and_not_ignored) {
    struct {
        mill_call_options options;
        uint64_t later;
    } longer;
    mill_channel channel = {0};
    mill_call call = {0};
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    CHECK_INT(MILL_OK, mill_call_options_init(&longer.options, sizeof longer));
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &longer.options, &call, &error));
    OK(mill_call_close(call, &error));
    longer.later = 1;
    FAILS(
        MILL_ERROR_INVALID_ARGUMENT,
        mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &longer.options, &call, &error));
    OK(mill_channel_close(channel, &error));
}

static void refuse_setting(const char* name, const char* value, const char* said) {
    mill_channel channel = {0};
    mill_channel_options options;
    mill_setting setting = {name, value};
    CHECK_INT(MILL_OK, mill_channel_options_init(&options, sizeof options));
    options.settings = &setting;
    options.settings_count = 1;
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_channel_open(anywhere, &options, &channel, &error));
    CHECK(check_message_has(said));
}

TEST(a_setting_that_is_unknown_or_out_of_range_is_refused_by_name) {
    refuse_setting("keep_alive", "30s", "keep_alive");
    refuse_setting("keepalive_time", "soon", "soon");
    refuse_setting("keepalive_time", "1s", "keepalive_time");
    refuse_setting("max_connections", "0", "max_connections");
    refuse_setting("authority", NULL, "NULL");
    refuse_setting(NULL, "1", "NULL");
    refuse_setting("authority", "\xff", "UTF-8");
}

TEST(a_target_that_is_none_is_refused) {
    mill_channel channel = {0};
    const char* const targets[] = {"",        "localhost",  "ftp://localhost:1",
                                   "http://", "http://a b", "http://localhost:99999"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        FAILS(MILL_ERROR_INVALID_TARGET, mill_channel_open(targets[i], NULL, &channel, &error));
        CHECK_INT(0, channel.id);
    }
}

TEST(certificates_that_are_none_are_refused) {
    mill_channel channel = {0};
    mill_channel_options options;
    CHECK_INT(MILL_OK, mill_channel_options_init(&options, sizeof options));
    options.roots_pem = slice_of("no certificate");
    FAILS(
        MILL_ERROR_INVALID_TLS,
        mill_channel_open("https://localhost:1", &options, &channel, &error));
}

TEST(numbers_outside_an_enum_are_refused) {
    mill_channel channel = {0};
    mill_queue queue = {0};
    mill_call call = {0};
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    OK(mill_queue_new(&queue, &error));
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_call_start(channel, ECHO_BIDI, 4, NULL, &call, &error));
    FAILS(
        MILL_ERROR_INVALID_ARGUMENT, mill_call_start(channel, ECHO_BIDI, -1, NULL, &call, &error));
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_channel_wait_state(channel, 5, 0, &error));
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_channel_watch_state(channel, -1, queue, 0, &error));
    mill_call_options options;
    CHECK_INT(MILL_OK, mill_call_options_init(&options, sizeof options));
    options.compression = 4;
    FAILS(
        MILL_ERROR_INVALID_ARGUMENT,
        mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &options, &call, &error));
    CHECK_INT(0, call.id);
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_call_wait(call, 0, 0, &error));
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_call_wait(call, 16, 0, &error));
    FAILS(MILL_ERROR_INVALID_ARGUMENT, mill_call_watch(call, queue, 0, 0, &error));
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(metadata_that_is_not_legal_is_refused_by_key) {
    mill_channel channel = {0};
    mill_call call = {0};
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    const mill_metadata_entry entries[] = {
        {"sp ace", slice_of("x")},      {"grpc-mine", slice_of("x")},  {"", slice_of("x")},
        {"key", slice_of("new\nline")}, {"key", slice_of("\xc3\xa4")},
    };
    mill_call_options options;
    CHECK_INT(MILL_OK, mill_call_options_init(&options, sizeof options));
    options.metadata_count = 1;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        options.metadata = &entries[i];
        FAILS(
            MILL_ERROR_INVALID_METADATA,
            mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &options, &call, &error));
    }
    const mill_metadata_entry broken[] = {{NULL, slice_of("x")}, {"key", {NULL, 1}}};
    for (size_t i = 0; i < 2; i++) {
        options.metadata = &broken[i];
        FAILS(
            MILL_ERROR_INVALID_ARGUMENT,
            mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &options, &call, &error));
    }
    options.metadata = NULL;
    FAILS(
        MILL_ERROR_INVALID_ARGUMENT,
        mill_call_start(channel, ECHO_BIDI, MILL_BIDI, &options, &call, &error));
    CHECK_INT(0, call.id);
    OK(mill_channel_close(channel, &error));
}

TEST(a_path_that_is_none_is_refused) {
    mill_channel channel = {0};
    mill_call call = {0};
    OK(mill_channel_open(anywhere, NULL, &channel, &error));
    const char* const paths[] = {"", "/", "contract.v1.Echo/Unary", "/contract.v1.Echo", "/a/b c"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        FAILS(
            MILL_ERROR_INVALID_ARGUMENT,
            mill_call_start(channel, paths[i], MILL_UNARY, NULL, &call, &error));
    }
    OK(mill_channel_close(channel, &error));
}

TEST(sending_out_of_turn_is_an_invalid_state) {
    mill_channel channel = open_reference();
    mill_call call = {0};
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    OK(mill_call_half_close(call, &error));
    FAILS(MILL_ERROR_INVALID_STATE, mill_call_send(call, nothing, PATIENCE, &error));
    OK(mill_call_close(call, &error));

    echo_request never = ECHO_REQUEST_INIT;
    never.never_answer = 1;
    call = start_echo(channel, MILL_SERVER_STREAM, &never, NULL);
    FAILS(MILL_ERROR_INVALID_STATE, mill_call_send(call, nothing, PATIENCE, &error));
    OK(mill_call_close(call, &error));

    OK(mill_call_start_with(channel, ECHO_BIDI, MILL_BIDI, NULL, nothing, &call, &error));
    FAILS(MILL_ERROR_INVALID_STATE, mill_call_send(call, nothing, PATIENCE, &error));
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(messages_in_a_batch_are_not_lost_by_using_it_again) {
    mill_channel channel = open_reference();
    echo_request request = echo_count(2);
    mill_call first = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    mill_call second = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    OK(mill_call_finish(first, PATIENCE, NULL, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    OK(mill_call_next(first, batch, PATIENCE, &message, &error));
    CHECK_INT(1, mill_batch_len(batch));
    FAILS(MILL_ERROR_INVALID_STATE, mill_call_next_batch(first, batch, PATIENCE, &error));
    CHECK(check_message_has("1 messages of this call"));
    FAILS(MILL_ERROR_INVALID_STATE, mill_call_next(second, batch, PATIENCE, &message, &error));
    CHECK(check_message_has("another call"));
    OK(mill_call_next(first, batch, PATIENCE, &message, &error));
    echo_check_sequence(message, 2);
    OK(mill_call_next(second, batch, PATIENCE, &message, &error));
    echo_check_sequence(message, 1);
    mill_batch_clear(batch);
    CHECK_INT(0, mill_batch_len(batch));
    OK(mill_call_next(first, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    mill_batch_free(batch);
    OK(mill_call_close(first, &error));
    OK(mill_call_close(second, &error));
    OK(mill_channel_close(channel, &error));
}
