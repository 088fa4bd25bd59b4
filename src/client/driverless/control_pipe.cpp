// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/control_pipe.h"

#include <ntsecapi.h>
#include <sddl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cwchar>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

namespace wnbd::client {
namespace {

constexpr wchar_t pipe_folder[] = L"\\\\.\\pipe\\wnbd-driverless-";
constexpr wchar_t list_key[] = L"SOFTWARE\\WNBD Driverless";
/// As many may be asked at a time; who comes later waits for its turn.
constexpr unsigned instances = 4;
constexpr DWORD request_wait_ms = 5000;
constexpr DWORD goodbye_wait_ms = 2000;
/// A list that changes all the time is read this often; each reading adds to what is known.
constexpr unsigned readings_max = 64;

struct LocalDeleter {
    void operator()(void* memory) const noexcept { LocalFree(memory); }
};

/// Of one overlapped call at a time.
class Event {
  public:
    Event() : handle_(CreateEventW(nullptr, TRUE, FALSE, nullptr)) {
        overlapped_.hEvent = handle_.get();
    }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    OVERLAPPED* fresh() noexcept {
        ResetEvent(handle_.get());
        return &overlapped_;
    }

    /// Waits for the call that `started`, or has it cancelled, when the time is over or `stop`, if
    /// any, is set. `count` is what was moved. Returns a Win32 error.
    DWORD finish(HANDLE pipe, BOOL started, HANDLE stop, DWORD timeout_ms, DWORD& count) {
        count = 0;
        if (started == FALSE && GetLastError() != ERROR_IO_PENDING) return GetLastError();
        const HANDLE handles[] = {handle_.get(), stop};
        const DWORD woken =
            WaitForMultipleObjects(stop == nullptr ? 1 : 2, handles, FALSE, timeout_ms);
        if (woken != WAIT_OBJECT_0) CancelIoEx(pipe, &overlapped_);
        if (GetOverlappedResult(pipe, &overlapped_, &count, TRUE) != FALSE) return ERROR_SUCCESS;
        const DWORD code = GetLastError();
        return code == ERROR_OPERATION_ABORTED ? DWORD{WAIT_TIMEOUT} : code;
    }

  private:
    OwnedHandle handle_;
    OVERLAPPED overlapped_{};
};

/// Reads up to a newline, which is not part of it. WAIT_TIMEOUT: there is none until `deadline`;
/// ERROR_INVALID_DATA: there is none within `limit` bytes.
Result<std::string, DWORD> read_line(HANDLE pipe, HANDLE stop, std::size_t limit,
                                     ULONGLONG deadline) {
    std::string line;
    Event event;
    while (line.size() < limit) {
        std::array<char, 4096> chunk;
        const ULONGLONG now = GetTickCount64();
        if (now >= deadline) return Failure{DWORD{WAIT_TIMEOUT}};
        DWORD count = 0;
        const BOOL started =
            ReadFile(pipe, chunk.data(), static_cast<DWORD>(chunk.size()), nullptr, event.fresh());
        const DWORD code =
            event.finish(pipe, started, stop, static_cast<DWORD>(deadline - now), count);
        if (code != ERROR_SUCCESS) return Failure{code};
        const std::string_view came(chunk.data(), count);
        const std::size_t end = came.find('\n');
        line.append(came.substr(0, end));
        if (end != std::string_view::npos && line.size() < limit) return line;
    }
    return Failure{DWORD{ERROR_INVALID_DATA}};
}

DWORD write_line(HANDLE pipe, HANDLE stop, std::string_view line, ULONGLONG deadline) {
    Event event;
    while (!line.empty()) {
        const ULONGLONG now = GetTickCount64();
        if (now >= deadline) return WAIT_TIMEOUT;
        DWORD count = 0;
        const BOOL started =
            WriteFile(pipe, line.data(), static_cast<DWORD>(line.size()), nullptr, event.fresh());
        const DWORD code =
            event.finish(pipe, started, stop, static_cast<DWORD>(deadline - now), count);
        if (code != ERROR_SUCCESS) return code;
        line.remove_prefix(count);
    }
    return ERROR_SUCCESS;
}

/// The SID of the user of this process, as text; empty when Windows does not tell.
std::wstring own_sid() {
    HANDLE raw = nullptr;
    if (OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw) == FALSE) return {};
    const OwnedHandle token(raw);
    alignas(TOKEN_USER) std::array<std::byte, 256> buffer{};
    DWORD size = 0;
    if (GetTokenInformation(token.get(), TokenUser, buffer.data(),
                            static_cast<DWORD>(buffer.size()), &size) == FALSE)
        return {};
    LPWSTR text = nullptr;
    if (ConvertSidToStringSidW(reinterpret_cast<TOKEN_USER*>(buffer.data())->User.Sid, &text) ==
        FALSE)
        return {};
    const std::unique_ptr<wchar_t, LocalDeleter> owner(text);
    return text;
}

std::wstring number_text(std::uint64_t value, int base) {
    std::array<wchar_t, 24> text{};
    std::swprintf(text.data(), text.size(), base == 16 ? L"%016llx" : L"%llu",
                  static_cast<unsigned long long>(value));
    return text.data();
}

/// Nobody can have taken this name before us.
std::wstring fresh_name() {
    std::uint64_t random = 0;
    if (RtlGenRandom(&random, sizeof(random)) == FALSE) return {};
    return number_text(GetCurrentProcessId(), 10) + L"-" + number_text(random, 16);
}

/// `first`: it must be the first of its name.
OwnedHandle make_pipe(const std::wstring& path, SECURITY_ATTRIBUTES& security, bool first) {
    return OwnedHandle(CreateNamedPipeW(
        path.c_str(),
        PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED |
            (first ? DWORD{FILE_FLAG_FIRST_PIPE_INSTANCE} : DWORD{0}),
        PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, instances,
        control_answer_max, control_request_max, 0, &security));
}

class ListKey {
  public:
    ListKey(REGSAM access, bool create) {
        if (create) {
            code_ = RegCreateKeyExW(HKEY_LOCAL_MACHINE, list_key, 0, nullptr, REG_OPTION_VOLATILE,
                                    access | KEY_WOW64_64KEY, nullptr, &key_, nullptr);
        } else {
            code_ = RegOpenKeyExW(HKEY_LOCAL_MACHINE, list_key, 0, access | KEY_WOW64_64KEY, &key_);
        }
    }
    ~ListKey() {
        if (code_ == ERROR_SUCCESS) RegCloseKey(key_);
    }
    ListKey(const ListKey&) = delete;
    ListKey& operator=(const ListKey&) = delete;

