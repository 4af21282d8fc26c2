// Millstream for C++17: a thin layer over millstream.h that frees and closes by itself and throws.
//
// - Channel, Call, Queue and Batch are move-only and end what they hold in their destructor.
// - What fails throws millstream::Error, which has the result code and, when a call has ended, its
//   Status. Destructors never throw.
// - Messages are std::string_view into the batch that they came with: copy what has to live longer.
// - Threads are as in millstream.h: any thread may use a Channel, Call or Queue; one at a time
//   receives from a call. Moving an object while another thread uses it is a data race, as always.
#ifndef MILLSTREAM_HPP
#define MILLSTREAM_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millstream.h"

namespace millstream {

/// How long a function waits. Negative: without end; zero: not at all.
using Timeout = std::chrono::milliseconds;

/// Waits without end.
inline constexpr Timeout forever{MILL_FOREVER};

/// Keys and values in order, duplicates kept. Values of keys that end in -bin are any bytes.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// How a call ended.
struct Status {
    mill_status code = MILL_STATUS_UNKNOWN;
    std::string message;
    /// The decoded grpc-status-details-bin; empty if there was none.
    std::string details;
    Metadata trailers;
};

namespace detail {

inline std::string_view view(mill_slice slice) {
    return {reinterpret_cast<const char*>(slice.data), slice.len};
}

inline mill_slice slice(std::string_view bytes) {
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

inline Metadata copy(const mill_metadata* metadata) {
    std::size_t count = 0;
    const mill_metadata_entry* entries = mill_metadata_entries(metadata, &count);
    Metadata copied;
    copied.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        copied.emplace_back(entries[i].key, view(entries[i].value));
    }
    return copied;
}

inline Status copy(const mill_call_status* status) {
    return {
        mill_call_status_code(status), mill_call_status_message(status),
        std::string(view(mill_call_status_details(status))),
        copy(mill_call_status_trailers(status))};
}

template <typename T, void (*free_object)(T*)> struct Free {
    void operator()(T* object) const noexcept { free_object(object); }
};

template <typename T, void (*free_object)(T*)>
using Owned = std::unique_ptr<T, Free<T, free_object>>;

using OwnedStatus = Owned<mill_call_status, mill_call_status_free>;
using OwnedMetadata = Owned<mill_metadata, mill_metadata_free>;
using OwnedBuffer = Owned<mill_buffer, mill_buffer_free>;

} // namespace detail

/// Why something did not succeed; what() says what was wrong, where, and what to do.
class Error : public std::runtime_error {
  public:
    explicit Error(const mill_error* error)
        : std::runtime_error(mill_error_message(error)), code_(mill_error_code(error)) {
        if (const mill_call_status* status = mill_error_status(error)) {
            status_ = std::make_shared<const Status>(detail::copy(status));
        }
    }

    /// 1 to 16: so the call ended. From 100: an error of use or of the environment.
    mill_status code() const noexcept { return code_; }

    /// The name of the code, such as NOT_FOUND.
    const char* name() const noexcept { return mill_status_name(code_); }

    /// How the call ended, if it is that which the error tells; otherwise NULL. Lives as long as
    /// the error.
    const Status* status() const noexcept { return status_.get(); }

  private:
    mill_status code_;
    // Shared, since exceptions are copied and a copy must not throw.
    std::shared_ptr<const Status> status_;
};

namespace detail {

/// The last argument of a function; then looks at what came.
class Check {
  public:
    Check() = default;
    Check(const Check&) = delete;
    Check& operator=(const Check&) = delete;
    ~Check() { mill_error_free(error_); }

    mill_error** out() { return &error_; }

    /// Throws unless the code is MILL_OK.
    void operator()(mill_status code) const {
        if (code != MILL_OK) {
            throw Error(error_);
        }
    }

    /// False when a wait ran out; throws on every other failure.
    bool in_time(mill_status code) const {
        if (code == MILL_ERROR_TIMEOUT) {
            return false;
        }
        (*this)(code);
        return true;
    }

  private:
    mill_error* error_ = nullptr;
};

/// A handle with one owner.
template <typename Handle, mill_status (*close_handle)(Handle, mill_error**)> class Owner {
  public:
    Owner() = default;
    explicit Owner(Handle handle) : handle_(handle) {}
    Owner(Owner&& other) noexcept : handle_(std::exchange(other.handle_, Handle{0})) {}
    Owner& operator=(Owner&& other) noexcept {
        if (this != &other) {
            close_handle(handle_, nullptr);
            handle_ = std::exchange(other.handle_, Handle{0});
        }
        return *this;
    }
    ~Owner() { close_handle(handle_, nullptr); }

    // The number stays: whoever uses it after the close is told so.
    void close() {
        Check check;
        check(close_handle(handle_, check.out()));
    }

    Handle get() const noexcept { return handle_; }

  private:
    Handle handle_{0};
};

} // namespace detail

/// Received messages and a cursor over them. A range: `for (std::string_view message : batch)`
/// takes one after the other.
class Batch {
  public:
    Batch() : batch_(mill_batch_new()) {}

