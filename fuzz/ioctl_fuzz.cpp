// SPDX-License-Identifier: LGPL-2.1-or-later
// Sequences of driver commands, SCSI commands, resets and closed handles. Whatever is thrown at it,
// each SRB ends once, nothing is mapped or allocated at the end, and no byte beside a buffer is
// read or written (AddressSanitizer).
#include <cstddef>
#include <cstdint>

#include "ioctl/test_host.h"

namespace {

using namespace wnbd;
using namespace wnbd::ioctl::test;

/// The fuzzer's bytes as numbers; zeroes behind their end.
class Source {
  public:
    explicit Source(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    template <typename T>
    T number() {
        T value{};
        copy_to(value, sizeof(T));
        return value;
    }
    /// Overwrites up to `count` bytes of `what`.
    template <typename T>
    void copy_to(T& what, std::size_t count) {
        const auto taken = take(std::min(count, sizeof(T)));
        std::copy(taken.begin(), taken.end(), reinterpret_cast<std::uint8_t*>(&what));
    }
    std::uint8_t byte() { return number<std::uint8_t>(); }
    std::span<const std::uint8_t> take(std::size_t count) {
        const auto taken = bytes_.first(std::min(count, bytes_.size()));
        bytes_ = bytes_.subspan(taken.size());
        return taken;
    }

  private:
    std::span<const std::uint8_t> bytes_;
};

struct Command : engine::model::Srb {
    explicit Command(std::size_t length) : bytes(length) {
        buffer = bytes.data();
        buffer_length = length;
    }
    std::vector<std::uint8_t> bytes;
};

constexpr const char* names[] = {"a", "b", "c", ""};

class Run {
  public:
    explicit Run(Source source) : source_(source), user_(5000) { host_.memory.add(user_); }

    void all() {
        for (unsigned step = 0; step < 200 && !source_.empty(); ++step)
            one();
        host_.adapter->remove_all();
        for (const auto& command : commands_)
            engine::model::require(!command->pending || command->completions == 1,
                                   "every SRB ends once");
    }

  private:
    void one() {
        const std::uint8_t which = source_.byte();
        host_.process = (which & 0x80) != 0 ? foreign_process : own_process;
        host_.handle = (which & 0x40) != 0 ? static_cast<const void*>(&user_) : this;
        switch (which & 0x0F) {
            case 0: raw_call(); break;
            case 1: create(); break;
            case 2:
            case 3:
            case 4: post(); break;
            case 5:
            case 6: fetch(); break;
            case 7:
            case 8: send(); break;
            case 9: drain(); break;
            case 10: host_.adapter->remove_owned_by(host_.handle); break;
            case 11: set_option(); break;
            case 12: resize(); break;
            case 13: named(remove_command(name(), source_.byte() == 0 ? connection_ : 0)); break;
            case 14: named(show_command(name())); break;
            default: named(stats_command(name())); break;
        }
    }

    ioctl::Completion call(std::span<const std::uint8_t> command, std::size_t in, std::size_t out) {
        // A fetch that finds nothing gives up instead of waiting for ever.
        platform::native::alert(platform::native::this_thread());
        return host_.call(command, in, out);
    }
    template <typename T>
    ioctl::Completion call(const T& command, std::size_t out) {
        return call(Host::bytes_of(command), sizeof(command), out);
    }
    template <typename T>
    void named(const T& command) {
        call(command, source_.number<std::uint16_t>() % 4096);
    }
    const char* name() { return names[source_.byte() % std::size(names)]; }

    void raw_call() {
        const std::uint32_t code = source_.byte() % 20;
        const std::size_t in = source_.number<std::uint16_t>() % 2200;
        const std::size_t out = source_.number<std::uint16_t>() % 16000;
        std::vector<std::uint8_t> bytes(in);
        const auto taken = source_.take(in);
        std::copy(taken.begin(), taken.end(), bytes.begin());
        if (in >= sizeof(code)) std::memcpy(bytes.data(), &code, sizeof(code));
        call(bytes, in, out);
    }

    void create() {
        auto command = create_command(name());
        auto& properties = command.Properties;
        const auto flags = source_.number<std::uint16_t>();
        std::memcpy(&properties.Flags, &flags, sizeof(flags));
        properties.Flags.UseKernelNbd = 0;
        properties.BlockSize = (flags & 0x8000) != 0 ? 4096 : 512;
        properties.BlockCount = 1 + source_.number<std::uint16_t>();
        properties.MaxUnmapDescCount = source_.byte();
        if ((flags & 0x4000) != 0) properties.Pid = foreign_process;
        if (call(command, sizeof(WNBD_CONNECTION_INFO)).status == nt::success)
            connection_ = host_.reply<WNBD_CONNECTION_INFO>().ConnectionId;
    }

