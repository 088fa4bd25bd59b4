// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/connector.h"

#include <utility>

#include "nbd/negotiation.h"
#include "nbd/socket_stream.h"
#include "nbd/tls_stream.h"

namespace wnbd::nbd {

Result<Connector, Fault> Connector::create(const ClientOptions& options) {
    Connector connector(options);
    if (options.tls.mode == TlsMode::off) return connector;
    auto credentials = TlsCredentials::load(options.tls);
    if (!credentials) return Failure{credentials.error()};
    connector.credentials_ = std::move(credentials.value());
    return connector;
}

Result<std::string, Fault> Connector::secure(std::unique_ptr<Stream>& stream,
                                             const Address& address,
                                             const NegotiationLimits& limits,
                                             Attempt& attempt) const {
    auto secured = [&] {
        const Attempt::Watch watch(attempt, *stream);
        return TlsStream::open(std::move(stream), credentials_, address.host, limits.deadline);
    }();
    if (!secured) return Failure{secured.error()};
    auto session = secured.value()->description();
    stream = std::move(secured.value());
    return session;
}

Result<std::unique_ptr<Stream>, Fault> Connector::dial(const Address& address,
                                                       Attempt& attempt) const {
    Address at = address;
    if (!attempt.pinned_.empty()) at.host = attempt.pinned_;
    auto socket = attempt.dialer_.dial(at, Clock::now() + options_.connect_time_max);
    if (!socket) return Failure{socket.error()};
    attempt.peer_ = socket.value().peer_host();
    auto stream = SocketStream::create(std::move(socket.value()));
    if (!stream) return Failure{stream.error()};
    return std::unique_ptr<Stream>(std::move(stream.value()));
}

Result<std::unique_ptr<Stream>, Fault> Connector::negotiate_with(const Address& address,
                                                                 Attempt& attempt,
                                                                 Handshake& handshake) const {
    auto stream = dial(address, attempt);
    if (!stream) return stream;
    const NegotiationLimits limits{.deadline = Clock::now() + options_.handshake_time_max,
                                   .time_max = options_.handshake_time_max,
                                   .abandoned = &attempt.abandoned_};
    auto fault = negotiate(*stream.value(), handshake, limits);
    if (fault.code == FaultCode::none && handshake.wants_tls()) {
        auto session = secure(stream.value(), address, limits, attempt);
        if (!session) return Failure{session.error()};
        handshake.tls_started(std::move(session.value()));
        fault = negotiate(*stream.value(), handshake, limits);
    }
    if (fault.code != FaultCode::none) return Failure{std::move(fault)};
    return stream;
}

Result<Connected, Fault> Connector::connect(const Address& address, Attempt& attempt) const {
    Connected connected;
    if (options_.skip_handshake) {
        connected.agreement.info = *options_.skip_handshake;
        auto fault = check_export(connected.agreement.info);
        if (fault.code != FaultCode::none) return Failure{std::move(fault)};
        auto stream = dial(address, attempt);
        if (!stream) return Failure{stream.error()};
        connected.stream = std::move(stream.value());
        return connected;
    }
    Handshake handshake({.export_name = address.export_name,
                         .tls = options_.tls.mode,
                         .structured_replies = options_.structured_replies,
                         .extended_headers = options_.extended_headers,
                         .block_status = options_.block_status});
    auto stream = negotiate_with(address, attempt, handshake);
    if (!stream) return Failure{stream.error()};
    connected.stream = std::move(stream.value());
    connected.agreement = handshake.agreement();
    return connected;
}

}  // namespace wnbd::nbd