    /// Takes the next message; nothing when none is left. It lives until the batch is filled again.
    std::optional<std::string_view> next() {
        mill_slice message;
        if (!mill_batch_next(batch_.get(), &message)) {
            return std::nullopt;
        }
        return detail::view(message);
    }

    /// Messages that were not taken yet.
    std::size_t size() const { return mill_batch_len(batch_.get()); }
    bool empty() const { return size() == 0; }

    /// Takes all that are left, as gRPC frames; see mill_batch_frames.
    std::string_view frames() { return detail::view(mill_batch_frames(batch_.get())); }

    /// Drops the messages that were not taken.
    void clear() { mill_batch_clear(batch_.get()); }

    class iterator;
    iterator begin();
    iterator end();

    mill_batch* get() const noexcept { return batch_.get(); }

  private:
    detail::Owned<mill_batch, mill_batch_free> batch_;
};

namespace detail {

/// An input iterator over whatever has a `next()`.
template <typename Source> class Iterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string_view*;
    using reference = const std::string_view&;

    Iterator() = default;
    explicit Iterator(Source* source) : source_(source) { ++*this; }

    reference operator*() const { return message_; }
    pointer operator->() const { return &message_; }
    Iterator& operator++() {
        if (std::optional<std::string_view> next = source_->next()) {
            message_ = *next;
        } else {
            source_ = nullptr;
        }
        return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const Iterator& other) const { return source_ == other.source_; }
    bool operator!=(const Iterator& other) const { return source_ != other.source_; }

  private:
    Source* source_ = nullptr;
    std::string_view message_;
};

} // namespace detail

class Batch::iterator : public detail::Iterator<Batch> {
    using detail::Iterator<Batch>::Iterator;
};

inline Batch::iterator Batch::begin() {
    return iterator(this);
}
inline Batch::iterator Batch::end() {
    return iterator();
}

/// What a channel can be told. The settings are those of mill_channel_options, such as
/// {"keepalive_time", "30s"}.
struct ChannelOptions {
    std::string roots_pem;
    std::string cert_chain_pem;
    std::string private_key_pem;
    std::vector<std::pair<std::string, std::string>> settings;
};

/// What one call can be told; see mill_call_options.
struct CallOptions {
    /// Bounds the whole call. Negative: no bound.
    Timeout timeout = forever;
    Metadata metadata;
    mill_compression compression = MILL_COMPRESSION_IDENTITY;
    bool wait_for_ready = false;
    /// Empty: that of the channel.
    std::string authority;
    /// Bytes; 0: the limit of the channel.
    std::size_t max_receive_message = 0;
    std::size_t max_send_message = 0;
    std::chrono::microseconds max_batch_delay{0};
};

namespace detail {

/// CallOptions in the form of C; points into them.
class RawCallOptions {
  public:
    explicit RawCallOptions(const CallOptions& options) {
        entries_.reserve(options.metadata.size());
        for (const auto& [key, value] : options.metadata) {
            entries_.push_back({key.c_str(), slice(value)});
        }
        mill_call_options_init(&raw_, sizeof raw_);
        raw_.timeout_ms = options.timeout.count();
        raw_.metadata = entries_.data();
        raw_.metadata_count = entries_.size();
        raw_.compression = options.compression;
        raw_.wait_for_ready = options.wait_for_ready ? 1 : 0;
        raw_.authority = options.authority.empty() ? nullptr : options.authority.c_str();
        raw_.max_receive_message = options.max_receive_message;
        raw_.max_send_message = options.max_send_message;
        raw_.max_batch_delay_us = static_cast<std::uint64_t>(options.max_batch_delay.count());
    }
    RawCallOptions(const RawCallOptions&) = delete;
    RawCallOptions& operator=(const RawCallOptions&) = delete;

    const mill_call_options* get() const { return &raw_; }

  private:
    std::vector<mill_metadata_entry> entries_;
    mill_call_options raw_;
};

} // namespace detail

/// Tags of calls and channels that are ready, with a file descriptor to poll.
class Queue {
  public:
    Queue() {
        mill_queue queue{0};
        detail::Check check;
        check(mill_queue_new(&queue, check.out()));
        queue_ = Owner(queue);
    }

