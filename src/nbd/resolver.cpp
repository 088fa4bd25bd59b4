// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/resolver.h"

#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#endif

#include <condition_variable>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "nbd/socket_system.h"

namespace wnbd::nbd {
namespace {

struct Answer {
    int error = 0;
    AddressList list{nullptr, [](addrinfo* first) { ::freeaddrinfo(first); }};
};

Answer ask(const std::string& host, const std::string& port, int flags) {
    addrinfo hints{};
    hints.ai_flags = flags;
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_protocol = IPPROTO_TCP;
    addrinfo* found = nullptr;
    Answer answer;
    answer.error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
    if (answer.error == 0) answer.list.reset(found);
    return answer;
}

std::string error_text(int error) {
#if defined(_WIN32)
    return system_error_text(error);
#else
    return ::gai_strerror(error);
#endif
}

}  // namespace

/// The asker and the resolver's thread share it, since the thread may outlive the asker.
struct Resolver::Question {
    std::mutex lock;
    std::condition_variable changed;
    std::optional<Answer> answer;
    bool cancelled = false;
};

Resolver::Resolver() = default;
Resolver::~Resolver() = default;

void Resolver::cancel() noexcept {
    const std::lock_guard lock(lock_);
    cancelled_ = true;
    if (question_ == nullptr) return;
    const std::lock_guard question_lock(question_->lock);
    question_->cancelled = true;
    question_->changed.notify_all();
}

Result<AddressList, Fault> Resolver::find(const std::string& host, std::uint16_t port,
                                          std::chrono::steady_clock::time_point deadline) {
    auto numeric = ask(host, std::to_string(port), AI_NUMERICHOST);
    if (numeric.error == 0) return std::move(numeric.list);

    const auto question = std::make_shared<Question>();
    {
        const std::lock_guard lock(lock_);
        if (cancelled_) return Failure{Fault{.code = FaultCode::closed}};
        question_ = question;
    }
    try {
        std::thread([question, host, port] {
            auto answer = ask(host, std::to_string(port), 0);
            const std::lock_guard lock(question->lock);
            question->answer = std::move(answer);
            question->changed.notify_all();
        }).detach();
    } catch (const std::system_error& error) {
        return Failure{Fault{.code = FaultCode::resolve_failed, .text = error.what()}};
    }

    std::unique_lock lock(question->lock);
    (void)question->changed.wait_until(
        lock, deadline, [&] { return question->answer.has_value() || question->cancelled; });
    auto answer = std::move(question->answer);
    if (!answer) {
        system::stay_loaded();
        if (question->cancelled) return Failure{Fault{.code = FaultCode::closed}};
        return Failure{
            Fault{.code = FaultCode::timed_out, .step = "while the host's name was resolved"}};
    }
    if (answer->error == 0) return std::move(answer->list);
    return Failure{Fault{.code = FaultCode::resolve_failed,
                         .got = static_cast<std::uint64_t>(answer->error),
                         .text = error_text(answer->error)}};
}

}  // namespace wnbd::nbd
