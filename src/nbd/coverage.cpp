// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/coverage.h"

namespace wnbd::nbd {

void CoverageBook::clear() noexcept {
    free_ = Coverage::none;
    for (std::uint32_t index = runs_max; index-- > 0;) {
        runs_[index].next = free_;
        free_ = index;
    }
}

CoverageBook::Added CoverageBook::add(Coverage& coverage, std::uint32_t begin,
                                      std::uint32_t length) noexcept {
    const auto end = begin + length;
    if (begin < coverage.front) return Added::overlaps;
    if (coverage.first != Coverage::none) return add_beyond(coverage, begin, end);
    if (begin == coverage.front) {
        coverage.front = end;
        return Added::ok;
    }
    return add_beyond(coverage, begin, end);
}

/// Takes the run at `link` out, if it begins where the one before it ends now.
void CoverageBook::absorb(std::uint32_t& link, std::uint32_t& end) noexcept {
    if (link == Coverage::none || runs_[link].begin != end) return;
    const auto index = link;
    end = runs_[index].end;
    link = runs_[index].next;
    runs_[index].next = free_;
    free_ = index;
}

CoverageBook::Added CoverageBook::add_beyond(Coverage& coverage, std::uint32_t begin,
                                             std::uint32_t end) noexcept {
    Run* before = nullptr;
    std::uint32_t* link = &coverage.first;
    while (*link != Coverage::none && runs_[*link].end <= begin) {
        before = &runs_[*link];
        link = &before->next;
    }
    if (*link != Coverage::none && runs_[*link].begin < end) return Added::overlaps;
    if (begin == coverage.front) {
        coverage.front = end;
        absorb(*link, coverage.front);
        return Added::ok;
    }
    if (before != nullptr && before->end == begin) {
        before->end = end;
        absorb(*link, before->end);
        return Added::ok;
    }
    if (*link != Coverage::none && runs_[*link].begin == end) {
        runs_[*link].begin = begin;
        return Added::ok;
    }
    if (free_ == Coverage::none) return Added::no_room;
    const auto index = free_;
    free_ = runs_[index].next;
    runs_[index] = {begin, end, *link};
    *link = index;
    return Added::ok;
}

std::uint32_t CoverageBook::total(const Coverage& coverage) const noexcept {
    auto bytes = coverage.front;
    for (auto index = coverage.first; index != Coverage::none; index = runs_[index].next)
        bytes += runs_[index].end - runs_[index].begin;
    return bytes;
}

void CoverageBook::release(Coverage& coverage) noexcept {
    while (coverage.first != Coverage::none) {
        const auto index = coverage.first;
        coverage.first = runs_[index].next;
        runs_[index].next = free_;
        free_ = index;
    }
}

}  // namespace wnbd::nbd
