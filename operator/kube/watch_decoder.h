// WatchDecoder: from the bytes of a watch to its events, one JSON object a line.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "operator/kube/api.h"

namespace raftkv::kube {

class WatchDecoder {
 public:
  explicit WatchDecoder(size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  // Hands every complete event to `on_event`. An ERROR event is an error (kExpired, ...); a line
  // that is no event is kMalformed, one that is too long kTooLarge. *stopped: on_event said so.
  ApiResult<void> Feed(std::string_view bytes, const std::function<bool(WatchEvent)>& on_event,
                       bool* stopped);
  // The stream ended: kMalformed if it did so inside of an event.
  ApiResult<void> End() const;

 private:
  const size_t max_event_bytes_;
  std::string line_;
};

// One line.
ApiResult<WatchEvent> ParseWatchEvent(std::string_view line);

}  // namespace raftkv::kube
