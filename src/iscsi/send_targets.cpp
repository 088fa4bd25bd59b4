// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/send_targets.h"

#include "iscsi/negotiation.h"

namespace wnbd::iscsi {
namespace {

constexpr std::string_view send_targets = "SendTargets";

/// Whether this target is among those that are asked for. Nothing: that may not be asked here.
std::optional<bool> asked_for(std::string_view value, const TargetSettings& settings,
                              const Parameters& parameters) noexcept {
    if (value == "All") return parameters.discovery ? std::optional(true) : std::nullopt;
    // An empty value means the target of the session, which only a normal one has.
    if (value.empty()) return parameters.discovery ? std::nullopt : std::optional(true);
    return same_name(value, settings.name);
}

}  // namespace

std::string target_address(std::string_view host, std::uint16_t port) {
    host = host.substr(0, host.find('%'));  // a zone means nothing to the other side
    std::string address(host);
    if (host.find(':') != host.npos) address = "[" + address + "]";
    return address + ":" + std::to_string(port) + "," + std::to_string(portal_group_tag);
}

Result<std::string, std::string> answer_text(std::string_view text, const TargetSettings& settings,
                                             std::span<const std::string> addresses,
                                             Parameters& parameters) {
    Negotiation negotiation(settings, parameters);
    TextWriter answer;
    TextReader reader(text);
    while (const auto pair = reader.next()) {
        if (auto refused = negotiation.take(*pair, Stage::full_feature, answer))
            return Failure{std::move(refused.reason)};
        if (pair->key != send_targets) continue;
        const auto asked = asked_for(pair->value, settings, parameters);
        if (!asked) {
            answer.put(send_targets, "Reject");
        } else if (*asked) {
            answer.put("TargetName", settings.name);
            for (const auto& address : addresses)
                answer.put("TargetAddress", address);
        }
    }
    if (!reader.fault().empty()) return Failure{reader.fault()};
    if (!answer.complete()) return Failure{std::string("more keys than one answer has room for")};
    return std::string(answer.text());
}

}  // namespace wnbd::iscsi
