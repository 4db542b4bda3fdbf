// Requests that are wrong, by category, each with the answers that are right.
//
// Thread-safety: pure function.
#pragma once

#include <string>
#include <vector>

namespace raftkv::faults {

struct MalformedRequest {
  std::string category;
  std::string bytes;  // after which the client says no more
  // Statuses that are right. 0: closed without an answer is right, too.
  std::vector<int> statuses;
};

// At least a thousand; none of them changes anything.
std::vector<MalformedRequest> MalformedRequests();

}  // namespace raftkv::faults
