// SPDX-License-Identifier: LGPL-2.1-or-later
// A doubly linked list whose links live in the members: it never allocates. Not thread-safe by
// itself.
#pragma once

namespace wnbd {

struct ListLink {
    ListLink* previous = nullptr;
    ListLink* next = nullptr;

    [[nodiscard]] bool linked() const noexcept { return next != nullptr; }
};

/// T derives from ListLink. A member is in one list at a time.
template <typename T>
class IntrusiveList {
  public:
    constexpr IntrusiveList() noexcept { head_.previous = head_.next = &head_; }
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;

    [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
    [[nodiscard]] T* front() noexcept { return empty() ? nullptr : static_cast<T*>(head_.next); }

    /// The member after `member`, or nullptr: for walks that take members out, ask before taking.
    [[nodiscard]] T* after(T& member) noexcept {
        ListLink* const next = static_cast<ListLink&>(member).next;
        return next == &head_ ? nullptr : static_cast<T*>(next);
    }

    void push_front(T& member) noexcept { insert_before(*head_.next, member); }
    void push_back(T& member) noexcept { insert_before(head_, member); }

    /// Takes the first member out, or gives nullptr.
    T* pop_front() noexcept {
        T* const first = front();
        if (first != nullptr) remove(*first);
        return first;
    }

    static void remove(T& member) noexcept {
        ListLink& link = member;
        link.previous->next = link.next;
        link.next->previous = link.previous;
        link.previous = link.next = nullptr;
    }

  private:
    static void insert_before(ListLink& position, ListLink& link) noexcept {
        link.next = &position;
        link.previous = position.previous;
        position.previous->next = &link;
        position.previous = &link;
    }

    ListLink head_;
};

}  // namespace wnbd
