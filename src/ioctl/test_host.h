// SPDX-License-Identifier: LGPL-2.1-or-later
// What stands around Control in its tests and its fuzzer: an adapter, options, a process whose
// memory is checked, calls with buffers of exactly the length they state.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/initiator.h"
#include "engine/model/memory_store.h"
#include "ioctl/control.h"

namespace wnbd::ioctl::test {

/// The memory of a process. What is not registered is not there.
class ProcessMemory final : public UserMemory {
  public:
    Result<Mapping, nt::Status> map(void* address, std::size_t length,
                                    Access access) noexcept override {
        engine::model::require(platform::native::spin_locks_held() == 0,
                               "no lock is held when user memory is touched");
        engine::model::require(length > 0, "a mapping has bytes");
        ++maps;
        if (exhausted) return Failure{nt::insufficient_resources};
        const auto start = reinterpret_cast<std::uintptr_t>(address);
        auto region = regions_.upper_bound(start);
        if (region == regions_.begin()) return Failure{nt::access_violation};
        --region;
        const std::size_t offset = start - region->first;
        const Region& found = region->second;
        if (offset > found.length || length > found.length - offset ||
            (access == Access::write && !found.writable))
            return Failure{nt::access_violation};
        ++mapped;
        return Mapping{{static_cast<std::uint8_t*>(address), length}, this};
    }

    void unmap(const Mapping& mapping) noexcept override {
        engine::model::require(mapping.token == this && mapped > 0, "only mappings are unmapped");
        --mapped;
    }

    void add(std::vector<std::uint8_t>& bytes, bool writable = true) {
        regions_[reinterpret_cast<std::uintptr_t>(bytes.data())] = {bytes.size(), writable};
    }
    void forget(const std::vector<std::uint8_t>& bytes) {
        regions_.erase(reinterpret_cast<std::uintptr_t>(bytes.data()));
    }

    bool exhausted = false;
    unsigned mapped = 0;  // now
    unsigned maps = 0;    // ever asked for

  private:
    struct Region {
        std::size_t length;
        bool writable;
    };
    std::map<std::uintptr_t, Region> regions_;
};

class Locator final : public DiskLocator {
  public:
    void locate(std::uint8_t target, std::uint64_t connection_id, INT& disk_number,
                std::span<WCHAR> device_id) noexcept override {
        engine::model::require(connection_id != 0, "a disk has a connection");
        if (!known) return;
        disk_number = target + 1;
        constexpr char16_t id[] = u"SCSI\\DISK";
        std::copy(std::begin(id), std::end(id), device_id.begin());
    }
    bool known = false;
};

/// A buffer's bytes on the heap, aligned as the kernel's pool aligns, and not one byte more.
class SystemBuffer {
  public:
    explicit SystemBuffer(std::size_t length) : bytes_(new std::uint8_t[length]), length_(length) {
        std::memset(bytes_.get(), 0xDB, length);
    }
    [[nodiscard]] std::uint8_t* data() noexcept { return length_ == 0 ? nullptr : bytes_.get(); }

