// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/options.h"

#include <cstring>
#include <limits>
#include <optional>

namespace wnbd::engine {

namespace {

using Definition = OptionDefinition;
using Kind = OptionKind;
constexpr const auto& definitions = option_definitions;

constexpr auto new_mappings = static_cast<std::size_t>(OptionId::new_mappings_allowed);
constexpr std::uint64_t units_per_ms = 10'000;  // of interrupt time

/// A name as the store wants it: in the table's spelling, in the ABI's characters.
struct WideName {
    WCHAR text[WNBD_MAX_OPT_NAME_LENGTH];

    explicit WideName(const char* name) noexcept : text{} {
        for (std::size_t i = 0; name[i] != '\0' && i + 1 < WNBD_MAX_OPT_NAME_LENGTH; ++i)
            text[i] = static_cast<WCHAR>(name[i]);
    }
};

constexpr WCHAR lower(WCHAR character) noexcept {
    return character >= 'A' && character <= 'Z' ? static_cast<WCHAR>(character + ('a' - 'A'))
                                                : character;
}

/// A string that ends at a NUL or at the end of its array, whichever comes first.
using Text = std::span<const WCHAR>;

Text text_of(const WNBD_OPTION_VALUE& value) noexcept {
    std::size_t length = 0;
    while (length < WNBD_MAX_NAME_LENGTH - 1 && value.Data.AsWstr[length] != 0)
        ++length;
    return {value.Data.AsWstr, length};
}

bool equals(Text text, const char* word) noexcept {
    std::size_t i = 0;
    for (; i < text.size() && word[i] != '\0'; ++i)
        if (lower(text[i]) != lower(static_cast<WCHAR>(word[i]))) return false;
    return i == text.size() && word[i] == '\0';
}

std::optional<std::size_t> find(const WCHAR* name) noexcept {
    std::size_t length = 0;
    while (length < WNBD_MAX_OPT_NAME_LENGTH && name[length] != 0)
        ++length;
    for (std::size_t index = 0; index < option_count; ++index)
        if (equals({name, length}, definitions[index].name)) return index;
    return std::nullopt;
}

std::optional<std::int64_t> parse_boolean(Text text) noexcept {
    for (const char* const word : {"1", "t", "true", "yes", "y"})
        if (equals(text, word)) return 1;
    for (const char* const word : {"0", "f", "false", "no", "n"})
        if (equals(text, word)) return 0;
    return std::nullopt;
}

std::optional<unsigned> digit_of(WCHAR character, unsigned base) noexcept {
    const WCHAR folded = lower(character);
    unsigned digit = base;
    if (folded >= '0' && folded <= '9') digit = folded - '0';
    if (folded >= 'a' && folded <= 'f') digit = folded - 'a' + 10;
    return digit < base ? std::optional(digit) : std::nullopt;
}

/// The base that a prefix names, as the kernel's own number parser knows them.
unsigned base_of(Text text) noexcept {
    if (text.size() < 2 || text[0] != '0') return 10;
    switch (lower(text[1])) {
        case 'x': return 16;
        case 'o': return 8;
        case 'b': return 2;
        default: return 10;
    }
}

/// A decimal number, or one behind 0x, 0o or 0b. No sign: no option's range goes below 0.
std::optional<std::int64_t> parse_integer(Text text) noexcept {
    const unsigned base = base_of(text);
    if (base != 10) text = text.subspan(2);
    if (text.empty()) return std::nullopt;
    constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    std::uint64_t number = 0;
    for (const WCHAR character : text) {
        const auto digit = digit_of(character, base);
        if (!digit || number > (limit - *digit) / base) return std::nullopt;
        number = number * base + *digit;
    }
    return static_cast<std::int64_t>(number);
}

/// The type an untrusted value claims. Read as a number: what a caller sends need not be one of the
/// enumerators.
std::uint32_t type_of(const WNBD_OPTION_VALUE& value) noexcept {
    std::uint32_t type = 0;
    static_assert(sizeof(type) == sizeof(value.Type));
    std::memcpy(&type, &value.Type, sizeof(type));
    return type;
}

WnbdOptValType type_of(const Definition& definition) noexcept {
    return definition.kind == Kind::boolean ? WnbdOptBool : WnbdOptInt64;
}

Result<std::int64_t, nt::Status> coerce(const Definition& definition,
                                        const WNBD_OPTION_VALUE& value) noexcept {
    const bool boolean = definition.kind == Kind::boolean;
    const std::uint32_t type = type_of(value);
    if (type == WnbdOptWstr) {
        const Text text = text_of(value);
        const auto number = boolean ? parse_boolean(text) : parse_integer(text);
        if (!number) return Failure{nt::invalid_parameter};
        return *number;
    }
    if (type != static_cast<std::uint32_t>(type_of(definition)))
        return Failure{nt::object_type_mismatch};
    // Only the byte that carries a boolean counts: what lies beside it in the union is the
    // caller's.
    return boolean ? std::int64_t{value.Data.AsBool != 0} : std::int64_t{value.Data.AsInt64};
}

/// The value an option takes for a number that somebody gave or stored: nothing when it is out of
/// range. A time-out of 0 stands for the default, a boolean may be stored as any number.
std::optional<std::int64_t> accept(const Definition& definition, std::int64_t number) noexcept {
    if (definition.kind == Kind::boolean) return number != 0 ? 1 : 0;
    if (number < definition.minimum || number > definition.maximum) return std::nullopt;
    if (definition.kind == Kind::timeout && number == 0) return definition.initial;
    return number;
}

void fill(const Definition& definition, std::int64_t number, WNBD_OPTION_VALUE& out) noexcept {
    std::memset(&out, 0, sizeof(out));
    out.Type = type_of(definition);
    if (definition.kind == Kind::boolean)
        out.Data.AsBool = number != 0 ? 1 : 0;
    else
        out.Data.AsInt64 = number;
}

/// The stored value, if it is one that the option may have: invalid_parameter when it is not.
Result<std::int64_t, nt::Status> load(OptionStore& store, const Definition& definition) noexcept {
    const auto stored = store.read(WideName(definition.name).text);
    if (!stored) return stored;
    const auto accepted = accept(definition, stored.value());
    if (!accepted) return Failure{nt::invalid_parameter};
    return *accepted;
}

}  // namespace

void Options::initialize(OptionStore& store) noexcept {
    mutex_.initialize();
    store_ = &store;
    for (std::size_t index = 0; index < option_count; ++index)
        values_[index].store(definitions[index].initial, std::memory_order_relaxed);
    // What cannot be read leaves its default: an option must not keep the driver from loading.
    static_cast<void>(reload());
}

bool Options::new_mappings_allowed() const noexcept {
    const std::uint64_t until = paused_until_.load(std::memory_order_relaxed);
    return enabled(OptionId::new_mappings_allowed) &&
           (until == 0 || platform::interrupt_time() >= until);
}

std::int64_t Options::in_force(std::size_t index) const noexcept {
    if (index == new_mappings) return new_mappings_allowed() ? 1 : 0;
    return values_[index].load(std::memory_order_relaxed);
}

nt::Status Options::get(const WCHAR* name, bool persistent, WNBD_OPTION_VALUE& out) noexcept {
    const auto index = find(name);
    if (!index) return nt::object_name_not_found;
    const Definition& definition = definitions[*index];
    const platform::MutexGuard guard(mutex_);
    if (!persistent) {
        fill(definition, in_force(*index), out);
        return nt::success;
    }
    // As it is stored, in range or not: whoever looks wants to know.
    const auto stored = store_->read(WideName(definition.name).text);
    if (!stored) return stored.error();
    fill(definition, stored.value(), out);
    return nt::success;
}

nt::Status Options::set(const WCHAR* name, const WNBD_OPTION_VALUE& value,
                        bool persistent) noexcept {
    const auto index = find(name);
    if (!index) return nt::object_name_not_found;
    const Definition& definition = definitions[*index];
    const auto number = coerce(definition, value);
    if (!number) return number.error();
    const auto accepted = accept(definition, number.value());
    if (!accepted) return nt::invalid_parameter;

    const platform::MutexGuard guard(mutex_);
    if (persistent) {
        const nt::Status status = store_->write(WideName(definition.name).text, *accepted);
        if (nt::failed(status)) return status;
    }
    values_[*index].store(*accepted, std::memory_order_relaxed);
    if (*index == new_mappings) end_pause();
    return nt::success;
}

nt::Status Options::reset(const WCHAR* name, bool persistent) noexcept {
    const auto index = find(name);
    if (!index) return nt::object_name_not_found;
    const Definition& definition = definitions[*index];

    const platform::MutexGuard guard(mutex_);
    std::int64_t number = definition.initial;
    if (persistent) {
        const nt::Status status = store_->erase(WideName(definition.name).text);
        if (nt::failed(status) && status != nt::object_name_not_found) return status;
    } else if (const auto stored = load(*store_, definition)) {
        number = stored.value();
    }
    values_[*index].store(number, std::memory_order_relaxed);
    if (*index == new_mappings) end_pause();
    return nt::success;
}

std::size_t Options::list(bool persistent, std::span<WNBD_OPTION> out) noexcept {
    const platform::MutexGuard guard(mutex_);
    std::size_t count = 0;
    for (std::size_t index = 0; index < option_count && count < out.size(); ++index) {
        const Definition& definition = definitions[index];
        const WideName name(definition.name);
        std::int64_t number = in_force(index);
        if (persistent) {
            const auto stored = store_->read(name.text);
            if (!stored) continue;
            number = stored.value();
        }
        WNBD_OPTION& entry = out[count++];
        std::memset(&entry, 0, sizeof(entry));
        std::memcpy(entry.Name, name.text, sizeof(entry.Name));
        entry.Type = type_of(definition);
        fill(definition, definition.initial, entry.Default);
        fill(definition, number, entry.Value);
    }
    return count;
}

nt::Status Options::reload() noexcept {
    const platform::MutexGuard guard(mutex_);
    nt::Status first_failure = nt::success;
    for (std::size_t index = 0; index < option_count; ++index) {
        const Definition& definition = definitions[index];
        const auto stored = load(*store_, definition);
        if (stored) {
            values_[index].store(stored.value(), std::memory_order_relaxed);
        } else if (stored.error() == nt::object_name_not_found) {
            values_[index].store(definition.initial, std::memory_order_relaxed);
        } else {
            store_->ignored(definition.name, stored.error());  // the option keeps the value it has
            if (first_failure == nt::success) first_failure = stored.error();
        }
    }
    return first_failure;
}

nt::Status Options::lease(const WCHAR* name, const WNBD_OPTION_VALUE& value,
                          std::uint32_t lease_ms) noexcept {
    const auto index = find(name);
    if (!index) return nt::object_name_not_found;
    if (*index != new_mappings || type_of(value) != WnbdOptBool || lease_ms == 0 ||
        lease_ms > WNBD_MAX_OPTION_LEASE_MS)
        return nt::invalid_parameter;
    const platform::MutexGuard guard(mutex_);
    const bool pause = value.Data.AsBool == 0;
    paused_until_.store(pause ? platform::interrupt_time() + lease_ms * units_per_ms : 0,
                        std::memory_order_relaxed);
    return nt::success;
}

}  // namespace wnbd::engine
