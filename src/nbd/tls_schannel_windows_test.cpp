// SPDX-License-Identifier: LGPL-2.1-or-later
// Schannel's sessions over a Schannel, a chain engine and a key store of the test's own: what the
// real ones may do, and Wine's never does. Prints what is wrong; exits 0 when nothing is.
#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "nbd/tls_schannel.h"
#include "nbd/tls_stream.h"

namespace wnbd::nbd::tls {
namespace {

using namespace std::chrono_literals;

int failures = 0;

void check(bool good, const char* what, int line) {
    if (good) return;
    std::printf("line %d: not so: %s\n", line, what);
    ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

/// The library's replacement. Its records are a kind, a length and so many bytes: 'd' data, 'm' a
/// message between records, which it answers with "A", 'f' a fatal alert.
struct Library {
    DWORD protocol = SP_PROT_TLS1_2_CLIENT;
    bool wants_credentials = false;  // once, in the handshake
    bool takes_nothing = false;      // of what it is given
    bool never_complete = false;
    int calls = 0;
    std::atomic<int> encrypting = 0;
    std::atomic<int> decrypting = 0;
    std::atomic<bool> encrypted = false;
    bool decrypts_slowly = false;
    bool waits_for_encryption = false;
    bool waited_in_vain = false;
    std::atomic<bool> disturbed = false;  // something ran beside what it must not run beside

    void called() {
        if (++calls < 1000) return;
        std::printf("asked for ever\n");
        std::fflush(stdout);
        std::_Exit(1);
    }
};
Library library;

/// What is neither encryption nor decryption has the context to itself.
struct Alone {
    Alone() { look(); }
    ~Alone() { look(); }
    static void look() {
        if (library.encrypting + library.decrypting > 0) library.disturbed = true;
    }
};

void give(SecBufferDesc* to, std::string_view token) {
    if (to == nullptr || token.empty()) return;
    auto& buffer = to->pBuffers[0];
    buffer.pvBuffer = std::malloc(token.size());
    buffer.cbBuffer = static_cast<ULONG>(token.size());
    std::memcpy(buffer.pvBuffer, token.data(), token.size());
}

SECURITY_STATUS WINAPI initialize(CredHandle*, CtxtHandle* context, SEC_WCHAR*, ULONG, ULONG, ULONG,
                                  SecBufferDesc* input, ULONG, CtxtHandle*, SecBufferDesc* output,
                                  ULONG*, TimeStamp*) {
    library.called();
    const Alone alone;
    if (context == nullptr) {
        give(output, "hello");
        return SEC_I_CONTINUE_NEEDED;
    }
    if (input == nullptr) {
        std::this_thread::sleep_for(20ms);
        give(output, "farewell");
        return SEC_E_OK;
    }
    if (library.wants_credentials) {
        library.wants_credentials = false;
        return SEC_I_INCOMPLETE_CREDENTIALS;
    }
    if (library.never_complete) return SEC_E_INCOMPLETE_MESSAGE;
    auto& given = input->pBuffers[0];
    const auto* const bytes = static_cast<const char*>(given.pvBuffer);
    if (bytes[0] == 'b') return SEC_I_CONTINUE_NEEDED;
    const bool message = bytes[0] == 'm';
    const ULONG used = message ? 2 + static_cast<ULONG>(bytes[1]) : given.cbBuffer;
    if (library.takes_nothing || used < given.cbBuffer)
        input->pBuffers[1] = {library.takes_nothing ? given.cbBuffer : given.cbBuffer - used,
                              SECBUFFER_EXTRA, nullptr};
    if (message) give(output, "A");
    return library.takes_nothing && !message ? SEC_I_CONTINUE_NEEDED : SEC_E_OK;
}

SECURITY_STATUS WINAPI apply(CtxtHandle*, SecBufferDesc*) {
    const Alone alone;
    return SEC_E_OK;
}

SECURITY_STATUS WINAPI forget(CtxtHandle*) {
    return SEC_E_OK;
}

SECURITY_STATUS WINAPI query(CtxtHandle*, ULONG attribute, void* answer) {
    switch (attribute) {
        case SECPKG_ATTR_STREAM_SIZES:
            *static_cast<SecPkgContext_StreamSizes*>(answer) = {5, 16, 16'384, 4, 16};
            return SEC_E_OK;
        case SECPKG_ATTR_CONNECTION_INFO:
            *static_cast<SecPkgContext_ConnectionInfo*>(answer) = {
                library.protocol, CALG_AES_256, 256, 0, 0, 0, 0};
            return SEC_E_OK;
        case SECPKG_ATTR_CIPHER_INFO:
            if (library.protocol != SP_PROT_TLS1_3_CLIENT) return SEC_E_UNSUPPORTED_FUNCTION;
            std::wcscpy(static_cast<SecPkgContext_CipherInfo*>(answer)->szCipherSuite,
                        L"TLS_AES_256_GCM_SHA384");
            return SEC_E_OK;
        default: return SEC_E_UNSUPPORTED_FUNCTION;
    }
}

SECURITY_STATUS decrypt(SecBufferDesc* message) {
    auto* const buffers = message->pBuffers;
    const ULONG size = buffers[0].cbBuffer;
    auto* const bytes = static_cast<char*>(buffers[0].pvBuffer);
    if (library.decrypts_slowly) std::this_thread::sleep_for(1ms);
    for (int i = 0; library.waits_for_encryption && !library.encrypted && i < 20'000; ++i)
        std::this_thread::sleep_for(1ms);
    if (library.waits_for_encryption && !library.encrypted) library.waited_in_vain = true;
    if (library.never_complete || size < 2 || size < 2 + static_cast<ULONG>(bytes[1]))
        return SEC_E_INCOMPLETE_MESSAGE;
    const ULONG length = static_cast<ULONG>(bytes[1]);
    if (bytes[0] == 'f') return SEC_E_ILLEGAL_MESSAGE;
    if (bytes[0] == 'm') {
        buffers[3] = {size, SECBUFFER_EXTRA, bytes};
        return SEC_I_RENEGOTIATE;
    }
    buffers[0] = {2, SECBUFFER_STREAM_HEADER, bytes};
    buffers[1] = {length, SECBUFFER_DATA, bytes + 2};
    if (size > 2 + length) buffers[3] = {size - 2 - length, SECBUFFER_EXTRA, bytes + 2 + length};
    return SEC_E_OK;
}

struct Chain {
    DWORD size = 0;
    DWORD fetch_time_max = 0;
} chain_asked;

BOOL WINAPI get_chain(HCERTCHAINENGINE, PCCERT_CONTEXT, FILETIME*, HCERTSTORE,
                      CERT_CHAIN_PARA* parameters, DWORD, void*, PCCERT_CHAIN_CONTEXT*) {
    chain_asked = {parameters->cbSize, parameters->dwUrlRetrievalTimeout};
    ::SetLastError(ERROR_TIMEOUT);
    return FALSE;
}

/// The newer key store, which Wine has not.
struct KeyStore {
    std::vector<std::wstring> names;
    std::vector<std::wstring> deleted;
    std::size_t shown = 0;
} keys;

std::string text(std::span<const std::uint8_t> bytes) {
    return {bytes.begin(), bytes.end()};
}

void put(TlsSession& session, std::string_view bytes) {
    std::memcpy(session.receive_window().data(), bytes.data(), bytes.size());
    session.received(bytes.size());
}

std::shared_ptr<SchannelCredentials> credentials() {
    TlsSettings settings;
    settings.verify_peer = false;
    return std::make_shared<SchannelCredentials>(settings);
}

std::unique_ptr<TlsSession> begin() {
    library.calls = 0;
    auto session = TlsSession::create(credentials(), "a.example");
    CHECK(session.ok() && session.value()->handshake().ok());
    auto& said = *session.value();
    CHECK(text(said.output()) == "hello");
    said.sent(said.output().size());
    return std::move(session.value());
}

std::unique_ptr<TlsSession> establish() {
    auto session = begin();
    put(*session, "server hello");
    const auto done = session->handshake();
    CHECK(done.ok() && done.value());
    library.calls = 0;
    return session;
}

struct Received {
    std::string bytes{};
    TlsSession::Incoming state = TlsSession::Incoming::more_needed;
    Fault fault{};
};
Received receive(TlsSession& session) {
    std::array<std::uint8_t, 100> bytes;
    const IoSlice into{bytes.data(), bytes.size()};
    const auto got = session.decrypt({&into, 1});
    if (!got) return {.fault = got.error()};
    return {text(std::span(bytes).first(got.value().bytes)), got.value().state};
}

void send(TlsSession& session, std::string bytes) {
    const IoSlice from{reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    const auto taken = session.encrypt({&from, 1});
    CHECK(taken.ok() && taken.value() == bytes.size());
}

void what_takes_nothing_ends() {
    {
        const auto session = begin();
        library.takes_nothing = true;
        put(*session, "server hello");
        const auto step = session->handshake();
        CHECK(!step.ok() && step.error().code == FaultCode::tls_failed);
        CHECK(!session->handshake().ok());
        library.takes_nothing = false;
    }
    library.protocol = SP_PROT_TLS1_3_CLIENT;
    {
        const auto session = establish();
        put(*session, "d\1x");
        CHECK(receive(*session).bytes == "x");
        library.takes_nothing = true;
        put(*session, "m\1k");
        CHECK(receive(*session).fault.code == FaultCode::tls_failed);
        library.takes_nothing = false;
    }
    library.never_complete = true;
    for (const bool handshake : {true, false}) {
        library.never_complete = handshake;
        const auto session = handshake ? begin() : establish();
        library.never_complete = true;
        for (auto room = session->receive_window(); !room.empty(); room = session->receive_window())
            session->received(room.size());
        const bool refused = handshake ? !session->handshake().ok()
                                       : receive(*session).fault.code == FaultCode::tls_failed;
        CHECK(refused);
    }
    library.never_complete = false;
    library.protocol = SP_PROT_TLS1_2_CLIENT;
}

/// A server that talks without end, of which Schannel takes every byte.
class Babble final : public Stream {
  public:
    IoResult send(std::span<const IoSlice> slices) noexcept override {
        return {.bytes = slices[0].size};
    }
    IoResult receive(std::span<const IoSlice> slices) noexcept override {
        slices[0].data[0] = 'b';
        return {.bytes = 1};
    }
    Ready wait(const WaitFor&) noexcept override { return {.readable = true}; }
    void wake() noexcept override {}
    void shut_down() noexcept override {}
    void shut_down_send() noexcept override {}
};

void endless_talk_is_timed_out() {
    library.calls = INT_MIN;
    const auto opened = TlsStream::open(std::make_unique<Babble>(), credentials(), "a.example",
                                        std::chrono::steady_clock::now() + 50ms);
    CHECK(!opened.ok() && opened.error().code == FaultCode::timed_out);
}

void other_credentials_see_the_same_bytes() {
    const auto session = begin();
    library.wants_credentials = true;
    put(*session, "server hello");
    const auto done = session->handshake();
    CHECK(done.ok() && done.value());
    CHECK(session->truncated().code == FaultCode::tls_client_certificate_wanted);
}

void messages_between_records() {
    library.protocol = SP_PROT_TLS1_3_CLIENT;
    const auto session = establish();
    CHECK(session->description() == "TLS 1.3, AES-256-GCM");
    put(*session, "d\2abm\3tktm\1kd\2cd");
    CHECK(receive(*session).bytes == "abcd");
    // The answers go before the next record, or before the farewell.
    CHECK(session->output().empty());
    send(*session, "xyz");
    CHECK(text(session->output()).starts_with("AA") && session->output().size() == 2 + 5 + 3 + 16);
    session->sent(session->output().size());
    put(*session, "m\1k");
    CHECK(receive(*session).state == TlsSession::Incoming::more_needed);
    session->close();
    CHECK(text(session->output()) == "Afarewell");
    library.protocol = SP_PROT_TLS1_2_CLIENT;
    CHECK(establish()->description() == "TLS 1.2, AES-256");
}

void a_certificate_that_may_be_missed() {
    library.protocol = SP_PROT_TLS1_3_CLIENT;
    const auto silent = establish();
    put(*silent, "f\1x");
    const auto refused = receive(*silent).fault;
    CHECK(refused.code == FaultCode::tls_client_certificate_wanted);
    CHECK(describe(refused).find("if it wants a client certificate, put client-cert.pem") !=
          std::string::npos);
    CHECK(silent->truncated().code == FaultCode::tls_client_certificate_wanted);
    const auto spoken = establish();
    put(*spoken, "d\1xf\1x");
    CHECK(receive(*spoken).bytes == "x");
    CHECK(receive(*spoken).fault.code == FaultCode::tls_failed);
    CHECK(spoken->truncated().code == FaultCode::tls_truncated);
    library.protocol = SP_PROT_TLS1_2_CLIENT;
    const auto older = establish();
    put(*older, "f\1x");
    CHECK(receive(*older).fault.code == FaultCode::tls_failed);
}

/// The one sends while the other receives, and the farewell comes beside neither.
void threads() {
    const auto session = establish();
    put(*session, "d\1x");
    library.encrypted = false;
    library.waits_for_encryption = true;
    std::thread receiver([&] { CHECK(receive(*session).bytes == "x"); });
    while (library.decrypting == 0)
        std::this_thread::yield();
    send(*session, "abc");
    receiver.join();
    CHECK(library.encrypted && !library.waited_in_vain);
    library.waits_for_encryption = false;

    library.decrypts_slowly = true;
    std::atomic<bool> over = false;
    std::thread busy([&] {
        while (!over) {
            put(*session, "d\1yd\1z");
            CHECK(receive(*session).bytes == "yz");
            // The system's mutexes are not fair.
            std::this_thread::sleep_for(1ms);
        }
    });
    for (int i = 0; i < 10; ++i) {
        while (library.decrypting == 0)
            std::this_thread::yield();
        session->close();
        session->sent(session->output().size());
    }
    over = true;
    busy.join();
    library.decrypts_slowly = false;
    CHECK(!library.disturbed);
}

void fetching_is_bounded() {
    TlsSettings settings;
    const SchannelCredentials system_trust(settings);
    const CERT_CONTEXT certificate{};
    CHECK(verify_server(certificate, system_trust, "a.example").code == FaultCode::tls_untrusted);
    CHECK(chain_asked.size == sizeof(CERT_CHAIN_PARA));
    CHECK(chain_asked.fetch_time_max >= 1'000 && chain_asked.fetch_time_max <= 5'000);
}

/// The number of a process that has ended, and that nobody else can get while `handle` is open.
DWORD ended_process(HANDLE& handle) {
    wchar_t program[MAX_PATH];
    ::GetModuleFileNameW(nullptr, program, MAX_PATH);
    wchar_t command[] = L"test end";
    STARTUPINFOW startup{};
    startup.cb = sizeof startup;
    PROCESS_INFORMATION process{};
    CHECK(::CreateProcessW(program, command, nullptr, nullptr, FALSE, 0, nullptr, nullptr, &startup,
                           &process) != 0);
    ::WaitForSingleObject(process.hProcess, INFINITE);
    ::CloseHandle(process.hThread);
    handle = process.hProcess;
    return process.dwProcessId;
}

void keys_that_were_left_behind() {
    CHECK(owner_of(L"wnbd-12-345-6") == DWORD{12});
    for (const auto* other :
         {L"wnbd-", L"wnbd-12", L"wnbd-12-3", L"wnbd-12-3-", L"wnbd--3-4", L"wnbd-x-3-4",
          L"wnbd-12-3-4x", L"wnbd-12-3-4-5", L"wnbd-0-3-4", L"wnbd-4294967296-3-4",
          L"wnbd-99999999999-3-4", L"Wnbd-12-3-4", L"xwnbd-12-3-4", L""})
        CHECK(!owner_of(other));

    HANDLE handle = nullptr;
    const auto name = [](DWORD process) { return L"wnbd-" + std::to_wstring(process) + L"-1-1"; };
    const auto ended = name(ended_process(handle));
    const auto never = name(4'000'000'000U);
    const auto living = name(::GetCurrentProcessId());
    keys.names = {L"another's", ended, living, L"wnbd-my-own", never};
    {
        const auto stored = store_key({1, 2, 3}, {});
        CHECK(stored.ok());
        CHECK((keys.deleted == std::vector<std::wstring>{ended, never}));
        keys.deleted.clear();
    }
    CHECK(keys.deleted.size() == 1 && owner_of(keys.deleted[0]) == ::GetCurrentProcessId());
    ::CloseHandle(handle);
}

}  // namespace
}  // namespace wnbd::nbd::tls

// What the linker takes instead of the system's.
using namespace wnbd::nbd::tls;  // NOLINT
extern "C" {
decltype(&::InitializeSecurityContextW) __imp_InitializeSecurityContextW = initialize;
decltype(&::ApplyControlToken) __imp_ApplyControlToken = apply;
decltype(&::DeleteSecurityContext) __imp_DeleteSecurityContext = forget;
decltype(&::QueryContextAttributesW) __imp_QueryContextAttributesW = query;
decltype(&::CertGetCertificateChain) __imp_CertGetCertificateChain = get_chain;

SECURITY_STATUS WINAPI FreeContextBuffer(void* buffer) {
    std::free(buffer);
    return SEC_E_OK;
}
SECURITY_STATUS WINAPI EncryptMessage(CtxtHandle*, ULONG, SecBufferDesc*, ULONG) {
    ++library.encrypting;
    library.encrypted = true;
    --library.encrypting;
    return SEC_E_OK;
}
SECURITY_STATUS WINAPI DecryptMessage(CtxtHandle*, SecBufferDesc* message, ULONG, ULONG*) {
    if (!library.decrypts_slowly) library.called();
    ++library.decrypting;
    const auto status = decrypt(message);
    --library.decrypting;
    return status;
}

SECURITY_STATUS WINAPI NCryptOpenStorageProvider(NCRYPT_PROV_HANDLE* provider, LPCWSTR, DWORD) {
    *provider = 1;
    return 0;
}
SECURITY_STATUS WINAPI NCryptImportKey(NCRYPT_PROV_HANDLE, NCRYPT_KEY_HANDLE, LPCWSTR,
                                       NCryptBufferDesc*, NCRYPT_KEY_HANDLE* key, BYTE*, DWORD,
                                       DWORD) {
    *key = 2;
    return 0;
}
SECURITY_STATUS WINAPI NCryptEnumKeys(NCRYPT_PROV_HANDLE, LPCWSTR, NCryptKeyName** name, void**,
                                      DWORD) {
    if (keys.shown == keys.names.size()) return NTE_NO_MORE_ITEMS;
    *name = new NCryptKeyName{keys.names[keys.shown++].data(), nullptr, 0, 0};
    return 0;
}
SECURITY_STATUS WINAPI NCryptFreeBuffer(void* buffer) {
    delete static_cast<NCryptKeyName*>(buffer);
    return 0;
}
SECURITY_STATUS WINAPI NCryptOpenKey(NCRYPT_PROV_HANDLE, NCRYPT_KEY_HANDLE* key, LPCWSTR name,
                                     DWORD, DWORD) {
    keys.deleted.emplace_back(name);
    *key = 2;
    return 0;
}
SECURITY_STATUS WINAPI NCryptDeleteKey(NCRYPT_KEY_HANDLE, DWORD) {
    return 0;
}
SECURITY_STATUS WINAPI NCryptFreeObject(NCRYPT_HANDLE) {
    return 0;
}
}

int main(int count, char**) {
    if (count > 1) return 0;
    const struct {
        const char* name;
        void (*run)();
    } parts[] = {{"what takes nothing ends", what_takes_nothing_ends},
                 {"endless talk", endless_talk_is_timed_out},
                 {"other credentials", other_credentials_see_the_same_bytes},
                 {"messages between records", messages_between_records},
                 {"a certificate that may be missed", a_certificate_that_may_be_missed},
                 {"threads", threads},
                 {"fetching is bounded", fetching_is_bounded},
                 {"keys that were left behind", keys_that_were_left_behind}};
    for (const auto& part : parts) {
        part.run();
        std::printf("%s\n", part.name);
        std::fflush(stdout);
    }
    return failures == 0 ? 0 : 1;
}
