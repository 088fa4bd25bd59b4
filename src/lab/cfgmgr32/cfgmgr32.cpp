// SPDX-License-Identifier: LGPL-2.1-or-later
// cfgmgr32.dll for programs in the lab: the configuration manager's functions for the lab's
// adapters and units, which Wine has as stubs or not at all. A device instance is a number of this
// process for a path.
#include <windows.h>

#include <algorithm>
#include <cstring>
#include <cwchar>
#include <mutex>
#include <string>
#include <vector>

#include "lab/cfgmgr32/adapters.h"

using namespace wnbd::lab;
using namespace wnbd::lab::cfgmgr;

namespace {

using Result = DWORD;
using Instance = DWORD;

// CONFIGRET
constexpr Result kSuccess = 0x00;
constexpr Result kInvalidPointer = 0x03;
constexpr Result kInvalidDevnode = 0x05;
constexpr Result kNoSuchDevnode = 0x0D;
constexpr Result kFailure = 0x13;
constexpr Result kRemoveVetoed = 0x17;
constexpr Result kBufferSmall = 0x1A;
constexpr Result kNotDisableable = 0x28;

constexpr DWORD kVetoOutstandingOpen = 5;  // PNP_VetoOutstandingOpen
// DN_ flags
constexpr ULONG kDriverLoaded = 0x02;
constexpr ULONG kStarted = 0x08;
constexpr ULONG kRemovable = 0x4000;
constexpr ULONG kHasProblem = 0x400;
constexpr ULONG kProblemDisabled = 22;  // CM_PROB_DISABLED

constexpr Instance kRoot = 1;
constexpr Instance kFirst = 0x1000;
constexpr wchar_t kAdapterPrefix[] = L"ROOT\\SCSIADAPTER\\";

struct Node {
    std::wstring path;
    unsigned port;
    bool adapter;
};

std::mutex nodes_mutex;
std::vector<Node> nodes;

std::wstring upper(std::wstring text) {
    for (wchar_t& c : text)
        if (c >= L'a' && c <= L'z') c = static_cast<wchar_t>(c - L'a' + L'A');
    return text;
}

std::wstring wide(const char16_t* text) {
    return reinterpret_cast<const wchar_t*>(text);
}

Instance remember(const Node& node) {
    const std::lock_guard lock(nodes_mutex);
    for (std::size_t i = 0; i < nodes.size(); ++i)
        if (upper(nodes[i].path) == upper(node.path)) return kFirst + static_cast<Instance>(i);
    nodes.push_back(node);
    return kFirst + static_cast<Instance>(nodes.size() - 1);
}

bool find(Instance instance, Node& node) {
    const std::lock_guard lock(nodes_mutex);
    if (instance < kFirst || instance - kFirst >= nodes.size()) return false;
    node = nodes[instance - kFirst];
    return true;
}

bool is_present(const Node& node) {
    for (const control::UnitEntry& unit : units(node.port))
        if (upper(wide(unit.path)) == upper(node.path)) return unit.removed == 0;
    return false;
}

/// The adapter's own instance id is Wine's to give; with one adapter there is nothing to confuse.
bool adapter_node(Node& node, const std::wstring& path) {
    const std::vector<unsigned> all = ports();
    if (all.empty()) return false;
    node = {path, all.front(), true};
    return true;
}

Result veto(std::optional<std::uint32_t> answer, DWORD* type, wchar_t* name, ULONG length,
            const Node& node) {
    if (!answer) return kFailure;
    switch (*answer) {
        case control::kAnswerDone: return kSuccess;
        case control::kAnswerNoSuchDevice: return kNoSuchDevnode;
        case control::kAnswerVetoed: break;
        default: return kFailure;
    }
    if (type != nullptr) *type = kVetoOutstandingOpen;
    if (name != nullptr && length != 0) {
        std::wcsncpy(name, node.path.c_str(), length - 1);
        name[length - 1] = L'\0';
    }
    return kRemoveVetoed;
}

std::wstring widen(const char* text) {
    return text == nullptr ? std::wstring() : std::wstring(text, text + std::strlen(text));
}

}  // namespace