    [[nodiscard]] LSTATUS code() const noexcept { return code_; }
    [[nodiscard]] HKEY get() const noexcept { return key_; }

  private:
    HKEY key_ = nullptr;
    LSTATUS code_ = ERROR_SUCCESS;
};

void take_off_list(const std::wstring& name) noexcept {
    const ListKey list(KEY_SET_VALUE, false);
    if (list.code() == ERROR_SUCCESS) RegDeleteValueW(list.get(), name.c_str());
}

/// Adds those that are not among `peers` yet.
void read_peers(HKEY list, std::vector<ControlPeer>& peers) {
    for (DWORD i = 0;; ++i) {
        std::array<wchar_t, 64> name{};
        auto length = static_cast<DWORD>(name.size());
        DWORD pid = 0;
        DWORD size = sizeof(pid);
        DWORD type = 0;
        const LSTATUS code = RegEnumValueW(list, i, name.data(), &length, nullptr, &type,
                                           reinterpret_cast<BYTE*>(&pid), &size);
        if (code == ERROR_MORE_DATA) continue;  // none of ours
        if (code != ERROR_SUCCESS) return;
        const std::wstring text(name.data(), length);
        if (type != REG_DWORD || size != sizeof(pid) || text.find(L'\\') != std::wstring::npos)
            continue;
        if (std::ranges::count(peers, text, &ControlPeer::name) == 0)
            peers.push_back({.pid = pid, .name = text});
    }
}

Result<OwnedHandle, DWORD> connect(const std::wstring& path, ULONGLONG deadline) {
    for (;;) {
        // The server may learn who asks, and no more.
        OwnedHandle pipe(CreateFileW(
            path.c_str(), GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_EXISTING,
            FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, nullptr));
        if (pipe.valid()) return pipe;
        const DWORD code = GetLastError();
        if (code != ERROR_PIPE_BUSY) return Failure{code};
        const ULONGLONG now = GetTickCount64();
        if (now >= deadline) return Failure{DWORD{WAIT_TIMEOUT}};
        WaitNamedPipeW(path.c_str(), static_cast<DWORD>(deadline - now));
    }
}

}  // namespace

ControlServer::ControlServer(Handler handler)
    : handler_(std::move(handler)), stop_(CreateEventW(nullptr, TRUE, FALSE, nullptr)) {}

ControlServer::~ControlServer() {
    withdraw();
    SetEvent(stop_.get());
    for (std::thread& thread : threads_)
        thread.join();
}

