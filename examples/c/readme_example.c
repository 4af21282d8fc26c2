// The README's example: a day of weather at JFK, as a stream.
//
//   readme-example-c http://127.0.0.1:50051

// readme: begin
#include <millstream.h>
#include <stdio.h>

#include "weather/v1/weather.pb-c.h"

static void print(mill_slice message) {
    Weather__V1__Observation* observation =
        weather__v1__observation__unpack(NULL, message.len, message.data);
    // What the station did not measure is not there.
    if (observation != NULL && observation->_temperature_fahrenheit_case != 0) {
        printf("%s %.1f F\n", observation->origin, observation->temperature_fahrenheit);
    }
    weather__v1__observation__free_unpacked(observation, NULL);
}

int main(int argc, char** argv) {
    Weather__V1__GetWeatherStreamRequest request = WEATHER__V1__GET_WEATHER_STREAM_REQUEST__INIT;
    request.origin = "JFK";
    request.limit = 24;
    uint8_t bytes[64];
    mill_slice packed = {bytes, weather__v1__get_weather_stream_request__pack(&request, bytes)};

    const char* target = argc > 1 ? argv[1] : "http://127.0.0.1:50051";
    const char* method = "/weather.v1.Weather/GetWeatherStream";
    mill_channel channel = {0};
    mill_call call = {0};
    mill_batch* batch = mill_batch_new();
    mill_slice message;
    mill_error* error = NULL;

    mill_status status = mill_channel_open(target, NULL, &channel, &error);
    if (status == MILL_OK) {
        status =
            mill_call_start_with(channel, method, MILL_SERVER_STREAM, NULL, packed, &call, &error);
    }
    while (status == MILL_OK) {
        status = mill_call_next(call, batch, MILL_FOREVER, &message, &error);
        if (status != MILL_OK || message.data == NULL) {
            break;
        }
        print(message);
    }
    if (status == MILL_OK) {
        status = mill_call_finish(call, MILL_FOREVER, NULL, &error);
    }
    if (status != MILL_OK) {
        fprintf(stderr, "error: %s\n", mill_error_message(error));
    }
    mill_error_free(error);
    mill_batch_free(batch);
    mill_call_close(call, NULL);
    mill_channel_close(channel, NULL);
    return status == MILL_OK ? 0 : 1;
}
// readme: end
