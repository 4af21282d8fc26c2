// The header by itself, first and twice.
#include <millstream.h>

#include <millstream.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "support/check.h"

static_assert(sizeof(mill_status) == 4, "result codes are 32 bits at the binary interface");
static_assert(sizeof(mill_channel) == 8, "a handle is 64 bits");
static_assert(sizeof(mill_call) == 8, "a handle is 64 bits");
static_assert(sizeof(mill_queue) == 8, "a handle is 64 bits");
static_assert(offsetof(mill_channel_options, struct_size) == 0, "the size comes first");
static_assert(offsetof(mill_call_options, struct_size) == 0, "the size comes first");

TEST(the_library_is_of_the_version_of_the_header) {
    char version[32];
    snprintf(
        version, sizeof version, "%d.%d.%d", MILL_VERSION_MAJOR, MILL_VERSION_MINOR,
        MILL_VERSION_PATCH);
    CHECK_TEXT(version, mill_version());
    CHECK_INT(MILL_ABI_VERSION, mill_abi_version());
    CHECK_INT(16, strlen(mill_build_id()));
}

TEST(every_result_code_has_a_name_and_a_description) {
    CHECK_TEXT("OK", mill_status_name(MILL_OK));
    CHECK_TEXT("NOT_FOUND", mill_status_name(MILL_STATUS_NOT_FOUND));
    CHECK_TEXT("FORKED", mill_status_name(MILL_ERROR_FORKED));
    CHECK_TEXT("Used after close.", mill_status_description(MILL_ERROR_CLOSED));
    CHECK(mill_status_retryable(MILL_STATUS_UNAVAILABLE));
    CHECK(!mill_status_retryable(MILL_ERROR_CLOSED));
}

TEST(a_number_that_is_no_result_code_is_called_unrecognised) {
    const int numbers[] = {-1, 17, 99, 114, 2147483647};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        CHECK_TEXT("UNRECOGNISED", mill_status_name(numbers[i]));
        CHECK_TEXT("UNRECOGNISED", mill_status_description(numbers[i]));
        CHECK(!mill_status_retryable(numbers[i]));
    }
}
