// The query part of a URL, checked against what the route understands.
//
// Thread-safety: value.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "node/runtime/node.h"
#include "node/server/http.h"

namespace raftkv::server {

class Query {
 public:
  // kInvalidArgument: a parameter that is not in `known`, or given twice, or badly encoded.
  static Result<Query> Parse(const HttpRequest& request,
                             std::initializer_list<std::string_view> known);

  const std::string* Find(std::string_view name) const;  // null: not given
  std::string Text(std::string_view name) const;         // empty: not given
  Result<uint64_t> Number(std::string_view name, uint64_t absent) const;
  // name, name=true, name=1; name=false, name=0.
  Result<bool> Flag(std::string_view name) const;
  // consistency=linearizable|lease|stale.
  Result<runtime::Consistency> Consistency() const;

 private:
  std::vector<QueryParameter> parameters_;
};

}  // namespace raftkv::server
