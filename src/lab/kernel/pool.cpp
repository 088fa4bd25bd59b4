// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/kernel/pool.h"

#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"

namespace wnbd::lab::kernel {
namespace {

constexpr std::size_t arena_bytes = std::size_t{4} << 30;
constexpr std::size_t quarantine_pages =
    65536;  ///< of freed blocks of one size before the oldest is used again
constexpr unsigned char slack_pattern = 0xB5;
constexpr unsigned char fresh_pattern = 0xA7;
constexpr std::size_t alignment = 16;

struct Block {
    std::size_t bytes;
    std::size_t pages;  ///< without the guard page behind
    std::uintptr_t pages_start;
    std::uint32_t tag;
    bool owner_is_driver;
    bool live;
};

struct Arena {
    os::Mutex mutex;
    std::uintptr_t start = 0;
    std::uintptr_t next = 0;
    std::map<std::uintptr_t, Block> blocks;  ///< by pages_start
    std::map<std::size_t, std::deque<std::uintptr_t>>
        quarantine;  ///< freed, by page count, oldest first
    std::uint64_t live_of_driver = 0;
};

Arena& arena() {
    static Arena* const instance = [] {
        auto* const created = new Arena;
        created->start = created->next = reinterpret_cast<std::uintptr_t>(os::reserve(arena_bytes));
        return created;
    }();
    return *instance;
}

void tag_text(std::uint32_t tag, char (&text)[5]) noexcept {
    for (int index = 0; index < 4; ++index) {
        const char character = static_cast<char>(tag >> (8 * index));
        text[index] = character >= 0x20 && character < 0x7F ? character : '.';
    }
    text[4] = 0;
}

/// Where the caller's bytes start: at the end of the pages, so that an overrun faults; a page or
/// more is page-aligned.
std::uintptr_t user_start(const Block& block) noexcept {
    if (block.bytes >= os::page_size) return block.pages_start;
    const std::size_t rounded = (block.bytes + alignment - 1) / alignment * alignment;
    return block.pages_start + block.pages * os::page_size - rounded;
}

std::uintptr_t take_pages(Arena& from, std::size_t pages) {
    auto& freed = from.quarantine[pages];
    if (freed.size() * pages >= quarantine_pages) {
        const std::uintptr_t oldest = freed.front();
        freed.pop_front();
        from.blocks.erase(oldest);
        return oldest;
    }
    const std::size_t wanted = (pages + 1) * os::page_size;
    if (from.start == 0 || from.next + wanted > from.start + arena_bytes) return 0;
    const std::uintptr_t found = from.next;
    from.next += wanted;
    return found;
}

/// The block whose pages or guard page contain the address; null if none.
Block* find_block(Arena& in, std::uintptr_t address) {
    auto after = in.blocks.upper_bound(address);
    if (after == in.blocks.begin()) return nullptr;
    Block& block = std::prev(after)->second;
    return address < block.pages_start + (block.pages + 1) * os::page_size ? &block : nullptr;
}

void check_slack(const Block& block, const char* tag) {
    const std::uintptr_t start = user_start(block);
    const std::uintptr_t end = block.pages_start + block.pages * os::page_size;
    for (std::uintptr_t at = block.pages_start; at < start; ++at) {
        if (*reinterpret_cast<unsigned char*>(at) == slack_pattern) continue;
        violation("pool-overrun", "%zu bytes before block %p (tag %s, %zu bytes) were written",
                  start - at, reinterpret_cast<void*>(start), tag, block.bytes);
        return;
    }
    for (std::uintptr_t at = start + block.bytes; at < end; ++at) {
        if (*reinterpret_cast<unsigned char*>(at) == slack_pattern) continue;
        violation("pool-overrun", "byte %zu behind block %p (tag %s, %zu bytes) was written",
                  at - start - block.bytes, reinterpret_cast<void*>(start), tag, block.bytes);
        return;
    }
}

}  // namespace

void* pool_allocate(std::size_t bytes, std::uint32_t tag, bool owner_is_driver) {
    Arena& from = arena();
    if (bytes > arena_bytes / 2) return nullptr;
    const std::size_t pages = bytes == 0 ? 1 : (bytes + os::page_size - 1) / os::page_size;
    const std::lock_guard guard(from.mutex);
    const std::uintptr_t start = take_pages(from, pages);
    if (start == 0) return nullptr;
    auto* const memory = reinterpret_cast<void*>(start);
    if (!os::commit(memory, pages * os::page_size)) return nullptr;
    const Block block{bytes, pages, start, tag, owner_is_driver, true};
    from.blocks.insert_or_assign(start, block);
    if (owner_is_driver) ++from.live_of_driver;
    std::memset(memory, slack_pattern, pages * os::page_size);
    auto* const user = reinterpret_cast<void*>(user_start(block));
    std::memset(user, fresh_pattern, bytes);
    return user;
}

void pool_free(void* pointer, std::uint32_t tag) {
    Arena& from = arena();
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    std::size_t bytes = 0;
    {
        const std::lock_guard guard(from.mutex);
        Block* const block = find_block(from, address);
        if (block == nullptr || user_start(*block) != address) {
            violation("pool-free", "%p is not the start of a pool block", pointer);
            return;
        }
        char name[5];
        tag_text(block->tag, name);
        if (!block->live) {
            violation("double-free", "block %p (tag %s, %zu bytes) was freed before", pointer, name,
                      block->bytes);
            return;
        }
        if (tag != 0 && tag != block->tag) {
            char given[5];
            tag_text(tag, given);
            violation("pool-tag", "block %p has tag %s, freed with %s", pointer, name, given);
        }
        check_slack(*block, name);
        block->live = false;
        if (block->owner_is_driver) --from.live_of_driver;
        os::decommit(reinterpret_cast<void*>(block->pages_start), block->pages * os::page_size);
        from.quarantine[block->pages].push_back(block->pages_start);
        bytes = block->bytes;
    }
    forget_locks(pointer, bytes);
}

bool is_pool_address(std::uintptr_t address) noexcept {
    const std::uintptr_t start = arena().start;
    return start != 0 && address >= start && address < start + arena_bytes;
}

std::uint64_t pool_blocks() noexcept {
    const std::lock_guard guard(arena().mutex);
    return arena().live_of_driver;
}

void check_pool_balance() {
    Arena& from = arena();
    const std::lock_guard guard(from.mutex);
    for (auto& [start, block] : from.blocks) {
        if (!block.live || !block.owner_is_driver) continue;
        char name[5];
        tag_text(block.tag, name);
        violation("pool-leak", "block %p (tag %s, %zu bytes) was not freed",
                  reinterpret_cast<void*>(user_start(block)), name, block.bytes);
        block.owner_is_driver = false;  // reported once
    }
    from.live_of_driver = 0;
}

void describe_pool_fault(std::uintptr_t address, bool write) {
    if (!is_pool_address(address)) return;
    Arena& in = arena();
    const std::lock_guard guard(in.mutex);
    const char* const access = write ? "written" : "read";
    const Block* const block = find_block(in, address);
    if (block == nullptr) {
        violation("wild-pointer", "%p %s: in the pool's range, no block was ever there",
                  reinterpret_cast<void*>(address), access);
        return;
    }
    char name[5];
    tag_text(block->tag, name);
    const auto offset =
        static_cast<long long>(address) - static_cast<long long>(user_start(*block));
    violation(block->live ? "pool-overrun" : "use-after-free",
              "offset %lld of block %p (tag %s, %zu bytes) %s", offset,
              reinterpret_cast<void*>(user_start(*block)), name, block->bytes, access);
}

}  // namespace wnbd::lab::kernel

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

