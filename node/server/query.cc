#include "node/server/query.h"

#include <algorithm>

#include "node/server/text.h"

namespace raftkv::server {
namespace {

std::string List(std::initializer_list<std::string_view> names) {
  std::string text;
  for (std::string_view name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text.empty() ? "none" : text;
}

}  // namespace

Result<Query> Query::Parse(const HttpRequest& request,
                           std::initializer_list<std::string_view> known) {
  Query query;
  if (request.raw_query.empty()) return query;
  ASSIGN_OR_RETURN(query.parameters_, ParseQuery(request.raw_query));
  for (size_t i = 0; i < query.parameters_.size(); ++i) {
    const std::string& name = query.parameters_[i].name;
    if (std::ranges::find(known, name) == known.end()) {
      return Error(Code::kInvalidArgument,
                   "Unknown query parameter '" + name + "'. Parameters here: " + List(known) + ".");
    }
    for (size_t k = 0; k < i; ++k) {
      if (query.parameters_[k].name == name) {
        return Error(Code::kInvalidArgument, "Query parameter '" + name + "' is given twice.");
      }
    }
  }
  return query;
}

const std::string* Query::Find(std::string_view name) const {
  for (const QueryParameter& parameter : parameters_) {
    if (parameter.name == name) return &parameter.value;
  }
  return nullptr;
}

std::string Query::Text(std::string_view name) const {
  const std::string* value = Find(name);
  return value ? *value : std::string();
}

Result<uint64_t> Query::Number(std::string_view name, uint64_t absent) const {
  const std::string* value = Find(name);
  if (!value) return absent;
  std::optional<uint64_t> number = ParseDecimal(*value);
  if (!number) {
    return Error(Code::kInvalidArgument,
                 "Query parameter '" + std::string(name) + "' must be a whole number.");
  }
  return *number;
}

Result<bool> Query::Flag(std::string_view name) const {
  const std::string* value = Find(name);
  if (!value || *value == "false" || *value == "0") return false;
  if (value->empty() || *value == "true" || *value == "1") return true;
  return Error(Code::kInvalidArgument,
               "Query parameter '" + std::string(name) + "' must be true or false.");
}

Result<runtime::Consistency> Query::Consistency() const {
  const std::string* value = Find("consistency");
  if (!value || *value == "linearizable") return runtime::Consistency::kLinearizable;
  if (*value == "lease") return runtime::Consistency::kLease;
  if (*value == "stale") return runtime::Consistency::kStale;
  return Error(Code::kInvalidArgument, "consistency must be linearizable, lease or stale.");
}

}  // namespace raftkv::server
