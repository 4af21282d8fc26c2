// The demo scenario: all six services over real data, one line of JSON for each on standard output.
//
// The same scenario stands in every language. What each service sends back is summed up by a CRC-32
// over the payload bytes of every message received, in order, so that the languages can be
// compared.

#include <stdio.h>
#include <stdlib.h>

#include "scenario.h"

void fail(const char* what, mill_error* error) {
    fprintf(stderr, "error: %s: %s\n", what, error == NULL ? "" : mill_error_message(error));
    mill_error_free(error);
    exit(1);
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: example-c TARGET DATA_DIR\n");
        return 2;
    }
    mill_channel channel = {0};
    mill_error* error = NULL;
    if (mill_channel_open(argv[1], NULL, &channel, &error) != MILL_OK) {
        fail(argv[1], error);
    }
    scenario_weather(channel);
    scenario_logs(channel, argv[2]);
    scenario_chat(channel);
    scenario_market(channel);
    scenario_telemetry(channel, argv[2]);
    scenario_sync(channel, argv[2]);
    mill_channel_close(channel, NULL);
    return 0;
}