void* allocate(POOL_TYPE type, SIZE_T bytes, ULONG tag, const void* caller, const char* function) {
    const bool by_driver = is_driver(caller);
    const bool paged = (type & 1) != 0;
    require_irql_at_most(paged ? apc_level : dispatch_level, function);
    if (by_driver) {
        if (bytes == 0) violation("pool-size", "%s of 0 bytes", function);
        if (tag == 0) violation("pool-tag", "%s with tag 0", function);
        if (type == NonPagedPool)
            violation("executable-pool", "%s of executable memory (NonPagedPool)", function);
        counters().calls.fetch_add(1, std::memory_order_relaxed);
        counters().allocations.fetch_add(1, std::memory_order_relaxed);
        if (should_fail(FaultPoint::pool)) return nullptr;
    }
    return pool_allocate(bytes, tag, by_driver);
}

}  // namespace

extern "C" {

PVOID NTAPI lab_ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T bytes, ULONG tag) {
    return allocate(type, bytes, tag, __builtin_return_address(0), "ExAllocatePoolWithTag");
}

PVOID NTAPI lab_ExAllocatePool(POOL_TYPE type, SIZE_T bytes) {
    return allocate(type, bytes, 0x656E6F4E, __builtin_return_address(0), "ExAllocatePool");
}

VOID NTAPI lab_ExFreePoolWithTag(PVOID block, ULONG tag) {
    require_irql_at_most(dispatch_level, "ExFreePoolWithTag");
    pool_free(block, tag);
}

VOID NTAPI lab_ExFreePool(PVOID block) {
    require_irql_at_most(dispatch_level, "ExFreePool");
    pool_free(block, 0);
}

}  // extern "C"
