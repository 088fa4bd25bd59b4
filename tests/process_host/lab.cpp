// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/lab.h"

#include <cstring>

#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "lab/storport/host.h"

// The port driver's exports, by address only.
extern "C" {
void wnbd_test_initialize() asm("StorPortInitialize");
void wnbd_test_notification() asm("StorPortNotification");
void wnbd_test_extended() asm("StorPortExtendedFunction");
}

namespace wnbd::test {
namespace {

namespace kernel = lab::kernel;

void* find_storport(std::string_view, std::string_view name) {
    if (name == "StorPortInitialize") return reinterpret_cast<void*>(wnbd_test_initialize);
    if (name == "StorPortNotification") return reinterpret_cast<void*>(wnbd_test_notification);
    if (name == "StorPortExtendedFunction") return reinterpret_cast<void*>(wnbd_test_extended);
    return nullptr;
}

KIRQL raise_to_dispatch() {
    kernel::ThreadState& thread = kernel::this_thread();
    const KIRQL old = thread.irql;
    if (old < DISPATCH_LEVEL) thread.irql = DISPATCH_LEVEL;
    return old;
}
void lower_irql(KIRQL old) {
    kernel::this_thread().irql = old;
}
KIRQL current_irql() {
    return kernel::this_thread().irql;
}

bool copy_user(void* user, void* system, std::size_t bytes, bool to_user) {
    if (lab::os::first_fault(reinterpret_cast<std::uintptr_t>(user), bytes, to_user) != 0)
        return false;
    if (to_user) {
        std::memcpy(user, system, bytes);
    } else {
        std::memcpy(system, user, bytes);
    }
    return true;
}

/// Callers come on their own threads here: the work runs in place, and a wait in it is the caller's
/// own.
NTSTATUS run_in_place(PIRP irp, bool, NTSTATUS (*work)(void* context, PIRP irp), void* context) {
    return work(context, irp);
}

template <std::size_t size>
void put_text(CHAR (&target)[size], const char* text) {
    std::strncpy(target, text, size - 1);
    target[size - 1] = '\0';
}

}  // namespace

void install_host_services() {
    lab::Host services{};
    services.raise_to_dispatch = raise_to_dispatch;
    services.lower_irql = lower_irql;
    services.current_irql = current_irql;
    services.run_blocking = run_in_place;
    services.copy_user = copy_user;
    lab::set_host(services);
    lab::set_violation_sink(
        [](const char* rule, const char* detail) { kernel::violation(rule, "%s", detail); });
}

Client::Client(std::uint64_t process_id, PDEVICE_OBJECT adapter) : process_(process_id) {
    NTSTATUS status;
    file_ = process::File::open(process_, adapter, status);
}

Client::~Client() {
    if (file_ != nullptr && !process_.dying.load()) process::File::close(file_);
}

bool Client::kill(std::uint32_t timeout_ms) {
    return process::end_process(process_, timeout_ms);
}

NTSTATUS Client::control(const void* input, ULONG input_length, void* output, ULONG output_length,
                         ULONG& returned) {
    const process::ProcessScope scope(process_);
    return file_->device_io_control(service_ioctl, input, input_length, output, output_length,
                                    returned);
}

NTSTATUS Client::create(const WNBD_PROPERTIES& properties, WNBD_CONNECTION_INFO& info) {
    WNBD_IOCTL_CREATE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_CREATE;
    command.Properties = properties;
    ULONG returned;
    const NTSTATUS status = control(&command, sizeof command, &info, sizeof info, returned);
    return NT_SUCCESS(status) && returned != sizeof info ? STATUS_INFO_LENGTH_MISMATCH : status;
}

NTSTATUS Client::remove(const char* name) {
    WNBD_IOCTL_REMOVE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_REMOVE;
    put_text(command.InstanceName, name);
    ULONG returned;
    return control(&command, sizeof command, nullptr, 0, returned);
}

NTSTATUS Client::show(const char* name, WNBD_CONNECTION_INFO& info) {
    WNBD_IOCTL_SHOW_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SHOW;
    put_text(command.InstanceName, name);
    ULONG returned;
    return control(&command, sizeof command, &info, sizeof info, returned);
}

NTSTATUS Client::stats(const char* name, WNBD_DRV_STATS& stats) {
    WNBD_IOCTL_STATS_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_STATS;
    put_text(command.InstanceName, name);
    ULONG returned;
    return control(&command, sizeof command, &stats, sizeof stats, returned);
}

NTSTATUS Client::resize(WNBD_CONNECTION_ID id, std::uint64_t blocks) {
    WNBD_IOCTL_SET_SIZE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DISK_SIZE;
    command.ConnectionId = id;
    command.BlockCount = blocks;
    ULONG returned;
    return control(&command, sizeof command, nullptr, 0, returned);
}

NTSTATUS Client::fetch(WNBD_CONNECTION_ID id, WNBD_IO_REQUEST& request, void* buffer,
                       std::uint32_t bytes) {
    WNBD_IOCTL_FETCH_REQ_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_FETCH_REQ;
    command.ConnectionId = id;
    command.DataBuffer = buffer;
    command.DataBufferSize = bytes;
    ULONG returned;
    const NTSTATUS status = control(&command, sizeof command, &command, sizeof command, returned);
    request = command.Request;
    return status;
}

NTSTATUS Client::respond(WNBD_CONNECTION_ID id, const WNBD_IO_REQUEST& request,
                         const WNBD_STATUS& status, const void* data, std::uint32_t bytes) {
    WNBD_IOCTL_SEND_RSP_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SEND_RSP;
    command.ConnectionId = id;
    command.Response.RequestHandle = request.RequestHandle;
    command.Response.RequestType = request.RequestType;
    command.Response.Status = status;
    command.DataBuffer = const_cast<void*>(data);
    command.DataBufferSize = bytes;
    ULONG returned;
    return control(&command, sizeof command, nullptr, 0, returned);
}

WNBD_PROPERTIES disk_properties(const char* name, std::uint64_t blocks, std::uint32_t block_size) {
    WNBD_PROPERTIES properties{};
    put_text(properties.InstanceName, name);
    put_text(properties.Owner, "process-host");
    properties.Flags.FlushSupported = 1;
    properties.Flags.FUASupported = 1;
    properties.Flags.UnmapSupported = 1;
    properties.Flags.PersistResSupported = 1;
    properties.BlockCount = blocks;
    properties.BlockSize = block_size;
    properties.MaxUnmapDescCount = 16;
    return properties;
}

Lab::~Lab() {
    if (host_ != nullptr) stop(true);
}

bool Lab::start(const std::string& driver_path, const lab::PortOptions& options) {
    install_host_services();
    lab::set_port_options(options);
    host_ = std::make_unique<process::DriverHost>();
    if (!host_->load(driver_path, L"wnbd", find_storport)) {
        error_ = host_->error();
        host_.reset();
        return false;
    }
    if (!host_->start_adapter()) {
        error_ = host_->error();
        return false;
    }
    const std::vector<lab::Adapter*> started = lab::adapters();
    device_ = process::find_interface(WNBD_GUID);
    if (started.empty() || device_ == nullptr) {
        error_ = started.empty() ? "no adapter was started"
                                 : "the driver's device interface is not enabled";
        return false;
    }
    adapter_ = started.front();
    return true;
}

bool Lab::stop(bool surprise) {
    if (host_->adapter_pdo() != nullptr && !host_->stop_adapter(surprise)) {
        error_ = host_->error();
        return false;
    }
    host_->unload();
    host_.reset();
    return true;
}

bool ScsiResult::good() const noexcept {
    return srb_status == 1 && scsi_status == 0;
}

ScsiResult scsi(lab::Adapter& adapter, lab::Address address, const std::vector<std::uint8_t>& cdb,
                lab::Direction direction, void* data, std::uint32_t bytes, lab::SrbForm form) {
    lab::Request request;
    request.address = address;
    std::memcpy(request.cdb, cdb.data(), cdb.size());
    request.cdb_length = static_cast<std::uint8_t>(cdb.size());
    request.direction = direction;
    request.data = data;
    request.data_length = bytes;
    request.form = form;
    lab::execute(adapter, request);
    ScsiResult result{request.srb_status, request.scsi_status, 0, 0, 0, request.transferred};
    if (request.sense_length >= 14) {
        result.sense_key = request.sense[2] & 0xF;
        result.asc = request.sense[12];
        result.ascq = request.sense[13];
    }
    return result;
}

}  // namespace wnbd::test
