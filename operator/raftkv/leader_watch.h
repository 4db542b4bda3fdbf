// LeaderWatch: notices that a leader leads no more, between the operator's looks at a cluster.
//
// A change of the leader is no event of Kubernetes, and a cluster at rest is looked at every 30 s
// only; its leader Service would point to a follower for that long. So every leader is asked
// GET /admin/status every `period`; one that says it is no leader, or does not answer within
// `limit`, is reported once. Nothing of it goes to the API server. All are asked at the same time:
// one after the other each would wake a process whose memory has left the processor's caches.
//
// Thread-safety: any thread. `lost` is called on the thread of NodeHttp, must not block and must
// not call the watch.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "operator/kube/object.h"
#include "operator/raftkv/node_http.h"

namespace raftkv::op {

struct LeaderWatchOptions {
  Duration period = std::chrono::seconds(3);
  Duration limit = std::chrono::seconds(2);  // to connect and to answer
};

class LeaderWatch {
 public:
  using Lost = std::function<void(const kube::Key&)>;

  // `http` must outlive it.
  LeaderWatch(NodeHttp* http, Lost lost, LeaderWatchOptions options = {});
  ~LeaderWatch();  // nothing is reported any more
  LeaderWatch(const LeaderWatch&) = delete;
  LeaderWatch& operator=(const LeaderWatch&) = delete;

  // `host` (an IP) leads the cluster of `key` and is asked from now on; empty: nobody is. The same
  // host again changes nothing, unless it has been reported.
  void Set(const kube::Key& key, const std::string& host);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace raftkv::op
