// StateDirs: which of the directories below DIR/state holds the state.
//
//   DIR/state/ACTIVE   one line: the name of the active directory; replaced by rename
//   DIR/state/db-<n>   a database; the active one, or one that is on its way in or out
//
// Replacing the state is: move the new directory in (Adopt), open it, name it in ACTIVE (Commit).
// The rename of ACTIVE is the one moment at which the new state becomes the state; before it an
// opening finds the old one, after it the new one, and removes the other.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

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
  // Makes `dir`, as returned by Adopt, the active one; durable on return.
  Status Commit(const std::string& dir);

 private:
  StateDirs(std::string path, std::string current, uint64_t number)
      : path_(std::move(path)), current_(std::move(current)), last_number_(number) {}

  std::string path_;
  std::string current_;
  uint64_t last_number_;
};

}  // namespace raftkv::storage
