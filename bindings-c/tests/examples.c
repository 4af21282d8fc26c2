// The examples of the README and of the guide, run as programs.
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/server.h"

/// Runs an example on a target; counts its lines, each of which has to have the format with one
/// text and one number.
static int lines_of(const char* example, const char* format, const char* target, int* status) {
    char command[4096], line[256];
    snprintf(command, sizeof command, "'%s/%s' '%s'", EXAMPLES, example, target);
    FILE* output = popen(command, "r");
    CHECK(output != NULL);
    int lines = 0;
    while (fgets(line, sizeof line, output) != NULL) {
        char airport[4];
        double number;
        int end = 0;
        CHECK_INT(2, sscanf(line, format, airport, &number, &end));
        CHECK_INT('\n', line[end]);
        CHECK(number > 0);
        lines++;
    }
    *status = pclose(output);
    return lines;
}

static void check_example(const char* example, const char* format, int lines) {
    int status = -1;
    CHECK_INT(lines, lines_of(example, format, reference_target("http"), &status));
    CHECK_INT(0, status);
    CHECK_INT(0, lines_of(example, format, refused_target(), &status));
    CHECK(status != 0);
}

TEST(the_example_in_c_prints_a_day_of_weather_and_fails_without_a_server) {
    check_example("readme_example_c", "%3s %lf F%n", 24);
}

TEST(the_example_in_cpp_prints_a_day_of_weather_and_fails_without_a_server) {
    check_example("readme_example_cpp", "%3s %lf F%n", 24);
}

TEST(the_event_loop_serves_three_streams_and_fails_without_a_server) {
    check_example("poll_example_c", "%3s %lf observations%n", 3);
}
