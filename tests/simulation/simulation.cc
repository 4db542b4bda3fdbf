#include "tests/simulation/simulation.h"

#include <algorithm>
#include "base/log.h"
#include "tests/linearizability/checker.h"
#include "tests/simulation/answers.h"
#include "tests/simulation/clients.h"
#include "tests/simulation/liveness.h"
#include "tests/simulation/profiles.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

constexpr size_t kHosts = 7;
// From the end of the faults until everything works again: many election timeouts, and the waits of
// redials, calls and transfers.
constexpr Duration kHealWithin = std::chrono::seconds(90);
constexpr uint64_t kCheckSteps = 20'000'000;
// Until others lead than those whose disks are full: the detection, and some transfers that fail.
constexpr Duration kBearWithin = std::chrono::seconds(60);
constexpr Duration kHashEvery = std::chrono::seconds(7);

// What a seed stands for, beside the runs' own numbers.
struct Plan {
  explicit Plan(const RunOptions& run);
  void Swarm(Random& random, FaultOptions* fault_options);
  void Follow(const Profile& profile, Random& random, FaultOptions* fault_options);
  void BusyClients(Random& random);
  void SlowLinks(Random& random, uint64_t most_append_bytes);
  void ShortLog(Random& random);
  void SmallDisk(Random& random);
  void Restore(Random& random, FaultOptions fault_options);

  uint64_t world_seed = 0;
  size_t first_members = 3;
  runtime::Options options;
  uint64_t flush_every = 0;
  int64_t max_drift_ppm = 0;
  ClientOptions clients;
  LinkProfile network;
  AmbushOptions ambushes;
  bool clocks_lie = false;
  bool full_at_last = false;
  std::vector<Fault> faults;
  SimTime faults_end{0};
  // Of the cluster that is made from a snapshot of the first one, if any is; the faults of `keep`
  // go on counting there.
  bool restores = false;
  uint64_t restored_seed = 0;
  std::vector<Fault> restored_faults;
  SimTime restored_faults_end{0};
};

