// SimFiles: a file system in memory that can crash, for the small files of a data directory.
//
// A crash keeps any of the names that were made, replaced or removed and not synced, in the order
// in which that was done: a rename is kept as a whole or not at all. Of bytes that were not synced
// it keeps any subset of sectors. What depends on a name that is lost is lost with it.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "node/storage/files.h"
#include "tests/simulation/coverage.h"

namespace raftkv::sim {

class SimFiles final : public storage::Files {
 public:
  explicit SimFiles(Coverage* coverage) : coverage_(coverage) {}

  // --- The owner's side

  // Called before each change, which a crash may come before: may throw.
  void SetBeforeChange(std::function<void()> hook) { before_change_ = std::move(hook); }
  void Crash(Random& random);
  // Whether a crash could lose anything.
  bool has_unsynced() const;
  // Durable, whatever was there.
  void Put(const std::string& path, const std::string& bytes);
  void Erase(const std::string& path);
  // Bits rot in a file, if it is there.
  void Rot(const std::string& path);

  // --- Files

  Status WriteFile(const std::string& path, std::string_view bytes) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status RemoveTree(const std::string& path) override;
  Status SyncDir(const std::string& dir) override;
  Status MakeDirs(const std::string& path) override;
  bool Exists(const std::string& path) override { return now_.contains(path); }
  Result<std::string> ReadFile(const std::string& path) override;
  Result<std::vector<std::string>> ListDir(const std::string& dir) override;
  // Nobody else is there.
  Result<storage::File> Lock(const std::string&) override { return storage::File(); }

 private:
  struct Node {
    bool is_dir = false;
    std::string bytes;
    std::string durable;
    bool synced = true;
  };
  using Tree = std::map<std::string, std::shared_ptr<Node>>;  // by path
  // A change of names that no sync has made durable.
  struct Change {
    std::string path;
    std::string to;              // of a rename; else empty
    std::shared_ptr<Node> node;  // that was made; null: a removal, or a rename
  };

  void BeforeChange() const {
    if (before_change_) before_change_();
  }
  void Do(Change change);
  // False: what it depends on is not there.
  static bool Apply(const Change& change, Tree& tree);

  Coverage* const coverage_;
  std::function<void()> before_change_;
  Tree now_;
  Tree durable_;
  std::vector<Change> unsynced_;  // in order
};

}  // namespace raftkv::sim
