// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bench/iscsi_bench_targets.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/interop/server_process.h"

namespace wnbd::bench {
namespace {

constexpr const char* tmpfs = "/dev/shm";
constexpr const char* iqn = "iqn.2026-01.org.wnbd.bench:disk";

/// A file of zeroes, not sparse.
void make_file(const std::string& path, std::uint64_t size) {
    const std::vector<char> zeroes(1U << 20);
    std::ofstream file(path, std::ios::binary);
    for (std::uint64_t at = 0; at < size; at += zeroes.size())
        file.write(zeroes.data(), std::streamsize(zeroes.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

std::string url_of(std::uint16_t port, const std::string& name, int lun) {
    return "iscsi://127.0.0.1:" + std::to_string(port) + "/" + name + "/" + std::to_string(lun);
}

class Tgt final : public IscsiTarget {
  public:
    explicit Tgt(std::uint64_t size)
        : directory_(tmpfs),
          port_(test::free_port()),
          // Its control socket, which both programs take from here.
          socket_set_(::setenv("TGT_IPC_SOCKET", directory_.file("control").c_str(), 1) == 0),
          server_({"tgtd", "-f", "-C", control_port, "--iscsi",
                   "portal=127.0.0.1:" + std::to_string(port_)},
                  "", port_),
          url_(url_of(port_, iqn, 1)) {
        const auto file = directory_.file("disk");
        make_file(file, size);
        control("--mode target --op new --tid 1 --targetname " + std::string(iqn));
        control("--mode logicalunit --op new --tid 1 --lun 1 -b " + file);
        control("--mode target --op bind --tid 1 -I ALL");
    }
    [[nodiscard]] const char* name() const noexcept override { return "tgt"; }
    [[nodiscard]] const std::string& url() const noexcept override { return url_; }
    [[nodiscard]] pid_t process() const noexcept override { return server_.process(); }

  private:
    static constexpr const char* control_port = "1";

    static void control(const std::string& arguments) {
        const auto command = "tgtadm -C " + std::string(control_port) + " --lld iscsi " + arguments;
        if (std::system(command.c_str()) != 0) throw std::runtime_error(command + " failed");
    }

    test::TemporaryDirectory directory_;
    std::uint16_t port_;
    bool socket_set_;
    test::ServerProcess server_;
    std::string url_;
};

class Ours final : public IscsiTarget {
  public:
    Ours(const char* name, const std::string& program, const std::string& option,
         std::uint64_t size)
        : name_(name),
          directory_(tmpfs),
          port_(test::free_port()),
          server_(command(program, option, size), "", port_),
          url_(url_of(port_, iqn, 0)) {}
    [[nodiscard]] const char* name() const noexcept override { return name_; }
    [[nodiscard]] const std::string& url() const noexcept override { return url_; }
    [[nodiscard]] pid_t process() const noexcept override { return server_.process(); }

  private:
    [[nodiscard]] std::vector<std::string> command(const std::string& program,
                                                   const std::string& option,
                                                   std::uint64_t size) const {
        std::vector<std::string> words{program, "serve", iqn};
        if (option == "--memory") {
            words.insert(words.end(), {option, std::to_string(size)});
        } else {
            make_file(directory_.file("disk"), size);
            words.insert(words.end(), {option, directory_.file("disk")});
        }
        words.insert(words.end(), {"--listen", "127.0.0.1:" + std::to_string(port_)});
        return words;
    }

    const char* name_;
    test::TemporaryDirectory directory_;
    std::uint16_t port_;
    test::ServerProcess server_;
    std::string url_;
};

}  // namespace

std::unique_ptr<IscsiTarget> start_tgt(std::uint64_t size) {
    return std::make_unique<Tgt>(size);
}

std::unique_ptr<IscsiTarget> start_ours_on_memory(const std::string& program, std::uint64_t size) {
    return std::make_unique<Ours>("memory", program, "--memory", size);
}

std::unique_ptr<IscsiTarget> start_ours_on_file(const std::string& program, std::uint64_t size) {
    return std::make_unique<Ours>("file", program, "--file", size);
}

}  // namespace wnbd::bench
