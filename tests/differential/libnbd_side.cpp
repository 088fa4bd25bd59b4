// SPDX-License-Identifier: LGPL-2.1-or-later
#include <libnbd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "operation.h"

namespace wnbd::test {
namespace {

using nbd::CommandType;

class LibnbdSide final : public Side {
  public:
    explicit LibnbdSide(const std::string& uri) : nbd_(nbd_create()) {
        // What is wrong is the server's to refuse.
        if (nbd_ == nullptr || nbd_add_meta_context(nbd_, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 ||
            nbd_connect_uri(nbd_, uri.c_str()) != 0 || nbd_set_strict_mode(nbd_, 0) != 0)
            throw std::runtime_error(nbd_get_error());
    }
    ~LibnbdSide() override {
        (void)nbd_shutdown(nbd_, 0);
        nbd_close(nbd_);
    }

    [[nodiscard]] std::uint64_t size() const override {
        return static_cast<std::uint64_t>(nbd_get_size(nbd_));
    }

    std::vector<Answer> perform(const std::vector<Operation>& operations) override {
        std::vector<Pending> all(operations.size());
        left_ = all.size();
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i].side = this;
            all[i].operation = &operations[i];
            if (start(all[i]) < 0) throw std::runtime_error(nbd_get_error());
        }
        while (left_ > 0)
            if (nbd_poll(nbd_, -1) < 0) throw std::runtime_error(nbd_get_error());
        std::vector<Answer> answers;
        answers.reserve(all.size());
        for (auto& pending : all)
            answers.push_back(std::move(pending.answer));
        return answers;
    }

  private:
    struct Pending {
        const Operation* operation = nullptr;
        Answer answer{};
        LibnbdSide* side = nullptr;
    };

    std::int64_t start(Pending& pending) {
        const auto& it = *pending.operation;
        const nbd_completion_callback done{
            .callback = &LibnbdSide::done, .user_data = &pending, .free = nullptr};
        switch (it.type) {
            case CommandType::read:
                pending.answer.bytes.resize(it.length, 0xa5);
                return nbd_aio_pread(nbd_, pending.answer.bytes.data(), it.length, it.offset, done,
                                     it.flags);
            case CommandType::write:
                return nbd_aio_pwrite(nbd_, it.payload.data(), it.length, it.offset, done,
                                      it.flags);
            case CommandType::flush: return nbd_aio_flush(nbd_, done, it.flags);
            case CommandType::trim: return nbd_aio_trim(nbd_, it.length, it.offset, done, it.flags);
            case CommandType::cache:
                return nbd_aio_cache(nbd_, it.length, it.offset, done, it.flags);
            case CommandType::write_zeroes:
                return nbd_aio_zero(nbd_, it.length, it.offset, done, it.flags);
            case CommandType::block_status:
                return nbd_aio_block_status(
                    nbd_, it.length, it.offset,
                    {.callback = &LibnbdSide::extents, .user_data = &pending, .free = nullptr},
                    done, it.flags);
            case CommandType::disconnect: break;
        }
        return -1;
    }

    static int done(void* user, int* error) {
        auto& pending = *static_cast<Pending*>(user);
        pending.answer.error = static_cast<std::uint32_t>(*error);
        if (*error != 0) pending.answer.bytes.clear();
        if (*error != 0) pending.answer.extents.clear();
        --pending.side->left_;
        return 1;  // retires the command
    }

    static int extents(void* user, const char* context, std::uint64_t /*offset*/,
                       std::uint32_t* entries, std::size_t count, int* /*error*/) {
        auto& pending = *static_cast<Pending*>(user);
        if (std::strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0) return 0;
        for (std::size_t i = 0; i + 1 < count; i += 2)
            add_extent(pending.answer, *pending.operation, entries[i], entries[i + 1]);
        return 0;
    }

    nbd_handle* nbd_;
    std::size_t left_ = 0;
};

}  // namespace

std::unique_ptr<Side> connect_libnbd_side(const std::string& uri) {
    return std::make_unique<LibnbdSide>(uri);
}

}  // namespace wnbd::test
