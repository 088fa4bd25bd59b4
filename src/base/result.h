// SPDX-License-Identifier: LGPL-2.1-or-later
// The one result type: a value, or the reason why there is none.
#pragma once

#include <utility>
#include <variant>

namespace wnbd {

/// Wraps the error so that Result<T, T> is not ambiguous: `return Failure{reason};`
template <typename E>
struct Failure {
    E error;
};
template <typename E>
Failure(E) -> Failure<E>;

/// Freestanding and without exceptions: ask ok() before value() or error().
template <typename T, typename E>
class [[nodiscard]] Result {
  public:
    constexpr Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    constexpr Result(Failure<E> failure)
        : state_(std::in_place_index<1>, std::move(failure.error)) {}

    [[nodiscard]] constexpr bool ok() const noexcept { return state_.index() == 0; }
    constexpr explicit operator bool() const noexcept { return ok(); }

    [[nodiscard]] constexpr T& value() noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] constexpr const T& value() const noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] constexpr const E& error() const noexcept { return *std::get_if<1>(&state_); }

  private:
    std::variant<T, E> state_;
};

}  // namespace wnbd
