// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/negotiation.h"

#include <algorithm>
#include <iterator>

namespace wnbd::iscsi {
namespace {

constexpr std::string_view reject = "Reject";
constexpr std::string_view irrelevant = "Irrelevant";
constexpr std::string_view not_understood = "NotUnderstood";

// The stages a key may come in.
constexpr unsigned in_security = 1;
constexpr unsigned in_operational = 2;
constexpr unsigned in_full_feature = 4;
constexpr unsigned in_login = in_security | in_operational;
constexpr unsigned anywhere = in_login | in_full_feature;

constexpr unsigned mask(Stage stage) noexcept {
    switch (stage) {
        case Stage::security: return in_security;
        case Stage::operational: return in_operational;
        case Stage::full_feature: break;
    }
    return in_full_feature;
}

const char* name_of(Stage stage) noexcept {
    switch (stage) {
        case Stage::security: return "security stage";
        case Stage::operational: return "operational stage";
        case Stage::full_feature: break;
    }
    return "full feature phase";
}

enum class Rule : std::uint8_t {
    name,            // who speaks with whom, and what for: in the first text alone
    alias,           // declared by the initiator
    elsewhere,       // checked for its stage alone; the caller answers
    segment_length,  // MaxRecvDataSegmentLength: declared by each side for itself
    minimum,
    maximum,
    first_burst,  // a minimum, which other keys make irrelevant
    logical_or,
    logical_and,
    list,         // the first value that we know
    target_only,  // declared by targets; from an initiator only the answer to that may come
    obsolete,     // 13.25
};

Refusal initiator_error(std::string reason) {
    return refusal(LoginStatus::initiator_error, std::move(reason));
}

}  // namespace

struct Negotiation::Key {
    std::string_view name;
    Rule rule;
    unsigned stages;
    bool for_disks = false;  // irrelevant in a discovery session
    // Numbers: the range, and ours: a constant or a setting.
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::uint32_t own = 0;
    std::uint32_t TargetSettings::* setting = nullptr;
    // Where the outcome goes, if anybody needs it.
    std::uint32_t Parameters::* number = nullptr;
    bool Parameters::* flag = nullptr;
    // Lists: what we know. Obsolete keys: the answer.
    std::string_view values = {};
};

const Negotiation::Key Negotiation::keys[] = {
    {.name = "InitiatorName", .rule = Rule::name, .stages = in_login},
    {.name = "TargetName", .rule = Rule::name, .stages = in_login},
    {.name = "SessionType", .rule = Rule::name, .stages = in_login},
    {.name = "InitiatorAlias", .rule = Rule::alias, .stages = anywhere},
    {.name = "AuthMethod", .rule = Rule::elsewhere, .stages = in_security},
    {.name = "CHAP_A", .rule = Rule::elsewhere, .stages = in_security},
    {.name = "CHAP_I", .rule = Rule::elsewhere, .stages = in_security},
    {.name = "CHAP_C", .rule = Rule::elsewhere, .stages = in_security},
    {.name = "CHAP_N", .rule = Rule::elsewhere, .stages = in_security},
    {.name = "CHAP_R", .rule = Rule::elsewhere, .stages = in_security},
    {.name = "HeaderDigest",
     .rule = Rule::list,
     .stages = in_operational,
     .flag = &Parameters::header_digest,
     .values = "CRC32C,None"},
    {.name = "DataDigest",
     .rule = Rule::list,
     .stages = in_operational,
     .flag = &Parameters::data_digest,
     .values = "CRC32C,None"},
    {.name = "MaxConnections",
     .rule = Rule::minimum,
     .stages = in_operational,
     .for_disks = true,
     .low = 1,
     .high = 65535,
     .own = 1},
    {.name = "InitialR2T",
     .rule = Rule::logical_or,
     .stages = in_operational,
     .for_disks = true,
     .own = 0,
     .flag = &Parameters::initial_r2t},
    {.name = "ImmediateData",
     .rule = Rule::logical_and,
     .stages = in_operational,
     .for_disks = true,
     .own = 1,
     .flag = &Parameters::immediate_data},
    {.name = "MaxRecvDataSegmentLength",
     .rule = Rule::segment_length,
     .stages = in_operational | in_full_feature,
     .low = 512,
     .high = largest_segment_length},
    {.name = "MaxBurstLength",
     .rule = Rule::minimum,
     .stages = in_operational,
     .for_disks = true,
     .low = 512,
     .high = largest_segment_length,
     .setting = &TargetSettings::max_burst,
     .number = &Parameters::max_burst},
    {.name = "FirstBurstLength",
     .rule = Rule::first_burst,
     .stages = in_operational,
     .for_disks = true,
     .low = 512,
     .high = largest_segment_length},
    {.name = "DefaultTime2Wait",  // we can be come back to at once
     .rule = Rule::maximum,
     .stages = in_operational,
     .low = 0,
     .high = 3600,
     .own = 0},
    {.name = "DefaultTime2Retain",  // and keep nothing of a lost session
     .rule = Rule::minimum,
     .stages = in_operational,
     .low = 0,
     .high = 3600,
     .own = 0},
    {.name = "MaxOutstandingR2T",
     .rule = Rule::minimum,
     .stages = in_operational,
     .for_disks = true,
     .low = 1,
     .high = 65535,
     .setting = &TargetSettings::max_outstanding_r2t,
     .number = &Parameters::max_outstanding_r2t},
    {.name = "DataPDUInOrder",
     .rule = Rule::logical_or,
     .stages = in_operational,
     .for_disks = true,
     .own = 1},
    {.name = "DataSequenceInOrder",
     .rule = Rule::logical_or,
     .stages = in_operational,
     .for_disks = true,
     .own = 1},
    {.name = "ErrorRecoveryLevel",
     .rule = Rule::minimum,
     .stages = in_operational,
     .for_disks = true,
     .low = 0,
     .high = 2,
     .own = 0},
    {.name = "TaskReporting",
     .rule = Rule::list,
     .stages = in_operational,
     .for_disks = true,
     .values = "RFC3720"},
    {.name = "iSCSIProtocolLevel",
     .rule = Rule::minimum,
     .stages = in_operational,
     .for_disks = true,
     .low = 0,
     .high = 31,
     .own = 1},
    {.name = "TargetAlias", .rule = Rule::target_only, .stages = anywhere},
    {.name = "TargetAddress", .rule = Rule::target_only, .stages = anywhere},
    {.name = "TargetPortalGroupTag", .rule = Rule::target_only, .stages = anywhere},
    {.name = "SendTargets", .rule = Rule::elsewhere, .stages = in_full_feature},
    {.name = "IFMarker", .rule = Rule::obsolete, .stages = in_operational, .values = "No"},
    {.name = "OFMarker", .rule = Rule::obsolete, .stages = in_operational, .values = "No"},
    {.name = "IFMarkInt", .rule = Rule::obsolete, .stages = in_operational, .values = reject},
    {.name = "OFMarkInt", .rule = Rule::obsolete, .stages = in_operational, .values = reject},
};

const Negotiation::Key* Negotiation::find(std::string_view name) noexcept {
    const auto* const found = std::find_if(std::begin(keys), std::end(keys),
                                           [&](const Key& key) { return key.name == name; });
    return found == std::end(keys) ? nullptr : found;
}

std::uint64_t Negotiation::bit(const Key& key) noexcept {
    static_assert(std::size(keys) <= 64);
    return std::uint64_t{1} << (&key - keys);
}

bool Negotiation::has(std::string_view key) const noexcept {
    const auto* const known = find(key);
    return known != nullptr && (seen_ & bit(*known)) != 0;
}

Refusal Negotiation::take(const TextPair& pair, Stage stage, TextWriter& answer) {
    const auto* const key = find(pair.key);
    if (key == nullptr) {
        // What the initiator did not understand needs no answer, nor do declarations of this kind.
        if (pair.value != not_understood && pair.key != "X#NodeArchitecture")
            answer.put(pair.key, not_understood);
        return {};
    }
    if ((key->stages & mask(stage)) == 0) {
        if (stage == Stage::full_feature) {
            answer.put(key->name, reject);
            return {};
        }
        return initiator_error(std::string(key->name) + " does not belong in the " +
                               name_of(stage));
    }
    if ((seen_ & bit(*key)) != 0)  // 6.3
        return initiator_error(std::string(key->name) + " comes twice");
    seen_ |= bit(*key);
    if (key->for_disks && parameters_.discovery && key->rule != Rule::obsolete) {
        answer.put(key->name, irrelevant);
        return {};
    }
    return take_known(*key, pair.value, answer);
}

Refusal Negotiation::take_known(const Key& key, std::string_view value, TextWriter& answer) {
    switch (key.rule) {
        case Rule::name: return take_name(key, value);
        case Rule::alias: parameters_.initiator_alias = value; break;
        case Rule::elsewhere: break;
        case Rule::segment_length: take_segment_length(key, value, answer); break;
        case Rule::minimum:
        case Rule::maximum:
        case Rule::first_burst: take_number(key, value, answer); break;
        case Rule::logical_or:
        case Rule::logical_and: take_boolean(key, value, answer); break;
        case Rule::list: take_list(key, value, answer); break;
        case Rule::target_only:
            if (value != reject && value != irrelevant && value != not_understood)
                answer.put(key.name, reject);
            break;
        case Rule::obsolete: answer.put(key.name, key.values); break;
    }
    return {};
}

Refusal Negotiation::take_name(const Key& key, std::string_view value) {
    if (introduced_)
        return initiator_error(std::string(key.name) + " does not come in the first request");
    if (key.name == "SessionType") {
        if (value != "Normal" && value != "Discovery")
            return refusal(LoginStatus::session_type_not_supported,
                           "no session type: \"" + printable(value) + "\"");
        parameters_.discovery = value == "Discovery";
        return {};
    }
    if (!is_iscsi_name(value)) {
        return initiator_error(std::string(key.name) + " is no iSCSI name: \"" + printable(value) +
                               "\"");
    }
    (key.name == "TargetName" ? parameters_.target_name : parameters_.initiator_name) = value;
    return {};
}

void Negotiation::take_number(const Key& key, std::string_view value, TextWriter& answer) {
    const auto offered = parse_number(value);
    if (!offered || *offered < key.low || *offered > key.high) {
        answer.put(key.name, reject);
        return;
    }
    auto number = static_cast<std::uint32_t>(*offered);
    if (key.rule == Rule::first_burst) {
        first_burst_ = number;  // answered when the whole text is known
        return;
    }
    const auto own = key.setting != nullptr ? settings_.*key.setting : key.own;
    number = key.rule == Rule::maximum ? std::max(number, own) : std::min(number, own);
    if (key.number != nullptr) parameters_.*key.number = number;
    answer.put(key.name, number);
}

void Negotiation::take_boolean(const Key& key, std::string_view value, TextWriter& answer) {
    const auto offered = parse_boolean(value);
    if (!offered) {
        answer.put(key.name, reject);
        return;
    }
    const bool own = key.own != 0;
    const bool result = key.rule == Rule::logical_or ? *offered || own : *offered && own;
    if (key.flag != nullptr) parameters_.*key.flag = result;
    answer.put(key.name, result ? "Yes" : "No");
}

void Negotiation::take_list(const Key& key, std::string_view value, TextWriter& answer) {
    while (const auto one = next_of_list(value)) {
        if (!list_has(key.values, *one)) continue;
        if (key.flag != nullptr) parameters_.*key.flag = *one == "CRC32C";
        answer.put(key.name, *one);
        return;
    }
    answer.put(key.name, reject);
}

void Negotiation::take_segment_length(const Key& key, std::string_view value, TextWriter& answer) {
    const auto length = parse_number(value);
    if (!length || *length < key.low || *length > key.high) {
        answer.put(key.name, reject);
        return;
    }
    parameters_.max_send_segment = static_cast<std::uint32_t>(*length);
}

Refusal Negotiation::agree_on_first_burst(TextWriter& answer) {
    constexpr std::string_view name = "FirstBurstLength";
    if (first_burst_) {
        if (parameters_.initial_r2t && !parameters_.immediate_data) {
            answer.put(name, irrelevant);
        } else {
            parameters_.first_burst =
                std::min({*first_burst_, settings_.first_burst, parameters_.max_burst});
            first_burst_agreed_ = true;
            answer.put(name, parameters_.first_burst);
        }
        first_burst_.reset();
    }
    if (parameters_.first_burst <= parameters_.max_burst) return {};
    if (first_burst_agreed_)  // 13.14
        return initiator_error("MaxBurstLength is less than the FirstBurstLength agreed upon");
    parameters_.first_burst = parameters_.max_burst;
    return {};
}

Refusal Negotiation::finish(Stage stage, TextWriter& answer) {
    if (!introduced_) {
        introduced_ = true;
        if (!parameters_.discovery) {
            answer.put("TargetPortalGroupTag", portal_group_tag);
            if (!settings_.alias.empty()) answer.put("TargetAlias", settings_.alias);
        }
    }
    if (stage == Stage::operational && !declared_) {
        declared_ = true;
        parameters_.max_receive_segment = settings_.max_receive_segment;
        answer.put("MaxRecvDataSegmentLength", settings_.max_receive_segment);
    }
    return agree_on_first_burst(answer);
}

}  // namespace wnbd::iscsi
