// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/process/image.h"

#include <windows.h>

#include <cstdio>
#include <cstring>
#include <memory>

namespace wnbd::lab::process {
namespace {

std::vector<std::uint8_t> read_file(const std::string& path) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    std::vector<std::uint8_t> bytes;
    if (file == nullptr) return bytes;
    std::uint8_t buffer[65536];
    for (std::size_t got = sizeof buffer; got == sizeof buffer;) {
        got = std::fread(buffer, 1, sizeof buffer, file.get());
        bytes.insert(bytes.end(), buffer, buffer + got);
    }
    return bytes;
}

IMAGE_NT_HEADERS64* headers_of(std::uint8_t* base) {
    const auto* const dos = reinterpret_cast<const IMAGE_DOS_HEADER*>(base);
    return reinterpret_cast<IMAGE_NT_HEADERS64*>(base + dos->e_lfanew);
}

/// The headers of a file if they are a 64-bit image whose header area is complete; nullptr
/// otherwise.
const IMAGE_NT_HEADERS64* check_headers(const std::vector<std::uint8_t>& file) {
    if (file.size() < sizeof(IMAGE_DOS_HEADER)) return nullptr;
    const auto* const dos = reinterpret_cast<const IMAGE_DOS_HEADER*>(file.data());
    const auto offset = static_cast<std::size_t>(dos->e_lfanew);
    if (dos->e_magic != IMAGE_DOS_SIGNATURE || dos->e_lfanew < 0) return nullptr;
    if (offset > file.size() || file.size() - offset < sizeof(IMAGE_NT_HEADERS64)) return nullptr;
    const auto* const headers = reinterpret_cast<const IMAGE_NT_HEADERS64*>(file.data() + offset);
    if (headers->Signature != IMAGE_NT_SIGNATURE ||
        headers->FileHeader.Machine != IMAGE_FILE_MACHINE_AMD64 ||
        headers->OptionalHeader.Magic != IMAGE_NT_OPTIONAL_HDR64_MAGIC) {
        return nullptr;
    }
    const std::size_t table = offset + sizeof(IMAGE_NT_HEADERS64) +
                              headers->FileHeader.NumberOfSections * sizeof(IMAGE_SECTION_HEADER);
    const IMAGE_OPTIONAL_HEADER64& optional = headers->OptionalHeader;
    const bool complete =
        table <= optional.SizeOfHeaders && optional.SizeOfHeaders <= file.size() &&
        optional.SizeOfHeaders <= optional.SizeOfImage && optional.SizeOfImage <= (1U << 30);
    return complete ? headers : nullptr;
}

DWORD protection_of(DWORD characteristics) {
    const bool write = (characteristics & IMAGE_SCN_MEM_WRITE) != 0;
    if ((characteristics & IMAGE_SCN_MEM_EXECUTE) != 0)
        return write ? PAGE_EXECUTE_READWRITE : PAGE_EXECUTE_READ;
    return write ? PAGE_READWRITE : PAGE_READONLY;
}

}  // namespace

Image::~Image() {
    if (unwind_table_ != nullptr)
        RtlDeleteFunctionTable(static_cast<RUNTIME_FUNCTION*>(unwind_table_));
    if (base_ != nullptr) VirtualFree(base_, 0, MEM_RELEASE);
}

bool Image::fail(const std::string& reason) {
    error_ = reason;
    if (base_ != nullptr) VirtualFree(base_, 0, MEM_RELEASE);
    base_ = nullptr;
    return false;
}

bool Image::contains(std::uint64_t rva, std::uint64_t bytes) const noexcept {
    return rva <= size_ && bytes <= size_ - rva;
}

bool Image::load(const std::string& path, const Resolver& resolve) {
    const std::vector<std::uint8_t> file = read_file(path);
    if (file.empty()) return fail("cannot read " + path);
    return map(file) && relocate() && bind(resolve) && protect();
}

