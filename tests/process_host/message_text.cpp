// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace wnbd::test {

// Declared in event_session.h, which brings the kernel's headers.
std::string text_from_file(const std::string& file, std::uint32_t number,
                           const std::vector<std::string>& inserts) {
    HMODULE const module = LoadLibraryExA(file.c_str(), nullptr, LOAD_LIBRARY_AS_DATAFILE);
    if (module == nullptr) return {};
    std::array<DWORD_PTR, 8> arguments{};
    for (std::size_t i = 0; i < inserts.size() && i < arguments.size(); ++i)
        arguments[i] = reinterpret_cast<DWORD_PTR>(inserts[i].c_str());
    char text[512];
    const DWORD length =
        FormatMessageA(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_ARGUMENT_ARRAY, module, number,
                       0, text, sizeof text, reinterpret_cast<va_list*>(arguments.data()));
    FreeLibrary(module);
    return {text, length};
}

}  // namespace wnbd::test
