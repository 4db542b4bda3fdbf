#include "node/kv/test_support.h"

#include <stdlib.h>

#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "node/storage/memory_state.h"
#include "node/storage/write_behind.h"

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

// Gathers a little in front of a store in memory, so that most of what is read is partly here and
// partly there.
class BehindTestStore final : public TestStore {
 public:
  BehindTestStore() { Open(); }
  storage::StateStore* get() override { return store_.get(); }
  void Crash() override {
    const storage::MemoryState::Contents left = memory_.Dump();
    store_.reset();  // writes what a crash does not
    memory_.Install(left);
    Open();
  }

 private:
  void Open() { store_ = storage::WriteBehind(&memory_, {.changes = 60, .bytes = 4096}); }

  storage::MemoryState memory_;
  std::unique_ptr<storage::StateStore> store_;
};

using FileSizes = std::map<std::filesystem::path, uintmax_t>;

FileSizes SizesIn(const std::filesystem::path& dir) {
  FileSizes sizes;
  std::error_code gone;  // a file that background work removed meanwhile: not listed
  for (const auto& file : std::filesystem::recursive_directory_iterator(dir)) {
    if (!file.is_regular_file(gone)) continue;
    const uintmax_t size = file.file_size(gone);
    if (!gone) sizes[file.path().lexically_relative(dir)] = size;
  }
  return sizes;
}

// A crash is a copy of the files as they are, opened in the place of the original: closing a
// database writes what was not flushed.
class RocksTestStore final : public TestStore {
 public:
  explicit RocksTestStore(uint64_t memtable_bytes) : memtable_bytes_(memtable_bytes) {
    std::string name = std::filesystem::temp_directory_path() / "raftkv-kv-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    base_ = name;
    Open();
  }
  ~RocksTestStore() override {
    store_.reset();
    std::filesystem::remove_all(base_);
  }
  storage::StateStore* get() override { return store_.get(); }
  void Crash() override {
    const std::filesystem::path old = Path();
    ++generation_;
    while (!CopyUnchanged(old, Path())) std::filesystem::remove_all(Path());
    store_.reset();
    std::filesystem::remove_all(old);
    Open();
  }

 private:
  // False if the database's background work changed the files meanwhile.
  static bool CopyUnchanged(const std::filesystem::path& from, const std::filesystem::path& to) {
    const FileSizes before = SizesIn(from);
    for (const auto& [name, size] : before) {
      std::filesystem::create_directories((to / name).parent_path());
      std::error_code error;
      if (!std::filesystem::copy_file(from / name, to / name, error)) return false;
    }
    return SizesIn(from) == before && SizesIn(to) == before;
  }

  std::filesystem::path Path() const { return base_ / std::to_string(generation_); }
  void Open() {
    auto store = storage::OpenRocksState(Path(), {.memtable_bytes = memtable_bytes_});
    CHECK(store.has_value());
    store_ = storage::WriteBehind(*std::move(store));
  }

  const uint64_t memtable_bytes_;
  std::filesystem::path base_;
  int generation_ = 0;
  std::unique_ptr<storage::StateStore> store_;
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
  switch (kind) {
    case StoreKind::kMemory:
      return out << "Memory";
    case StoreKind::kBehind:
      return out << "Behind";
    case StoreKind::kRocks:
      return out << "Rocks";
  }
  return out;
}

std::unique_ptr<TestStore> TestStore::New(StoreKind kind, uint64_t memtable_bytes) {
  if (kind == StoreKind::kMemory) return std::make_unique<MemoryTestStore>();
  if (kind == StoreKind::kBehind) return std::make_unique<BehindTestStore>();
  return std::make_unique<RocksTestStore>(memtable_bytes);
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
