// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/words.h"

#include <algorithm>

namespace wnbd::client {
namespace {

bool is_blank(char character) {
    return character == ' ' || character == '\t';
}

class Splitter {
  public:
    explicit Splitter(std::string_view rest) : rest_(rest) {}

    std::vector<std::string> run() {
        std::vector<std::string> words;
        for (;;) {
            while (!rest_.empty() && is_blank(rest_.front()))
                rest_.remove_prefix(1);
            if (rest_.empty()) return words;
            words.push_back(next_word());
        }
    }

  private:
    std::string next_word() {
        std::string word;
        bool quoted = false;
        while (!rest_.empty() && (quoted || !is_blank(rest_.front()))) {
            if (rest_.front() == '\\') {
                take_backslashes(word);
            } else if (!take_quotation_mark(word, quoted)) {
                word += rest_.front();
                rest_.remove_prefix(1);
            }
        }
        return word;
    }

    void take_backslashes(std::string& word) {
        const std::size_t end = std::min(rest_.find_first_not_of('\\'), rest_.size());
        const bool before_mark = end < rest_.size() && rest_[end] == '"';
        word.append(before_mark ? end / 2 : end, '\\');
        rest_.remove_prefix(end);
        if (before_mark && end % 2 != 0) {
            word += '"';
            rest_.remove_prefix(1);
        }
    }

    bool take_quotation_mark(std::string& word, bool& quoted) {
        if (rest_.front() != '"') return false;
        rest_.remove_prefix(1);
        if (quoted && rest_.starts_with('"')) {
            word += '"';
            rest_.remove_prefix(1);
        } else {
            quoted = !quoted;
        }
        return true;
    }

    std::string_view rest_;
};

}  // namespace

std::vector<std::string> split_words(std::string_view line) {
    return Splitter(line).run();
}

std::vector<std::string> split_command_line(std::string_view line) {
    bool quoted = false;
    std::size_t end = 0;
    for (; end < line.size() && (quoted || !is_blank(line[end])); ++end) {
        if (line[end] == '"') quoted = !quoted;
    }
    return split_words(line.substr(end));
}

}  // namespace wnbd::client
