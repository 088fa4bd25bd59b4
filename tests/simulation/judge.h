// SPDX-License-Identifier: LGPL-2.1-or-later
// Sees both sides, the requests of the initiator and what the servers do for them, and says when
// they do not fit together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "nbd/request_chain.h"
#include "store.h"

namespace wnbd::nbd::sim {

/// A request as the initiator means it.
struct Intent {
    CommandType type = CommandType::read;
    std::uint16_t flags = 0;
    Blocks range{};
    std::uint64_t sequence = 0;             // what a write writes
    std::uint64_t begun = 0;                // moment
    std::vector<std::uint64_t> promised{};  // flush: what was acknowledged of each block before it
};

/// A request as a server got it.
struct Job {
    std::uint64_t cookie = 0;
    CommandType type = CommandType::read;
    std::uint16_t flags = 0;
    std::uint64_t offset = 0;                // bytes
    std::uint64_t length = 0;                // bytes
    std::vector<std::uint64_t> sequences{};  // write: of each of its blocks
    [[nodiscard]] Blocks range() const noexcept {
        return {offset / block_size, length / block_size};
    }
};

class Judge {
  public:
    Judge(World& world, Store& store);

    // The initiator's side.
    void begins(const Intent& intent);
    /// `data`: of a read. `extents`: of a block status.
    void ends(std::uint64_t number, const Outcome& outcome, const std::uint8_t* data,
              const ExtentList* extents);
    [[nodiscard]] std::uint64_t next_number() const noexcept { return next_number_; }
    [[nodiscard]] std::size_t unfinished() const noexcept { return intents_.size(); }
    /// Some request has ended as disconnected: only the end of everything excuses that.
    [[nodiscard]] bool disconnected() const noexcept { return disconnected_; }
    /// The client was closed: what waits may end as shutting down.
    void closed() noexcept { closed_ = true; }
    /// The client makes each change durable by itself.
    void expect_write_through() noexcept { write_through_ = true; }

    /// The export has, or has had, only so many bytes: beyond them a request may fail by itself.
    void shrinks_to(std::uint64_t size) noexcept { smallest_ = std::min(smallest_, size); }

    // The servers' side.
    /// A change has come, and is in flight on that session until answered() or dropped().
    void received(std::uint32_t session, const Job& job);
    void answered(std::uint32_t session, const Job& job);
    void dropped(std::uint32_t session);
    /// A change is about to be made.
    void executes(const Job& job);
    /// A flush is made.
    void flushes() noexcept { flushed_ = world_.moment(); }
    void says_error(const Job& job, std::uint32_t error);
    /// A dying server forgets all of the block that came after its durable version.
    void loses(std::uint32_t index, std::uint64_t durable) noexcept {
        if (acknowledged_[index] > durable) lost_acknowledged_ = true;
    }

    /// The client is back. `warns`: it says that something acknowledged may have been lost.
    void returns(bool warns) {
        if (std::exchange(lost_acknowledged_, false) && !warns)
            complain("what was acknowledged is lost, and the client does not say that it may be");
    }

    void complain(const std::string& what) { world_.fail(what); }

  private:
    struct Said {
        std::uint64_t moment;
        CommandType type;
        Blocks range;
        std::uint32_t error;
    };
    struct InFlight {
        std::uint32_t session;
        std::uint64_t cookie;
        Blocks range;
    };

    void judge_read(const Intent& intent, const std::uint8_t* data);
    void judge_change(const Intent& intent);
    void judge_flush(const Intent& intent);
    void judge_extents(const Intent& intent, const ExtentList& extents);
    void judge_error(const Intent& intent, std::uint32_t error);
    [[nodiscard]] std::string name(const Intent& intent) const;
    void forget();

    World& world_;
    Store& store_;
    std::unordered_map<std::uint64_t, Intent> intents_;  // by number
    std::uint64_t next_number_ = 1;
    std::vector<std::uint64_t> acknowledged_;  // of each kept block: the version's number
    std::vector<std::uint64_t> zeroed_;        // of each kept block: when last
    std::vector<InFlight> in_flight_;
    std::vector<Said> errors_;
    std::uint64_t flushed_ = 0;  // when a server made a flush last
    std::uint64_t ended_ = 0;
    std::uint64_t smallest_ = ~std::uint64_t{0};
    bool lost_acknowledged_ = false;  // since the client came back last
    bool disconnected_ = false;
    bool closed_ = false;
    bool write_through_ = false;
};

}  // namespace wnbd::nbd::sim
