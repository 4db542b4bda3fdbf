// What the API server refused of one RaftKV: in its own words, and when it is tried again
// (docs/design/operator.md, "What the API server refuses holds up itself alone").
//
// Kept by the process alone: a new operator learns it with one more try.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "operator/raftkv/action.h"

namespace raftkv::op {

// Between two tries of what the API server refuses.
inline constexpr Duration kRefusedPauseMax = std::chrono::minutes(5);

// Of the server's words.
inline constexpr size_t kRefusedBytes = 600;
// Cut at a whole character.
std::string Shortened(std::string_view text, size_t bytes);

class Refusals {
 public:
  // What an action would write: a refusal is one of that, and what would write anything else is
  // tried at once.
  using Content = std::set<std::string>;

  // Around each action. One that was refused before and fails now, with whatever, is not tried
  // again at once: everything else would wait behind it.
  void BeginTry() { ++tries_; }
  void EndTry(const Action& action, Content content, bool done, MonotonicTime now);
  // Within a try. The next one is due after 5 s, doubled up to `longest`; of several refusals of
  // one try (other objects of the same action) all words are kept, and the first says when.
  void Note(const Action& action, Content content, std::string_view message, Duration longest,
            MonotonicTime now);

  // It is not time yet to try this.
  bool IsHeld(const Action& action, const Content& content, MonotonicTime now) const;

  // For the planner, by RefusalKey, with times of the wall clock that `now_s` is of. Forgets what
  // is over: a template that nobody wants any more, because the one that is wanted is in force, and
  // what has not been tried for long.
  std::map<std::string, Refusal> Tell(
      const std::function<Content(const std::string& key)>& content_of, bool template_current,
      MonotonicTime now, int64_t now_s);

 private:
  struct Refused {
    Content content;
    std::string message;
    Duration pause = Duration::zero();
    MonotonicTime again;
    uint64_t noted_in = 0;  // which try
  };

  std::map<std::string, Refused> refused_;  // by RefusalKey
  uint64_t tries_ = 0;
};

}  // namespace raftkv::op
