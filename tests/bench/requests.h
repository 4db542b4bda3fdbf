// The bytes of the requests that the load generator sends: made once for each connection; only the
// key is written anew for each request.
//
// Thread-safety: const methods from any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/random.h"
#include "tests/bench/load.h"

namespace raftkv::bench {

// A request up to its value: what follows for a put is the same bytes for all of them.
struct Request {
  std::string bytes;
  size_t key_at = 0;
};

class RequestMaker {
 public:
  // `random` gives the value's bytes.
  RequestMaker(const LoadOptions& options, Random& random);

  Request Put(const Endpoint& to) const;
  Request Get(const Endpoint& to) const;
  // What a put ends with: the value and, in JSON, what closes it.
  const std::string& put_tail() const { return put_tail_; }

  void WriteKey(uint64_t number, Request* request) const;

 private:
  std::string Digits(uint64_t number) const;
  Request Json(const Endpoint& to, const std::string& path, const std::string& begin,
               const std::string& end, size_t tail_bytes) const;

  const LoadOptions& options_;
  std::string put_tail_;
};

}  // namespace raftkv::bench
