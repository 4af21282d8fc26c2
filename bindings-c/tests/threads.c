// Handles used by several threads at once.
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"

enum { PATIENCE = 60000 };

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/// A stream of which nothing comes.
static mill_call silent_call(mill_channel channel) {
    echo_request request = ECHO_REQUEST_INIT;
    request.never_answer = 1;
    return start_echo(channel, MILL_BIDI, &request, NULL);
}

static void* receive(void* argument) {
    mill_call* call = argument;
    mill_batch* batch = mill_batch_new();
    mill_slice message = {(const uint8_t*)"", 1};
    mill_status status = mill_call_next(*call, batch, MILL_FOREVER, &message, NULL);
    mill_batch_free(batch);
    // The end of the messages, without any.
    return (void*)(intptr_t)(status == MILL_OK && message.data != NULL ? -1 : (int)status);
}

static void* finish(void* argument) {
    mill_call* call = argument;
    return (void*)(intptr_t)mill_call_finish(*call, MILL_FOREVER, NULL, NULL);
}

/// Ends a call while other threads wait in it. A thread that comes too late to wait is told `late`.
static void end_while_waiting(void (*end)(mill_channel, mill_call), mill_status late) {
    mill_channel channel = open_reference();
    mill_call call = silent_call(channel);
    pthread_t receiver, finisher;
    void* result;
    CHECK_INT(0, pthread_create(&receiver, NULL, receive, &call));
    CHECK_INT(0, pthread_create(&finisher, NULL, finish, &call));
    sleep_ms(100);
    end(channel, call);
    CHECK_INT(0, pthread_join(receiver, &result));
    CHECK((intptr_t)result == MILL_OK || (intptr_t)result == (intptr_t)late);
    CHECK_INT(0, pthread_join(finisher, &result));
    CHECK((intptr_t)result == MILL_STATUS_CANCELLED || (intptr_t)result == (intptr_t)late);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

static void by_cancel(mill_channel channel, mill_call call) {
    (void)channel;
    OK(mill_call_cancel(call, "from outside", &error));
}

static void by_closing_the_call(mill_channel channel, mill_call call) {
    (void)channel;
    OK(mill_call_close(call, &error));
}

static void by_closing_the_channel(mill_channel channel, mill_call call) {
    (void)call;
    OK(mill_channel_close(channel, &error));
}

TEST(cancelling_a_call_wakes_the_threads_that_wait_in_it) {
    end_while_waiting(by_cancel, MILL_STATUS_CANCELLED);
}

TEST(closing_a_call_wakes_the_threads_that_wait_in_it) {
    end_while_waiting(by_closing_the_call, MILL_ERROR_CLOSED);
}

TEST(closing_a_channel_wakes_the_threads_that_wait_in_its_calls) {
    end_while_waiting(by_closing_the_channel, MILL_STATUS_CANCELLED);
}

TEST(a_second_receiver_is_told_that_the_call_is_busy) {
    mill_channel channel = open_reference();
    mill_call call = silent_call(channel);
    mill_batch* batch = mill_batch_new();
    pthread_t receiver;
    mill_status status = MILL_OK;
    CHECK_INT(0, pthread_create(&receiver, NULL, receive, &call));
    for (long long end = now_ms() + PATIENCE; now_ms() < end && status != MILL_ERROR_BUSY;) {
        sleep_ms(1);
        status = mill_call_next_batch(call, batch, 0, NULL);
    }
    FAILS(MILL_ERROR_BUSY, mill_call_next_batch(call, batch, 0, &error));
    OK(mill_call_cancel(call, NULL, &error));
    CHECK_INT(0, pthread_join(receiver, NULL));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

enum { SENDERS = 4, EACH = 500 };

static void* send_many(void* argument) {
    mill_call* call = argument;
    echo_request request = ECHO_REQUEST_INIT;
    request.payload = (ProtobufCBinaryData){10, (uint8_t*)"0123456789"};
    mill_slice packed = echo_pack(&request);
    for (int i = 0; i < EACH; i++) {
        OK(mill_call_send(*call, packed, PATIENCE, &error));
    }
    echo_free(packed);
    return NULL;
}

TEST(several_threads_send_on_one_call_and_no_message_is_torn) {
    mill_channel channel = open_reference();
    mill_call call = {0};
    pthread_t senders[SENDERS];
    OK(mill_call_start(channel, ECHO_CLIENT_STREAM, MILL_CLIENT_STREAM, NULL, &call, &error));
    for (int i = 0; i < SENDERS; i++) {
        CHECK_INT(0, pthread_create(&senders[i], NULL, send_many, &call));
    }
    for (int i = 0; i < SENDERS; i++) {
        CHECK_INT(0, pthread_join(senders[i], NULL));
    }
    OK(mill_call_half_close(call, &error));
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    echo_response* response = echo_unpack(message);
    CHECK_INT(SENDERS * EACH, response->requests);
    CHECK_INT(SENDERS * EACH * 10, response->request_bytes);
    echo_free_response(response);
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_channel_close(channel, &error));
}

static void* call_often(void* argument) {
    mill_channel* channel = argument;
    mill_slice nothing = {NULL, 0};
    for (int i = 0; i < 100; i++) {
        mill_buffer* buffer = NULL;
        OK(mill_unary(*channel, ECHO_UNARY, NULL, nothing, &buffer, NULL, &error));
        mill_buffer_free(buffer);
    }
    return NULL;
}

TEST(several_threads_share_a_channel) {
    mill_channel channel = open_reference();
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        CHECK_INT(0, pthread_create(&threads[i], NULL, call_often, &channel));
    }
    for (int i = 0; i < SENDERS; i++) {
        CHECK_INT(0, pthread_join(threads[i], NULL));
    }
    OK(mill_channel_close(channel, &error));
}

static void* use_until_closed(void* argument) {
    mill_channel* channel = argument;
    mill_slice nothing = {NULL, 0};
    mill_status status;
    do {
        mill_buffer* buffer = NULL;
        status = mill_unary(*channel, ECHO_UNARY, NULL, nothing, &buffer, NULL, NULL);
        mill_buffer_free(buffer);
    } while (status == MILL_OK);
    return (void*)(intptr_t)status;
}

TEST(a_channel_can_be_closed_while_threads_use_it) {
    for (int round = 0; round < 10; round++) {
        mill_channel channel = open_reference();
        pthread_t threads[SENDERS];
        void* result;
        for (int i = 0; i < SENDERS; i++) {
            CHECK_INT(0, pthread_create(&threads[i], NULL, use_until_closed, &channel));
        }
        sleep_ms(5 * round);
        OK(mill_channel_close(channel, &error));
        for (int i = 0; i < SENDERS; i++) {
            CHECK_INT(0, pthread_join(threads[i], &result));
            intptr_t status = (intptr_t)result;
            CHECK(status == MILL_STATUS_CANCELLED || status == MILL_ERROR_CLOSED);
        }
    }
}
