// SPDX-License-Identifier: LGPL-2.1-or-later
// Wine answers a question about another process's memory by a call into that process. When it is
// killed in the call, nobody answers, and the asking thread waits for ever (seen with Wine 8). So
// each thread has a second one that asks, and leaves it behind when no answer comes.
#include "lab/wine/memory_query.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "base/per_thread.h"

namespace wnbd::lab::wine {
namespace {

constexpr std::chrono::seconds kPatience{2};

struct Question {
    std::mutex mutex;
    std::condition_variable changed;
    enum class State { idle, asked, answered, abandoned } state = State::idle;
    HANDLE process = nullptr;
    void* address = nullptr;
    MemoryInformation info{};
    bool good = false;
};

void answer(const std::shared_ptr<Question>& question) {
    std::unique_lock lock(question->mutex);
    for (;;) {
        question->changed.wait(lock, [&] {
            return question->state != Question::State::idle &&
                   question->state != Question::State::answered;
        });
        if (question->state == Question::State::abandoned) return;
        HANDLE const process = question->process;
        void* const address = question->address;
        lock.unlock();
        MemoryInformation info{};
        const bool good =
            NT_SUCCESS(NtQueryVirtualMemory(process, address, 0, &info, sizeof info, nullptr));
        lock.lock();
        if (question->state == Question::State::abandoned) return;
        question->info = info;
        question->good = good;
        question->state = Question::State::answered;
        question->changed.notify_all();
    }
}

/// A thread's question, and the thread that asks it.
class Asker {
  public:
    ~Asker() { abandon(); }

    bool ask(HANDLE process, void* address, MemoryInformation& info) {
        if (!question_) {
            question_ = std::make_shared<Question>();
            std::thread(answer, question_).detach();
        }
        std::unique_lock lock(question_->mutex);
        question_->process = process;
        question_->address = address;
        question_->state = Question::State::asked;
        question_->changed.notify_all();
        const bool answered = question_->changed.wait_for(
            lock, kPatience, [&] { return question_->state == Question::State::answered; });
        if (!answered) {
            lock.unlock();
            abandon();
            return false;
        }
        question_->state = Question::State::idle;
        info = question_->info;
        return question_->good;
    }

  private:
    void abandon() {
        if (!question_) return;
        {
            const std::lock_guard lock(question_->mutex);
            question_->state = Question::State::abandoned;
        }
        question_->changed.notify_all();
        question_.reset();
    }

    std::shared_ptr<Question> question_;
};

PerThread<Asker> askers;

}  // namespace

bool query_memory(HANDLE process, void* address, MemoryInformation& info) {
    Asker* const asker = askers.get();
    return asker != nullptr && asker->ask(process, address, info);
}

}  // namespace wnbd::lab::wine
