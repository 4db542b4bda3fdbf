// What the tests of the state machine share: commands, entries, and stores that can crash.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "node/kv/state_machine.h"
#include "node/storage/state_store.h"

namespace raftkv::kv {

v1::Command Put(std::string_view key, std::string_view value);
v1::Command PutIf(std::string_view key, std::string_view value,
                  const std::function<void(v1::Precondition*)>& condition);
v1::Command Delete(std::string_view key);
v1::Command DeleteRange(std::string_view key, std::string_view end);
v1::Command Compact(uint64_t revision);
v1::Command InviteMember(std::string_view name, std::string_view address);

raft::Entry CommandEntry(uint64_t index, const v1::Command& command);
raft::Entry ChangeEntry(uint64_t index, raft::ConfChange change,
                        const v1::MembershipChange& request);

v1::Member MakeMember(uint64_t id);  // "n<id>", "host<id>:1"
// A cluster of these members; its id is 77.
v1::ClusterState InitialState(const std::vector<uint64_t>& ids);

std::vector<std::string> Keys(const RangeResult& result);

// kBehind: gathering writes in front of memory; kRocks: in front of RocksDB, as in a node.
enum class StoreKind { kMemory, kBehind, kRocks };
std::ostream& operator<<(std::ostream& out, StoreKind kind);

// A store that can crash: it comes back with what was flushed.
class TestStore {
 public:
  // A small memtable makes a database of many files out of little data.
  static std::unique_ptr<TestStore> New(StoreKind kind, uint64_t memtable_bytes = 1 << 20);
  virtual ~TestStore() = default;
  virtual storage::StateStore* get() = 0;
  virtual void Crash() = 0;
};

// A state machine and the log that it is fed from.
class TestMachine {
 public:
  explicit TestMachine(StoreKind kind = StoreKind::kMemory);

  StateMachine& operator*() { return *machine_; }
  StateMachine* operator->() { return machine_.get(); }
  storage::StateStore* store() { return store_->get(); }

  // Applies one more entry, in a slice of its own. It must be understood.
  ApplyResult Apply(const v1::Command& command);
  ApplyResult Apply(raft::ConfChange change, const v1::MembershipChange& request);
  // The same, for commands: their result.
  CommandResult Do(const v1::Command& command) { return *Apply(command).command; }
  // As one slice.
  std::vector<CommandResult> DoAll(const std::vector<v1::Command>& commands);

  // The key's value, or "(none)".
  std::string Value(std::string_view key, uint64_t revision = 0) const;

  uint64_t next_index() const { return machine_->applied().index.value + 1; }
  // Collects everything, `step` rows at a time.
  void CollectAll(size_t step);
  // Crash and restart; the caller replays.
  void Crash();
  // Restart without a crash.
  void Reopen();

 private:
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<StateMachine> machine_;
};

}  // namespace raftkv::kv
