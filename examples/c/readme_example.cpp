// The same in C++.
//
//   readme-example-cpp http://127.0.0.1:50051

// readme: begin
#include <cstdio>
#include <millstream.hpp>

#include "weather/v1/weather.pb-c.h"

int main(int argc, char** argv) try {
    Weather__V1__GetWeatherStreamRequest request = WEATHER__V1__GET_WEATHER_STREAM_REQUEST__INIT;
    request.origin = const_cast<char*>("JFK");
    request.limit = 24;
    std::uint8_t bytes[64];
    std::size_t size = weather__v1__get_weather_stream_request__pack(&request, bytes);

    millstream::Channel channel(argc > 1 ? argv[1] : "http://127.0.0.1:50051");
    millstream::Call call = channel.start_with(
        "/weather.v1.Weather/GetWeatherStream", MILL_SERVER_STREAM,
        {reinterpret_cast<const char*>(bytes), size});

    for (std::string_view message : call.messages()) {
        auto* observation = weather__v1__observation__unpack(
            nullptr, message.size(), reinterpret_cast<const std::uint8_t*>(message.data()));
        if (observation != nullptr && observation->_temperature_fahrenheit_case != 0) {
            std::printf("%s %.1f F\n", observation->origin, observation->temperature_fahrenheit);
        }
        weather__v1__observation__free_unpacked(observation, nullptr);
    }
    return 0;
} catch (const millstream::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
}
// readme: end