bool Image::map(const std::vector<std::uint8_t>& file) {
    const IMAGE_NT_HEADERS64* const headers = check_headers(file);
    if (headers == nullptr) return fail("not a 64-bit Windows image");
    size_ = headers->OptionalHeader.SizeOfImage;
    base_ = static_cast<std::uint8_t*>(
        VirtualAlloc(nullptr, size_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
    if (base_ == nullptr) return fail("no memory for the image");
    std::memcpy(base_, file.data(), headers->OptionalHeader.SizeOfHeaders);
    const IMAGE_SECTION_HEADER* const sections = IMAGE_FIRST_SECTION(headers_of(base_));
    for (unsigned index = 0; index < headers->FileHeader.NumberOfSections; ++index) {
        const IMAGE_SECTION_HEADER& section = sections[index];
        const std::size_t bytes = section.SizeOfRawData;
        if (bytes == 0) continue;
        if (section.PointerToRawData > file.size() ||
            bytes > file.size() - section.PointerToRawData ||
            !contains(section.VirtualAddress, bytes)) {
            return fail("a section lies outside the file or the image");
        }
        std::memcpy(base_ + section.VirtualAddress, file.data() + section.PointerToRawData, bytes);
    }
    if (!contains(headers->OptionalHeader.AddressOfEntryPoint, 1))
        return fail("the entry point is outside the image");
    entry_ = base_ + headers->OptionalHeader.AddressOfEntryPoint;
    return true;
}

bool Image::relocate() {
    IMAGE_NT_HEADERS64* const headers = headers_of(base_);
    const std::uint64_t delta =
        reinterpret_cast<std::uint64_t>(base_) - headers->OptionalHeader.ImageBase;
    const IMAGE_DATA_DIRECTORY& directory =
        headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_BASERELOC];
    std::uint64_t at = directory.VirtualAddress;
    const std::uint64_t end = at + directory.Size;
    if (directory.Size != 0 && !contains(at, directory.Size))
        return fail("relocations outside the image");
    while (directory.Size != 0 && at + sizeof(IMAGE_BASE_RELOCATION) <= end) {
        const auto* const block = reinterpret_cast<const IMAGE_BASE_RELOCATION*>(base_ + at);
        if (block->SizeOfBlock < sizeof *block || at + block->SizeOfBlock > end)
            return fail("bad relocation block");
        const auto* const entries = reinterpret_cast<const std::uint16_t*>(block + 1);
        const std::size_t count = (block->SizeOfBlock - sizeof *block) / sizeof *entries;
        for (std::size_t index = 0; index < count; ++index) {
            const unsigned type = entries[index] >> 12;
            const std::uint64_t target =
                block->VirtualAddress + std::uint64_t{entries[index]} % 4096;
            if (type == IMAGE_REL_BASED_ABSOLUTE) continue;
            if (type != IMAGE_REL_BASED_DIR64 || !contains(target, 8))
                return fail("unknown or wild relocation");
            std::uint64_t value;
            std::memcpy(&value, base_ + target, sizeof value);
            value += delta;
            std::memcpy(base_ + target, &value, sizeof value);
        }
        at += block->SizeOfBlock;
    }
    return true;
}

bool Image::bind(const Resolver& resolve) {
    const IMAGE_DATA_DIRECTORY& directory =
        headers_of(base_)->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    if (directory.Size == 0) return true;
    std::string missing;
    for (std::uint64_t at = directory.VirtualAddress;; at += sizeof(IMAGE_IMPORT_DESCRIPTOR)) {
        if (!contains(at, sizeof(IMAGE_IMPORT_DESCRIPTOR)))
            return fail("imports outside the image");
        const auto* const descriptor = reinterpret_cast<const IMAGE_IMPORT_DESCRIPTOR*>(base_ + at);
        if (descriptor->Name == 0) break;
        const std::string module = reinterpret_cast<const char*>(base_ + descriptor->Name);
        std::uint64_t names = descriptor->OriginalFirstThunk != 0 ? descriptor->OriginalFirstThunk
                                                                  : descriptor->FirstThunk;
        for (std::uint64_t slot = descriptor->FirstThunk;; slot += 8, names += 8) {
            if (!contains(slot, 8) || !contains(names, 8))
                return fail("import table outside the image");
            std::uint64_t name_rva;
            std::memcpy(&name_rva, base_ + names, sizeof name_rva);
            if (name_rva == 0) break;
            if ((name_rva & IMAGE_ORDINAL_FLAG64) != 0) return fail(module + ": import by ordinal");
            if (!contains(name_rva + 2, 1)) return fail("an import's name is outside the image");
            imports_.push_back({module, reinterpret_cast<const char*>(base_ + name_rva + 2)});
            void* const address = resolve(imports_.back());
            if (address == nullptr)
                missing += (missing.empty() ? "" : ", ") + module + "!" + imports_.back().name;
            std::memcpy(base_ + slot, static_cast<const void*>(&address), sizeof address);
        }
    }
    return missing.empty() || fail("the lab has no " + missing);
}

bool Image::protect() {
    IMAGE_NT_HEADERS64* const headers = headers_of(base_);
    const IMAGE_SECTION_HEADER* const sections = IMAGE_FIRST_SECTION(headers);
    const unsigned count = headers->FileHeader.NumberOfSections;
    const IMAGE_DATA_DIRECTORY unwind =
        headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_EXCEPTION];
    if (unwind.Size != 0 && !contains(unwind.VirtualAddress, unwind.Size))
        return fail("unwind table outside the image");
    DWORD old;
    for (unsigned index = 0; index < count; ++index) {
        const IMAGE_SECTION_HEADER& section = sections[index];
        const std::size_t bytes =
            section.Misc.VirtualSize != 0 ? section.Misc.VirtualSize : section.SizeOfRawData;
        if (bytes == 0) continue;
        if (!contains(section.VirtualAddress, bytes) ||
            !VirtualProtect(base_ + section.VirtualAddress, bytes,
                            protection_of(section.Characteristics), &old)) {
            return fail("cannot protect a section");
        }
    }
    FlushInstructionCache(GetCurrentProcess(), base_, size_);
    if (unwind.Size == 0) return true;
    auto* const table = reinterpret_cast<RUNTIME_FUNCTION*>(base_ + unwind.VirtualAddress);
    if (!RtlAddFunctionTable(table, unwind.Size / sizeof *table,
                             reinterpret_cast<DWORD64>(base_))) {
        return fail("cannot register the unwind table");
    }
    unwind_table_ = table;
    return true;
}

}  // namespace wnbd::lab::process
