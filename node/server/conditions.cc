#include "node/server/conditions.h"

#include <algorithm>

#include "node/server/text.h"

namespace raftkv::server {
namespace {

using Tags = Conditions::Tags;

// Cuts one entity tag off the front of `text`. RFC 9110, section 8.8.3.
Result<void> TakeTag(std::string_view* text, bool weak_matches, Tags* tags) {
  bool weak = text->starts_with("W/");
  if (weak) text->remove_prefix(2);
  size_t end = text->starts_with('"') ? text->find('"', 1) : text->npos;
  if (end == text->npos) {
    return Error(Code::kInvalidArgument,
                 "Entity tags stand in double quotes, as the ETag header gave them: \"17\".");
  }
  std::optional<uint64_t> revision = ParseDecimal(text->substr(1, end - 1));
  if (revision && *revision > 0 && (weak_matches || !weak)) tags->revisions.push_back(*revision);
  *text = TrimWhiteSpace(text->substr(end + 1));
  return {};
}

Result<std::optional<Tags>> ParseTags(const HttpRequest& request, std::string_view name,
                                      bool weak_matches) {
  std::optional<Tags> tags;
  for (const HttpHeader& header : request.headers) {
    if (!EqualsIgnoreCase(header.name, name)) continue;
    if (tags) return Error(Code::kInvalidArgument, std::string(name) + " is given twice.");
    tags.emplace(Tags{});
    std::string_view rest = header.value;
    if (rest == "*") {
      tags->any = true;
      continue;
    }
    do {
      if (auto taken = TakeTag(&rest, weak_matches, &*tags); !taken) return Error(taken.error());
      bool comma = rest.starts_with(',');
      if (comma) rest = TrimWhiteSpace(rest.substr(1));
      if (comma == rest.empty()) {
        return Error(Code::kInvalidArgument, std::string(name) + " is not a list of entity tags.");
      }
    } while (!rest.empty());
  }
  return tags;
}

bool Matches(const Tags& tags, uint64_t mod_revision) {
  if (mod_revision == 0) return false;
  return tags.any || std::ranges::find(tags.revisions, mod_revision) != tags.revisions.end();
}

}  // namespace

std::string FormatETag(uint64_t mod_revision) { return '"' + std::to_string(mod_revision) + '"'; }

Result<Conditions> Conditions::Parse(const HttpRequest& request) {
  Conditions conditions;
  ASSIGN_OR_RETURN(conditions.if_match, ParseTags(request, "If-Match", false));
  ASSIGN_OR_RETURN(conditions.if_none_match, ParseTags(request, "If-None-Match", true));
  return conditions;
}

Result<std::optional<v1::Precondition>> Conditions::ForWrite() const {
  if (!if_match && !if_none_match) return std::nullopt;
  v1::Precondition precondition;
  if (if_match && if_none_match) {
    return Error(Code::kInvalidArgument, "Use If-Match or If-None-Match, not both.");
  }
  if (if_none_match) {
    if (!if_none_match->any) {
      return Error(Code::kInvalidArgument,
                   "Writes take If-None-Match: * only (the key must not exist).");
    }
    precondition.set_absent(true);
    return precondition;
  }
  if (if_match->any) {
    precondition.set_present(true);
    return precondition;
  }
  if (if_match->revisions.empty()) {
    return Error(Code::kConflict,
                 "No key has the entity tag of If-Match; tags are revisions, as ETag gives them.");
  }
  if (if_match->revisions.size() > 1) {
    return Error(Code::kInvalidArgument, "Writes take one entity tag in If-Match.");
  }
  precondition.set_mod_revision(if_match->revisions.front());
  return precondition;
}

Conditions::Verdict Conditions::ForRead(uint64_t mod_revision) const {
  if (if_match && !Matches(*if_match, mod_revision)) return Verdict::kFailed;
  if (if_none_match && Matches(*if_none_match, mod_revision)) return Verdict::kNotModified;
  return Verdict::kProceed;
}

}  // namespace raftkv::server
