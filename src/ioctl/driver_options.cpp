// SPDX-License-Identifier: LGPL-2.1-or-later
// Reading and setting the driver's options.
#include <cstddef>

#include "ioctl/call.h"

namespace wnbd::ioctl {
namespace {

using OptionName = WCHAR[WNBD_MAX_OPT_NAME_LENGTH];

/// The option name of a command, cut to the length that names have.
template <typename Command>
void load_option_name(const Call& call, OptionName& name) noexcept {
    std::memcpy(&name, call.buffer + offsetof(Command, Name), sizeof name);
    name[WNBD_MAX_OPT_NAME_LENGTH - 1] = 0;
}

/// A BOOLEAN of a command: anything but 0 is true.
bool flag_at(const Call& call, std::size_t offset) noexcept {
    return call.buffer[offset] != 0;
}

}  // namespace

Completion Control::get_option(const Call& call) noexcept {
    using Command = WNBD_IOCTL_GET_DRV_OPT_COMMAND;
    if (!holds<Command>(call)) return {nt::invalid_parameter, 0};
    if (!takes<WNBD_OPTION_VALUE>(call)) return {nt::buffer_overflow, 0};
    OptionName name;
    load_option_name<Command>(call, name);
    WNBD_OPTION_VALUE value{};
    const nt::Status status =
        options_.get(name, flag_at(call, offsetof(Command, Persistent)), value);
    if (nt::failed(status)) return {status, 0};
    return reply(call, value);
}

Completion Control::set_option(const Call& call) noexcept {
    using Command = WNBD_IOCTL_SET_DRV_OPT_COMMAND;
    if (!holds<Command>(call)) return {nt::invalid_parameter, 0};
    OptionName name;
    load_option_name<Command>(call, name);
    WNBD_OPTION_VALUE value;
    std::memcpy(&value, call.buffer + offsetof(Command, Value), sizeof value);
    const bool persistent = flag_at(call, offsetof(Command, Persistent));
    const UINT32 lease_ms = WnbdGetOptionLease(reinterpret_cast<const Command*>(call.buffer));
    if (lease_ms == 0) return finished(options_.set(name, value, persistent));
    if (persistent) return {nt::invalid_parameter, 0};
    return finished(options_.lease(name, value, lease_ms));
}

Completion Control::reset_option(const Call& call) noexcept {
    using Command = WNBD_IOCTL_RESET_DRV_OPT_COMMAND;
    if (!holds<Command>(call)) return {nt::invalid_parameter, 0};
    OptionName name;
    load_option_name<Command>(call, name);
    return finished(options_.reset(name, flag_at(call, offsetof(Command, Persistent))));
}

Completion Control::list_options(const Call& call) noexcept {
    using Command = WNBD_IOCTL_LIST_DRV_OPT_COMMAND;
    if (!holds<Command>(call)) return {nt::invalid_parameter, 0};
    constexpr std::size_t header = offsetof(WNBD_OPTION_LIST, Options);
    // One element more than needed, as the first implementation asks for.
    constexpr std::size_t required = sizeof(WNBD_OPTION_LIST) + option_count * sizeof(WNBD_OPTION);
    const bool persistent = flag_at(call, offsetof(Command, Persistent));
    if (call.output_length == 0) return {nt::success, required};
    if (call.output_length < required - sizeof(WNBD_OPTION)) return {nt::buffer_overflow, 0};

    std::memset(call.buffer, 0, required - sizeof(WNBD_OPTION));
    auto& list = *reinterpret_cast<WNBD_OPTION_LIST*>(call.buffer);
    const std::size_t count = options_.list(persistent, std::span(list.Options, option_count));
    list.ElementSize = sizeof(WNBD_OPTION);
    list.Count = static_cast<UINT32>(count);
    return {nt::success, header + count * sizeof(WNBD_OPTION)};
}

Completion Control::reload_config() noexcept {
    return finished(options_.reload());
}

/// The barrier: who has forbidden new mappings may rely on it when the command is over.
Completion Control::finished(nt::Status status) noexcept {
    if (!options_.new_mappings_allowed()) adapter_.await_creations();
    return {status, 0};
}

}  // namespace wnbd::ioctl
