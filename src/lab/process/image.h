// SPDX-License-Identifier: LGPL-2.1-or-later
// Maps a driver's file into this process as the kernel's loader does: sections, relocations,
// imports, page protection, unwind tables. The file itself is used unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace wnbd::lab::process {

class Image {
  public:
    struct Import {
        std::string module;
        std::string name;
    };
    /// Gives the address to bind an import to, or nullptr if there is none.
    using Resolver = std::function<void*(const Import& import)>;

    Image() = default;
    ~Image();
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;

    /// Loads the file. On failure the reason is in error(), and nothing stays mapped. Once only.
    bool load(const std::string& path, const Resolver& resolve);

    [[nodiscard]] const std::string& error() const noexcept { return error_; }
    [[nodiscard]] std::uint8_t* base() const noexcept { return base_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] void* entry() const noexcept { return entry_; }
    [[nodiscard]] const std::vector<Import>& imports() const noexcept { return imports_; }

  private:
    bool map(const std::vector<std::uint8_t>& file);
    bool relocate();
    bool bind(const Resolver& resolve);
    bool protect();
    bool fail(const std::string& reason);
    /// True if [rva, rva + bytes) lies in the image.
    [[nodiscard]] bool contains(std::uint64_t rva, std::uint64_t bytes) const noexcept;

    std::uint8_t* base_ = nullptr;
    std::size_t size_ = 0;
    void* entry_ = nullptr;
    void* unwind_table_ = nullptr;
    std::vector<Import> imports_;
    std::string error_;
};

}  // namespace wnbd::lab::process