  private:
    std::unique_ptr<std::uint8_t[]> bytes_;
    std::size_t length_;
};

struct Port final : engine::model::TestPort {};

constexpr INT own_process = 1234;
constexpr INT foreign_process = 4321;

class Host {
  public:
    Host() {
        options.initialize(store);
        adapter->initialize(port, &options);
        control.set_max_requests(8);
    }
    ~Host() {
        adapter->remove_all();
        engine::model::require(memory.mapped == 0, "every mapping is unmapped");
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    /// Makes a call with the first `input_length` bytes of `command` (what lies beyond its end is
    /// 0xDB) and checks what holds for every call. The reply, cut to `output_length`, in `output`.
    Completion call(std::span<const std::uint8_t> command, std::size_t input_length,
                    std::size_t output_length) {
        SystemBuffer buffer(std::max(input_length, output_length));
        if (buffer.data() != nullptr)
            std::copy_n(command.data(), std::min(command.size(), input_length), buffer.data());
        const Call made{buffer.data(), input_length, output_length, process, handle};
        const Completion completion = control.handle(made);
        engine::model::require(output_length == 0 || completion.information <= output_length,
                               "no more is returned than there is room for");
        output.assign(buffer.data(),
                      buffer.data() + std::min(completion.information, output_length));
        return completion;
    }

    template <typename Command>
    Completion call(const Command& command, std::size_t output_length = 0) {
        return call(bytes_of(command), sizeof(command), output_length);
    }

    template <typename Command>
    static std::span<const std::uint8_t> bytes_of(const Command& command) {
        return {reinterpret_cast<const std::uint8_t*>(&command), sizeof(command)};
    }

    /// The reply as a structure; zeroes behind what was returned.
    template <typename Reply>
    [[nodiscard]] Reply reply() const {
        Reply structure{};
        std::copy_n(output.data(), std::min(output.size(), sizeof(structure)),
                    reinterpret_cast<std::uint8_t*>(&structure));
        return structure;
    }

    Port port;
    std::unique_ptr<engine::Adapter> adapter = std::make_unique<engine::Adapter>();
    engine::model::MemoryStore store;
    engine::Options options;
    ProcessMemory memory;
    Locator locator;
    Control control{*adapter, options, memory, locator};
    INT process = own_process;
    engine::Owner handle = this;
    std::vector<std::uint8_t> output;
};

// --- Commands

template <typename Command>
[[nodiscard]] Command command_for(std::uint32_t code) {
    Command command{};
    command.IoControlCode = code;
    return command;
}

template <std::size_t size>
void put(CHAR (&to)[size], const std::string& text) {
    text.copy(to, size);
}

[[nodiscard]] inline WNBD_IOCTL_CREATE_COMMAND create_command(const std::string& name) {
    auto command = command_for<WNBD_IOCTL_CREATE_COMMAND>(IOCTL_WNBD_CREATE);
    put(command.Properties.InstanceName, name);
    command.Properties.BlockCount = 1024;
    command.Properties.BlockSize = engine::model::block_size;
    command.Properties.Flags.FlushSupported = 1;
    command.Properties.Flags.UnmapSupported = 1;
    command.Properties.Flags.PersistResSupported = 1;
    command.Properties.MaxUnmapDescCount = 4;
    return command;
}

[[nodiscard]] inline WNBD_IOCTL_REMOVE_COMMAND remove_command(const std::string& name,
                                                              WNBD_CONNECTION_ID connection = 0) {
    auto command = command_for<WNBD_IOCTL_REMOVE_COMMAND>(IOCTL_WNBD_REMOVE);
    put(command.InstanceName, name);
    WnbdSetRemoveConnectionId(&command.Options, connection);
    return command;
}

[[nodiscard]] inline WNBD_IOCTL_SHOW_COMMAND show_command(const std::string& name) {
    auto command = command_for<WNBD_IOCTL_SHOW_COMMAND>(IOCTL_WNBD_SHOW);
    put(command.InstanceName, name);
    return command;
}

[[nodiscard]] inline WNBD_IOCTL_STATS_COMMAND stats_command(const std::string& name) {
    auto command = command_for<WNBD_IOCTL_STATS_COMMAND>(IOCTL_WNBD_STATS);
    put(command.InstanceName, name);
    return command;
}

[[nodiscard]] inline WNBD_IOCTL_FETCH_REQ_COMMAND fetch_command(WNBD_CONNECTION_ID connection,
                                                                void* buffer, UINT32 length) {
    auto command = command_for<WNBD_IOCTL_FETCH_REQ_COMMAND>(IOCTL_WNBD_FETCH_REQ);
    command.ConnectionId = connection;
    command.DataBuffer = buffer;
    command.DataBufferSize = length;
    return command;
}

[[nodiscard]] inline WNBD_IOCTL_SEND_RSP_COMMAND send_command(WNBD_CONNECTION_ID connection,
                                                              const WNBD_IO_REQUEST& request,
                                                              void* buffer, UINT32 length) {
    auto command = command_for<WNBD_IOCTL_SEND_RSP_COMMAND>(IOCTL_WNBD_SEND_RSP);
    command.ConnectionId = connection;
    command.Response.RequestHandle = request.RequestHandle;
    command.Response.RequestType = request.RequestType;
    command.DataBuffer = buffer;
    command.DataBufferSize = length;
    return command;
}

template <typename Command>
[[nodiscard]] Command option_command(std::uint32_t code, const std::u16string& name) {
    auto command = command_for<Command>(code);
    name.copy(command.Name, WNBD_MAX_NAME_LENGTH);
    return command;
}

}  // namespace wnbd::ioctl::test
