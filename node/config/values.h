// Reading and writing the values of settings: durations, sizes, addresses, lists.
//
// Thread-safety: functions without shared state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/host_port.h"
#include "base/status.h"
#include "node/runtime/options.h"

namespace raftkv {

// What a setting's value is, where it goes, and its limits.
struct TextValue {
  std::string* target;
};
struct ChoiceValue {
  std::string* target;
  std::vector<std::string> choices;
};
struct AddressValue {
  std::string* target;
};
struct AddressListValue {  // separated by commas; a sequence in YAML
  std::vector<std::string>* target;
};
struct SwitchValue {
  bool* target;
};
struct IntValue {
  int* target;
  int min, max;
};
struct CountValue {
  uint64_t* target;
  uint64_t min, max;
};
struct BytesValue {  // 65536, 64KiB, 1MiB, 2GiB; 0 where `min` is more: not set
  uint64_t* target;
  uint64_t min, max;
};
struct DurationValue {  // 100ms, 2s, 1m30s, 1h
  Duration* target;
  Duration min, max;
};
struct StartModeValue {
  runtime::Bootstrap::Mode* target;
};
using Value = std::variant<TextValue, ChoiceValue, AddressValue, AddressListValue, SwitchValue,
                           IntValue, CountValue, BytesValue, DurationValue, StartModeValue>;

// Stores `text` in the target. kInvalidArgument says what is expected instead.
Status SetValue(const Value& value, const std::string& text);
// The target's content, as SetValue reads it.
std::string FormatValue(const Value& value);
// "duration", "bytes", "address", "info | warn | ..." for the help.
std::string TypeName(const Value& value);

// Of `candidates`, the one that `word` is most probably a misspelling of, with at most `max_edits`
// letters added, lost or changed; else the only one that consists of `word` and further words
// before or behind it. Empty if there is none.
std::string Nearest(const std::string& word, const std::vector<std::string>& candidates,
                    size_t max_edits);

}  // namespace raftkv