    /// Readable while the queue holds tags. Only poll it.
    int fd() const {
        int fd = -1;
        detail::Check check;
        check(mill_queue_fd(queue_.get(), &fd, check.out()));
        return fd;
    }

    /// Takes up to `max` tags, waiting for the first; none when the wait runs out.
    std::vector<std::uint64_t> next(Timeout timeout = forever, std::size_t max = 64) {
        std::vector<std::uint64_t> tags(max);
        std::size_t count = 0;
        detail::Check check;
        check.in_time(
            mill_queue_next(queue_.get(), timeout.count(), tags.data(), max, &count, check.out()));
        tags.resize(count);
        return tags;
    }

    void close() { queue_.close(); }
    mill_queue get() const noexcept { return queue_.get(); }

  private:
    using Owner = detail::Owner<mill_queue, mill_queue_close>;
    Owner queue_;
};

/// What a receive that may run out of time found.
enum class Received { messages, timeout, end };

/// One call. Its destructor cancels it if it has not ended.
class Call {
  public:
    explicit Call(mill_call call) : call_(call) {}

    /// Sends one message, waiting for room. Throws TIMEOUT when there was none in time.
    void send(std::string_view message, Timeout timeout = forever) {
        detail::Check check;
        check(mill_call_send(call_.get(), detail::slice(message), timeout.count(), check.out()));
    }

    /// Sends one message if there is room now.
    bool try_send(std::string_view message) {
        detail::Check check;
        return check.in_time(mill_call_send(call_.get(), detail::slice(message), 0, check.out()));
    }

    /// Sends all messages of a range of things that are string_views, waiting for room as often as
    /// needed.
    template <typename Range> void send_all(const Range& messages) {
        std::vector<mill_slice> slices;
        for (std::string_view message : messages) {
            slices.push_back(detail::slice(message));
        }
        for (std::size_t done = 0; done < slices.size();) {
            std::size_t sent = 0;
            detail::Check check;
            check(mill_call_send_many(
                call_.get(), slices.data() + done, slices.size() - done, MILL_FOREVER, &sent,
                check.out()));
            done += sent;
        }
    }

    /// Says that no more messages will be sent.
    void half_close() {
        detail::Check check;
        check(mill_call_half_close(call_.get(), check.out()));
    }

    /// Ends the call with CANCELLED, from any thread.
    void cancel(const std::string& message = "") {
        detail::Check check;
        check(mill_call_cancel(call_.get(), message.c_str(), check.out()));
    }

    /// Waits for the response headers. Throws TIMEOUT when they have not come in time.
    Metadata headers(Timeout timeout = forever) const {
        mill_metadata* headers = nullptr;
        detail::Check check;
        check(mill_call_headers(call_.get(), timeout.count(), &headers, check.out()));
        detail::OwnedMetadata owned(headers);
        return detail::copy(headers);
    }

    /// Waits for the next message; nothing at the end of the messages. It lives until the next one
    /// is asked for. Throws TIMEOUT when none has come in time. finish() tells how the call ended.
    std::optional<std::string_view> next(Timeout timeout = forever) {
        mill_slice message;
        detail::Check check;
        check(mill_call_next(call_.get(), batch_.get(), timeout.count(), &message, check.out()));
        if (message.data == nullptr) {
            return std::nullopt;
        }
        return detail::view(message);
    }

    /// Waits for messages and puts all that have come into a batch.
    Received next_batch(Batch& batch, Timeout timeout = forever) {
        detail::Check check;
        if (!check.in_time(
                mill_call_next_batch(call_.get(), batch.get(), timeout.count(), check.out()))) {
            return Received::timeout;
        }
        return batch.empty() ? Received::end : Received::messages;
    }

    /// The messages as a range. At the end of the messages it waits for the status and throws
    /// unless that is OK.
    class Messages {
      public:
        std::optional<std::string_view> next() {
            std::optional<std::string_view> message = call_->next();
            if (!message) {
                call_->finish();
            }
            return message;
        }
        detail::Iterator<Messages> begin() { return detail::Iterator<Messages>(this); }
        detail::Iterator<Messages> end() { return {}; }

      private:
        friend class Call;
        explicit Messages(Call* call) : call_(call) {}
        Call* call_;
    };
    Messages messages() { return Messages(this); }

    /// Waits for the end of the call. Throws unless it ended with OK; take the messages first.
    Status finish(Timeout timeout = forever) const {
        mill_call_status* status = nullptr;
        detail::Check check;
        check(mill_call_finish(call_.get(), timeout.count(), &status, check.out()));
        detail::OwnedStatus owned(status);
        return detail::copy(status);
    }

