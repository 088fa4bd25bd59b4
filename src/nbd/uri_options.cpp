// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/uri_options.h"

#include <algorithm>

namespace wnbd::nbd {

ClientOptions options_of(const Uri& uri) {
    ClientOptions options;
    options.addresses = uri.addresses;
    options.tls = uri.tls;
    if (!uri.certificate_folder.empty()) options.tls.use_certificate_folder(uri.certificate_folder);
    options.connections = uri.connections.value_or(options.connections);
    ReconnectPolicy& reconnect = options.reconnect;
    reconnect.delay = uri.reconnect_delay.value_or(reconnect.delay);
    reconnect.delay_max = std::max(reconnect.delay, reconnect.delay_max);
    reconnect.timeout = uri.reconnect_timeout.value_or(reconnect.timeout);
    reconnect.on_timeout = uri.on_timeout.value_or(reconnect.on_timeout);
    options.request_time_max = uri.request_timeout.value_or(options.request_time_max);
    options.keep_alive = uri.keep_alive.value_or(options.keep_alive);
    options.write_through = uri.write_through;
    return options;
}

}  // namespace wnbd::nbd
