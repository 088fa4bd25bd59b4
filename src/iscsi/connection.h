// SPDX-License-Identifier: LGPL-2.1-or-later
// One connection of an initiator, without I/O: bytes in, bytes out. The shell reads from its socket
// into receive_room(), tells how much came, and sends what to_send() holds. All calls come from one
// thread at a time (the shell's), but for Task completions, which the shell carries over.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "iscsi/command_table.h"
#include "iscsi/login.h"
#include "iscsi/pdu_reader.h"
#include "iscsi/send_batch.h"
#include "iscsi/session_table.h"
#include "iscsi/target.h"
#include "iscsi/text.h"

namespace wnbd::iscsi {

/// The shell around a connection.
class ConnectionHost {
  public:
    /// From any thread, possibly from within a call of the connection's: have
    /// Connection::process_completions() called soon on the connection's own thread. Many calls
    /// before that may become one. Calls nothing of the target's.
    virtual void wake() noexcept = 0;

  protected:
    ~ConnectionHost() = default;
};

/// Its functions lie in connection_*.cpp, by what they are about.
class Connection final : private PduSink,
                         private SessionDirectory,
                         private SessionHolder,
                         private TaskOwner {
  public:
    /// `peer` is the initiator's address, for the log; `portal` ours, as target_address() makes it.
    /// Allocates everything commands will use, but for the pool's buffers. Throws std::bad_alloc.
    Connection(Target& target, ConnectionHost& host, std::string peer, std::string portal,
               std::uint64_t now_ms);
    ~Connection();  // after detach(), when drained(), or before the first call

    // After each call but the constructor: there may be something to send, the connection may be
    // finished, and receive_room() is new.

    /// Where the next bytes belong: one or two slices (the rest of a write's data, then the buffer
    /// for what follows), which are the shell's to write to until received() or detach(). Empty:
    /// read nothing until something was sent or completed.
    [[nodiscard]] std::span<const ReceiveSlice> receive_room() noexcept;
    /// `count` bytes were put there. Runs every whole PDU among them.
    void received(std::size_t count, std::uint64_t now_ms) noexcept;

    /// Of the commands that the initiator has under way the last received() has brought few, and
    /// all that came are answered: whoever waits a moment now receives many together.
    [[nodiscard]] bool expects_more() const noexcept;

    /// What is to be sent, in order; stays valid until sent() or detach().
    [[nodiscard]] std::span<const SendSlice> to_send() noexcept;
    void sent(std::size_t count) noexcept;

    /// Takes in the tasks that other threads have completed since.
    void process_completions() noexcept;

    /// Time goes by: login time-out, NOP-In, an end that is not read. To be called about once a
    /// second.
    void tick(std::uint64_t now_ms) noexcept;

    /// Asks the initiator to log out (async message), because the target is about to stop. Who has
    /// not logged in is gone at once.
    void ask_for_logout(std::uint16_t within_seconds) noexcept;

    /// True when nothing is left to send and the socket is to be closed.
    [[nodiscard]] bool finished() const noexcept;
    /// Why, for the log; empty after an orderly logout.
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

    /// The socket is gone, and nobody writes to receive_room() any more. Ends the connection's
    /// tasks and session. As long as it is not drained(), wake() and process_completions() go on;
    /// then it may be destroyed.
    void detach() noexcept;
    [[nodiscard]] bool drained() const noexcept { return phase_ == Phase::gone; }

  private:
    enum class Phase : std::uint8_t {
        login,
        waiting,  // for another session of the same port to end: the login response is held
        full_feature,
        logging_out,  // tasks end, then the response goes out
        closing,      // what is to be sent goes out, then the socket is closed
        broken,       // the socket is to be closed as it is
        detached,     // tasks end
        gone,
    };

    /// What to do with a PDU that is numbered.
    enum class Turn : std::uint8_t { now, early, never };

    /// What the data segment that is coming belongs to.
    enum class Current : std::uint8_t {
        other,  // finish() looks at it
        command,
        data_out,
        refused,  // its number counts, nothing else
        ignored,
    };

    /// A PDU that came before its turn.
    struct Early {
        enum class Kind : std::uint8_t { none, command, other, nothing };
        Kind kind = Kind::none;
        CommandSlot* slot = nullptr;
        HeaderBytes header{};
        Buffer data;
        std::uint32_t length = 0;
    };

    /// Tasks that are being ended, unit after unit, and what follows then.
    struct Ending final : Completion {
        enum class Purpose : std::uint8_t { response, logout, detach };
        enum class How : std::uint8_t { task, nexus, clear, reset };

        Ending() noexcept : Completion(Completion::Kind::drain) {}
        bool used = false;
        Purpose purpose = Purpose::response;
        How how = How::nexus;
        bool cold = false;  // TARGET COLD RESET
        std::uint32_t task_tag = no_tag;
        LogicalUnit* only = nullptr;  // nullptr: all units, from `next_unit` on
        CommandSlot* victim = nullptr;
        std::size_t next_unit = 0;
        LogicalUnit::Drain drain;
        Connection* connection = nullptr;
    };

    /// While one lives, the connection is at work on this thread.
    class Work;

    // connection.cpp: life
    void settle() noexcept;
    void break_off(std::string_view why) noexcept;  // close at once
    void close(std::string_view why) noexcept;      // send what there is, then close
    void log(Log::Level level, std::string_view text) noexcept;
    [[nodiscard]] bool takes_pdus() const noexcept;
    void run_reader() noexcept;
    void leave_session() noexcept;
    void drop_outputs() noexcept;

    // connection.cpp: other threads
    void post(Completion& completion) noexcept;
    void completed(Task& task) noexcept override;
    void evicted() noexcept override;
    void turn_has_come() noexcept override;
    void take_posted() noexcept;
    void take(Completion& completion) noexcept;

    // connection_login.cpp
    void receive_login(HeaderView header, std::span<const std::uint8_t> data) noexcept;
    Admission admit(const LoginHeader& request, const Parameters& parameters) noexcept override;
    void enter_full_feature() noexcept;

    // connection_receive.cpp: PDUs and their order
    Placement begin(HeaderView header, std::span<const std::uint8_t> additional) noexcept override;
    void finish(HeaderView header, std::span<const std::uint8_t> data,
                bool intact) noexcept override;
    [[nodiscard]] Turn turn_of(std::uint32_t command_sn) const noexcept;
    [[nodiscard]] Early& early(std::uint32_t command_sn) noexcept {
        return early_[command_sn & (early_.size() - 1)];
    }
    void receive_request(HeaderView header, std::span<const std::uint8_t> data) noexcept;
    void keep_for_later(HeaderView header, std::span<const std::uint8_t> data) noexcept;
    void run_request(HeaderView header, std::span<const std::uint8_t> data) noexcept;
    void take_turn(std::uint32_t command_sn) noexcept;
    void run_early() noexcept;
    void refuse(HeaderView header, RejectReason reason, std::string_view why) noexcept;

    // connection_commands.cpp: SCSI commands and their data-out
    Placement begin_command(HeaderView header, std::span<const std::uint8_t> additional) noexcept;
    void read_command(CommandSlot& slot, const ScsiCommandHeader& header,
                      std::span<const std::uint8_t> additional) noexcept;
    void prepare_transfer(CommandSlot& slot) noexcept;
    void expect_data(CommandSlot& slot, const ScsiCommandHeader& header,
                     std::uint32_t immediate_length) noexcept;
    void finish_command(HeaderView header, bool intact) noexcept;
    Placement begin_data_out(HeaderView header) noexcept;
    [[nodiscard]] std::string_view fault_of(const CommandSlot& slot, const DataOutHeader& header,
                                            std::uint32_t length) const noexcept;
    void finish_data_out(HeaderView header, bool intact) noexcept;
    void deliver(CommandSlot& slot) noexcept;
    void proceed(CommandSlot& slot) noexcept;
    void run(CommandSlot& slot) noexcept;
    void serve_started() noexcept;
    void end_running(CommandSlot& slot) noexcept;
    void end_quietly(CommandSlot& slot) noexcept;
    void note_lost(std::uint32_t task_tag) noexcept;
    [[nodiscard]] std::uint32_t target_tag(const CommandSlot& slot,
                                           std::uint32_t r2t) const noexcept;

    // connection_responses.cpp: what is sent
    void answer(CommandSlot& slot, const scsi::Answer& answer) noexcept;
    void queue(Output& output) noexcept;
    ControlOutput* queue_control(const ControlPdu& pdu) noexcept;
    /// False: the rest must wait for another batch.
    bool encode_output(Output& output) noexcept;
    bool encode_requests(CommandSlot& slot) noexcept;
    bool encode_answer(CommandSlot& slot) noexcept;
    bool encode_data_in(CommandSlot& slot) noexcept;
    void encode_response(CommandSlot& slot) noexcept;
    void encode_control(ControlOutput& control) noexcept;
    void add_pdu(const HeaderBytes& header, std::span<const std::uint8_t> data, Output* owner,
                 bool plain = false) noexcept;
    void release(Output& output) noexcept;
    [[nodiscard]] Numbers numbers(bool counts) noexcept;

    // connection_management.cpp: tasks that end
    void manage_tasks(const TaskManagementHeader& request) noexcept;
    void abort_task(const TaskManagementHeader& request) noexcept;
    void end_gathering(LogicalUnit* unit, std::uint32_t number, bool all) noexcept;
    void end_one_gathering(CommandSlot& slot) noexcept;
    void respond(std::uint32_t task_tag, TaskResponse response) noexcept;
    Ending* new_ending(std::uint32_t task_tag) noexcept;
    void begin_ending(Ending& ending) noexcept;
    void go_on_ending(Ending& ending) noexcept;
    void ended(Ending& ending) noexcept;

    // connection_control.cpp: NOP, logout, text, async messages
    void answer_nop(const NopOutHeader& header, std::span<const std::uint8_t> data) noexcept;
    void log_out(HeaderView header) noexcept;
    void receive_text(HeaderView header, std::span<const std::uint8_t> data) noexcept;
    void send_text(const TextHeader& request) noexcept;
    void attach(ControlOutput& control, std::span<const std::uint8_t> data) noexcept;

    static constexpr std::uint32_t spare_commands = 32;  // immediate ones, and those being sent
    static constexpr std::uint32_t immediate_max = 16;
    static constexpr std::size_t spare_controls = 32;
    static constexpr std::size_t endings_max = 16;
    static constexpr unsigned complaints_max = 20;  // of one connection in the log

    Target& target_;
    const TargetSettings& settings_;
    ConnectionHost& host_;
    const std::string peer_;
    const std::string portal_;
    std::string reason_;

    Phase phase_ = Phase::login;
    const std::uint32_t window_;
    Login login_;
    Parameters parameters_;  // once the login is over
    SessionTable::Entry session_;
    bool entered_ = false;  // the session table knows the connection
    bool begun_ = false;    // the logical units know the nexus
    std::unique_ptr<ControlOutput> held_login_;
    PduReader reader_;

    // The PDU that is coming.
    Current current_ = Current::other;
    CommandSlot* current_slot_ = nullptr;

    // Numbers (RFC 7143, 4.2.2).
    std::uint32_t expected_command_sn_ = 0;
    std::uint32_t max_command_sn_ = 0;
    std::uint32_t status_sn_ = 1;
    std::uint32_t unacknowledged_ = 0;  // commands whose status the initiator had not seen
    std::uint32_t arrived_ = 0;         // commands in the last received()
    std::vector<Early> early_;          // by CmdSN, a power of two of them
    std::uint32_t early_count_ = 0;

    CommandTable commands_;
    std::uint32_t immediate_count_ = 0;
    std::uint32_t running_ = 0;
    LogicalUnit* started_ = nullptr;  // has tasks that nobody serves yet
    /// Of whom data-out may still come: as many as can gather at once, the oldest is replaced.
    std::vector<std::uint32_t> lost_tags_;
    std::size_t lost_next_ = 0;

    // To be sent: a queue, and the batch that is on its way.
    Output* first_output_ = nullptr;
    Output* last_output_ = nullptr;
    const std::unique_ptr<SendBatch> batch_;
    std::vector<ControlOutput> controls_;
    ControlOutput* free_controls_ = nullptr;
    std::size_t free_control_count_ = 0;

    std::array<Ending, endings_max> endings_;
    Ending detach_;
    unsigned endings_used_ = 0;

    TextInput text_input_;
    std::string text_rest_;  // of an answer that did not fit one PDU

    const std::uint64_t started_ms_;
    std::uint64_t last_received_ms_;
    std::uint64_t ping_ms_ = 0;     // when the NOP-In was sent that is not answered; 0: none
    std::uint64_t closing_ms_ = 0;  // since when nothing of the rest was sent; 0: not known yet
    unsigned complaints_ = 0;

    // Between threads. What this very thread completes while it is not at work here goes the same
    // way.
    std::atomic<std::thread::id> worker_{};  // at work here, if any
    std::atomic<Completion*> posted_{nullptr};
    std::atomic<std::uint32_t> posting_{0};  // threads that are about to call wake()
    std::atomic<bool> evicted_{false};
    std::atomic<bool> turn_come_{false};
};

}  // namespace wnbd::iscsi
