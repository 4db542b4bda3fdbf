#include "tests/faults/bed.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "tests/linearizability/checker.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::WaitUntil;

// Short enough that a client hears of an outage before it gives up.
const std::vector<std::string> kFlags = {"--http-request-timeout", "1s"};
// Done within a fault, of writes and of reads: enough to tell going on from what was under way.
constexpr uint64_t kDoneInFault = 5;
// The spare's place among the proxies.
constexpr size_t kSpare = 1000;

// What a program of ours, or a sanitizer, says when it finds itself wrong.
constexpr std::array<const char*, 3> kAlarms = {"CHECK failed", "Sanitizer:", "terminate called"};

// The line of a node's log that is such an alarm; empty if there is none.
std::string FindAlarm(const testing::NodeProcess& node) {
  const std::string log = node.Log();
  for (const char* alarm : kAlarms) {
    const size_t at = log.find(alarm);
    if (at != std::string::npos) {
      return node.name() + ": " + log.substr(at, log.find('\n', at) - at) + "\n";
    }
  }
  return "";
}

std::string Join(const std::vector<std::string>& parts) {
  std::string joined;
  for (const std::string& part : parts) joined += (joined.empty() ? "" : ",") + part;
  return joined;
}

}  // namespace

Status Expect(bool holds, const std::string& what) {
  return holds ? Status::Ok() : Status(Code::kInternal, "not so: " + what);
}

milliseconds Gaps::Promised(const Timing& timing) const {
  return elections * timing.longest_election() + timing.client_timeout + beside;
}

milliseconds Gaps::Bound(const Timing& timing, milliseconds observed) const {
  const Gaps least{.elections = elections - 1, .beside = beside / 2};
  return std::min(Promised(timing), std::max(least.Promised(timing), observed / 2));
}

Status JudgeGaps(const Gaps& gaps, const Timing& timing, const LoadCounts& counts) {
  if (!counts.answered_in_outage.empty()) {
    return {Code::kInternal,
            counts.answered_in_outage + " was answered though there was no majority"};
  }
  if (!counts.answered_by_minority.empty()) {
    return {Code::kInternal,
            counts.answered_by_minority + " was answered though that node reaches no majority"};
  }
  const milliseconds most = gaps.Bound(timing, counts.observed);
  const auto judge = [&](const char* what, milliseconds gap) {
    if (gap <= most) return Status::Ok();
    return Status(Code::kInternal,
                  "no " + std::string(what) + " for " + std::to_string(gap.count()) + " of " +
                      std::to_string(counts.observed.count()) + " ms, promised are " +
                      std::to_string(most.count()) + " at most");
  };
  RETURN_IF_ERROR(judge("write", counts.write_gap));
  return judge("linearizable read", counts.read_gap);
}

Status JudgeErrors(const std::string& why_errors, const LoadCounts& counts) {
  if (counts.errors == 0 || !why_errors.empty()) return Status::Ok();
  return {Code::kInternal, std::to_string(counts.errors) +
                               " requests were answered with 500, which the row does not promise; "
                               "the first of them: " +
                               counts.first_error};
}

Status JudgeAnswers(const LoadCounts& counts) {
  if (counts.unreadable > 0) {
    return {Code::kInternal, std::to_string(counts.unreadable) +
                                 " answers lack what the API promises; the first of them: " +
                                 counts.first_unreadable};
  }
  // Of a few requests a kind may be missing by chance.
  constexpr uint64_t kMany = 300;
  if (counts.done < kMany) return Status::Ok();
  for (const auto& [what, count] : {std::pair("write", counts.writes),
                                    {"get", counts.gets},
                                    {"range", counts.ranges},
                                    {"further page", counts.pages}}) {
    if (count == 0) {
      return {Code::kInternal, "the history proves little: of " + std::to_string(counts.done) +
                                   " requests that were done, none was a " + what};
    }
  }
  return Status::Ok();
}

