// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/request_chain.h"

#include <utility>

namespace wnbd::nbd {
namespace {

/// Two sorted lists as one.
RequestChain merge(RequestChain left, RequestChain right) noexcept {
    RequestChain merged;
    while (!left.empty() && !right.empty()) {
        auto& from = right.first->sequence < left.first->sequence ? right : left;
        merged.push_back(*from.pop_front());
    }
    merged.append(left);
    merged.append(right);
    return merged;
}

}  // namespace

void RequestChain::push_back(Request& request) noexcept {
    request.next = nullptr;
    if (last == nullptr)
        first = &request;
    else
        last->next = &request;
    last = &request;
}

void RequestChain::push_front(Request& request) noexcept {
    request.next = first;
    first = &request;
    if (last == nullptr) last = &request;
}

void RequestChain::append(RequestChain& other) noexcept {
    if (other.empty()) return;
    if (last == nullptr)
        first = other.first;
    else
        last->next = other.first;
    last = other.last;
    other = {};
}

Request* RequestChain::pop_front() noexcept {
    Request* const request = first;
    if (request == nullptr) return nullptr;
    first = request->next;
    if (first == nullptr) last = nullptr;
    request->next = nullptr;
    return request;
}

/// Bottom up, without recursion: sorted[n] is empty or holds 2^n requests.
void RequestChain::sort() noexcept {
    constexpr unsigned levels = 32;
    RequestChain sorted[levels];
    while (Request* const request = pop_front()) {
        RequestChain carry;
        carry.push_back(*request);
        unsigned level = 0;
        for (; level < levels - 1 && !sorted[level].empty(); ++level)
            carry = merge(std::exchange(sorted[level], {}), carry);
        // The last level takes whatever comes.
        sorted[level] = merge(sorted[level], carry);
    }
    for (const auto& part : sorted)
        *this = merge(part, *this);
}

std::uint32_t RequestChain::count() const noexcept {
    std::uint32_t counted = 0;
    for (const Request* at = first; at != nullptr; at = at->next)
        ++counted;
    return counted;
}

}  // namespace wnbd::nbd
