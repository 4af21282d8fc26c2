#include <cstdio>
#include <millstream.hpp>

int main() {
    millstream::Channel channel("http://127.0.0.1:1");
    try {
        channel.unary("/a.B/C", "");
    } catch (const millstream::Error& error) {
        std::printf("millstream %s\n", mill_version());
        return error.code() == MILL_STATUS_UNAVAILABLE ? 0 : 1;
    }
    return 1;
}
