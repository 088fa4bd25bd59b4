// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/inquiry.h"

#include <utility>

#include "nbd/connector.h"

namespace wnbd::nbd {

Result<Answers, Fault> inquire(const ClientOptions& options, Goal goal) {
    const auto connector = Connector::create(options);
    if (!connector) return Failure{connector.error()};
    Fault last{.code = FaultCode::connect_failed, .text = "no address was given"};
    for (const Address& address : options.addresses) {
        Handshake handshake(
            {.export_name = address.export_name, .goal = goal, .tls = options.tls.mode});
        Attempt attempt;
        const auto stream = connector.value().negotiate_with(address, attempt, handshake);
        if (stream)
            return Answers{.exports = handshake.exports(), .contexts = handshake.contexts()};
        last = stream.error();
    }
    return Failure{std::move(last)};
}

}  // namespace wnbd::nbd
