// The examples of the README and of the guide, run as programs.
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/server.h"

/// Runs a program on a target; counts its lines, each of which has to be an observation.
static int lines_of(const char* program, const char* target, int* status) {
    char command[4096], line[256];
    snprintf(command, sizeof command, "'%s' '%s'", program, target);
    FILE* output = popen(command, "r");
    CHECK(output != NULL);
    int lines = 0;
    while (fgets(line, sizeof line, output) != NULL) {
        double fahrenheit;
        CHECK_INT(1, sscanf(line, "JFK %lf F\n", &fahrenheit));
        lines++;
    }
    *status = pclose(output);
    return lines;
}

static void check_example(const char* program) {
    int status = -1;
    CHECK_INT(24, lines_of(program, reference_target("http"), &status));
    CHECK_INT(0, status);
    CHECK_INT(0, lines_of(program, refused_target(), &status));
    CHECK(status != 0);
}

TEST(the_example_in_c_prints_a_day_of_weather_and_fails_without_a_server) {
    check_example(README_EXAMPLE_C);
}

TEST(the_example_in_cpp_prints_a_day_of_weather_and_fails_without_a_server) {
    check_example(README_EXAMPLE_CPP);
}
