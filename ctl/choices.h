// Checks of option values whose texts say what is wrong and what is taken.
//
// Thread-safety: pure functions.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace raftkv::ctl {

// Takes one of these words, and makes of it the number of the enumerator.
template <typename Enum>
CLI::Validator OneOf(std::vector<std::pair<std::string, Enum>> choices) {
  auto transform = [choices = std::move(choices)](std::string& word) {
    std::string names;
    for (size_t i = 0; i < choices.size(); ++i) {
      const auto& [name, value] = choices[i];
      if (word == name) {
        word = std::to_string(static_cast<int>(value));
        return std::string();
      }
      names += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + name;
    }
    return "'" + word + "' is none of its values; give " + names;
  };
  return CLI::Validator(std::move(transform), "");
}

// A number above 0, such as 10 or 0.5.
CLI::Validator Seconds();

// A revision or a number of things, from `min` on. The library takes -1 for the largest number.
CLI::Validator WholeNumber(uint64_t min);

}  // namespace raftkv::ctl
