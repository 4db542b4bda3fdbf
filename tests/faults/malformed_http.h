// Requests that are wrong, by category, each with the status that is right.
//
// Thread-safety: pure function.
#pragma once

#include <string>
#include <vector>

namespace raftkv::faults {

struct MalformedRequest {
  std::string category;
  std::string bytes;  // after which the client says no more
  // The one that is right. 0: what has no end is closed without an answer.
  int status = 0;
};

// At least a thousand; none of them changes anything.
std::vector<MalformedRequest> MalformedRequests();

}  // namespace raftkv::faults