    /// Waits until the call is ready for one of the interests (mill_interest joined by |). False
    /// when the wait runs out.
    bool wait(std::uint32_t interests, Timeout timeout = forever) const {
        detail::Check check;
        return check.in_time(mill_call_wait(call_.get(), interests, timeout.count(), check.out()));
    }

    /// Puts the tag into the queue once when the call is ready for one of the interests.
    void watch(const Queue& queue, std::uint32_t interests, std::uint64_t tag) {
        detail::Check check;
        check(mill_call_watch(call_.get(), queue.get(), interests, tag, check.out()));
    }

    /// Lets go of the call now; cancels it if it has not ended.
    void close() { call_.close(); }
    mill_call get() const noexcept { return call_.get(); }

  private:
    detail::Owner<mill_call, mill_call_close> call_;
    Batch batch_;
};

/// Connections to one target, made when they are needed. Its destructor closes it: calls that are
/// open then end with CANCELLED.
class Channel {
  public:
    /// http://host:port, https://host:port or unix:/path.
    explicit Channel(const std::string& target, const ChannelOptions& options = {}) {
        std::vector<mill_setting> settings;
        settings.reserve(options.settings.size());
        for (const auto& [name, value] : options.settings) {
            settings.push_back({name.c_str(), value.c_str()});
        }
        mill_channel_options raw;
        mill_channel_options_init(&raw, sizeof raw);
        raw.roots_pem = detail::slice(options.roots_pem);
        raw.cert_chain_pem = detail::slice(options.cert_chain_pem);
        raw.private_key_pem = detail::slice(options.private_key_pem);
        raw.settings = settings.data();
        raw.settings_count = settings.size();
        mill_channel channel{0};
        detail::Check check;
        check(mill_channel_open(target.c_str(), &raw, &channel, check.out()));
        channel_ = Owner(channel);
    }

    /// Starts a call of a method such as /weather.v1.Weather/GetWeatherStream.
    Call start(const std::string& path, mill_call_kind kind, const CallOptions& options = {}) {
        mill_call call{0};
        detail::Check check;
        detail::RawCallOptions raw(options);
        check(mill_call_start(channel_.get(), path.c_str(), kind, raw.get(), &call, check.out()));
        return Call(call);
    }

    /// Starts a call, sends its one request and half-closes: MILL_UNARY and MILL_SERVER_STREAM.
    Call start_with(
        const std::string& path, mill_call_kind kind, std::string_view request,
        const CallOptions& options = {}) {
        mill_call call{0};
        detail::Check check;
        detail::RawCallOptions raw(options);
        check(mill_call_start_with(
            channel_.get(), path.c_str(), kind, raw.get(), detail::slice(request), &call,
            check.out()));
        return Call(call);
    }

    /// A whole unary call. Writes the status with the trailers to `status` unless that is NULL.
    std::string unary(
        const std::string& path, std::string_view request, const CallOptions& options = {},
        Status* status = nullptr) {
        mill_buffer* response = nullptr;
        mill_call_status* ended = nullptr;
        detail::Check check;
        detail::RawCallOptions raw(options);
        check(mill_unary(
            channel_.get(), path.c_str(), raw.get(), detail::slice(request), &response,
            status != nullptr ? &ended : nullptr, check.out()));
        detail::OwnedBuffer owned(response);
        detail::OwnedStatus owned_status(ended);
        if (status != nullptr) {
            *status = detail::copy(ended);
        }
        return std::string(detail::view(mill_buffer_bytes(response)));
    }

    /// Asks an idle channel to connect, without waiting for it.
    void connect() {
        detail::Check check;
        check(mill_channel_connect(channel_.get(), check.out()));
    }

    mill_connectivity state() const {
        mill_connectivity state = MILL_CONNECTIVITY_SHUTDOWN;
        detail::Check check;
        check(mill_channel_state(channel_.get(), &state, check.out()));
        return state;
    }

    /// Waits until the channel no longer stands at `last`. False when the wait runs out.
    bool wait_state(mill_connectivity last, Timeout timeout = forever) const {
        detail::Check check;
        return check.in_time(
            mill_channel_wait_state(channel_.get(), last, timeout.count(), check.out()));
    }

    /// Puts the tag into the queue once the channel no longer stands at `last`.
    void watch_state(mill_connectivity last, const Queue& queue, std::uint64_t tag) {
        detail::Check check;
        check(mill_channel_watch_state(channel_.get(), last, queue.get(), tag, check.out()));
    }

    /// Closes the channel now.
    void close() { channel_.close(); }
    mill_channel get() const noexcept { return channel_.get(); }

  private:
    using Owner = detail::Owner<mill_channel, mill_channel_close>;
    Owner channel_;
};

} // namespace millstream

#endif // MILLSTREAM_HPP
