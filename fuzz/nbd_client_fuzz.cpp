// SPDX-License-Identifier: LGPL-2.1-or-later
// The whole client over connections that a hostile server, a bad network and the clock share:
// replies right and wrong, ends at any byte, silence, sockets that are full; and what follows of
// it, reconnects with replay, deadlines, giving up and closing.
//
// Byte 0 chooses the client, bytes 1 and 2 the requests; then come events (see Play::event). Each
// input runs twice into buffers with different old contents, and must go the same way.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/big_endian.h"
#include "nbd/client.h"

namespace {

using namespace wnbd::nbd;
using std::chrono::milliseconds;
using wnbd::load_big_endian;
using Bytes = std::vector<std::uint8_t>;

void require(bool condition) {
    if (!condition) std::abort();
}

struct SentRequest {
    CommandType type = CommandType::read;
    std::uint64_t handle = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

/// What becomes of a connection: its stream is the client's and goes when the client lets it go.
struct Line {
    WireFormat format = WireFormat::simple;
    Bytes incoming;  // for the client
    std::size_t taken = 0;
    bool ended = false;   // by the server
    bool broken = false;  // by the network
    bool shut = false;    // by the client
    std::size_t window = SIZE_MAX;
    Bytes sent;              // the beginning of a request
    std::uint64_t skip = 0;  // bytes of a write's payload still to come
    std::vector<SentRequest> requests;

    [[nodiscard]] bool readable() const {
        return shut || ended || broken || taken < incoming.size();
    }
    void take(std::span<const std::uint8_t> bytes) {
        for (const auto byte : bytes) {
            if (skip > 0) {
                require(byte == 7);
                --skip;
                continue;
            }
            sent.push_back(byte);
            if (sent.size() == header_size(format)) take_request();
        }
    }
    void take_request() {
        const bool extended = format == WireFormat::extended;
        require(load_big_endian<std::uint32_t>(sent.data()) ==
                (extended ? extended_request_magic : request_magic));
        const SentRequest request{
            static_cast<CommandType>(load_big_endian<std::uint16_t>(&sent[6])),
            load_big_endian<std::uint64_t>(&sent[8]), load_big_endian<std::uint64_t>(&sent[16]),
            extended ? load_big_endian<std::uint64_t>(&sent[24])
                     : load_big_endian<std::uint32_t>(&sent[24])};
        if (request.type == CommandType::write) skip = request.length;
        if (request.type != CommandType::disconnect) requests.push_back(request);
        sent.clear();
    }
};

class LineStream final : public Stream {
  public:
    explicit LineStream(std::shared_ptr<Line> line) : line_(std::move(line)) {}

    IoResult send(std::span<const IoSlice> slices) noexcept override {
        require(!slices.empty() && slices.size() <= max_slices);
        if (line_->shut || line_->broken) return {IoResult::Status::failed, 0, 32};
        std::size_t count = 0;
        for (const auto& slice : slices) {
            const auto part = std::min(slice.size, line_->window);
            line_->take({slice.data, part});
            if (line_->window != SIZE_MAX) line_->window -= part;
            count += part;
            if (part < slice.size) break;
        }
        if (count == 0) return {IoResult::Status::would_block, 0, 0};
        return {IoResult::Status::ok, count, 0};
    }
    IoResult receive(std::span<const IoSlice> slices) noexcept override {
        std::size_t count = 0;
        for (const auto& slice : slices) {
            const auto part = std::min(slice.size, line_->incoming.size() - line_->taken);
            if (part > 0) std::memcpy(slice.data, line_->incoming.data() + line_->taken, part);
            line_->taken += part;
            count += part;
        }
        if (count > 0) return {IoResult::Status::ok, count, 0};
        if (line_->shut || line_->ended) return {IoResult::Status::closed, 0, 0};
        if (line_->broken) return {IoResult::Status::failed, 0, 104};
        return {IoResult::Status::would_block, 0, 0};
    }
    Ready wait(const WaitFor& /*what*/) noexcept override { return {}; }
    void wake() noexcept override {}
    void shut_down() noexcept override { line_->shut = true; }
    void shut_down_send() noexcept override {}

