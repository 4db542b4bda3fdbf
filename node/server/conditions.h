// If-Match and If-None-Match on keys, whose entity tag is their mod revision: "17" (with quotes).
//
// Thread-safety: value.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "node/server/http.h"
#include "raftkv/v1/command.pb.h"

namespace raftkv::server {

std::string FormatETag(uint64_t mod_revision);

struct Conditions {
  struct Tags {
    bool any = false;                 // "*"
    std::vector<uint64_t> revisions;  // tags that no key can have are left out
  };
  std::optional<Tags> if_match;
  std::optional<Tags> if_none_match;

  // kInvalidArgument: malformed. Tags are "..." or W/"..." separated by commas, or *.
  static Result<Conditions> Parse(const HttpRequest& request);

  // For a write: the condition that the state machine checks. nullopt: none. kInvalidArgument: a
  // combination that writes do not take; kConflict: no key can satisfy it.
  Result<std::optional<v1::Precondition>> ForWrite() const;

  // For a read of a key with this mod revision (0: absent).
  enum class Verdict { kProceed, kNotModified, kFailed };
  Verdict ForRead(uint64_t mod_revision) const;
};

}  // namespace raftkv::server
