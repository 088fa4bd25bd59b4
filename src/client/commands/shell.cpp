// SPDX-License-Identifier: LGPL-2.1-or-later
// shell: the commands of the command line, from a process that has all it needs in memory. It is
// for the moment when the system disk hangs, perhaps because it is one of ours, and no program can
// be started any more.
#include <string>
#include <vector>

#include "client/commands/commands.h"
#include "client/dispatch.h"
#include "client/fields.h"
#include "client/line_reader.h"
#include "client/resident.h"
#include "client/served_disk.h"
#include "client/session.h"
#include "client/system.h"
#include "client/words.h"

namespace wnbd::client {
namespace {

/// Says how far the shell can be relied on.
DWORD introduce(const Residence& residence, OutputFormat format) {
    if (residence.unlocked_bytes != 0) {
        print_complaint("Note: " + residence_text(residence) + ": " +
                        failure_text("VirtualLock", residence.reason,
                                     {.task = Task::other, .code = residence.code}) +
                        " The shell may hang when the system disk does.");
    }
    if (format == OutputFormat::json) {
        return print(json_line({{"LockedBytes", residence.locked_bytes},
                                {"UnlockedBytes", residence.unlocked_bytes}}) +
                     "\n");
    }
    return print("wnbd-client shell, " + residence_text({.locked_bytes = residence.locked_bytes}) +
                 ". `help` lists the commands, `exit` or `quit` ends.\n");
}

class Shell {
  public:
    explicit Shell(OutputFormat format) : format_(format) {}

    /// Until the input ends. Returns the exit code of the last command.
    DWORD run() {
        while (!exits_) {
            if (reader_.is_console() && print("wnbd> ") != ERROR_SUCCESS) break;
            const auto line = reader_.next();
            if (!line) break;
            run_line(*line);
        }
        return code_;
    }

  private:
    void run_line(const InputLine& line) {
        const std::vector<std::string> words = split_words(line.text);
        if (line.too_long) {
            use_message_format(format_);
            code_ = refuse("The line is too long: at most " +
                               std::to_string(LineSplitter::length_max) + " bytes are allowed.",
                           ERROR_BUFFER_OVERFLOW);
        } else if (words.empty()) {
            return;
        } else if (words.front() == "exit" || words.front() == "quit") {
            exits_ = words.size() == 1;
            if (exits_) return;
            use_message_format(format_);
            code_ = refuse("too many arguments", ERROR_INVALID_PARAMETER);
        } else {
            code_ = run_command(words, format_);
        }
        tell_code();
    }

    /// What a process would tell by its exit code. JSON is for programs: they learn from it, too,
    /// that the command is over.
    void tell_code() {
        if (format_ == OutputFormat::json) {
            if (print(json_line({{"ExitCode", std::uint64_t{code_}}}) + "\n") != ERROR_SUCCESS)
                exits_ = true;
        } else if (code_ != ERROR_SUCCESS) {
            print_error("Exit code: " + std::to_string(code_));
        }
    }

    OutputFormat format_;
    LineReader reader_;
    DWORD code_ = ERROR_SUCCESS;
    bool exits_ = false;
};

}  // namespace

DWORD run_shell(const Arguments& arguments) {
    if (in_shell()) return refuse("This is a shell already.", ERROR_INVALID_PARAMETER);
    enter_shell();
    if (const DWORD code = watch_control_events(); code != ERROR_SUCCESS) {
        return report_failure(Task::other, "Could not start the shell", code);
    }
    const Residence residence = become_resident();
    if (const DWORD code = introduce(residence, arguments.format()); code != ERROR_SUCCESS) {
        return code;
    }
    const DWORD code = Shell(arguments.format()).run();
    remove_served_disks();
    return code;
}

}  // namespace wnbd::client
