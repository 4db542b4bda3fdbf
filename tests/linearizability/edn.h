// The little of EDN (Clojure's data notation) that operation logs are made of.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace raftkv::linearizability::edn {

struct Value {
  enum class Type {
    kNil,
    kWord,      // a number, symbol, true or false, as it is written
    kKeyword,   // text without its colon
    kString,    // text without quotes and escapes
    kSequence,  // [...], (...) or #{...}
    kMap,       // items are key, value, key, value, ...
  };
  Type type = Type::kNil;
  std::string text;
  std::vector<Value> items;

  bool IsKeyword(std::string_view name) const { return type == Type::kKeyword && text == name; }
  // The member of a map with this keyword; null if there is none.
  const Value* Find(std::string_view keyword) const;
};

// Cuts one value and the white space before it off the front of `text`. Commas are white space;
// tags (#inst, #uuid, #name) are dropped.
Result<Value> Take(std::string_view* text);

// Whether only white space is left.
bool IsBlank(std::string_view text);

}  // namespace raftkv::linearizability::edn
