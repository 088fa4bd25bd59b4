// SPDX-License-Identifier: LGPL-2.1-or-later
// Private to the connection's own files.
#pragma once

#include "iscsi/connection.h"

namespace wnbd::iscsi {

/// A call into the connection. At its end everything that came up meanwhile has been dealt with.
class Connection::Work {
  public:
    explicit Work(Connection& connection) noexcept : connection_(connection) {
        connection_.worker_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    ~Work() {
        connection_.settle();
        connection_.worker_.store({}, std::memory_order_relaxed);
    }

  private:
    Connection& connection_;
};

/// Sense data that RFC 7143, 11.4.7.2 names.
constexpr scsi::Answer unexpected_data = {
    scsi::Status::check_condition,
    scsi::Sense(scsi::SenseKey::aborted_command, static_cast<scsi::AdditionalSense>(0x0C0C)), 0};
constexpr scsi::Answer wrong_amount_of_data = {
    scsi::Status::check_condition,
    scsi::Sense(scsi::SenseKey::aborted_command, static_cast<scsi::AdditionalSense>(0x0C0D)), 0};
constexpr scsi::Answer damaged_data = {
    scsi::Status::check_condition,
    scsi::Sense(scsi::SenseKey::aborted_command, static_cast<scsi::AdditionalSense>(0x4705)), 0};
/// INVALID FIELD IN COMMAND INFORMATION UNIT (SPC-4).
constexpr scsi::Answer invalid_information_unit = {
    scsi::Status::check_condition,
    scsi::Sense(scsi::SenseKey::illegal_request, static_cast<scsi::AdditionalSense>(0x0E03)), 0};

/// a before b, among serial numbers (RFC 1982).
[[nodiscard]] constexpr bool before(std::uint32_t a, std::uint32_t b) noexcept {
    return static_cast<std::int32_t>(a - b) < 0;
}

}  // namespace wnbd::iscsi
