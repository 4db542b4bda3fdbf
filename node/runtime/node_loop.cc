#include "node/runtime/node_loop.h"

#include <optional>
#include <utility>
#include <variant>

#include "node/runtime/rebuild.h"
#include "node/runtime/write_request.h"

namespace raftkv::runtime {
namespace {

constexpr Duration kBetweenLooks = std::chrono::seconds(1);
constexpr Duration kBetweenLooksNearLimit = std::chrono::milliseconds(100);  // of the disk

}  // namespace

NodeLoop::NodeLoop(Env env)
    : env_(std::move(env)),
      member_id_(env_.storage.dir->identity().member_id()),
      next_request_id_(env_.first_request_id),
      waiters_(env_.options->max_inflight_requests, env_.options->max_inflight_bytes),
      room_(env_.space, env_.storage.log, env_.storage.store, env_.sleep),
      append_(env_.storage.log, AppendSink()),
      apply_(member_id_, env_.storage.store, env_.storage.machine, &waiters_, env_.clock,
             ApplySink()),
      read_(env_.storage.log,
            [this](raft::Index low, raft::LogResult<std::vector<raft::Entry>> entries) {
              env_.threads->Post([this, low, entries = std::move(entries)]() mutable {
                replica_.OnLogRead(low, std::move(entries));
              });
            }),
      replica_(ReplicaEnv()) {}

AppendWorker::Sink NodeLoop::AppendSink() {
  AppendWorker::Sink sink = env_.append;
  sink.await_room = [this](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
    return room_.Await(Room::For::kLog, bytes, failed, tidy);
  };
  return sink;
}

ApplyWorker::Sink NodeLoop::ApplySink() {
  ApplyWorker::Sink sink = env_.apply;
  sink.await_room = [this](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
    return room_.Await(Room::For::kState, bytes, failed, tidy);
  };
  sink.has_room_for_flush = [this] { return room_.HasRoomForFlush(); };
  return sink;
}

Replica::Env NodeLoop::ReplicaEnv() {
  Replica::Env env;
  env.options = env_.options;
  env.clock = env_.clock;
  env.random = env_.random;
  env.storage = env_.storage;
  env.ports = this;
  env.waiters = &waiters_;
  env.logger = env_.logger;
  env.on_removed = env_.on_removed;
  env.finish_rebuild = [this] { return FinishRebuild(env_.options->data_dir, *env_.files); };
  env.fatal = env_.fatal;
  env.next_request_id = [this] { return next_request_id_.fetch_add(1); };
  env.post = [this](std::function<void()> work) { env_.threads->Post(std::move(work)); };
  env.post_after = [this](Duration delay, std::function<void()> work) {
    env_.threads->PostAfter(delay, std::move(work));
  };
  env.wake = [this] { WakeReady(); };
  env.accepts_growth = [this](uint64_t bytes) { return env_.space->Admit(bytes); };
  env.flushed_index = [this] { return last_disk_sample().flushed; };
  env.space_is_short = [this] { return room_.is_short(); };
  env.waits_for_space = [this] { return room_.is_full(); };
  return env;
}

// --- The raft thread

void NodeLoop::Start(transport::Transport* transport) {
  Run([&] { replica_.Start(transport); });
}

void NodeLoop::OnTick() {
  Run([&] { replica_.OnTick(); });
}

void NodeLoop::OnAppended(size_t jobs, std::vector<raft::Message> responses) {
  Run([&] { replica_.OnAppendDone(jobs, std::move(responses)); });
}

// One Ready for everything that is runnable now: messages of several peers, requests and finished
// storage work share appends and frames.
void NodeLoop::WakeReady() {
  if (!std::exchange(ready_posted_, true)) env_.threads->PostReady();
}

void NodeLoop::ProcessReady() {
  ready_posted_ = false;
  replica_.ProcessReady();
  serving_.store(replica_.serving(), std::memory_order_relaxed);
}

void NodeLoop::DrainRequests() {
  std::vector<Proposal> proposals;
  std::vector<PendingRead> reads;
  {
    const std::lock_guard lock(requests_mutex_);
    proposals.swap(proposals_);
    reads.swap(reads_);
    requests_posted_ = false;
  }
  if (!proposals.empty()) replica_.Propose(std::move(proposals));
  for (PendingRead& read : reads) {
    replica_.Read(read.consistency, read.deadline, std::move(read.done));
  }
  WakeReady();
}

// --- Requests

Status NodeLoop::Refusal() {
  return {Code::kUnavailable, "this node is stopping; use another member"};
}

uint64_t NodeLoop::Write(v1::Command command, MonotonicTime deadline, WriteCallback done) {
  const uint64_t request_id = next_request_id_.fetch_add(1);
  if (stopping_) {
    done(Error(Refusal()));
    return request_id;
  }
  std::optional<Proposal> proposal = PrepareWrite(std::move(command), member_id_, request_id,
                                                  deadline, std::move(done), *env_.space, waiters_);
  if (!proposal) return request_id;
  bool post = false;
  {
    const std::lock_guard lock(requests_mutex_);
    proposals_.push_back(std::move(*proposal));
    post = !std::exchange(requests_posted_, true);
  }
  if (post) env_.threads->PostRequests();
  return request_id;
}

void NodeLoop::Read(Consistency consistency, MonotonicTime deadline, BarrierCallback done) {
  if (stopping_) return done(Refusal());
  // What this node has is good enough: no need to wake the raft thread.
  if (consistency == Consistency::kStale && serving_.load(std::memory_order_relaxed)) {
    return done(Status::Ok());
  }
  std::unique_lock lock(requests_mutex_);
  if (reads_.size() >= env_.options->max_inflight_requests) {
    lock.unlock();
    return done(
        {Code::kResourceExhausted, "too many reads wait for this node already; repeat later"});
  }
  reads_.push_back({consistency, deadline, std::move(done)});
  const bool post = !std::exchange(requests_posted_, true);
  lock.unlock();
  if (post) env_.threads->PostRequests();
}

// --- The workers

void NodeLoop::Work(Worker worker) {
  switch (worker) {
    case Worker::kAppend:
      return append_.RunOnce();
    case Worker::kApply:
      return apply_.RunOnce();
    case Worker::kRead:
      return read_.RunOnce();
  }
}

bool NodeLoop::HasWork(Worker worker) const {
  switch (worker) {
    case Worker::kAppend:
      return append_.HasWork();
    case Worker::kApply:
      return apply_.HasWork();
    case Worker::kRead:
      return read_.HasWork();
  }
  return false;
}

void NodeLoop::SubmitAppend(AppendJob job) {
  append_.Submit(std::move(job));
  env_.threads->Wake(Worker::kAppend);
}

void NodeLoop::SubmitTruncate(raft::Index index) {
  append_.SubmitTruncate(index);
  env_.threads->Wake(Worker::kAppend);
}

void NodeLoop::SubmitApply(ApplyJob job) {
  auto* const entries = std::get_if<ApplyEntries>(&job);
  if (entries != nullptr && !env_.space->is_near_limit() && apply_.RunAtOnce(*entries)) return;
  apply_.Submit(std::move(job));
  env_.threads->Wake(Worker::kApply);
}

void NodeLoop::SubmitRead(raft::Index low, uint64_t max_bytes) {
  read_.Submit(low, max_bytes);
  env_.threads->Wake(Worker::kRead);
}

// --- The janitor

void NodeLoop::SubmitDescribe(std::string dir, raft::Snapshot snapshot) {
  const uint64_t cluster_id = env_.storage.dir->identity().cluster_id();
  const uint64_t snapshot_id = next_request_id_.fetch_add(1);
  env_.threads->PostToJanitor(
      [this, dir = std::move(dir), snapshot = std::move(snapshot), cluster_id, snapshot_id] {
        auto manifest = env_.describe(dir, cluster_id, snapshot_id);
        env_.threads->Post([this, dir, snapshot, manifest = std::move(manifest)]() mutable {
          replica_.OnManifest(std::move(dir), std::move(snapshot), std::move(manifest));
        });
      });
}

void NodeLoop::RemoveDir(std::string dir) {
  env_.threads->PostToJanitor([this, dir = std::move(dir)] { env_.remove_dir(dir); });
}

NodeLoop::DiskSample NodeLoop::last_disk_sample() const {
  const std::lock_guard lock(sample_mutex_);
  return sample_;
}

void NodeLoop::LookAtDisk() {
  DiskSample sample;
  sample.state = env_.storage.store->stats();
  sample.log = env_.storage.log->stats();
  const Result<raft::Index> flushed = env_.storage.machine->FlushedIndex();
  if (!flushed) return env_.fatal(flushed.error());
  sample.flushed = *flushed;
  {
    const std::lock_guard lock(sample_mutex_);
    sample_ = sample;
  }
  env_.space->Look({sample.state.disk_bytes, sample.state.memtable_bytes});
  room_.Resume();
  NoteMembers();
}

Duration NodeLoop::until_next_look() const {
  return env_.space->is_near_limit() ? kBetweenLooksNearLimit : kBetweenLooks;
}

// For the day on which nothing else in the directory can be read.
void NodeLoop::NoteMembers() {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  if (cluster->members().empty() || cluster->config_index() == noted_config_index_) return;
  if (SaveMemberNote(env_.options->data_dir, NoteOf(*cluster, member_id_), *env_.files).ok()) {
    noted_config_index_ = cluster->config_index();
  }
}

// --- The end

void NodeLoop::FinishWork(MonotonicTime deadline) {
  room_.Close();
  env_.threads->Finish(Worker::kAppend);
  if (env_.clock->Now() < deadline) SubmitApply(FlushState{});
  env_.threads->Finish(Worker::kApply);
  env_.threads->Finish(Worker::kRead);
}

void NodeLoop::AnswerAll() {
  const Status stopping(Code::kUnknownOutcome,
                        "this node stopped before it saw the result: the write may or may not have "
                        "happened; read the key from another member");
  for (Waiter& waiter : waiters_.TakeAll()) waiter.Fail(stopping);
  std::vector<PendingRead> reads;
  {
    const std::lock_guard lock(requests_mutex_);
    reads.swap(reads_);
  }
  for (PendingRead& read : reads) read.done(Refusal());
  replica_.AbandonCalls(Refusal());
}

}  // namespace raftkv::runtime
