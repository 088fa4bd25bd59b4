// SPDX-License-Identifier: LGPL-2.1-or-later
// wnbd.sys in the one-process host with the lab's Storport under it, and typed calls to it: what
// the stress, the sweep, the functional test and the benchmark share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "driver/ddk/kernel.h"
#include "lab/process/driver_host.h"
#include "lab/storport/port.h"
#include "wnbd_ioctl.h"

namespace wnbd::test {

namespace process = lab::process;

/// IOCTL_MINIPORT_PROCESS_SERVICE_IRP.
inline constexpr ULONG service_ioctl = 0x0004D038;

/// Makes this program the host of the lab's Storport; its violations count as the verifier's.
/// Lab::start() does it by itself.
void install_host_services();

/// A process with a handle to the adapter.
class Client {
  public:
    Client(std::uint64_t process_id, PDEVICE_OBJECT adapter);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// False if the adapter could not be opened.
    [[nodiscard]] bool opened() const noexcept { return file_ != nullptr; }
    [[nodiscard]] process::Process& process() noexcept { return process_; }
    [[nodiscard]] process::File& file() noexcept { return *file_; }
    /// Ends the process as if it were killed. False: one of its threads hangs.
    bool kill(std::uint32_t timeout_ms = 20'000);

    /// One DeviceIoControl on the calling thread, which works for this process meanwhile.
    NTSTATUS control(const void* input, ULONG input_length, void* output, ULONG output_length,
                     ULONG& returned);

    NTSTATUS create(const WNBD_PROPERTIES& properties, WNBD_CONNECTION_INFO& info);
    NTSTATUS remove(const char* name);
    NTSTATUS show(const char* name, WNBD_CONNECTION_INFO& info);
    NTSTATUS stats(const char* name, WNBD_DRV_STATS& stats);
    NTSTATUS resize(WNBD_CONNECTION_ID id, std::uint64_t blocks);
    NTSTATUS fetch(WNBD_CONNECTION_ID id, WNBD_IO_REQUEST& request, void* buffer,
                   std::uint32_t bytes);
    NTSTATUS respond(WNBD_CONNECTION_ID id, const WNBD_IO_REQUEST& request,
                     const WNBD_STATUS& status, const void* data, std::uint32_t bytes);

  private:
    process::Process process_;
    process::File* file_ = nullptr;
};

/// Properties of a disk with every capability.
WNBD_PROPERTIES disk_properties(const char* name, std::uint64_t blocks, std::uint32_t block_size);

/// The loaded driver with a started adapter.
class Lab {
  public:
    Lab() = default;
    ~Lab();
    Lab(const Lab&) = delete;
    Lab& operator=(const Lab&) = delete;

    /// Loads the file and starts an adapter; false: error() says why.
    bool start(const std::string& driver_path, const lab::PortOptions& options = {});
    /// Removes the adapter and unloads, which checks every balance. False if a removal was refused.
    bool stop(bool surprise = false);

    [[nodiscard]] const std::string& error() const noexcept { return error_; }
    [[nodiscard]] lab::Adapter& adapter() noexcept { return *adapter_; }
    [[nodiscard]] process::DriverHost& host() noexcept { return *host_; }
    /// The device behind the adapter's interface.
    [[nodiscard]] PDEVICE_OBJECT device() const noexcept { return device_; }

  private:
    std::unique_ptr<process::DriverHost> host_;
    lab::Adapter* adapter_ = nullptr;
    PDEVICE_OBJECT device_ = nullptr;
    std::string error_;
};

/// A SCSI command without data that is sent and waited for; gives the request with its results.
struct ScsiResult {
    std::uint8_t srb_status;
    std::uint8_t scsi_status;
    std::uint8_t sense_key;
    std::uint8_t asc;
    std::uint8_t ascq;
    std::uint32_t transferred;
    [[nodiscard]] bool good() const noexcept;
};
ScsiResult scsi(lab::Adapter& adapter, lab::Address address, const std::vector<std::uint8_t>& cdb,
                lab::Direction direction = lab::Direction::None, void* data = nullptr,
                std::uint32_t bytes = 0, lab::SrbForm form = lab::SrbForm::Adapter);

}  // namespace wnbd::test
