// The C++ layer, and the headers in C++, twice.
#include <millstream.hpp>

#include <millstream.h>
#include <millstream.hpp>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <type_traits>

#include "support/check.h"
#include "support/echo.h"
#include "support/server.h"

using namespace std::chrono_literals;

static_assert(!std::is_copy_constructible_v<millstream::Channel>, "one owner");
static_assert(!std::is_copy_constructible_v<millstream::Call>, "one owner");
static_assert(!std::is_copy_constructible_v<millstream::Queue>, "one owner");
static_assert(!std::is_copy_constructible_v<millstream::Batch>, "one owner");
static_assert(std::is_nothrow_move_constructible_v<millstream::Channel>, "can be moved");
static_assert(std::is_nothrow_move_constructible_v<millstream::Call>, "can be moved");
static_assert(std::is_nothrow_copy_constructible_v<millstream::Error>, "can be thrown");

namespace {

constexpr millstream::Timeout patience{60000};

std::string pack(const echo_request& request) {
    mill_slice packed = echo_pack(&request);
    std::string bytes(millstream::detail::view(packed));
    echo_free(packed);
    return bytes;
}

std::uint64_t sequence(std::string_view message) {
    echo_response* response = echo_unpack(millstream::detail::slice(message));
    std::uint64_t sequence = response->sequence;
    echo_free_response(response);
    return sequence;
}

millstream::Channel open() {
    return millstream::Channel(reference_target("http"));
}

/// The code that a function throws; MILL_OK when it does not.
template <typename Function> mill_status thrown(Function function) {
    try {
        function();
        return MILL_OK;
    } catch (const millstream::Error& error) {
        CHECK(std::strlen(error.what()) > 8);
        return error.code();
    }
}

} // namespace

TEST(a_range_for_takes_every_message_of_a_stream) {
    millstream::Channel channel = open();
    millstream::Call call =
        channel.start_with(ECHO_SERVER_STREAM, MILL_SERVER_STREAM, pack(echo_count(5000)));
    std::uint64_t count = 0;
    for (std::string_view message : call.messages()) {
        CHECK_INT(++count, sequence(message));
    }
    CHECK_INT(5000, count);
    CHECK_INT(MILL_OK, call.finish().code);
}

TEST(a_range_for_throws_the_status_behind_the_messages) {
    millstream::Channel channel = open();
    echo_request request = echo_count(3);
    Contract__V1__Finish finish;
    echo_finish(&request, &finish, MILL_STATUS_DATA_LOSS, "half of it");
    finish.details = {2, reinterpret_cast<std::uint8_t*>(const_cast<char*>("\x08\x0f"))};
    millstream::CallOptions options;
    options.metadata = {{"x-echo-a", "1"}, {"x-echo-b-bin", std::string("\0\x80", 2)}};
    millstream::Call call =
        channel.start_with(ECHO_SERVER_STREAM, MILL_SERVER_STREAM, pack(request), options);
    std::uint64_t count = 0;
    try {
        for (std::string_view message : call.messages()) {
            CHECK_INT(++count, sequence(message));
        }
        CHECK(false);
    } catch (const millstream::Error& error) {
        CHECK_INT(MILL_STATUS_DATA_LOSS, error.code());
        CHECK_TEXT("DATA_LOSS", error.name());
        const millstream::Status* status = error.status();
        CHECK(status != nullptr && status->message == "half of it");
        CHECK(status->details == "\x08\x0f");
        bool found = false;
        for (const auto& [key, value] : status->trailers) {
            found = found || (key == "x-echo-b-bin" && value == std::string("\0\x80", 2));
        }
        CHECK(found);
    }
    CHECK_INT(3, count);
}

TEST(unary_returns_the_response_and_the_trailers) {
    millstream::Channel channel = open();
    millstream::CallOptions options;
    options.metadata = {{"x-echo-a", "1"}};
    options.timeout = patience;
    options.compression = MILL_COMPRESSION_GZIP;
    millstream::Status status;
    std::string response = channel.unary(ECHO_UNARY, pack(ECHO_REQUEST_INIT), options, &status);
    CHECK_INT(1, sequence(response));
    CHECK_INT(MILL_OK, status.code);
    bool found = false;
    for (const auto& [key, value] : status.trailers) {
        found = found || (key == "x-echo-a" && value == "1");
    }
    CHECK(found);
    CHECK_INT(1, sequence(channel.unary(ECHO_UNARY, "")));
}

TEST(a_client_stream_sends_a_range) {
    millstream::Channel channel = open();
    millstream::Call call = channel.start(ECHO_CLIENT_STREAM, MILL_CLIENT_STREAM);
    std::vector<std::string> messages(5000, pack(ECHO_REQUEST_INIT) + std::string());
    call.send_all(messages);
    call.half_close();
    std::optional<std::string_view> answer = call.next(patience);
    CHECK(answer.has_value());
    echo_response* response = echo_unpack(millstream::detail::slice(*answer));
    CHECK_INT(5000, response->requests);
    echo_free_response(response);
    CHECK(!call.next(patience).has_value());
    CHECK_INT(MILL_OK, call.finish(patience).code);
}

