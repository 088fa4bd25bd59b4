// SPDX-License-Identifier: LGPL-2.1-or-later
// The login phase as the connection sees it, and how it becomes a session.
#include "iscsi/connection_work.h"

namespace wnbd::iscsi {

void Connection::receive_login(HeaderView header, std::span<const std::uint8_t> data) noexcept {
    const Login::Step step = login_.receive(header, data);
    if (step.progress == Login::Progress::broken) return break_off(step.reason);

    // A login request is immediate: its number is the next command's (RFC 7143, 11.12.8).
    expected_command_sn_ = read_login(header).sequence.command_sn;
    max_command_sn_ = expected_command_sn_ + window_ - 1;
    ControlOutput* control = nullptr;
    if (step.progress == Login::Progress::full_feature && session_.waits) {
        control = held_login_.get();
        control->pdu = step.response;
        phase_ = Phase::waiting;
        reader_.hold();
    } else {
        if (step.progress == Login::Progress::full_feature) enter_full_feature();
        control = queue_control(step.response);
    }
    if (control == nullptr) return break_off("too much to send");
    attach(*control, step.text);
    if (step.progress == Login::Progress::refused) close(step.reason);
}

SessionDirectory::Admission Connection::admit(const LoginHeader& request,
                                              const Parameters& parameters) noexcept {
    session_ = target_.sessions().enter(*this, request, parameters);
    entered_ = session_.status == LoginStatus::success;
    begun_ = entered_ && session_.continues;  // by the connection that was there before
    return {.status = session_.status, .tsih = session_.tsih, .reason = session_.reason};
}

void Connection::enter_full_feature() noexcept {
    phase_ = Phase::full_feature;
    parameters_ = login_.parameters();
    reader_.use_digests(parameters_.header_digest, parameters_.data_digest);
    if (parameters_.discovery) return;
    begun_ = true;
    if (session_.continues) return;
    for (const auto& unit : target_.units())
        unit->nexus_begins(session_.nexus);
}

}  // namespace wnbd::iscsi
