// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/connector.h"

#include <utility>

#include "nbd/negotiation.h"
#include "nbd/socket_stream.h"

namespace wnbd::nbd {

Result<Connector, Fault> Connector::create(const ClientOptions& options) {
    return Connector(options);
}

Result<Connected, Fault> Connector::connect(const Address& address, Attempt& attempt) const {
    Connected connected;
    if (options_.skip_handshake) {
        connected.agreement.info = *options_.skip_handshake;
        auto fault = check_export(connected.agreement.info);
        if (fault.code != FaultCode::none) return Failure{std::move(fault)};
    }
    auto socket = attempt.dialer_.dial(address, Clock::now() + options_.connect_time_max);
    if (!socket) return Failure{socket.error()};
    auto stream = SocketStream::create(std::move(socket.value()));
    if (!stream) return Failure{stream.error()};
    connected.stream = std::move(stream.value());
    if (options_.skip_handshake) return connected;

    Handshake handshake({.export_name = address.export_name,
                         .tls = options_.tls.mode,
                         .structured_replies = options_.structured_replies,
                         .extended_headers = options_.extended_headers,
                         .block_status = options_.block_status});
    const NegotiationLimits limits{.deadline = Clock::now() + options_.handshake_time_max,
                                   .time_max = options_.handshake_time_max,
                                   .abandoned = &attempt.abandoned_};
    auto fault = negotiate(*connected.stream, handshake, limits);
    if (fault.code != FaultCode::none) return Failure{std::move(fault)};
    connected.agreement = handshake.agreement();
    return connected;
}

}  // namespace wnbd::nbd
