// StateDirs: which of the directories below DIR/state holds the state.
//
//   DIR/state/ACTIVE   the name of the active directory; replaced by rename. A second line,
//                      "installing INDEX TERM", while the log may not continue the snapshot
//                      that this directory came in as
//   DIR/state/db-<n>   a database; the active one, or one that is on its way in or out
//
// Replacing the state is: move the new directory in (Adopt), open it, name it in ACTIVE (Commit).
// The rename of ACTIVE is the one moment at which the new state becomes the state; before it an
// opening finds the old one, after it the new one, and removes the other.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "node/raft/types.h"

namespace raftkv::storage {

class StateDirs {
 public:
  // Finds the active directory (names the first one if there is none) and removes all others.
  // kCorruption if databases are there but ACTIVE is missing or damaged.
  static Result<StateDirs> Open(const std::string& path);

  // The active directory; may not exist yet.
  std::string current() const { return path_ + "/" + current_; }

  // Moves `dir` to the next free name and returns where it is.
  Result<std::string> Adopt(const std::string& dir);
  // Makes `dir`, as returned by Adopt, the active one, and `snapshot` the one that is being
  // installed; durable on return.
  Status Commit(const std::string& dir, raft::EntryId snapshot);

  std::optional<raft::EntryId> installing() const { return installing_; }
  // Takes the mark away; durable on return. Does nothing if it is not for `snapshot`.
  Status FinishInstallation(raft::EntryId snapshot);

 private:
  // What ACTIVE says.
  struct Active {
    uint64_t number = 1;
    std::optional<raft::EntryId> installing;

    std::string name() const;
    std::string Text() const;
  };
  static Result<Active> Read(const std::string& file);
  static Result<Active> Make(const std::string& path, const std::vector<std::string>& names);

  StateDirs(std::string path, const Active& active)
      : path_(std::move(path)),
        current_(active.name()),
        last_number_(active.number),
        installing_(active.installing) {}

  std::string path_;
  std::string current_;
  uint64_t last_number_;
  std::optional<raft::EntryId> installing_;
};

}  // namespace raftkv::storage
