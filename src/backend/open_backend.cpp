// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/open_backend.h"

#include <charconv>

#include "backend/file_backend.h"
#include "backend/memory_backend.h"
#include "backend/nbd_backend.h"
#include "nbd/protocol.h"
#include "nbd/uri.h"
#include "nbd/uri_options.h"

namespace wnbd::backend {
namespace {

using std::string;
using std::string_view;

/// The suffix's shift, or -1.
int shift_of(string_view suffix) {
    if (suffix.empty()) return 0;
    if (suffix.size() != 1) return -1;
    switch (suffix[0] | 0x20) {
        case 'k': return 10;
        case 'm': return 20;
        case 'g': return 30;
        case 't': return 40;
        default: return -1;
    }
}

/// Reads one "name=value" of a file's options; empty when it was understood.
string read_file_option(string_view option, FileOptions& options) {
    const auto equals = option.find('=');
    const auto name = option.substr(0, equals);
    const auto value = equals == string_view::npos ? string_view{} : option.substr(equals + 1);
    if (name == "size") {
        const auto size = parse_size(value);
        if (!size) return size.error();
        options.size = size.value();
        return {};
    }
    if (name != "readonly") return "unknown option '" + string(name) + "'";
    if (value != "0" && value != "1") return "readonly takes 0 or 1, not '" + string(value) + "'";
    options.read_only = value == "1";
    return {};
}

Result<std::unique_ptr<Backend>, string> open_file_text(string_view text) {
    FileOptions options;
    const auto question = text.rfind('?');
    const auto path = text.substr(0, question);
    auto rest = question == string_view::npos ? string_view{} : text.substr(question + 1);
    while (!rest.empty()) {
        const auto end = rest.find('&');
        const auto why = read_file_option(rest.substr(0, end), options);
        if (!why.empty()) return Failure{"bad file disk 'file:" + string(text) + "': " + why};
        rest = end == string_view::npos ? string_view{} : rest.substr(end + 1);
    }
    return open_file_backend(string(path), options);
}

}  // namespace

Result<std::uint64_t, string> parse_size(string_view text) {
    const auto bad = [&](const char* why) {
        return Failure{"bad size '" + string(text) + "': " + why};
    };
    std::uint64_t size = 0;
    const char* const begin = text.data();
    const auto read = std::from_chars(begin, begin + text.size(), size);
    if (read.ec == std::errc::result_out_of_range) return bad("it is larger than 2^63-1 bytes");
    const auto digits = static_cast<std::size_t>(read.ptr - begin);
    const int shift = digits == 0 ? -1 : shift_of(text.substr(digits));
    if (shift < 0) return bad("write a number with K, M, G, T or nothing behind it");
    if (size == 0) return bad("it must be larger than 0");
    if (size > (nbd::max_export_size >> shift)) return bad("it is larger than 2^63-1 bytes");
    return size << shift;
}

Result<std::unique_ptr<Backend>, string> open_backend(string_view text) {
    const auto after = [&](string_view prefix) { return text.substr(prefix.size()); };
    if (text.starts_with("memory:")) {
        const auto size = parse_size(after("memory:"));
        if (!size) return Failure{size.error()};
        return MemoryBackend::create(size.value());
    }
    if (text.starts_with("file:")) return open_file_text(after("file:"));
    if (text.find("://") == string_view::npos)
        return Failure{"'" + string(text.substr(0, 200)) +
                       "' names no disk: write nbd://host/export, file:PATH or memory:SIZE"};
    const auto uri = nbd::parse_uri(text);
    if (!uri) return Failure{uri.error()};
    return NbdBackend::open(nbd::options_of(uri.value()));
}

}  // namespace wnbd::backend
