// SPDX-License-Identifier: LGPL-2.1-or-later
#include <condition_variable>
#include <mutex>
#include <stdexcept>

#include "nbd/client_shell.h"
#include "nbd/uri.h"
#include "operation.h"

namespace wnbd::test {
namespace {

constexpr std::uint32_t extents_max = 4096;

class OurSide final : public Side {
  public:
    explicit OurSide(std::unique_ptr<nbd::ClientShell> shell) : shell_(std::move(shell)) {}

    [[nodiscard]] std::uint64_t size() const override { return shell_->size(); }

    [[nodiscard]] std::uint16_t offered() const override {
        return shell_->agreement().info.transmission_flags;
    }

    std::vector<Answer> perform(const std::vector<Operation>& operations) override {
        std::vector<Pending> all(operations.size());
        std::vector<nbd::Request*> requests;
        requests.reserve(all.size());
        left_ = all.size();
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i].side = this;
            prepare(all[i], operations[i]);
            requests.push_back(&all[i].request);
        }
        shell_->submit(requests);
        std::unique_lock lock(lock_);
        changed_.wait(lock, [this] { return left_ == 0; });
        std::vector<Answer> answers;
        answers.reserve(all.size());
        for (auto& pending : all)
            answers.push_back(std::move(pending.answer));
        return answers;
    }

  private:
    struct Pending {
        nbd::Request request{};
        const Operation* operation = nullptr;
        Answer answer{};
        std::vector<nbd::Extent> room{};
        nbd::ExtentList extents{};
        OurSide* side = nullptr;
    };

    static void prepare(Pending& pending, const Operation& operation) {
        pending.operation = &operation;
        auto& command = pending.request.command;
        command = {.type = operation.type,
                   .flags = operation.flags,
                   .offset = operation.offset,
                   .length = operation.length};
        if (operation.type == nbd::CommandType::read) {
            pending.answer.bytes.resize(operation.length, 0xa5);
            command.data = pending.answer.bytes.data();
        } else if (operation.type == nbd::CommandType::write) {
            // A command's data are not changed by a write.
            command.data = const_cast<std::uint8_t*>(operation.payload.data());
        } else if (operation.type == nbd::CommandType::block_status) {
            pending.room.resize(extents_max);
            pending.extents = {pending.room.data(), extents_max, 0};
            command.extents = &pending.extents;
        }
        pending.request.context = &pending;
        pending.request.done = &OurSide::done;
    }

    static void done(nbd::Request& request, nbd::Outcome outcome) noexcept {
        auto& pending = *static_cast<Pending*>(request.context);
        auto& answer = pending.answer;
        answer.error = outcome.disconnected ? ~std::uint32_t{0} : outcome.error;
        if (answer.error != 0) answer.bytes.clear();
        if (answer.error == 0)
            for (std::uint32_t i = 0; i < pending.extents.count; ++i)
                add_extent(answer, *pending.operation, pending.room[i].length,
                           pending.room[i].flags);
        auto& side = *pending.side;
        const std::lock_guard lock(side.lock_);
        if (--side.left_ == 0) side.changed_.notify_one();
    }

    std::unique_ptr<nbd::ClientShell> shell_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::size_t left_ = 0;
};

}  // namespace

std::unique_ptr<Side> connect_our_side(const std::string& uri) {
    const auto parsed = nbd::parse_uri(uri);
    if (!parsed) throw std::runtime_error(parsed.error());
    auto shell = nbd::ClientShell::open({.addresses = parsed.value().addresses});
    if (!shell) throw std::runtime_error(describe(shell.error()));
    return std::make_unique<OurSide>(std::move(shell.value()));
}

}  // namespace wnbd::test
