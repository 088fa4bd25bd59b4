// SPDX-License-Identifier: LGPL-2.1-or-later
// The public functions of port.h, the options and the list of adapters.
#include "lab/storport/port.h"

#include <algorithm>
#include <cstdlib>
#include <shared_mutex>

#include "lab/storport/adapter.h"

namespace wnbd::lab {
namespace {

std::uint32_t from_environment(const char* name, std::uint32_t otherwise) {
    const char* const text = std::getenv(name);
    if (text == nullptr || *text == '\0') return otherwise;
    char* end = nullptr;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (*end == '\0' && value <= 3'600'000) return static_cast<std::uint32_t>(value);
    DbgPrint("storport: %s=%s is no number of milliseconds, ignored\n", name, text);
    return otherwise;
}

PortOptions initial_options() {
    PortOptions options;
    options.timeout_ms = from_environment("WNBD_LAB_TIMEOUT_MS", options.timeout_ms);
    options.grace_ms = from_environment("WNBD_LAB_GRACE_MS", options.grace_ms);
    return options;
}

PortOptions& options_storage() {
    static PortOptions options = initial_options();
    return options;
}

std::shared_mutex list_mutex;
std::vector<Adapter*> list;

}  // namespace

void set_port_options(const PortOptions& options) {
    options_storage() = options;
}

PortOptions port_options() {
    return options_storage();
}

std::vector<Adapter*> adapters() {
    const std::shared_lock lock(list_mutex);
    return list;
}

Adapter* find_adapter(PDEVICE_OBJECT functional_device) {
    const std::shared_lock lock(list_mutex);
    for (Adapter* adapter : list)
        if (adapter->fdo == functional_device) return adapter;
    return nullptr;
}

Adapter* adapter_of(const void* extension) {
    const std::shared_lock lock(list_mutex);
    for (Adapter* adapter : list)
        if (adapter->extension() == extension) return adapter;
    return nullptr;
}

void register_adapter(Adapter& adapter) {
    const std::unique_lock lock(list_mutex);
    list.push_back(&adapter);
}

void unregister_adapter(Adapter& adapter) {
    const std::unique_lock lock(list_mutex);
    std::erase(list, &adapter);
}

void submit(Adapter& adapter, Request& request) {
    adapter.submit(request);
}

void execute(Adapter& adapter, Request& request) {
    adapter.execute(request);
}

std::uint8_t reset_logical_unit(Adapter& adapter, Address address) {
    return adapter.reset(SRB_FUNCTION_RESET_LOGICAL_UNIT, address);
}

std::uint8_t reset_target(Adapter& adapter, Address address) {
    return adapter.reset(SRB_FUNCTION_RESET_DEVICE, address);
}

bool reset_bus(Adapter& adapter, std::uint8_t path) {
    return adapter.reset(SRB_FUNCTION_RESET_BUS, Address{path, 0, 0}) == SRB_STATUS_SUCCESS;
}

std::optional<std::uint8_t> abort_one(Adapter& adapter, Address address, std::uint64_t choice) {
    return adapter.abort_one(address, choice);
}

namespace {

std::uint8_t send_function(Adapter& adapter, Address address, std::uint8_t function) {
    Request request;
    request.address = address;
    request.function = function;
    adapter.execute(request);
    return request.srb_status;
}

}  // namespace

std::uint8_t flush(Adapter& adapter, Address address) {
    return send_function(adapter, address, SRB_FUNCTION_FLUSH);
}

std::uint8_t shutdown(Adapter& adapter, Address address) {
    return send_function(adapter, address, SRB_FUNCTION_SHUTDOWN);
}

PortCounters counters(Adapter& adapter) {
    return adapter.counters();
}

PortLimits limits(Adapter& adapter) {
    const PORT_CONFIGURATION_INFORMATION& config = adapter.config();
    return {config.MaximumTransferLength, config.MaxNumberOfIO,  config.MaxIOsPerLun,
            config.AlignmentMask,         adapter.port_number(), adapter.bus_type()};
}

}  // namespace wnbd::lab
