#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    const char* name;
    test_function function;
} cases[256];
static size_t case_count;
static char last_message[4096];

void check_register(const char* name, test_function function) {
    if (case_count == sizeof cases / sizeof *cases) {
        fprintf(stderr, "too many tests\n");
        abort();
    }
    cases[case_count].name = name;
    cases[case_count++].function = function;
}

void check_failed(const char* file, int line, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

void check_result(
    const char* file, int line, const char* expression, mill_status expected, mill_status got,
    mill_error* error) {
    if (got != expected) {
        check_failed(
            file, line, "%s\n  returned %d %s (\"%s\"), expected %d %s", expression, (int)got,
            mill_status_name((int)got), mill_error_message(error), (int)expected,
            mill_status_name((int)expected));
    }
    if ((got == MILL_OK) != (error == NULL)) {
        check_failed(file, line, "%s\n  an error belongs to a failure and to it alone", expression);
    }
    if (mill_error_code(error) != got) {
        check_failed(file, line, "%s\n  the code of the error is another", expression);
    }
    if (error != NULL && strlen(mill_error_message(error)) < 8) {
        check_failed(file, line, "%s\n  the message says nothing", expression);
    }
    snprintf(last_message, sizeof last_message, "%s", mill_error_message(error));
    mill_error_free(error);
}

int check_message_has(const char* text) {
    if (strstr(last_message, text) != NULL) {
        return 1;
    }
    fprintf(stderr, "the message is \"%s\", without \"%s\"\n", last_message, text);
    return 0;
}

long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run(size_t i) {
    fprintf(stderr, "%s\n", cases[i].name);
    cases[i].function();
    // What a test opened it has closed again. The threads of the runtime may let go a little later.
    uint64_t channels = 1, calls = 1, queues = 1;
    for (long long end = now_ms() + 20000; now_ms() < end && channels + calls + queues > 0;) {
        mill_live(&channels, &calls, &queues);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    CHECK_INT(0, channels);
    CHECK_INT(0, calls);
    CHECK_INT(0, queues);
}

int main(int argc, char** argv) {
    size_t ran = 0;
    for (size_t i = 0; i < case_count; i++) {
        if (argc < 2 || strcmp(argv[1], cases[i].name) == 0) {
            run(i);
            ran++;
        }
    }
    if (ran == 0) {
        fprintf(stderr, "there is no test %s\n", argc < 2 ? "at all" : argv[1]);
        return 1;
    }
    return 0;
}
