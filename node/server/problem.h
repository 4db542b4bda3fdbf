// Errors as RFC 9457 problem documents. The one table from raftkv::Code to HTTP statuses is here,
// and the one of their types.
//
// Thread-safety: no shared state.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/server/http.h"

namespace raftkv::server {

// Where an answer goes. The same failure asks for different reactions: a client whose condition
// does not hold goes by HTTP's rules for keys (412); for the admin API that is a conflict with the
// state of the cluster (409).
enum class Audience { kClient, kAdmin };

int HttpStatus(Code code, Audience audience);

// The phrase of the status line. Only statuses that this server uses.
std::string_view StatusText(int status);

// What can go wrong: of one type, status, title and code are always the same.
struct ProblemType {
  std::string_view name;  // "type" is "urn:raftkv:problem:" and this
  int status;
  Code code;
  std::string_view title;
};
// All of them (docs/api.md lists them).
std::span<const ProblemType> ProblemTypes();

// {"type":"urn:raftkv:problem:...","title":...,"status":...,"detail":...,"code":...}. `code` is
// CodeName(); answers that repeat safely later (429, 503) get a Retry-After.
HttpResponse Problem(const Status& error, Audience audience);
// For refusals that the status alone names.
HttpResponse Problem(int status, std::string_view detail);

// 404 of a path that means nothing here, which is something else than a key that does not exist.
HttpResponse NoSuchResource(std::string_view detail);
// 405 with Allow, e.g. "GET, HEAD".
HttpResponse MethodNotAllowed(std::string_view allow);

}  // namespace raftkv::server
