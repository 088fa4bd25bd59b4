// SPDX-License-Identifier: LGPL-2.1-or-later
// The NBD server that the words of `map` or `serve` mean: a URI or a host, and the options about
// it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "client/arguments.h"
#include "nbd/uri.h"

namespace wnbd::client {

/// The first of the options about a server that was given, or empty.
[[nodiscard]] std::string first_server_option(const Arguments& arguments);

/// `text` as a URI with the options as further parameters. All errors are sentences.
[[nodiscard]] Result<nbd::UriParts, std::string> server_of_uri(std::string_view text,
                                                               const Arguments& arguments);

/// A host, in whatever form an address may have, as a URI with the options as parameters. An empty
/// one stands for the first --host. Options about TLS mean nbds:// unless --tls says otherwise.
[[nodiscard]] Result<nbd::UriParts, std::string> server_of_host(std::string_view host,
                                                                const Arguments& arguments);

/// What it means, in which the options are named as the command line names them.
[[nodiscard]] Result<nbd::Uri, std::string> meaning_of(const nbd::UriParts& server);

}  // namespace wnbd::client
