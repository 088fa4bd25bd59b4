// SPDX-License-Identifier: LGPL-2.1-or-later
// disktool: does to a disk what programs do, and says what came of it.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "lab/tools/commands.h"
#include "lab/tools/drive.h"

using namespace wnbd::disktool;

namespace {

void add_transfer(CLI::App& app, const char* name, const char* what, TransferOptions& options,
                  bool writes, int& exit_code) {
    CLI::App* const command = app.add_subcommand(name, what);
    command->add_option("drive", options.drive)->required();
    command->add_option("file", options.file)->required();
    command->add_option("--offset", options.offset, "bytes");
    command->add_option("--length", options.length, "bytes; all there is by default");
    command->add_option("--chunk", options.chunk, "bytes a call");
    command->add_flag("--unbuffered", options.unbuffered);
    if (writes) {
        command->add_flag("--write-through", options.write_through);
        command->add_flag("--flush", options.flush);
    }
    command->callback([&options, &exit_code, writes] {
        exit_code = writes ? write_from_file(options) : read_to_file(options);
    });
}

void add_pass_through(CLI::App& app, PassThroughOptions& options, int& exit_code) {
    CLI::App* const command = app.add_subcommand("scsi", "send a CDB");
    command->add_option("drive", options.drive)->required();
    command->add_option("cdb", options.cdb, "hex")->required();
    command->add_option("--in", options.in_length, "data-in bytes");
    command->add_option("--out", options.out_hex, "data-out bytes in hex");
    command->add_option("--out-file", options.out_file, "a file with the data-out bytes");
    command->add_option("--timeout", options.timeout, "seconds");
    command->add_flag("--direct", options.direct);
    command->callback([&options, &exit_code] { exit_code = pass_through(options); });
}

void add_range(CLI::App& app, const char* name, const char* what, TrimOptions& options,
               int (*action)(const TrimOptions&), int& exit_code) {
    CLI::App* const command = app.add_subcommand(name, what);
    command->add_option("drive", options.drive)->required();
    command->add_option("offset", options.offset, "bytes")->required();
    command->add_option("length", options.length, "bytes")->required();
    command->callback([&options, &exit_code, action] { exit_code = action(options); });
}

void add_reserve(CLI::App& app, ReserveOptions& options, int& exit_code) {
    CLI::App* const in = app.add_subcommand("reserve-in", "PERSISTENT RESERVE IN");
    CLI::App* const out = app.add_subcommand("reserve-out", "PERSISTENT RESERVE OUT");
    for (CLI::App* const command : {in, out}) {
        command->add_option("drive", options.drive)->required();
        command->add_option("action", options.action, "service action")->required();
    }
    out->add_option("--type", options.type);
    out->add_option("--key", options.key);
    out->add_option("--action-key", options.action_key);
    in->callback([&options, &exit_code] { exit_code = reserve_in(options); });
    out->callback([&options, &exit_code] { exit_code = reserve_out(options); });
}

void add_load(CLI::App& app, LoadOptions& options, int& exit_code) {
    CLI::App* const command = app.add_subcommand("load", "random checked reads and writes");
    command->add_option("drive", options.drive)->required();
    command->add_option("--ios", options.ios);
    command->add_option("--depth", options.depth);
    command->add_option("--block", options.block, "bytes");
    command->add_option("--region", options.region, "bytes");
    command->add_option("--seed", options.seed);
    command->add_flag("--tolerate-errors", options.tolerate_errors);
    command->callback([&options, &exit_code] { exit_code = run_load(options); });
}

void add_endure(CLI::App& app, EndureOptions& options, int& exit_code) {
    CLI::App* const command = app.add_subcommand("endure", "a load that outlives its disk");
    command->add_option("serial", options.serial, "the disk's serial number")->required();
    command->add_option("--ios", options.ios, "that must succeed");
    command->add_option("--depth", options.depth);
    command->add_option("--block", options.block, "bytes");
    command->add_option("--region", options.region, "bytes");
    command->add_option("--seed", options.seed);
    command->add_option("--patience", options.patience_s, "seconds without a success");
    command->callback([&options, &exit_code] { exit_code = run_endure(options); });
}

void add_plain(CLI::App& app, const char* name, const char* what, unsigned& drive,
               int (*action)(unsigned), int& exit_code) {
    CLI::App* const command = app.add_subcommand(name, what);
    command->add_option("drive", drive)->required();
    command->callback([&drive, &exit_code, action] { exit_code = action(drive); });
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"disktool: exercises \\\\.\\PhysicalDriveN"};
    app.require_subcommand(1);
    int exit_code = 0;
    unsigned drive = 0;
    TransferOptions reading, writing;
    PassThroughOptions pass;
    LoadOptions load;
    EndureOptions endure;
    TrimOptions range;
    ReserveOptions reserve;
    add_transfer(app, "read", "disk to file", reading, false, exit_code);
    add_transfer(app, "write", "file to disk", writing, true, exit_code);
    add_plain(app, "flush", "FlushFileBuffers", drive, flush, exit_code);
    add_plain(app, "hold", "keep a handle open", drive, hold, exit_code);
    add_plain(app, "info", "what the ioctls say", drive, print_information, exit_code);
    add_plain(app, "update", "have the capacity read again", drive, update_properties, exit_code);
    add_pass_through(app, pass, exit_code);
    add_range(app, "trim", "have a range unmapped", range, trim, exit_code);
    add_range(app, "verify", "have a range read on the disk's side", range, verify, exit_code);
    add_reserve(app, reserve, exit_code);
    add_load(app, load, exit_code);
    add_endure(app, endure, exit_code);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    } catch (const Win32Failure& failure) {
        std::fprintf(stderr, "disktool: %s\n", failure.what());
        return static_cast<int>(failure.error());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "disktool: %s\n", error.what());
        return 1;
    }
    return exit_code;
}
