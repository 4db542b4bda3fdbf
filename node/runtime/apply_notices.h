// ApplyNotices: what the apply thread has done and the replica does not know yet.
//
// By then the clients have their answers, so the raft thread need not be woken for each batch of
// entries: it would compete with those answers. It hears of them at its next turn, or at once when
// somebody waits for it: a read, or a change of the membership, or whoever gave a job that is not
// one of entries. Nor may much come together: the core hands out only so many bytes before it hears
// that they are applied.
//
// Thread-safety: from any thread. What is added first is taken first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "node/runtime/workers.h"

namespace raftkv::runtime {

class ApplyNotices {
 public:
  static constexpr size_t kMostJobs = 64;
  static constexpr uint64_t kMostBytes = 256 << 10;

  // `max_apply_bytes`: what the core hands out at once.
  explicit ApplyNotices(uint64_t max_apply_bytes);

  // Whether the raft thread is to be woken for it; once for all that it then takes. `read_waits`: a
  // read waits for entries to be applied.
  bool Add(ApplyDone done, bool read_waits);
  std::vector<ApplyDone> Take();

 private:
  const uint64_t most_bytes_;
  std::mutex mutex_;
  std::vector<ApplyDone> notices_;
  uint64_t bytes_ = 0;  // of the entries in notices_
  bool woken_ = false;
};

}  // namespace raftkv::runtime