extern "C" {

Result WINAPI CM_Locate_DevNodeW(Instance* instance, const wchar_t* id, ULONG) {
    if (instance == nullptr) return kInvalidPointer;
    if (id == nullptr || *id == L'\0') {
        *instance = kRoot;
        return kSuccess;
    }
    const std::wstring wanted = upper(id);
    Node node;
    if (wanted.starts_with(kAdapterPrefix)) {
        if (!adapter_node(node, id)) return kNoSuchDevnode;
        *instance = remember(node);
        return kSuccess;
    }
    for (const unsigned port : ports()) {
        for (const control::UnitEntry& unit : units(port)) {
            if (upper(wide(unit.path)) != wanted) continue;
            if (unit.removed != 0) return kNoSuchDevnode;
            *instance = remember({wide(unit.path), port, false});
            return kSuccess;
        }
    }
    return kNoSuchDevnode;
}

Result WINAPI CM_Locate_DevNodeA(Instance* instance, const char* id, ULONG flags) {
    return CM_Locate_DevNodeW(instance, id != nullptr ? widen(id).c_str() : nullptr, flags);
}

Result WINAPI CM_Locate_DevNode_ExW(Instance* instance, const wchar_t* id, ULONG flags, HANDLE) {
    return CM_Locate_DevNodeW(instance, id, flags);
}

Result WINAPI CM_Locate_DevNode_ExA(Instance* instance, const char* id, ULONG flags, HANDLE) {
    return CM_Locate_DevNodeA(instance, id, flags);
}

Result WINAPI CM_Get_Parent(Instance* parent, Instance instance, ULONG) {
    Node node;
    if (parent == nullptr) return kInvalidPointer;
    if (!find(instance, node)) return kInvalidDevnode;
    *parent = kRoot;
    if (!node.adapter)
        *parent = remember({std::wstring(kAdapterPrefix) + L"0000", node.port, true});
    return kSuccess;
}

Result WINAPI CM_Get_Child(Instance* child, Instance instance, ULONG) {
    Node node;
    if (child == nullptr) return kInvalidPointer;
    if (!find(instance, node)) return kInvalidDevnode;
    if (!node.adapter) return kNoSuchDevnode;
    const std::vector<control::UnitEntry> all = units(node.port);
    if (all.empty()) return kNoSuchDevnode;
    *child = remember({wide(all.front().path), node.port, false});
    return kSuccess;
}

Result WINAPI CM_Get_Sibling(Instance* sibling, Instance instance, ULONG) {
    Node node;
    if (sibling == nullptr) return kInvalidPointer;
    if (!find(instance, node)) return kInvalidDevnode;
    const std::vector<control::UnitEntry> all = units(node.port);
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
        if (upper(wide(all[i].path)) != upper(node.path)) continue;
        *sibling = remember({wide(all[i + 1].path), node.port, false});
        return kSuccess;
    }
    return kNoSuchDevnode;
}

Result WINAPI CM_Get_DevNode_Status(ULONG* status, ULONG* problem, Instance instance, ULONG) {
    Node node;
    if (status == nullptr || problem == nullptr) return kInvalidPointer;
    if (!find(instance, node)) return kInvalidDevnode;
    *problem = 0;
    if (!node.adapter) {
        if (!is_present(node)) return kNoSuchDevnode;
        *status = kDriverLoaded | kStarted | kRemovable;
        return kSuccess;
    }
    const bool started = is_started(node.port);
    *status = started ? kDriverLoaded | kStarted : kHasProblem;
    if (!started) *problem = kProblemDisabled;
    return kSuccess;
}

Result WINAPI CM_Get_Device_ID_Size(ULONG* length, Instance instance, ULONG) {
    Node node;
    if (length == nullptr) return kInvalidPointer;
    if (!find(instance, node)) return kInvalidDevnode;
    *length = static_cast<ULONG>(node.path.size());
    return kSuccess;
}

Result WINAPI CM_Get_Device_IDW(Instance instance, wchar_t* buffer, ULONG length, ULONG) {
    Node node;
    if (buffer == nullptr) return kInvalidPointer;
    if (!find(instance, node)) return kInvalidDevnode;
    if (length < node.path.size() + 1) return kBufferSmall;
    std::wmemcpy(buffer, node.path.c_str(), node.path.size() + 1);
    return kSuccess;
}

Result WINAPI CM_Query_And_Remove_SubTreeW(Instance instance, DWORD* type, wchar_t* name,
                                           ULONG length, ULONG) {
    Node node;
    if (!find(instance, node)) return kInvalidDevnode;
    if (node.adapter) return veto(disable(node.port), type, name, length, node);
    const std::u16string path(reinterpret_cast<const char16_t*>(node.path.c_str()),
                              node.path.size());
    return veto(remove_unit(node.port, path), type, name, length, node);
}

Result WINAPI CM_Query_And_Remove_SubTreeA(Instance instance, DWORD* type, char* name, ULONG length,
                                           ULONG flags) {
    if (name != nullptr && length != 0) *name = '\0';
    return CM_Query_And_Remove_SubTreeW(instance, type, nullptr, 0, flags);
}

Result WINAPI CM_Disable_DevNode(Instance instance, ULONG) {
    Node node;
    if (!find(instance, node)) return kInvalidDevnode;
    if (!node.adapter) return kNotDisableable;
    return veto(disable(node.port), nullptr, nullptr, 0, node);
}

Result WINAPI CM_Enable_DevNode(Instance instance, ULONG) {
    Node node;
    if (!find(instance, node)) return kInvalidDevnode;
    if (!node.adapter) return kNotDisableable;
    const std::optional<std::uint32_t> answer = enable(node.port);
    return answer && *answer == control::kAnswerDone ? kSuccess : kFailure;
}

Result WINAPI CM_Reenumerate_DevNode(Instance instance, ULONG) {
    Node node;
    if (instance == kRoot) return kSuccess;
    if (!find(instance, node)) return kInvalidDevnode;
    return rescan(node.port) ? kSuccess : kFailure;
}
}