    void post() {
        auto unit = host_.adapter->find(0, source_.byte() % 4, 0);
        if (!unit) return;
        auto command = std::make_unique<Command>(source_.number<std::uint16_t>() % 9000);
        const auto cdb = source_.take(1 + source_.byte() % command->cdb.size());
        std::copy(cdb.begin(), cdb.end(), command->cdb.begin());
        command->cdb_length = static_cast<std::uint8_t>(cdb.size());
        const auto data =
            source_.take(std::min<std::size_t>(source_.byte(), command->bytes.size()));
        std::copy(data.begin(), data.end(), command->bytes.begin());
        scsi::Answer answer;
        command->pending = unit->disk.start(command.get(), command->command(), answer) ==
                           engine::Disk::Start::pending;
        engine::model::require(command->pending || command->completions == 0,
                               "what was answered at once is the caller's to complete");
        commands_.push_back(std::move(command));
    }

    void fetch() {
        auto command = fetch_command(connection_, pointer(), source_.number<std::uint16_t>());
        if (call(command, sizeof(command)).status == nt::success)
            fetched_.push_back(host_.reply<WNBD_IOCTL_FETCH_REQ_COMMAND>());
    }

    void send() {
        if (fetched_.empty()) return;
        const auto& of = fetched_[source_.byte() % fetched_.size()];
        auto command =
            send_command(of.ConnectionId, of.Request, pointer(), source_.number<std::uint16_t>());
        if (source_.byte() % 4 == 0) {
            command.Response.RequestHandle ^= source_.byte();
            source_.copy_to(command.Response.Status, sizeof(command.Response.Status));
        }
        call(command, 0);
    }

    void drain() {
        auto unit = host_.adapter->find(0, source_.byte() % 4, 0);
        if (!unit) return;
        engine::ResetWait wait;
        const void* victim =
            commands_.empty() ? nullptr : commands_[source_.byte() % commands_.size()].get();
        const auto drained = victim != nullptr && source_.byte() % 2 == 0
                                 ? unit->disk.abort(victim, {}, wait)
                                 : unit->disk.drain(engine::Cause::bus_reset, {}, wait);
        engine::model::require(drained.finished, "no copy is under way between two calls");
    }

    void set_option() {
        static constexpr const char16_t* options[] = {u"LogLevel", u"newmappingsallowed",
                                                      u"MaxIOReqPerLun", u"StaleConnTimeoutMs"};
        auto command = option_command<WNBD_IOCTL_SET_DRV_OPT_COMMAND>(
            IOCTL_WNBD_SET_DRV_OPT, options[source_.byte() % std::size(options)]);
        command.Persistent = source_.byte() & 1;
        const std::size_t length = source_.byte();
        source_.copy_to(command.Value, length);
        call(command, 0);
    }

    void resize() {
        auto command = command_for<WNBD_IOCTL_SET_SIZE_COMMAND>(IOCTL_WNBD_SET_DISK_SIZE);
        command.ConnectionId = connection_;
        command.BlockCount = source_.number<std::uint64_t>() >> (source_.byte() % 64);
        call(command, 0);
    }

    /// Mostly memory there is; else NULL, beside it, or anything.
    void* pointer() {
        switch (source_.byte() % 8) {
            case 0: return nullptr;
            case 1: return user_.data() + user_.size() - source_.byte();
            // NOLINTNEXTLINE(performance-no-int-to-ptr): it points anywhere
            case 2: return reinterpret_cast<void*>(source_.number<std::uintptr_t>());
            default: return user_.data();
        }
    }

    Source source_;
    Host host_;
    std::vector<std::uint8_t> user_;
    std::vector<std::unique_ptr<Command>> commands_;
    std::vector<WNBD_IOCTL_FETCH_REQ_COMMAND> fetched_;
    WNBD_CONNECTION_ID connection_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    platform::native::hold_time(1'000'000);
    const auto before = platform::native::allocations_outstanding();
    {
        Run run{Source({data, size})};
        run.all();
    }
    engine::model::require(platform::native::allocations_outstanding() == before,
                           "no memory is left behind");
    return 0;
}
