// SPDX-License-Identifier: LGPL-2.1-or-later
// What is not to be trusted on the control pipes of driverless disks:
//
//     pipe_abuser abuse                    a client that does all the wrong things to the first
//     pipe on
//                                          the list, and prints "ok" if it is still served
//                                          afterwards
//     pipe_abuser impostor garbage|silent  a process on the list that answers nonsense, or nothing
//     pipe_abuser churn                    entries that come and go at the head of the list
#include <windows.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr wchar_t list_key[] = L"SOFTWARE\\WNBD Driverless";
constexpr wchar_t folder[] = L"\\\\.\\pipe\\wnbd-driverless-";

int fail(const char* what) {
    std::printf("%s: error %lu\n", what, GetLastError());
    return 1;
}

HANDLE open_pipe(const std::wstring& path) {
    for (unsigned i = 0; i < 100; ++i) {
        const HANDLE pipe = CreateFileW(path.c_str(), GENERIC_READ | GENERIC_WRITE, 0, nullptr,
                                        OPEN_EXISTING, 0, nullptr);
        if (pipe != INVALID_HANDLE_VALUE) return pipe;
        if (GetLastError() != ERROR_PIPE_BUSY) return nullptr;
        WaitNamedPipeW(path.c_str(), 1000);
    }
    return nullptr;
}

/// Empty when the server hangs up without an answer.
std::string exchange(HANDLE pipe, const std::string& request) {
    DWORD count = 0;
    WriteFile(pipe, request.data(), static_cast<DWORD>(request.size()), &count, nullptr);
    std::string answer;
    char chunk[512];
    while (answer.find('\n') == std::string::npos &&
           ReadFile(pipe, chunk, sizeof(chunk), &count, nullptr) != FALSE && count > 0)
        answer.append(chunk, count);
    return answer;
}

std::string ask(const std::wstring& path, const std::string& request) {
    const HANDLE pipe = open_pipe(path);
    if (pipe == nullptr) return "not opened";
    std::string answer = exchange(pipe, request);
    CloseHandle(pipe);
    return answer;
}

int abuse() {
    HKEY key = nullptr;
    wchar_t name[64];
    DWORD length = 64;
    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, list_key, 0, KEY_QUERY_VALUE, &key) != ERROR_SUCCESS ||
        RegEnumValueW(key, 0, name, &length, nullptr, nullptr, nullptr, nullptr) != ERROR_SUCCESS)
        return fail("no pipe on the list");
    const std::wstring path = std::wstring(folder) + name;

    for (const std::string& request :
         {std::string("show\n"), std::string("wnbd 2 show\n"), std::string("\n"),
          std::string("wnbd 1 show\0\n", 13), std::string("\xFF\xFE\x00\n", 4)}) {
        if (ask(path, request).find("\"Code\":50") == std::string::npos)
            return fail("an unknown request was not refused");
    }
    for (const std::size_t size : {64U, 65U, 5000U, 100'000U}) {
        if (!ask(path, std::string(size, 'x')).empty())
            return fail("an endless request was answered");
    }
    for (unsigned i = 0; i < 50; ++i) {
        const HANDLE pipe = open_pipe(path);
        if (pipe == nullptr) return fail("the pipe could not be opened");
        DWORD count = 0;
        // Asks and leaves, in half of the cases without even that.
        if (i % 2 == 0) WriteFile(pipe, "wnbd 1 stats\n", 13, &count, nullptr);
        CloseHandle(pipe);
    }
    // All of the server's instances are held by somebody who says nothing.
    std::vector<HANDLE> held;
    for (unsigned i = 0; i < 4; ++i)
        held.push_back(open_pipe(path));
    const std::string answer = ask(path, "wnbd 1 show\n");
    if (answer.find("\"Code\":0") == std::string::npos) return fail("silence kept others out");
    for (const HANDLE pipe : held)
        CloseHandle(pipe);
    std::printf("ok\n");
    return 0;
}

int impostor(bool silent) {
    const DWORD pid = GetCurrentProcessId();
    const std::wstring name = std::to_wstring(pid) + L"-0000000000000001";
    const HANDLE pipe = CreateNamedPipeW((folder + name).c_str(), PIPE_ACCESS_DUPLEX,
                                         PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT, 1, 4096,
                                         4096, 0, nullptr);
    if (pipe == INVALID_HANDLE_VALUE) return fail("CreateNamedPipe");
    HKEY key = nullptr;
    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, list_key, 0, nullptr, REG_OPTION_VOLATILE,
                        KEY_SET_VALUE, nullptr, &key, nullptr) != ERROR_SUCCESS ||
        RegSetValueExW(key, name.c_str(), 0, REG_DWORD, reinterpret_cast<const BYTE*>(&pid),
                       sizeof(pid)) != ERROR_SUCCESS)
        return fail("the list");
    std::printf("listed\n");
    std::fflush(stdout);
    for (;;) {
        ConnectNamedPipe(pipe, nullptr);
        char chunk[512];
        DWORD count = 0;
        ReadFile(pipe, chunk, sizeof(chunk), &count, nullptr);
        if (silent) {
            Sleep(60'000);
        } else {
            // Until the other side has had enough.
            const std::string nonsense(4096, '[');
            while (WriteFile(pipe, nonsense.data(), 4096, &count, nullptr) != FALSE)
                ;
        }
        DisconnectNamedPipe(pipe);
    }
}

int churn() {
    HKEY key = nullptr;
    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, list_key, 0, nullptr, REG_OPTION_VOLATILE,
                        KEY_SET_VALUE, nullptr, &key, nullptr) != ERROR_SUCCESS)
        return fail("the list");
    std::printf("listed\n");
    std::fflush(stdout);
    const DWORD pid = 0;
    for (;;) {
        RegSetValueExW(key, L"0-0000000000000001", 0, REG_DWORD,
                       reinterpret_cast<const BYTE*>(&pid), sizeof(pid));
        RegDeleteValueW(key, L"0-0000000000000001");
    }
}

}  // namespace

int main(int count, char** words) {
    if (count == 2 && std::strcmp(words[1], "abuse") == 0) return abuse();
    if (count == 2 && std::strcmp(words[1], "churn") == 0) return churn();
    if (count == 3 && std::strcmp(words[1], "impostor") == 0)
        return impostor(std::strcmp(words[2], "silent") == 0);
    return 2;
}
