// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/option_names.h"

namespace wnbd::nbd {

OptionNames names_of(Option option) noexcept {
    switch (option) {
        case Option::list:
            return {"before its answer to NBD_OPT_LIST", "in its answer to NBD_OPT_LIST",
                    "to list its exports"};
        case Option::starttls:
            return {"before its answer to NBD_OPT_STARTTLS", "in its answer to NBD_OPT_STARTTLS",
                    "TLS"};
        case Option::info:
            return {"before its answer to NBD_OPT_INFO", "in its answer to NBD_OPT_INFO",
                    "information about the export"};
        case Option::structured_reply:
            return {"before its answer to NBD_OPT_STRUCTURED_REPLY",
                    "in its answer to NBD_OPT_STRUCTURED_REPLY", "structured replies"};
        case Option::list_meta_context:
            return {"before its answer to NBD_OPT_LIST_META_CONTEXT",
                    "in its answer to NBD_OPT_LIST_META_CONTEXT", "to list the export's metadata"};
        case Option::set_meta_context:
            return {"before its answer to NBD_OPT_SET_META_CONTEXT",
                    "in its answer to NBD_OPT_SET_META_CONTEXT", "the export's metadata"};
        case Option::extended_headers:
            return {"before its answer to NBD_OPT_EXTENDED_HEADERS",
                    "in its answer to NBD_OPT_EXTENDED_HEADERS", "extended headers"};
        case Option::go:
        case Option::export_name:
        case Option::abort: break;
    }
    return {"before its answer to NBD_OPT_GO", "in its answer to NBD_OPT_GO", "the export"};
}

}  // namespace wnbd::nbd