  private:
    std::shared_ptr<Line> line_;
};

struct Result {
    struct End {
        std::size_t job = 0;
        std::uint32_t error = 0;
        bool disconnected = false;
        std::size_t content = 0;
        bool operator==(const End&) const = default;
    };
    std::vector<End> ends;
    std::uint64_t reconnects = 0;
    bool operator==(const Result&) const = default;
};

class Play {
  public:
    Play(std::span<const std::uint8_t> input, std::uint8_t fill)
        : input_(input), fill_(fill), agreement_(agreement_for(input[0])) {
        client_ = std::make_unique<Client>(limits_for(input[0]), agreement_, 2, 0);
        attach(0);
        const unsigned jobs = input[1] | input[2] << 8;
        input_ = input_.subspan(3);
        std::vector<Request*> first;
        for (std::size_t i = 0; i < kinds.size(); ++i)
            if ((jobs >> i & 1) != 0) first.push_back(prepare(i));
        client_->submit(first);
    }

    Result run() {
        while (!input_.empty()) {
            event();
            look_after();
        }
        client_->close(now_);
        for (unsigned i = 0; i < 100 && up() > 0; ++i) {
            now_ += milliseconds(1'000);
            look_after();
        }
        require(up() == 0 && client_->idle());
        for (const auto& job : jobs_)
            require(!job.in_flight);
        return result_;
    }

  private:
    static constexpr std::uint64_t mebibyte = 1U << 20;
    struct Kind {
        CommandType type;
        std::uint64_t offset;
        std::uint64_t length;
    };
    // Some overlap, so that changes wait for each other.
    static constexpr std::array<Kind, 16> kinds{{
        {CommandType::read, 0, 64},
        {CommandType::read, 4096, 5000},
        {CommandType::write, 8192, 100},
        {CommandType::write, 8200, 100},
        {CommandType::flush, 0, 0},
        {CommandType::trim, 0, 8192 * mebibyte},
        {CommandType::block_status, 0, mebibyte},
        {CommandType::write_zeroes, 8192, 65536},
        {CommandType::cache, 4096, 512},
        {CommandType::read, 7 * mebibyte, 40'000},
        {CommandType::write, 9 * mebibyte, 9000},
        {CommandType::read, 11 * mebibyte, 1},
        {CommandType::flush, 0, 0},
        {CommandType::write, 0, 64},
        {CommandType::read, 13 * mebibyte, 33},
        {CommandType::trim, 512 * mebibyte, 4096},
    }};
    struct Job {
        Request request{};
        Bytes buffer;
        std::array<Extent, 3> room{};
        ExtentList extents{};
        Play* play = nullptr;
        unsigned rounds = 0;
        bool in_flight = false;
    };

    static ClientLimits limits_for(std::uint8_t choice) {
        ClientLimits limits{.commands_max = (choice & 0x80) != 0 ? 3U : 64U,
                            .connections = 1U + (choice & 1),
                            .write_through = (choice & 4) != 0};
        if ((choice & 8) != 0) limits.request_time_max = limits.keep_alive = milliseconds(5'000);
        limits.reconnect.timeout = milliseconds((choice & 16) != 0 ? 0 : 20'000);
        return limits;
    }
    static Agreement agreement_for(std::uint8_t choice) {
        return {.info = {.size = std::uint64_t{1} << 40,
                         .transmission_flags = static_cast<std::uint16_t>(
                             transmission_has_flags | transmission_send_flush |
                             transmission_send_trim | transmission_send_write_zeroes |
                             transmission_send_cache | transmission_can_multi_conn |
                             ((choice & 2) != 0 ? transmission_send_fua : 0)),
                         .maximum_payload = 4096},
                .format = static_cast<WireFormat>((choice >> 5 & 3) % 3),
                .allocation_context = 1};
    }

    Request* prepare(std::size_t index) {
        const auto& kind = kinds[index];
        auto& job = jobs_[index];
        const bool payload = kind.type == CommandType::read || kind.type == CommandType::write;
        job.play = this;
        job.in_flight = true;
        ++job.rounds;
        job.buffer.assign(payload ? kind.length : 0, kind.type == CommandType::write ? 7 : fill_);
        job.extents = {job.room.data(), static_cast<std::uint32_t>(job.room.size()), 0};
        job.request.command = {
            .type = kind.type,
            .offset = kind.offset,
            .length = kind.length,
            .data = payload ? job.buffer.data() : nullptr,
            .extents = kind.type == CommandType::block_status ? &job.extents : nullptr};
        job.request.context = &job;
        job.request.done = [](Request& request, Outcome outcome) noexcept {
            auto& done = *static_cast<Job*>(request.context);
            done.play->ended(done, outcome);
        };
        return &job.request;
    }

    void ended(Job& job, Outcome outcome) {
        require(job.in_flight);
        job.in_flight = false;
        const bool good = outcome.error == 0 && !outcome.disconnected;
        const auto type = job.request.command.type;
        for (const auto byte : job.buffer)
            require(type != CommandType::write || byte == 7);
        std::size_t content = 0;
        if (good && type == CommandType::read)
            content = std::hash<std::string_view>()(
                {reinterpret_cast<const char*>(job.buffer.data()), job.buffer.size()});
        if (good && type == CommandType::block_status) check_extents(job);
        const auto index = static_cast<std::size_t>(&job - jobs_.data());
        result_.ends.push_back({index, outcome.error, outcome.disconnected, content});
        if (!good || job.rounds > 1) return;
        Request* const again = prepare(index);
        client_->submit({&again, 1});
    }

    static void check_extents(const Job& job) {
        require(job.extents.count > 0 && job.extents.count <= job.room.size());
        std::uint64_t told = 0;
        for (std::size_t i = 0; i < job.extents.count; ++i) {
            require(job.room[i].length > 0 &&
                    job.room[i].length <= job.request.command.length - told);
            told += job.room[i].length;
        }
    }

    // The network.

    [[nodiscard]] std::size_t up() const {
        return static_cast<std::size_t>(
            std::count_if(lines_.begin(), lines_.end(), [](const auto& line) { return line; }));
    }

    void attach(unsigned index) {
        auto line = std::make_shared<Line>();
        line->format = agreement_.format;
        const auto fault =
            client_->attach(index, std::make_unique<LineStream>(line), agreement_, now_);
        if (fault.code != FaultCode::none) return client_->dial_failed(fault, now_);
        require(index < lines_.size() && lines_[index] == nullptr);
        lines_[index] = std::move(line);
    }

    void step_all() {
        for (unsigned index = 0; index < lines_.size(); ++index) {
            // More than this a step would be a loop without an end.
            for (unsigned round = 0; lines_[index] != nullptr; ++round) {
                require(round < 10'000);
                const Ready ready{.readable = lines_[index]->readable(),
                                  .writable = lines_[index]->window > 0};
                if (client_->connection(index).step(ready) == Connection::Step::over) {
                    client_->detached(index, now_);
                    lines_[index].reset();
                } else if (!lines_[index]->readable()) {
                    break;
                }
            }
        }
    }

    void look_after() {
        step_all();
        // As often as there are connections to be made, and once more.
        for (unsigned i = 0; i < 4; ++i) {
            const auto chore = client_->look_after(now_);
            step_all();
            if (!chore.dial) return;
            if (dials_fail_ > 0) {
                --dials_fail_;
                client_->dial_failed({.code = FaultCode::connect_failed}, now_);
            } else {
                attach(chore.index);
            }
            step_all();
        }
    }

    // Events.

    std::uint8_t next() {
        if (input_.empty()) return 0;
        const auto value = input_.front();
        input_ = input_.subspan(1);
        return value;
    }

    void event() {
        const auto choice = next();
        auto* const line = lines_[choice >> 4 & 1].get();
        switch (choice & 0x0f) {
            case 0: now_ += milliseconds(100 * (1 + next())); return;
            case 1: dials_fail_ = next() & 7; return;
            default: break;
        }
        if (line == nullptr) return;
        switch (choice & 0x0f) {
            case 2: line->ended = true; return;
            case 3: line->broken = true; return;
            case 4: line->window = next(); return;
            case 5: line->window = SIZE_MAX; return;
            case 6: return say(*line);
            case 7: return answer(*line, next());
            case 8: return answer_all(*line);
            default: return answer(*line, 0);
        }
    }

    /// Whatever bytes.
    void say(Line& line) {
        const auto count = std::min<std::size_t>(next(), input_.size());
        line.incoming.insert(line.incoming.end(), input_.begin(),
                             input_.begin() + static_cast<std::ptrdiff_t>(count));
        input_ = input_.subspan(count);
    }

    void answer_all(Line& line) {
        while (!line.requests.empty())
            answer(line, 0);
    }

    /// One of the requests that came, as it should be; from 0x80 on with an error.
    void answer(Line& line, std::uint8_t choice) {
        if (line.requests.empty()) return;
        const auto at = static_cast<std::ptrdiff_t>((choice & 0x0f) % line.requests.size());
        const auto request = line.requests[static_cast<std::size_t>(at)];
        line.requests.erase(line.requests.begin() + at);
        const std::uint32_t error = (choice & 0x80) == 0   ? 0
                                    : (choice & 0x40) == 0 ? error_io
                                                           : error_shutdown;
        if (line.format == WireFormat::simple) {
            put(line, simple_reply_magic);
            put(line, error);
            put(line, request.handle);
            if (error == 0 && request.type == CommandType::read) fill(line, request.length);
            return;
        }
        if (error != 0) {
            put_chunk(line, request, ReplyType::error, 6);
            put(line, error);
            return put(line, std::uint16_t{0});
        }
        if (request.type == CommandType::block_status) {
            put_chunk(line, request, ReplyType::block_status, 12);
            put(line, std::uint32_t{1});
            put(line, std::uint32_t{4096});
            return put(line, std::uint32_t{3});
        }
        if (request.type != CommandType::read) return put_chunk(line, request, ReplyType::none, 0);
        const bool hole = (choice & 0x10) != 0;
        put_chunk(line, request, hole ? ReplyType::offset_hole : ReplyType::offset_data,
                  hole ? 12 : 8 + request.length);
        put(line, request.offset);
        if (hole) return put(line, static_cast<std::uint32_t>(request.length));
        fill(line, request.length);
    }

    template <typename T>
    static void put(Line& line, T value) {
        std::uint8_t field[sizeof(T)];
        wnbd::store_big_endian<T>(field, value);
        line.incoming.insert(line.incoming.end(), field, field + sizeof(T));
    }
    static void fill(Line& line, std::uint64_t length) {
        line.incoming.insert(line.incoming.end(), length, 9);
    }
    static void put_chunk(Line& line, const SentRequest& request, ReplyType type,
                          std::uint64_t length) {
        const bool extended = line.format == WireFormat::extended;
        put(line, extended ? extended_reply_magic : structured_reply_magic);
        put(line, reply_flag_done);
        put(line, static_cast<std::uint16_t>(type));
        put(line, request.handle);
        if (extended) {
            put(line, request.offset);
            put(line, length);
        } else {
            put(line, static_cast<std::uint32_t>(length));
        }
    }

    std::span<const std::uint8_t> input_;
    const std::uint8_t fill_;
    const Agreement agreement_;
    TimePoint now_{std::chrono::hours(1)};
    unsigned dials_fail_ = 0;
    std::array<std::shared_ptr<Line>, 2> lines_;
    std::array<Job, kinds.size()> jobs_;
    Result result_;
    std::unique_ptr<Client> client_;  // last: it goes first
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return 0;
    const std::span input(data, size);
    Play one(input, 0xaa);
    Play other(input, 0x55);
    require(one.run() == other.run());
    return 0;
}
