// A small test runner: each TEST is a case of its own that CTest runs in a process of its own.
#ifndef CHECK_H
#define CHECK_H

#include <millstream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*test_function)(void);

/// Called before main by TEST.
void check_register(const char* name, test_function function);

/// Ends the test as failed.
#ifdef __cplusplus
[[noreturn]]
#else
_Noreturn
#endif
void check_failed(const char* file, int line, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

/// Frees an error and fails unless it is what was expected of a function that returned `got`.
void check_result(
    const char* file, int line, const char* expression, mill_status expected, mill_status got,
    mill_error* error);

/// Whether the text is in the message of the error of the last FAILS.
int check_message_has(const char* text);

/// Monotonic, in milliseconds.
long long now_ms(void);

#define TEST(name)                                                                                 \
    static void name(void);                                                                        \
    __attribute__((constructor)) static void register_##name(void) {                               \
        check_register(#name, name);                                                               \
    }                                                                                              \
    static void name(void)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failed(__FILE__, __LINE__, "%s", #condition);                                    \
        }                                                                                          \
    } while (0)

#define CHECK_INT(expected, got)                                                                   \
    do {                                                                                           \
        long long expected_ = (long long)(expected), got_ = (long long)(got);                      \
        if (expected_ != got_) {                                                                   \
            check_failed(__FILE__, __LINE__, "%s is %lld, expected %lld", #got, got_, expected_);  \
        }                                                                                          \
    } while (0)

#define CHECK_TEXT(expected, got)                                                                  \
    do {                                                                                           \
        const char *expected_ = (expected), *got_ = (got);                                         \
        if (got_ == NULL || strcmp(expected_, got_) != 0) {                                        \
            check_failed(                                                                          \
                __FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #got,                         \
                got_ == NULL ? "NULL" : got_, expected_);                                          \
        }                                                                                          \
    } while (0)

/// Runs an expression that passes `&error` and fails the test unless it returns `expected`.
#define FAILS(expected, expression)                                                                \
    do {                                                                                           \
        mill_error* error = NULL;                                                                  \
        mill_status status_ = (expression);                                                        \
        check_result(__FILE__, __LINE__, #expression, expected, status_, error);                   \
    } while (0)

#define OK(expression) FAILS(MILL_OK, expression)

#ifdef __cplusplus
}
#endif

#endif
