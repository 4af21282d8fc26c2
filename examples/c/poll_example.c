// The guide's event loop: the weather of three airports at once, in one thread, by poll(2).
//
//   poll-example-c http://127.0.0.1:50051

// readme: begin
#include <millstream.h>
#include <poll.h>
#include <stdio.h>

#include "weather/v1/weather.pb-c.h"

enum { AIRPORTS = 3 };
static const char* const airports[AIRPORTS] = {"EWR", "JFK", "LGA"};

typedef struct {
    mill_call call;
    mill_batch* batch;
    int observations;
} airport_stream;

/// Takes what has come. MILL_OK at the end of the stream, MILL_ERROR_TIMEOUT when more will come.
static mill_status receive(airport_stream* stream, mill_error** error) {
    mill_slice message;
    mill_status status;
    while ((status = mill_call_next(stream->call, stream->batch, 0, &message, error)) == MILL_OK) {
        if (message.data == NULL) {
            return mill_call_finish(stream->call, MILL_FOREVER, NULL, error);
        }
        stream->observations++;
    }
    return status;
}

int main(int argc, char** argv) {
    airport_stream streams[AIRPORTS] = {{{0}, NULL, 0}};
    mill_channel channel = {0};
    mill_queue queue = {0};
    mill_error* error = NULL;
    int open = 0, fd = -1;

    mill_status status =
        mill_channel_open(argc > 1 ? argv[1] : "http://127.0.0.1:50051", NULL, &channel, &error);
    if (status == MILL_OK) {
        status = mill_queue_new(&queue, &error);
    }
    if (status == MILL_OK) {
        status = mill_queue_fd(queue, &fd, &error);
    }
    for (; status == MILL_OK && open < AIRPORTS; open++) {
        Weather__V1__GetWeatherStreamRequest request =
            WEATHER__V1__GET_WEATHER_STREAM_REQUEST__INIT;
        request.origin = (char*)airports[open];
        uint8_t bytes[64];
        mill_slice packed = {bytes, weather__v1__get_weather_stream_request__pack(&request, bytes)};
        streams[open].batch = mill_batch_new();
        status = mill_call_start_with(
            channel, "/weather.v1.Weather/GetWeatherStream", MILL_SERVER_STREAM, NULL, packed,
            &streams[open].call, &error);
        if (status == MILL_OK) {
            // The tag says which stream it is.
            status = mill_call_watch(
                streams[open].call, queue, MILL_INTEREST_MESSAGES, (uint64_t)open, &error);
        }
    }

    while (status == MILL_OK && open > 0) {
        struct pollfd waiting = {
            .fd = fd, .events = POLLIN}; // and whatever else the program waits for
        if (poll(&waiting, 1, -1) < 0) {
            continue; // a signal
        }
        uint64_t tag;
        size_t count;
        while (status == MILL_OK && mill_queue_next(queue, 0, &tag, 1, &count, NULL) == MILL_OK) {
            status = receive(&streams[tag], &error);
            if (status == MILL_OK) {
                printf("%s %d observations\n", airports[tag], streams[tag].observations);
                open--;
            } else if (status == MILL_ERROR_TIMEOUT) {
                // A watch tells once: ask for the next time.
                mill_error_free(error);
                error = NULL;
                status =
                    mill_call_watch(streams[tag].call, queue, MILL_INTEREST_MESSAGES, tag, &error);
            }
        }
    }

    if (status != MILL_OK) {
        fprintf(stderr, "error: %s\n", mill_error_message(error));
    }
    mill_error_free(error);
    for (int i = 0; i < AIRPORTS; i++) {
        mill_call_close(streams[i].call, NULL);
        mill_batch_free(streams[i].batch);
    }
    mill_queue_close(queue, NULL);
    mill_channel_close(channel, NULL);
    return status == MILL_OK ? 0 : 1;
}
// readme: end
