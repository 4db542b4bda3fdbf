// Client: the keys of a raftkv cluster, through its HTTP API (docs/api.md).
//
// Failover and the fate of writes are as ctl/http.h says. Errors carry the codes of the API's
// problems:
//   kInvalidArgument  the request can never succeed      kOutOfSpace         disk or quota full
//   kNotFound         no such key                        kNotServing         the node is blank, ...
//   kConflict         a condition does not hold, or the revision is compacted
//   kUnavailable, kResourceExhausted                     certainly not done
//   kUnknownOutcome                                      perhaps done
//
// Thread-safety: none; one instance per thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ctl/http.h"

namespace raftkv::client {

enum class Consistency { kLinearizable, kLease, kStale };

struct KeyValue {
  std::string key;
  std::string value;
  uint64_t create_revision = 0;
  uint64_t mod_revision = 0;
  uint64_t version = 0;
};

// At most one of them; none: no condition.
struct Condition {
  uint64_t mod_revision = 0;  // the key's newest version has this revision
  bool absent = false;        // the key does not exist
  bool present = false;       // it exists
};

struct ReadOptions {
  Consistency consistency = Consistency::kLinearizable;
  uint64_t revision = 0;  // 0: newest
};

struct GetResult {
  KeyValue item;
  uint64_t revision = 0;  // of the store, at which this holds
};

struct PutResult {
  uint64_t revision = 0;
  bool created = false;
};

struct ListRequest {
  std::string prefix;
  std::string start;   // inclusive; empty: from the first
  std::string end;     // exclusive; empty: to the last
  uint64_t limit = 0;  // keys in all; 0: all of them
  uint64_t page_size = 1000;
  bool keys_only = false;
  bool descending = false;
  ReadOptions read;
};

class Client {
 public:
  Client(std::vector<Endpoint> endpoints, const Http::Options& options);

  Result<PutResult> Put(std::string_view key, std::string_view value,
                        const Condition& condition = {});
  Result<GetResult> Get(std::string_view key, const ReadOptions& options = {});
  // The store's revision afterwards.
  Result<uint64_t> Delete(std::string_view key, const Condition& condition = {});

  // Calls `on_page` with each page, all of them read at the same revision, until it returns an
  // error or the end is reached. Returns that revision.
  Result<uint64_t> List(const ListRequest& request,
                        const std::function<Status(const std::vector<KeyValue>&)>& on_page);
  Result<uint64_t> Count(const ListRequest& request);

  // GET /cluster of one endpoint: the port of its admin listener.
  Result<uint16_t> AdminPort(const Endpoint& endpoint);

  Http& http() { return http_; }

 private:
  struct Page {
    std::vector<KeyValue> items;
    uint64_t revision = 0;
    uint64_t count = 0;
    bool more = false;
  };
  Result<Page> ReadPage(const std::string& target);

  Http http_;
};

}  // namespace raftkv::client