Plan::Plan(const RunOptions& run) {
  SeededRandom random(run.seed);
  world_seed = random.Next();
  constexpr size_t kSizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 5};
  first_members = kSizes[random.Uniform(std::size(kSizes))];
  // Small numbers, so that limits and snapshots are met all the time.
  options.log_keep_entries = 10 + random.Uniform(150);
  options.flush_after_bytes = 1000 + random.Uniform(20'000);
  options.max_append_bytes = random.Uniform(3) == 0 ? 200 + random.Uniform(2000) : 1 << 20;
  options.max_inflight_appends =
      random.Uniform(3) == 0 ? 1 + static_cast<int>(random.Uniform(8)) : 256;
  options.max_apply_bytes = random.Uniform(3) == 0 ? 100 + random.Uniform(2000) : 4 << 20;
  SmallDisk(random);
  options.compact_keep_revisions = 0;
  options.compact_keep_age = Duration(0);
  flush_every = 1 + random.Uniform(60);
  max_drift_ppm = random.Uniform(2) == 0 ? 0 : static_cast<int64_t>(random.Uniform(20'000));
  clients.clients = 1 + random.Uniform(6);
  clients.keys = 1 + random.Uniform(6);
  clients.think_time = std::chrono::milliseconds(100 + random.Uniform(1500));
  FaultOptions fault_options;
  fault_options.end = std::chrono::seconds(30 + random.Uniform(90));
  fault_options.mean_gap = std::chrono::milliseconds(300 + random.Uniform(4000));
  const std::span<const Profile> profiles = Profiles();
  const uint64_t choice = random.Uniform(2 * profiles.size());
  const Profile* profile = choice < profiles.size() ? &profiles[choice] : nullptr;
  if (!run.profile.empty()) profile = FindProfile(run.profile);
  if (profile != nullptr) {
    Follow(*profile, random, &fault_options);
  } else {
    Swarm(random, &fault_options);
  }
  if (options.max_append_bytes < 1 << 20) {
    options.max_inflight_append_bytes = 2000 + 2 * options.max_append_bytes;
  }
  clients.leases = !clocks_lie;
  faults = DrawFaults(random, fault_options);
  faults_end = fault_options.end;
  restored_seed = random.Next();
  if (restores) Restore(random, fault_options);
}

void Plan::Restore(Random& random, FaultOptions fault_options) {
  fault_options.begin = std::chrono::seconds(1);
  fault_options.end = std::chrono::seconds(15 + random.Uniform(30));
  restored_faults = DrawFaults(random, fault_options);
  restored_faults_end = fault_options.end;
}

// What makes runs unlike each other (swarm testing: Groce et al., ISSTA 2012): each turns some
// knobs to an extreme, because what needs two rare things is never found where everything is
// average.
void Plan::Swarm(Random& random, FaultOptions* fault_options) {
  const auto once_in = [&random](uint64_t n) { return random.Uniform(n) == 0; };
  ambushes = DrawAmbushOptions(random);
  if (once_in(3)) BusyClients(random);
  if (once_in(2)) clients.to_leaders_percent = 30 + random.Uniform(71);
  if (once_in(3)) {
    for (size_t i = 0; i < Operation::kKinds; ++i) {
      clients.weights.push_back(once_in(2) ? 0 : 1 + random.Uniform(30));
    }
    clients.weights.front() = 5;  // something is written
  }
  if (once_in(4)) SlowLinks(random, 500);
  if (once_in(4)) ShortLog(random);
  clocks_lie = once_in(6);
  restores = once_in(4);
  full_at_last = once_in(8);
  const size_t favourites = random.Uniform(4);
  for (size_t i = 0; i < favourites; ++i) {
    fault_options->favourites.push_back(
        static_cast<FaultKind>(random.Uniform(static_cast<uint64_t>(FaultKind::kCount))));
  }
  if (once_in(3)) fault_options->favourites.push_back(FaultKind::k_ambush);
  if (once_in(4)) fault_options->favourites.push_back(FaultKind::k_change);
}

void Plan::Follow(const Profile& profile, Random& random, FaultOptions* fault_options) {
  ambushes = profile.ambushes;
  fault_options->favourites = profile.favourites;
  fault_options->mean_gap = std::chrono::milliseconds(200 + random.Uniform(2000));
  if (profile.five) first_members = 5;
  if (profile.slow_links) SlowLinks(random, 1);
  if (profile.short_log) ShortLog(random);
  clocks_lie = profile.clocks_lie;
  restores = profile.restored;
  full_at_last = profile.full_at_last;
  if (profile.busy) {
    BusyClients(random);
    clients.to_leaders_percent = 60 + random.Uniform(40);
  }
  if (profile.leases > 0) {
    using Kind = Operation::Kind;
    clients.weights.assign(Operation::kKinds, 0);
    clients.weights[static_cast<size_t>(Kind::kPut)] = 5;
    clients.weights[static_cast<size_t>(Kind::kLeaseGet)] = 5 * profile.leases;
    clients.weights[static_cast<size_t>(Kind::kGet)] = 1;
  }
}

// Whoever reads a little too early is seen only by a write that was acknowledged just before.
void Plan::BusyClients(Random& random) {
  clients.clients = 4 + random.Uniform(8);
  clients.think_time = std::chrono::milliseconds(20 + random.Uniform(100));
  clients.keys = 1 + random.Uniform(2);
}

// An election or a crash falls between one message and the next.
void Plan::SlowLinks(Random& random, uint64_t most_append_bytes) {
  network.delay_min = std::chrono::milliseconds(random.Uniform(20));
  network.delay_spread = std::chrono::milliseconds(1 + random.Uniform(60));
  options.max_append_bytes = 1 + random.Uniform(most_append_bytes);
}

void Plan::SmallDisk(Random& random) {
  options.min_free_bytes = (1 + random.Uniform(32)) << 20;
  options.reserve_bytes = random.Uniform(2) == 0 ? 0 : (1 + random.Uniform(16)) << 20;
}

void Plan::ShortLog(Random& random) {
  options.log_keep_entries = random.Uniform(10);
  options.flush_after_bytes = 100 + random.Uniform(1000);
  flush_every = 1 + random.Uniform(4);
}

// One cluster: the first of a run, or the one that is made from its backup.
class Simulation {
 public:
  Simulation(const RunOptions& options, const Plan& plan, const Backup* backup);

  RunResult Run();
  // With what clients have seen until now.
  std::optional<Backup> TakeBackup();

 private:
  // Until `end`, a failure, or `done`.
  void RunUntil(SimTime end, const std::function<bool()>& done = [] { return false; });
  void InjectFaults();
  void CompareStatesNowAndThen();
  void Heal();
  // Within a bounded time nothing is missing any more; else the run has failed.
  bool GetWell();
  void BearFullDisks();
  linearizability::History Answers() const {
    return ToAnswers(clients_->history().operations(), world_.checker, world_.scheduler.now(),
                     backup_ == nullptr ? kv::ReferenceModel() : backup_->model);
  }
  void CheckAnswers();

  const RunOptions options_;
  const Plan& plan_;
  const Backup* const backup_;  // null: the first cluster
  const std::vector<Fault>& faults_;
  const size_t first_fault_;  // its number in RunOptions::keep
  World world_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<Clients> clients_;
  std::unique_ptr<Injector> injector_;
  std::unique_ptr<Liveness> liveness_;
  bool healing_ = false;
};

Simulation::Simulation(const RunOptions& options, const Plan& plan, const Backup* backup)
    : options_(options),
      plan_(plan),
      backup_(backup),
      faults_(backup == nullptr ? plan.faults : plan.restored_faults),
      first_fault_(backup == nullptr ? 0 : plan.faults.size()),
      world_(backup == nullptr ? plan_.world_seed : plan_.restored_seed, kHosts) {
  world_.options = plan_.options;
  world_.flush_every = plan_.flush_every;
  world_.max_drift_ppm = plan_.max_drift_ppm;
  world_.print_events = options.print_events;
  for (size_t host = 0; host < kHosts; ++host) {
    world_.nodes.push_back(std::make_unique<SimNode>(&world_, host));
  }
  world_.begun_from = backup;
  operator_ = std::make_unique<Operator>(&world_, backup == nullptr ? plan_.first_members : 1);
  ClientOptions client_options = plan_.clients;
  if (backup != nullptr) client_options.value_prefix = "r";
  clients_ = std::make_unique<Clients>(&world_, client_options);
  if (backup != nullptr) {
    world_.checker.BeginWith(backup->model, backup->applied);
    clients_->history().BeginAt(backup->model.revision());
  }
  injector_ = std::make_unique<Injector>(&world_, operator_.get(), clients_.get(), plan_.ambushes,
                                         plan_.clocks_lie);
  world_.usual_network = plan_.network;
  world_.network.SetProfile(plan_.network);
  liveness_ = std::make_unique<Liveness>(&world_, operator_.get(), &clients_->history());
  world_.on_process_end = [this](SimNode& node) { clients_->OnProcessEnd(node); };
}

void Simulation::RunUntil(SimTime end, const std::function<bool()>& done) {
  while (!world_.checker.failed() && !done() && world_.scheduler.RunOne(end)) {
  }
}

void Simulation::InjectFaults() {
  for (size_t i = 0; i < faults_.size(); ++i) {
    if (options_.keep && !std::ranges::binary_search(*options_.keep, first_fault_ + i)) continue;
    const Fault& fault = faults_[i];
    world_.scheduler.At(fault.at, [this, &fault] {
      if (!healing_) injector_->Inject(fault);
    });
  }
}

void Simulation::CompareStatesNowAndThen() {
  world_.scheduler.After(kHashEvery, [this] {
    liveness_->CompareStates();
    CompareStatesNowAndThen();
  });
}

bool Simulation::GetWell() {
  const SimTime bound = world_.scheduler.now() + kHealWithin;
  std::string missing = "nothing was looked at";
  while (!world_.checker.failed() && world_.scheduler.now() < bound && !missing.empty()) {
    RunUntil(world_.scheduler.now() + std::chrono::milliseconds(250));
    missing = liveness_->Missing();
  }
  if (missing.empty()) {
    liveness_->CompareStates();
  } else {
    world_.checker.Fail("liveness: " + missing + '\n' + liveness_->Describe());
  }
  return !world_.checker.failed();
}

void Simulation::Heal() {
  healing_ = true;
  world_.crashes_in_files = false;
  injector_->HealAll();
  // Clients go on for a while: getting well must not need silence. A link is well when it has
  // brought what it had held back.
  RunUntil(std::max<SimTime>(world_.scheduler.now() + std::chrono::seconds(5),
                             world_.network.LastArrival()));
  clients_->Stop();
  if (!GetWell()) return;
  RunUntil(world_.scheduler.now() + std::chrono::seconds(10), [this] { return clients_->idle(); });
  // A spare may have become a member meanwhile. What it passes on before it has its first snapshot
  // may be in that one, and it never hears what became of it.
  if (!GetWell()) return;
  liveness_->AskEveryMember();
  RunUntil(world_.scheduler.now() + std::chrono::seconds(10),
           [this] { return liveness_->Unanswered().empty(); });
  const std::string unanswered = liveness_->Unanswered();
  if (!unanswered.empty()) world_.checker.Fail("liveness: " + unanswered);
  if (plan_.full_at_last && !world_.checker.failed()) BearFullDisks();
}

// As many disks are full as the voters bear, mostly with the leader's among them. The others go on.
void Simulation::BearFullDisks() {
  if (!GetWell()) return;
  SeededRandom random(plan_.world_seed);
  std::vector<SimNode*> voters;
  for (const uint64_t id : world_.Leader()->machine().cluster()->conf().voters()) {
    voters.push_back(world_.ById(raft::NodeId(id)));
  }
  for (size_t i = voters.size(); i > 1; --i) std::swap(voters[i - 1], voters[random.Uniform(i)]);
  if (random.Uniform(4) > 0) std::ranges::partition(voters, &SimNode::leads);
  const size_t full = (voters.size() - 1) / 2;
  if (full == 0) return;
  constexpr uint64_t kMostKiB[] = {1, 200, 1500};
  for (size_t i = 0; i < full; ++i) {
    voters[i]->SetFree(random.Uniform(kMostKiB[random.Uniform(std::size(kMostKiB))]) << 10);
  }
  const SimTime begin = world_.scheduler.now();
  std::string missing;
  const auto ask_for = [&](Duration duration) {
    const SimTime until = world_.scheduler.now() + duration;
    do {
      liveness_->AskToDelete();
      RunUntil(world_.scheduler.now() + std::chrono::milliseconds(500));
      missing = liveness_->MissingThough();
    } while (!world_.checker.failed() && world_.scheduler.now() < until);
  };
  // Whoever has no room has to notice it first.
  ask_for(std::chrono::seconds(5));
  liveness_->Expect({voters.begin() + static_cast<ptrdiff_t>(full), voters.end()});
  do {
    ask_for(std::chrono::seconds(1));
  } while (!world_.checker.failed() && !missing.empty() &&
           world_.scheduler.now() < begin + kBearWithin);
  if (!missing.empty()) {
    return world_.checker.Fail("liveness: " + missing + '\n' + liveness_->Describe());
  }
  world_.coverage.Hit(Path::full_disks_borne);
  for (SimNode* node : voters) node->SetFree(std::nullopt);
  (void)GetWell();
}

// Beside the witness (history.h): the same from the answers alone.
void Simulation::CheckAnswers() {
  linearizability::Limits limits;
  limits.max_time = std::chrono::hours(1);  // steps alone are the same everywhere
  limits.max_steps = kCheckSteps;
  const Result<linearizability::Report> report = linearizability::Check(Answers(), limits);
  if (!report) return world_.checker.Fail("linearizability checker: " + report.error().ToString());
  world_.coverage.Hit(Path::answers_checked);
  if (report->verdict != linearizability::Verdict::kLinearizable) {
    world_.checker.Fail(
        "linearizability checker: " + std::string(linearizability::VerdictName(report->verdict)) +
        ": " + report->reason);
  }
}

RunResult Simulation::Run() {
  operator_->Start();
  operator_->StartRepairs();
  clients_->Start();
  InjectFaults();
  CompareStatesNowAndThen();
  RunUntil(backup_ == nullptr ? plan_.faults_end : plan_.restored_faults_end);
  if (!world_.checker.failed()) Heal();
  if (!world_.checker.failed()) CheckAnswers();

  RunResult result;
  result.failure = world_.checker.failure();
  result.failed_at = result.simulated = world_.scheduler.now();
  result.hash = world_.scheduler.hash();
  result.events = world_.scheduler.events();
  result.operations = clients_->history().operations().size();
  result.members = plan_.first_members;
  result.faults = faults_.size();
  result.coverage = world_.coverage;
  if (!options_.history_file.empty()) {
    const Status written = linearizability::WriteHistory(Answers(), options_.history_file);
    if (!written.ok()) result.failure += '\n' + written.ToString();
  }
  return result;
}

std::optional<Backup> Simulation::TakeBackup() {
  SeededRandom random(plan_.restored_seed);
  if (!world_.backup) operator_->TakeBackup(random);
  if (world_.backup) world_.backup->seen = clients_->history().floor();
  return std::move(world_.backup);
}

// The run goes on with another cluster.
void Add(const RunResult& next, RunResult* result) {
  result->failure = next.failure;
  result->failed_at = next.failed_at;
  result->simulated += next.simulated;
  result->hash = (result->hash ^ next.hash) * 0x9e3779b97f4a7c15;
  result->events += next.events;
  result->operations += next.operations;
  result->faults += next.faults;
  result->coverage.Add(next.coverage);
}

}  // namespace

RunResult Run(const RunOptions& options) {
  if (!options.print_events) log::SetLevel(log::Level::kOff);
  const Plan plan(options);
  std::optional<Backup> backup;
  RunResult result;
  {
    Simulation first(options, plan, nullptr);
    result = first.Run();
    backup = first.TakeBackup();
  }
  if (!plan.restores || !backup || !result.failure.empty()) return result;
  if (backup->seen > backup->model.revision()) result.coverage.Hit(Path::restore_lost_writes);
  Simulation restored(options, plan, &*backup);
  Add(restored.Run(), &result);
  return result;
}

std::vector<Fault> FaultsOf(const RunOptions& options) {
  const Plan plan(options);
  std::vector<Fault> faults = plan.faults;
  faults.insert(faults.end(), plan.restored_faults.begin(), plan.restored_faults.end());
  return faults;
}

}  // namespace raftkv::sim
