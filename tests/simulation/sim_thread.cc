#include "tests/simulation/sim_thread.h"

#include <utility>

#include "base/check.h"

namespace raftkv::sim {

bool SimThread::Run(std::function<void()> work) {
  CHECK(!asleep(), "one work at a time");
  ended_ = false;
  thread_ = std::thread([this, work = std::move(work)] {
    to_work_.acquire();
    try {
      work();
    } catch (const Cancelled&) {  // NOLINT(bugprone-empty-catch): it has only to end
    } catch (...) {
      thrown_ = std::current_exception();
    }
    ended_ = true;
    to_owner_.release();
  });
  return Resume();
}

bool SimThread::Resume() {
  to_work_.release();
  to_owner_.acquire();
  if (!ended_) return false;
  thread_.join();
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  return true;
}

void SimThread::Cancel() {
  if (!asleep()) return;
  cancelled_ = true;
  CHECK(Resume(), "what is cancelled does not sleep again");
  cancelled_ = false;
}

void SimThread::Sleep(Duration duration) {
  CHECK(std::this_thread::get_id() == thread_.get_id(), "only the work sleeps");
  sleeps_for_ = duration;
  to_owner_.release();
  to_work_.acquire();
  if (cancelled_) throw Cancelled();
}

}  // namespace raftkv::sim