Bed::Bed(const Sandbox* sandbox, fs::path directory, BedOptions options)
    : sandbox_(sandbox),
      directory_(std::move(directory)),
      options_(std::move(options)),
      random_(options_.seed),
      proxies_(options_.seed) {
  fs::create_directories(directory_);
  for (size_t i = 0; i < options_.nodes; ++i) Add();
}

Bed::~Bed() {
  churn_.reset();
  if (load_ != nullptr) load_->Stop();
  for (Node& node : nodes_) {
    if (node.process->process() != nullptr) node.process->Kill();
    sandbox_->Unmount(node.process->data_dir());
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

size_t Bed::Add() {
  const size_t i = nodes_.size();
  Node& node = nodes_.emplace_back();
  const std::string name = "n" + std::to_string(i + 1);
  node.directory = directory_ / name;
  const bool apart = i < options_.hosts.size();
  node.process = std::make_unique<testing::NodeProcess>(name, node.directory.string(),
                                                        apart ? options_.hosts[i] : "127.0.0.1");
  if (!apart) {
    const int port = proxies_.Add(i, node.process->peer_port());
    node.process->set_peer_advertise("127.0.0.1:" + std::to_string(port));
  }
  node.target = std::make_unique<Target>();
  node.target->name = name;
  node.target->host = node.process->host();
  node.target->port = node.process->client_port();
  node.target->admin_port = node.process->admin_port();
  return i;
}

std::vector<std::string> Bed::Flags(std::vector<std::string> own) const {
  std::vector<std::string> all = kFlags;
  all.insert(all.end(),
             {"--raft-election-ticks", std::to_string(options_.timing().election_ticks)});
  for (const std::vector<std::string>* part : {&options_.space_flags, &options_.flags}) {
    all.insert(all.end(), part->begin(), part->end());
  }
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

Status Bed::Start() {
  if (options_.before) RETURN_IF_ERROR(options_.before(*this));
  std::vector<std::string> peers;
  for (const Node& node : nodes_) peers.push_back(node.process->advertised_address());
  const std::vector<std::string> flags =
      Flags({"--start-mode", "static", "--start-peers", Join(peers)});
  for (size_t i = 0; i < size(); ++i) {
    if (options_.prefix) node(i).set_prefix(options_.prefix(i));
    node(i).Start(flags);
  }
  for (size_t i = 0; i < size(); ++i) RETURN_IF_ERROR(Ready(i));
  std::vector<Target*> targets;
  for (Node& node : nodes_) targets.push_back(node.target.get());
  LoadOptions load = options_.load;
  load.seed = options_.seed;
  load_ = std::make_unique<Load>(std::move(targets), load);
  load_->Start();
  RETURN_IF_ERROR(Progress());
  if (options_.churn) StartChurn();
  Begin();
  return Status::Ok();
}

void Bed::StartChurn() {
  const bool apart = !options_.hosts.empty();
  auto spare =
      std::make_unique<testing::NodeProcess>("spare", (directory_ / "spare").string(),
                                             apart ? options_.hosts[options_.nodes] : "127.0.0.1");
  if (apart) {
    spare->set_prefix(options_.prefix(options_.nodes));
  } else {
    // No fault between two nodes names it.
    const int port = proxies_.Add(kSpare, spare->peer_port());
    spare->set_peer_advertise("127.0.0.1:" + std::to_string(port));
  }
  std::vector<std::string> peers;
  std::vector<Churn::Admin> members;
  for (const Node& node : nodes_) {
    peers.push_back(node.process->advertised_address());
    members.push_back({node.process->host(), node.process->admin_port()});
  }
  churn_ = std::make_unique<Churn>(
      std::move(spare), Flags({"--start-mode", "join", "--start-peers", Join(peers)}),
      std::move(members), [this](uint64_t id) { proxies_.Know(id, kSpare); });
  churn_->Start();
}

void Bed::Begin() {
  started_ = std::chrono::steady_clock::now();
  load_->ForgetGaps();
}

void Bed::BeginFault() {
  fault_ = std::chrono::steady_clock::now();
  load_->BeginFault();
  if (churn_ != nullptr) churn_->BeginFault();
}

bool Bed::GoesOnInFault() const {
  const InFault seen = load_->in_fault();
  return seen.writes_done >= kDoneInFault && seen.reads_done >= kDoneInFault;
}

Status Bed::EndFault(Within within) {
  if (within == Within::kGoesOn) {
    RETURN_IF_ERROR(WaitFor("writes and reads within the fault", [&] { return GoesOnInFault(); }));
  }
  const bool done = within == Within::kGoesOn;
  const bool changed =
      churn_ == nullptr || churn_->EndFault(done ? Churn::Wanted::kDone : Churn::Wanted::kTried);
  fault_.reset();
  if (changed) return Status::Ok();
  return {Code::kInternal, std::string("no change of the membership was ") +
                               (done ? "done" : "tried") + " within the fault"};
}

void Bed::BeginOutage() {
  BeginFault();
  load_->BeginOutage();
}

Status Bed::EndOutage() {
  RETURN_IF_ERROR(WaitFor("requests that are not done within the outage", [&] {
    const InFault seen = load_->in_fault();
    return seen.writes_failed > 0 && seen.reads_failed > 0;
  }));
  RETURN_IF_ERROR(EndFault(Within::kNothing));
  load_->EndOutage();
  return Status::Ok();
}

void Bed::BeginMinority(const std::vector<size_t>& nodes) {
  std::vector<const Target*> targets;
  for (const size_t i : nodes) targets.push_back(nodes_[i].target.get());
  load_->BeginMinority(std::move(targets));
}

std::vector<size_t> Bed::Places() const {
  std::vector<size_t> places;
  for (size_t i = 0; i < size(); ++i) places.push_back(i);
  // Among hosts it is the last one.
  if (churn_ != nullptr) places.push_back(options_.hosts.empty() ? kSpare : options_.nodes);
  return places;
}

void Bed::Pace(milliseconds most) {
  std::this_thread::sleep_for(
      milliseconds(Pick(static_cast<size_t>(std::max<int64_t>(most.count(), 0)) + 1)));
}

bool Bed::Over() const {
  const auto now = std::chrono::steady_clock::now();
  if (now - started_ <= options_.span) return false;
  const bool changed = churn_ == nullptr || churn_->Seen(Churn::Wanted::kDone);
  return !fault_ || (GoesOnInFault() && changed) || now - *fault_ > testing::kPatience;
}

void Bed::Kill(size_t i) {
  NoteEnd(i);
  ++nodes_[i].target->life;
  nodes_[i].paused = false;
  node(i).Kill();
  nodes_[i].end_known = true;
}

void Bed::NoteEnd(size_t i) {
  Node& ended = nodes_[i];
  if (ended.end_known || ended.process->process() == nullptr) return;
  if (ended.process->process()->IsRunning()) return;
  ended.end_known = true;
  surprises_ += DescribeEnd(*ended.process) + "\n";
}

Status Bed::NoSurprises() {
  for (size_t i = 0; i < size(); ++i) {
    if (!nodes_[i].retired) NoteEnd(i);
    surprises_ += FindAlarm(node(i));
  }
  if (churn_ != nullptr) surprises_ += churn_->surprises() + FindAlarm(churn_->spare());
  if (surprises_.empty()) return Status::Ok();
  return {Code::kInternal, "a process ended by itself or found itself wrong:\n" + surprises_};
}

void Bed::Restart(size_t i) {
  NoteEnd(i);
  nodes_[i].end_known = false;
  if (options_.prefix) node(i).set_prefix(options_.prefix(i));
  node(i).Start();
  ++nodes_[i].target->life;
}

void Bed::Restart(size_t i, std::vector<std::string> flags) {
  NoteEnd(i);
  nodes_[i].end_known = false;
  node(i).Start(Flags(std::move(flags)));
  ++nodes_[i].target->life;
}

void Bed::Pause(size_t i) {
  nodes_[i].paused = true;
  node(i).Pause();
}

void Bed::Resume(size_t i) {
  nodes_[i].paused = false;
  node(i).Resume();
}

Status Bed::WaitFor(const std::string& what, const std::function<bool()>& condition) {
  if (WaitUntil(condition)) return Status::Ok();
  return {Code::kInternal, "not within a minute: " + what};
}

Status Bed::WaitForLog(size_t i, const std::string& text) {
  return WaitFor(node(i).name() + " logs \"" + text + "\"",
                 [&] { return node(i).Log().find(text) != std::string::npos; });
}

Result<size_t> Bed::Leader() {
  size_t leader = size();
  const Status status = WaitFor("a leader", [&] {
    for (size_t i = 0; i < size(); ++i) {
      if (nodes_[i].paused || nodes_[i].retired || !node(i).process()->IsRunning()) continue;
      const std::optional<v1::StatusResponse> answer = node(i).Status();
      if (answer && answer->role() == v1::StatusResponse::LEADER) leader = i;
    }
    return leader < size();
  });
  if (!status.ok()) return Error(status);
  return leader;
}

Status Bed::Ready(size_t i) {
  RETURN_IF_ERROR(WaitFor(node(i).name() + " serves", [&] { return node(i).IsReady(); }));
  const std::optional<v1::StatusResponse> status = node(i).Status();
  if (status) {
    proxies_.Know(status->member_id(), i);
    nodes_[i].id = HexId(status->member_id());
  }
  return Status::Ok();
}

Status Bed::Progress(uint64_t more) {
  const uint64_t writes = load_->writes_done();
  const uint64_t reads = load_->reads_done();
  const uint64_t each = (more + 3) / 4;
  return WaitFor("the load goes on", [&] {
    return load_->writes_done() >= writes + each && load_->reads_done() >= reads + each &&
           load_->done() >= writes + reads + more;
  });
}

Status Bed::ProgressOfBoth() {
  const uint64_t writes = load_->writes_done();
  const uint64_t reads = load_->reads_done();
  return WaitFor("writes and reads go on", [&] {
    return load_->writes_done() >= writes + 20 && load_->reads_done() >= reads + 20;
  });
}

Result<int> Bed::End(size_t i) {
  const int status = node(i).process()->Wait();
  ++nodes_[i].target->life;
  if (status < 0) return Error(Code::kInternal, node(i).name() + " does not end");
  nodes_[i].end_known = true;
  return status;
}

std::string Bed::MemberId(size_t i) { return nodes_[i].id; }

Status Bed::ChangeMembers(const std::string& body) {
  testing::HttpReply reply;
  const Status status = WaitFor("a change of the members", [&] {
    const Result<size_t> leader = Leader();
    if (!leader) return false;
    reply = node(*leader).Admin("POST", "/admin/membership", body);
    if (reply.status == 200) return true;
    // A repeated change that was carried out without our hearing of it.
    return reply.status == 404 || reply.body.find("already") != std::string::npos;
  });
  if (!status.ok()) return {status.code(), status.message() + ": " + reply.body};
  return Status::Ok();
}

Status Bed::Replace(size_t i) {
  const std::string id = MemberId(i);
  if (node(i).process()->IsRunning()) Kill(i);
  RETURN_IF_ERROR(ChangeMembers(R"({"remove":[")" + id + R"("]})"));
  node(i).Wipe();
  std::vector<std::string> peers;
  for (size_t other = 0; other < size(); ++other) {
    if (other != i && !nodes_[other].retired) peers.push_back(node(other).advertised_address());
  }
  Restart(i, {"--start-mode", "join", "--start-peers", Join(peers)});
  RETURN_IF_ERROR(Ready(i));
  // A learner is no help to a majority yet.
  return AwaitVote(i);
}

Status Bed::AwaitVote(size_t i) {
  return WaitFor(node(i).name() + " votes", [&] {
    const std::optional<v1::StatusResponse> status = node(i).Status();
    return status && SaysItVotes(*status);
  });
}

Status Bed::SameEverywhere() {
  std::string first;
  for (size_t i = 0; i < size(); ++i) {
    if (nodes_[i].retired) continue;
    // A linearizable read first: from then on the local state has every write.
    std::string all;
    const Status status = WaitFor(node(i).name() + " answers", [&] {
      if (node(i).Client("GET", "/kv/?start=k").status != 200) return false;
      all = node(i).Client("GET", "/kv/?start=k&consistency=stale").body;
      return !all.empty();
    });
    RETURN_IF_ERROR(status);
    if (first.empty()) first = all;
    if (all != first) {
      return {Code::kCorruption,
              node(i).name() + " holds something else than the others:\n" + all + "\n" + first};
    }
  }
  return Status::Ok();
}

Status Bed::EndChanges() {
  if (churn_ == nullptr) return Status::Ok();
  const bool whole = churn_->AwaitWholeRound();
  RETURN_IF_ERROR(churn_->Stop());
  Note("a spare member joined " + std::to_string(churn_->joined()) + " times, was removed " +
       std::to_string(churn_->removed()) + " times; under the fault " +
       std::to_string(churn_->begun_in_fault()) + " changes tried, " +
       std::to_string(churn_->done_in_fault()) + " done");
  RETURN_IF_ERROR(Expect(whole, "a spare member joined, voted and was removed"));
  return Expect(churn_->Seen(Churn::Wanted::kTried),
                "a change of the membership fell into a fault");
}

Status Bed::Verify(const fs::path& folder) {
  proxies_.Heal();
  if (options_.network != nullptr) RETURN_IF_ERROR(options_.network->Heal());
  for (size_t i = 0; i < size(); ++i) {
    if (nodes_[i].retired) continue;
    if (nodes_[i].paused) Resume(i);
    if (!node(i).process()->IsRunning()) Restart(i);
  }
  for (size_t i = 0; i < size(); ++i) {
    if (!nodes_[i].retired) RETURN_IF_ERROR(Ready(i));
  }
  RETURN_IF_ERROR(ProgressOfBoth());
  RETURN_IF_ERROR(EndChanges());
  load_->Stop();
  LoadCounts counts = load_->counts();
  if (churn_ != nullptr && !churn_->error().empty()) {
    ++counts.errors;
    counts.first_error += churn_->error();
  }
  RETURN_IF_ERROR(JudgeGaps(options_.gaps, options_.timing(), counts));
  RETURN_IF_ERROR(JudgeErrors(options_.why_errors, counts));
  // An answer to a client that gave up may still be on its way into the store.
  std::this_thread::sleep_for(options_.load.timeout);
  RETURN_IF_ERROR(SameEverywhere());
  RETURN_IF_ERROR(NoSurprises());
  return CheckHistory(folder);
}

Status Bed::CheckHistory(const fs::path& folder) {
  load_->Stop();
  history_checked_ = true;
  RETURN_IF_ERROR(linearizability::CheckAndExplain(load_->Finish(), folder, "history"));
  return JudgeAnswers(load_->counts());
}

void Bed::Note(const std::string& text) {
  if (!notes_.empty()) notes_ += "; ";
  notes_ += text;
}

void Bed::KeepLogs(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  for (size_t i = 0; i < size(); ++i) {
    fs::copy_file(nodes_[i].directory / "log", folder / (node(i).name() + ".log"),
                  fs::copy_options::overwrite_existing, error);
  }
  fs::copy_file(directory_ / "spare" / "log", folder / "spare.log",
                fs::copy_options::overwrite_existing, error);
}

}  // namespace raftkv::faults
