// The pollable queue.
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"

enum { PATIENCE = 60000 };

static mill_queue new_queue(void) {
    mill_queue queue = {0};
    OK(mill_queue_new(&queue, &error));
    return queue;
}

static int readable(int fd, int timeout_ms) {
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    int ready = poll(&polled, 1, timeout_ms);
    CHECK(ready >= 0 && (polled.revents & ~POLLIN) == 0);
    return ready;
}

TEST(an_empty_queue_is_not_readable_and_waits_no_longer_than_told) {
    mill_queue queue = new_queue();
    int fd = -1;
    uint64_t tag;
    size_t count = 77;
    OK(mill_queue_fd(queue, &fd, &error));
    CHECK_INT(0, readable(fd, 0));
    FAILS(MILL_ERROR_TIMEOUT, mill_queue_next(queue, 0, &tag, 1, &count, &error));
    long long start = now_ms();
    FAILS(MILL_ERROR_TIMEOUT, mill_queue_next(queue, 50, &tag, 1, &count, &error));
    CHECK(now_ms() - start >= 49);
    CHECK_INT(77, count);
    OK(mill_queue_close(queue, &error));
}

TEST(what_is_ready_already_is_in_the_queue_at_once) {
    mill_channel channel = open_reference();
    mill_queue queue = new_queue();
    mill_call call = {0};
    uint64_t tag = 0;
    size_t count = 0;
    int fd = -1;
    OK(mill_queue_fd(queue, &fd, &error));
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    OK(mill_call_watch(call, queue, MILL_INTEREST_SENDABLE, 0xfedcba9876543210u, &error));
    CHECK_INT(1, readable(fd, PATIENCE));
    OK(mill_queue_next(queue, 0, &tag, 1, &count, &error));
    CHECK_INT(1, count);
    CHECK(tag == 0xfedcba9876543210u);
    CHECK_INT(0, readable(fd, 0));

    OK(mill_call_cancel(call, NULL, &error));
    OK(mill_call_watch(
        call, queue, MILL_INTEREST_HEADERS | MILL_INTEREST_MESSAGES | MILL_INTEREST_STATUS, 5,
        &error));
    OK(mill_queue_next(queue, PATIENCE, &tag, 1, &count, &error));
    CHECK_INT(5, tag);
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(one_loop_over_poll_serves_many_streams) {
    enum { STREAMS = 20, COUNT = 500 };
    mill_channel channel = open_reference();
    mill_queue queue = new_queue();
    mill_call calls[STREAMS];
    mill_batch* batches[STREAMS];
    uint64_t received[STREAMS] = {0};
    int open = STREAMS, fd = -1;
    OK(mill_queue_fd(queue, &fd, &error));
    echo_request request = echo_count(COUNT);
    for (uint64_t i = 0; i < STREAMS; i++) {
        calls[i] = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
        batches[i] = mill_batch_new();
        OK(mill_call_watch(calls[i], queue, MILL_INTEREST_MESSAGES, i, &error));
    }
    while (open > 0) {
        CHECK_INT(1, readable(fd, PATIENCE));
        uint64_t tags[4];
        size_t count;
        while (mill_queue_next(queue, 0, tags, 4, &count, NULL) == MILL_OK) {
            CHECK(count >= 1 && count <= 4);
            for (size_t t = 0; t < count; t++) {
                uint64_t i = tags[t];
                CHECK(i < STREAMS);
                mill_slice message;
                mill_status status;
                while ((status = mill_call_next(calls[i], batches[i], 0, &message, NULL)) ==
                           MILL_OK &&
                       message.data != NULL) {
                    echo_check_sequence(message, ++received[i]);
                }
                if (status == MILL_ERROR_TIMEOUT) {
                    OK(mill_call_watch(calls[i], queue, MILL_INTEREST_MESSAGES, i, &error));
                    continue;
                }
                CHECK_INT(MILL_OK, status);
                CHECK_INT(COUNT, received[i]);
                OK(mill_call_finish(calls[i], 0, NULL, &error));
                OK(mill_call_close(calls[i], &error));
                mill_batch_free(batches[i]);
                open--;
            }
        }
    }
    CHECK_INT(0, readable(fd, 0));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_sender_that_is_held_up_is_told_when_there_is_room) {
    mill_channel channel = open_reference();
    mill_queue queue = new_queue();
    mill_call call = {0};
    // The answers are not taken, so at some point the server takes no more requests.
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    echo_request request = ECHO_REQUEST_INIT;
    request.payload = (ProtobufCBinaryData){65536, calloc(1, 65536)};
    mill_slice packed = echo_pack(&request);
    mill_status status;
    uint64_t sent = 0, tag = 0;
    size_t count = 0;
    while ((status = mill_call_send(call, packed, 2000, NULL)) == MILL_OK) {
        sent++;
        CHECK(sent < 10000);
    }
    CHECK_INT(MILL_ERROR_TIMEOUT, status);
    size_t accepted = 9;
    FAILS(MILL_ERROR_TIMEOUT, mill_call_send_many(call, &packed, 1, 0, &accepted, &error));
    CHECK_INT(9, accepted);
    OK(mill_call_watch(call, queue, MILL_INTEREST_SENDABLE, 3, &error));
    FAILS(MILL_ERROR_TIMEOUT, mill_queue_next(queue, 20, &tag, 1, &count, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    uint64_t answers = 0;
    while (tag != 3) {
        OK(mill_call_next(call, batch, PATIENCE, &message, &error));
        answers++;
        if (mill_queue_next(queue, 0, &tag, 1, &count, NULL) != MILL_OK) {
            tag = 0;
        }
    }
    OK(mill_call_send(call, packed, PATIENCE, &error));
    OK(mill_call_half_close(call, &error));
    for (sent++; answers < sent; answers++) {
        OK(mill_call_next(call, batch, PATIENCE, &message, &error));
        CHECK(message.data != NULL);
    }
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    CHECK(message.data == NULL);
    OK(mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    echo_free(packed);
    free(request.payload.data);
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_new_watch_takes_the_place_of_the_old_one) {
    mill_channel channel = open_reference();
    mill_queue queue = new_queue();
    mill_call call = {0};
    uint64_t tags[4];
    size_t count;
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    OK(mill_call_watch(call, queue, MILL_INTEREST_STATUS, 1, &error));
    OK(mill_call_watch(call, queue, MILL_INTEREST_STATUS, 2, &error));
    OK(mill_call_cancel(call, NULL, &error));
    OK(mill_queue_next(queue, PATIENCE, tags, 4, &count, &error));
    CHECK_INT(1, count);
    CHECK_INT(2, tags[0]);
    FAILS(MILL_ERROR_TIMEOUT, mill_queue_next(queue, 20, tags, 4, &count, &error));
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(the_queue_tells_of_a_channel_that_connects) {
    mill_channel channel = open_reference();
    mill_queue queue = new_queue();
    uint64_t tag = 0;
    size_t count;
    OK(mill_channel_watch_state(channel, MILL_CONNECTIVITY_IDLE, queue, 8, &error));
    FAILS(MILL_ERROR_TIMEOUT, mill_queue_next(queue, 20, &tag, 1, &count, &error));
    OK(mill_channel_connect(channel, &error));
    OK(mill_queue_next(queue, PATIENCE, &tag, 1, &count, &error));
    CHECK_INT(8, tag);
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

TEST(a_queue_can_be_closed_under_a_watch_and_a_call_under_a_queue) {
    mill_channel channel = open_reference();
    mill_queue queue = new_queue();
    mill_call call = {0};
    uint64_t tag;
    size_t count;
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    OK(mill_call_watch(call, queue, MILL_INTEREST_STATUS, 1, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_call_cancel(call, NULL, &error));
    FAILS(MILL_ERROR_CLOSED, mill_call_watch(call, queue, MILL_INTEREST_STATUS, 1, &error));
    OK(mill_call_close(call, &error));

    queue = new_queue();
    OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
    OK(mill_call_watch(call, queue, MILL_INTEREST_MESSAGES, 1, &error));
    OK(mill_call_close(call, &error));
    // Whether the tag came before the close or not, nothing else does.
    mill_status status = mill_queue_next(queue, 50, &tag, 1, &count, NULL);
    CHECK(status == MILL_ERROR_TIMEOUT || (status == MILL_OK && tag == 1));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

static void* wait_for_ever(void* argument) {
    uint64_t tag;
    size_t count;
    mill_queue* queue = argument;
    return (void*)(intptr_t)mill_queue_next(*queue, MILL_FOREVER, &tag, 1, &count, NULL);
}

TEST(closing_a_queue_wakes_the_thread_that_waits_in_it) {
    mill_queue queue = new_queue();
    pthread_t thread;
    void* result;
    CHECK_INT(0, pthread_create(&thread, NULL, wait_for_ever, &queue));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    OK(mill_queue_close(queue, &error));
    CHECK_INT(0, pthread_join(thread, &result));
    CHECK_INT(MILL_ERROR_CLOSED, (intptr_t)result);
}
