// Fork and exit.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"

enum { PATIENCE = 60000 };

/// Waits for a child and fails unless it ended with success in time.
static void expect_success(pid_t pid) {
    int status = -1;
    for (long long end = now_ms() + PATIENCE; now_ms() < end; usleep(5000)) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            CHECK(WIFEXITED(status));
            CHECK_INT(0, WEXITSTATUS(status));
            return;
        }
    }
    kill(pid, SIGKILL);
    check_failed(__FILE__, __LINE__, "the child hangs");
}

/// Ends a child with success. By another program: what it leaves of its parent, on purpose, is
/// nothing for a leak checker that looks at an exit.
static void passed(void) {
    execlp("true", "true", (char*)NULL);
    abort();
}

/// Uses a channel for one unary call.
static mill_status try_unary(mill_channel channel) {
    mill_slice nothing = {NULL, 0};
    mill_buffer* buffer = NULL;
    mill_status status = mill_unary(channel, ECHO_UNARY, NULL, nothing, &buffer, NULL, NULL);
    mill_buffer_free(buffer);
    return status;
}

TEST(a_forked_child_is_told_so_and_opens_a_channel_of_its_own) {
    mill_channel channel = open_reference();
    mill_queue queue = {0};
    echo_request request = echo_count(1);
    request.never_finish = 1;
    mill_call call = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    OK(mill_call_next(call, batch, PATIENCE, &message, &error));
    OK(mill_queue_new(&queue, &error));

    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        mill_connectivity state;
        uint64_t tag;
        size_t count;
        int fd;
        const mill_status forked = MILL_ERROR_FORKED;
        FAILS(forked, mill_channel_state(channel, &state, &error));
        CHECK(check_message_has("fork"));
        FAILS(forked, mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
        FAILS(forked, mill_call_next(call, batch, PATIENCE, &message, &error));
        FAILS(forked, mill_call_send(call, message, PATIENCE, &error));
        FAILS(forked, mill_call_finish(call, PATIENCE, NULL, &error));
        FAILS(forked, mill_queue_next(queue, PATIENCE, &tag, 1, &count, &error));
        FAILS(forked, mill_queue_fd(queue, &fd, &error));
        CHECK_INT(forked, try_unary(channel));
        // What the parent has is closed here without touching it.
        OK(mill_call_close(call, &error));
        OK(mill_queue_close(queue, &error));
        OK(mill_channel_close(channel, &error));
        mill_channel own = open_reference();
        CHECK_INT(MILL_OK, try_unary(own));
        OK(mill_channel_close(own, &error));
        passed();
    }
    expect_success(pid);

    // The parent goes on as if nothing had been.
    CHECK_INT(MILL_OK, try_unary(channel));
    OK(mill_call_cancel(call, NULL, &error));
    FAILS(MILL_STATUS_CANCELLED, mill_call_finish(call, PATIENCE, NULL, &error));
    mill_batch_free(batch);
    OK(mill_call_close(call, &error));
    OK(mill_queue_close(queue, &error));
    OK(mill_channel_close(channel, &error));
}

static void* call_without_end(void* argument) {
    mill_channel* channel = argument;
    while (try_unary(*channel) == MILL_OK) {
    }
    return NULL;
}

TEST(a_fork_in_the_middle_of_the_work_of_other_threads_harms_nobody) {
    mill_channel channel = open_reference();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        CHECK_INT(0, pthread_create(&threads[i], NULL, call_without_end, &channel));
    }
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            CHECK_INT(MILL_ERROR_FORKED, try_unary(channel));
            mill_channel own = open_reference();
            CHECK_INT(MILL_OK, try_unary(own));
            OK(mill_channel_close(own, &error));
            passed();
        }
        expect_success(pid);
    }
    OK(mill_channel_close(channel, &error));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(0, pthread_join(threads[i], NULL));
    }
}

TEST(a_program_ends_with_open_streams_without_a_hang) {
    reference_target("http");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        mill_channel channel = open_reference();
        for (int i = 0; i < 20; i++) {
            echo_request request = echo_count(1000000);
            request.interval_ms = (uint32_t)(i % 2);
            mill_call call = start_echo(channel, MILL_SERVER_STREAM, &request, NULL);
            mill_metadata* headers = NULL;
            OK(mill_call_headers(call, PATIENCE, &headers, &error));
            mill_metadata_free(headers);
        }
        // Runs the exit handlers, unlike _exit, while the streams flow.
        exit(0);
    }
    expect_success(pid);
}

static void* wait_in_a_call(void* argument) {
    mill_call* call = argument;
    mill_call_finish(*call, MILL_FOREVER, NULL, NULL);
    return NULL;
}

TEST(a_program_ends_while_a_thread_waits_in_a_call) {
    reference_target("http");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        mill_channel channel = open_reference();
        static mill_call call;
        OK(mill_call_start(channel, ECHO_BIDI, MILL_BIDI, NULL, &call, &error));
        pthread_t thread;
        CHECK_INT(0, pthread_create(&thread, NULL, wait_in_a_call, &call));
        usleep(50000);
        exit(0);
    }
    expect_success(pid);
}