TEST(a_bidirectional_stream_is_driven_by_a_queue) {
    millstream::Channel channel = open();
    millstream::Queue queue;
    millstream::Batch batch;
    millstream::Call call = channel.start(ECHO_BIDI, MILL_BIDI);
    CHECK(queue.fd() >= 0);
    CHECK(queue.next(0ms).empty());
    CHECK(call.next_batch(batch, 0ms) == millstream::Received::timeout);
    std::uint64_t answers = 0;
    const std::string request = pack(echo_count(2));
    for (int i = 0; i < 100; i++) {
        CHECK(call.try_send(request));
    }
    call.half_close();
    for (bool open = true; open;) {
        call.watch(queue, MILL_INTEREST_MESSAGES, 4);
        std::vector<std::uint64_t> tags = queue.next(patience);
        CHECK(tags.size() == 1 && tags[0] == 4);
        switch (call.next_batch(batch, 0ms)) {
        case millstream::Received::messages:
            for (std::string_view message : batch) {
                CHECK_INT(++answers, sequence(message));
            }
            CHECK(batch.empty());
            break;
        case millstream::Received::end:
            open = false;
            break;
        case millstream::Received::timeout:
            break;
        }
    }
    CHECK_INT(200, answers);
    CHECK_INT(MILL_OK, call.finish(patience).code);
}

TEST(headers_and_state_can_be_asked_for) {
    millstream::Channel channel = open();
    CHECK_INT(MILL_CONNECTIVITY_IDLE, channel.state());
    millstream::CallOptions options;
    options.metadata = {{"x-echo-h", "head"}};
    millstream::Call call = channel.start(ECHO_BIDI, MILL_BIDI, options);
    bool found = false;
    for (const auto& [key, value] : call.headers(patience)) {
        found = found || (key == "x-echo-h" && value == "head");
    }
    CHECK(found);
    CHECK_INT(MILL_CONNECTIVITY_READY, channel.state());
    CHECK(!channel.wait_state(MILL_CONNECTIVITY_READY, 10ms));
    CHECK(call.wait(MILL_INTEREST_SENDABLE, patience));
    CHECK(!call.wait(MILL_INTEREST_STATUS, 10ms));
}

TEST(leaving_a_scope_closes_what_was_opened_and_cancels_what_runs) {
    std::atomic<bool> ended{false};
    std::thread waiter;
    {
        millstream::Channel channel = open();
        auto call = std::make_shared<millstream::Call>(channel.start(ECHO_BIDI, MILL_BIDI));
        mill_call handle = call->get();
        waiter = std::thread([handle, &ended] {
            mill_call_finish(handle, MILL_FOREVER, nullptr, nullptr);
            ended = true;
        });
        std::this_thread::sleep_for(20ms);
        CHECK(!ended);
    }
    waiter.join();
    CHECK(ended);
}

TEST(a_moved_object_is_closed_once_and_the_empty_one_is_an_error) {
    millstream::Channel first = open();
    millstream::Channel second = std::move(first);
    CHECK_INT(MILL_ERROR_INVALID_HANDLE, thrown([&] { first.state(); }));
    CHECK_INT(MILL_OK, thrown([&] { second.state(); }));
    first = std::move(second);
    CHECK_INT(MILL_OK, thrown([&] { first.unary(ECHO_UNARY, ""); }));
    first.close();
    first.close();
    CHECK_INT(MILL_ERROR_CLOSED, thrown([&] { first.unary(ECHO_UNARY, ""); }));
}

TEST(errors_of_use_are_thrown_with_their_code) {
    CHECK_INT(MILL_ERROR_INVALID_TARGET, thrown([] { millstream::Channel("nowhere"); }));
    CHECK_INT(MILL_ERROR_INVALID_ARGUMENT, thrown([] {
                  millstream::ChannelOptions options;
                  options.settings = {{"no_such_option", "1"}};
                  millstream::Channel("http://localhost:1", options);
              }));
    millstream::Channel channel = open();
    CHECK_INT(MILL_ERROR_INVALID_METADATA, thrown([&] {
                  millstream::CallOptions options;
                  options.metadata = {{"not legal", ""}};
                  channel.start(ECHO_BIDI, MILL_BIDI, options);
              }));
    millstream::Call call = channel.start(ECHO_BIDI, MILL_BIDI);
    CHECK_INT(MILL_ERROR_TIMEOUT, thrown([&] { call.next(0ms); }));
    CHECK_INT(MILL_ERROR_TIMEOUT, thrown([&] { call.finish(0ms); }));
    call.cancel("done");
    CHECK_INT(MILL_STATUS_CANCELLED, thrown([&] { call.finish(patience); }));
    CHECK_INT(MILL_ERROR_CALL_ENDED, thrown([&] { call.send("x"); }));
    millstream::CallOptions options;
    options.timeout = 0ms;
    CHECK_INT(
        MILL_STATUS_DEADLINE_EXCEEDED, thrown([&] { channel.unary(ECHO_UNARY, "", options); }));
}