DWORD ControlServer::start() {
    const std::wstring name = fresh_name();
    const std::wstring user = own_sid();
    if (!stop_.valid() || name.empty() || user.empty()) return ERROR_NO_SYSTEM_RESOURCES;
    const std::wstring rights = L"D:P(A;;GA;;;BA)(A;;GA;;;SY)(A;;GA;;;" + user + L")";
    PSECURITY_DESCRIPTOR descriptor = nullptr;
    if (ConvertStringSecurityDescriptorToSecurityDescriptorW(rights.c_str(), SDDL_REVISION_1,
                                                             &descriptor, nullptr) == FALSE)
        return GetLastError();
    const std::unique_ptr<void, LocalDeleter> owner(descriptor);
    SECURITY_ATTRIBUTES security{sizeof(security), descriptor, FALSE};

    const std::wstring path = pipe_folder + name;
    for (unsigned i = 0; i < instances; ++i) {
        pipes_.push_back(make_pipe(path, security, i == 0));
        if (!pipes_.back().valid()) return GetLastError();
    }
    try {
        for (const OwnedHandle& pipe : pipes_)
            threads_.emplace_back([this, handle = pipe.get()] { serve(handle); });
    } catch (const std::system_error&) {
        return ERROR_NO_SYSTEM_RESOURCES;
    }
    const ListKey list(KEY_SET_VALUE, true);
    if (list.code() != ERROR_SUCCESS) return static_cast<DWORD>(list.code());
    const DWORD pid = GetCurrentProcessId();
    const LSTATUS code = RegSetValueExW(list.get(), name.c_str(), 0, REG_DWORD,
                                        reinterpret_cast<const BYTE*>(&pid), sizeof(pid));
    if (code == ERROR_SUCCESS) name_ = name;
    return static_cast<DWORD>(code);
}

void ControlServer::withdraw() noexcept {
    if (!name_.empty()) take_off_list(name_);
    name_.clear();
}

void ControlServer::serve(HANDLE pipe) {
    while (WaitForSingleObject(stop_.get(), 0) != WAIT_OBJECT_0) {
        Event event;
        DWORD count = 0;
        const BOOL started = ConnectNamedPipe(pipe, event.fresh());
        const bool there = started == FALSE && GetLastError() == ERROR_PIPE_CONNECTED;
        const DWORD code = there ? DWORD{ERROR_SUCCESS}
                                 : event.finish(pipe, started, stop_.get(), INFINITE, count);
        if (code == ERROR_SUCCESS) converse(pipe);
        DisconnectNamedPipe(pipe);
    }
}

void ControlServer::converse(HANDLE pipe) {
    const auto line =
        read_line(pipe, stop_.get(), control_request_max, GetTickCount64() + request_wait_ms);
    if (!line) return;
    const auto request = parse_control_line(line.value());
    const ControlAnswer answer =
        request ? handler_(*request)
                : ControlAnswer{.code = ERROR_NOT_SUPPORTED, .text = "the request is not known"};
    // From here on even a server that stops takes its time: an unmap's answer is one of these.
    const ULONGLONG deadline = GetTickCount64() + goodbye_wait_ms;
    if (write_line(pipe, nullptr, control_answer_line(answer), deadline) != ERROR_SUCCESS) return;
    // To disconnect is to throw away what was not read. The other side closes when it has read.
    static_cast<void>(read_line(pipe, nullptr, 1, deadline));
}

std::vector<ControlPeer> control_peers() {
    std::vector<ControlPeer> peers;
    const ListKey list(KEY_QUERY_VALUE | KEY_NOTIFY, false);
    if (list.code() != ERROR_SUCCESS) return peers;
    // An entry that goes meanwhile moves others to indices that have been read already. Whoever is
    // missing here is taken for dead, so what was read counts only if nothing has changed.
    const OwnedHandle changed(CreateEventW(nullptr, TRUE, FALSE, nullptr));
    for (unsigned attempt = 0; attempt < readings_max; ++attempt) {
        ResetEvent(changed.get());
        const LSTATUS watched = RegNotifyChangeKeyValue(
            list.get(), FALSE, REG_NOTIFY_CHANGE_LAST_SET, changed.get(), TRUE);
        read_peers(list.get(), peers);
        if (watched != ERROR_SUCCESS || WaitForSingleObject(changed.get(), 0) != WAIT_OBJECT_0)
            break;
    }
    return peers;
}

Result<ControlAnswer, DWORD> ask(const ControlPeer& peer, ControlRequest request,
                                 DWORD timeout_ms) {
    const ULONGLONG deadline = GetTickCount64() + timeout_ms;
    auto connected = connect(pipe_folder + peer.name, deadline);
    if (!connected) {
        if (connected.error() == ERROR_FILE_NOT_FOUND) take_off_list(peer.name);
        return Failure{connected.error()};
    }
    const HANDLE pipe = connected.value().get();
    ULONG pid = 0;
    if (GetNamedPipeServerProcessId(pipe, &pid) == FALSE || pid != peer.pid)
        return Failure{DWORD{ERROR_INVALID_DATA}};
    if (const DWORD code = write_line(pipe, nullptr, control_line(request), deadline);
        code != ERROR_SUCCESS)
        return Failure{code};
    const auto line = read_line(pipe, nullptr, control_answer_max, deadline);
    if (!line) return Failure{line.error()};
    auto answer = parse_control_answer(line.value());
    if (!answer) return Failure{DWORD{ERROR_INVALID_DATA}};
    return std::move(answer.value());
}

}  // namespace wnbd::client
