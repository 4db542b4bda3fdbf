#include "node/kv/test_support.h"

#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "base/check.h"
#include "node/storage/memory_state.h"

namespace raftkv::kv {
namespace {

v1::Command NewCommand() {
  v1::Command command;
  command.set_version(kCommandVersion);
  command.set_origin(5);
  command.set_request_id(6);
  return command;
}

class MemoryTestStore final : public TestStore {
 public:
  storage::StateStore* get() override { return &store_; }
  void Crash() override { store_.LoseUnflushed(); }

 private:
  storage::MemoryState store_;
};

}  // namespace

v1::Command Put(std::string_view key, std::string_view value) {
  v1::Command command = NewCommand();
  command.mutable_put()->set_key(std::string(key));
  command.mutable_put()->set_value(std::string(value));
  return command;
}

v1::Command PutIf(std::string_view key, std::string_view value,
                  const std::function<void(v1::Precondition*)>& condition) {
  v1::Command command = Put(key, value);
  condition(command.mutable_put()->mutable_precondition());
  return command;
}

v1::Command Delete(std::string_view key) { return DeleteRange(key, {}); }

v1::Command DeleteRange(std::string_view key, std::string_view end) {
  v1::Command command = NewCommand();
  command.mutable_delete_()->set_key(std::string(key));
  command.mutable_delete_()->set_range_end(std::string(end));
  return command;
}

v1::Command Compact(uint64_t revision) {
  v1::Command command = NewCommand();
  command.mutable_compact()->set_revision(revision);
  return command;
}

v1::Command InviteMember(std::string_view name, std::string_view address) {
  v1::Command command = NewCommand();
  command.mutable_invite()->set_name(std::string(name));
  command.mutable_invite()->set_peer_address(std::string(address));
  return command;
}

raft::Entry CommandEntry(uint64_t index, const v1::Command& command) {
  return {.term = raft::Term(2),
          .index = raft::Index(index),
          .payload = Buffer(command.SerializeAsString())};
}

raft::Entry ChangeEntry(uint64_t index, raft::ConfChange change,
                        const v1::MembershipChange& request) {
  change.context = Buffer(request.SerializeAsString());
  return {.term = raft::Term(2),
          .index = raft::Index(index),
          .payload = std::make_shared<const raft::ConfChange>(std::move(change))};
}

v1::Member MakeMember(uint64_t id) {
  v1::Member member;
  member.set_id(id);
  member.set_name("n" + std::to_string(id));
  member.set_peer_address("host" + std::to_string(id) + ":1");
  return member;
}

v1::ClusterState InitialState(const std::vector<uint64_t>& ids) {
  v1::ClusterState state;
  state.set_cluster_id(77);
  for (uint64_t id : ids) *state.add_members() = MakeMember(id);
  return state;
}

std::vector<std::string> Keys(const RangeResult& result) {
  std::vector<std::string> keys;
  for (const KeyValue& item : result.items) keys.push_back(item.key);
  return keys;
}

std::ostream& operator<<(std::ostream& out, StoreKind kind) {
  return out << (kind == StoreKind::kMemory ? "Memory" : "Rocks");
}

std::unique_ptr<TestStore> TestStore::New(StoreKind kind) {
  CHECK(kind == StoreKind::kMemory);
  return std::make_unique<MemoryTestStore>();
}

TestMachine::TestMachine(StoreKind kind) : store_(TestStore::New(kind)) { Reopen(); }

ApplyResult TestMachine::Apply(const v1::Command& command) {
  const std::vector<raft::Entry> entries = {CommandEntry(next_index(), command)};
  return machine_->Apply(entries).value().at(0);
}

ApplyResult TestMachine::Apply(raft::ConfChange change, const v1::MembershipChange& request) {
  const std::vector<raft::Entry> entries = {ChangeEntry(next_index(), std::move(change), request)};
  return machine_->Apply(entries).value().at(0);
}

std::vector<CommandResult> TestMachine::DoAll(const std::vector<v1::Command>& commands) {
  std::vector<raft::Entry> entries;
  for (const v1::Command& command : commands) {
    entries.push_back(CommandEntry(next_index() + entries.size(), command));
  }
  std::vector<CommandResult> results;
  const auto applied = machine_->Apply(entries).value();
  for (const ApplyResult& result : applied) results.push_back(*result.command);
  return results;
}

std::string TestMachine::Value(std::string_view key, uint64_t revision) const {
  const auto found = machine_->Get(key, revision).value();
  return found ? found->value : "(none)";
}

void TestMachine::CollectAll(size_t step) {
  while (machine_->CollectGarbage(step).value()) {
  }
}

void TestMachine::Crash() {
  machine_.reset();
  store_->Crash();
  Reopen();
}

void TestMachine::Reopen() {
  machine_.reset();
  machine_ = StateMachine::Open(store_->get()).value();
}

}  // namespace raftkv::kv
