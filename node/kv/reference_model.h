// The state machine as it would be without storage, slices or collection: every version of every
// key in a map. What model_test.cc compares the real one with.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "node/kv/state_machine.h"

namespace raftkv::kv {

class ReferenceModel {
 public:
  // Only the code of the status is set.
  CommandResult Do(const v1::Command& command);

  std::optional<KeyValue> Get(std::string_view key, uint64_t revision) const;
  // All live keys in [start, end) at the revision, in order.
  std::vector<KeyValue> Range(std::string_view start, std::string_view end,
                              uint64_t revision) const;

  uint64_t revision() const { return revision_; }
  uint64_t compact_revision() const { return compact_revision_; }
  uint64_t live_keys() const { return Range("", "", revision_).size(); }
  // What complete garbage collection leaves.
  uint64_t reachable_versions() const;
  uint64_t reachable_keys() const;
  uint64_t reachable_large_values() const;

 private:
  struct Version {
    bool live = false;
    KeyValue item;  // mod_revision is set for tombstones too
  };

  template <typename Counted>
  uint64_t CountReachable(Counted counted) const;
  const KeyValue* Newest(const std::string& key) const;
  void Put(const std::string& key, const std::string& value);
  uint64_t Delete(const v1::DeleteCommand& del);
  bool Holds(const v1::TxnCommand::Compare& compare) const;
  CommandResult DoTxn(const v1::TxnCommand& txn);

  std::map<std::string, std::vector<Version>, std::less<>> keys_;
  uint64_t revision_ = 1;
  uint64_t compact_revision_ = 0;
  uint64_t changes_ = 0;  // of the command in progress
};

}  // namespace raftkv::kv
