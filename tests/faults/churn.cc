#include "tests/faults/churn.h"

#include <utility>

#include "base/hex_id.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kLook{20};
// What the fault may hold up: then the round is given up and the next one tries.
constexpr seconds kPatience{10};
constexpr seconds kUntilSettled{60};
// Several rounds that are given up.
constexpr seconds kUntilSeen{60};
// Of a member that hears that it is removed, and of one that is started again after that.
constexpr int kExitRemoved = 0;
constexpr int kExitFailed = 1;

testing::HttpReply SendRemoval(const Churn::Admin& member, uint64_t id) {
  testing::HttpClient client(member.host, member.port, seconds(2));
  return client.Send("POST", "/admin/membership", R"({"remove":[")" + HexId(id) + R"("]})",
                     {{"Content-Type", "application/json"}});
}

std::optional<v1::StatusResponse> StatusOf(const Churn::Admin& member) {
  testing::HttpClient client(member.host, member.port, seconds(2));
  v1::StatusResponse status;
  const testing::HttpReply reply =
      client.Send("GET", "/admin/status", "", {{"Accept", "application/protobuf"}});
  if (reply.status != 200 || !status.ParseFromString(reply.body)) return std::nullopt;
  return status;
}

}  // namespace

std::string DescribeEnd(testing::NodeProcess& node) {
  const int status = node.process()->Wait();
  std::string log = node.Log();
  // Some lines.
  size_t begin = log.size();
  for (int lines = 0; lines < 4 && begin != std::string::npos && begin > 0; ++lines) {
    begin = log.rfind('\n', begin - 1);
  }
  if (begin != std::string::npos) log.erase(0, begin);
  const std::string how = status > 128 ? "by signal " + std::to_string(status - 128)
                                       : "with status " + std::to_string(status);
  return node.name() + " ended by itself, " + how + ":" + log;
}

bool SaysItVotes(const v1::StatusResponse& status) {
  return status.role() == v1::StatusResponse::FOLLOWER ||
         status.role() == v1::StatusResponse::LEADER;
}

Churn::Churn(std::unique_ptr<testing::NodeProcess> spare, std::vector<std::string> flags,
             std::vector<Admin> members, std::function<void(uint64_t id)> know)
    : spare_(std::move(spare)),
      flags_(std::move(flags)),
      members_(std::move(members)),
      know_(std::move(know)) {}

Churn::~Churn() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void Churn::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Churn::BeginFault() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(in_fault_, true) || !changing_) return;
  ++begun_in_fault_;
  counted_ = true;
}

bool Churn::EndFault(Wanted wanted) {
  const bool seen = testing::WaitUntil([&] { return Seen(wanted); }, kUntilSeen);
  const std::lock_guard lock(mutex_);
  in_fault_ = counted_ = false;
  return seen;
}

bool Churn::AwaitWholeRound() const {
  return testing::WaitUntil([this] { return joined_ > 0 && removed_ > 0; }, kUntilSeen);
}

void Churn::BeginChange() {
  const std::lock_guard lock(mutex_);
  changing_ = true;
  if (!in_fault_) return;
  ++begun_in_fault_;
  counted_ = true;
}

void Churn::EndChange(bool done) {
  const std::lock_guard lock(mutex_);
  if (counted_ && done) ++done_in_fault_;
  changing_ = counted_ = false;
}

bool Churn::Await(const std::function<bool()>& condition, milliseconds limit) const {
  const Clock::time_point deadline = Clock::now() + limit;
  while (!condition()) {
    if (stop_ || Clock::now() > deadline) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
}

int Churn::Remove(uint64_t id, milliseconds limit) {
  int status = 0;
  const bool answered = Await(
      [&] {
        const Admin& member = members_[next_++ % members_.size()];
        const testing::HttpReply reply = SendRemoval(member, id);
        status = reply.status;
        if (status == 500) error_ = "the removal of the spare: " + reply.body;
        return status == 200 || status == 404;
      },
      limit);
  return answered ? status : 0;
}

void Churn::Run() {
  while (!stop_) Round();
  // Here, because a process ends with the thread that started it.
  if (spare_->process() != nullptr) spare_->Kill();
}

void Churn::Round() {
  spare_->Start(flags_);
  BeginChange();
  uint64_t id = 0;
  const bool votes = Await(
      [&] {
        if (!spare_->process()->IsRunning()) return true;
        const std::optional<v1::StatusResponse> status = spare_->Status();
        if (!status) return false;
        if (std::exchange(id, status->member_id()) == 0) know_(id);
        return SaysItVotes(*status);
      },
      kPatience);
  EndChange(votes && spare_->process()->IsRunning());
  if (!spare_->process()->IsRunning()) {
    // An earlier removal went through after all.
    TakeEnd();
    spare_->Wipe();
    return;
  }
  if (votes) {
    ++joined_;
    (void)Await([] { return false; }, milliseconds(100 + id % 300));
  }
  BeginChange();
  const int removal = id == 0 ? 0 : Remove(id, kPatience);
  // 404: it was removed without our hearing of it; or is not there yet, and its call to join is
  // still on its way: then it goes on as what it is, else there would be a member without a node.
  const bool gone = removal == 200 || (removal == 404 && votes);
  EndChange(gone);
  if (gone) {
    removed_ += votes ? 1 : 0;
    // It hears of it, unless it is cut off.
    if (Await([&] { return !spare_->process()->IsRunning(); }, seconds(2))) TakeEnd();
    spare_->Kill();
    spare_->Wipe();
  } else if (!stop_) {
    // Still a member, maybe: it goes on as what it is.
    spare_->Kill();
  }
}

void Churn::TakeEnd() {
  const int status = spare_->process()->Wait();
  if (status != kExitRemoved && status != kExitFailed) surprises_ += DescribeEnd(*spare_) + "\n";
}

Status Churn::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  std::string seen;
  // The spare is gone, but it may be a member still, or a change may be half done.
  const auto settled = [&] {
    bool all = true;
    for (const Admin& member : members_) {
      const std::optional<v1::StatusResponse> status = StatusOf(member);
      // Does not answer: a member that the row has retired.
      if (!status) continue;
      seen = status->cluster().ShortDebugString();
      const v1::ConfState& conf = status->cluster().conf();
      all = all && conf.voters_outgoing().empty() && conf.learners().empty();
      for (const v1::Member& known : status->cluster().members()) {
        if (known.name() != spare_->name()) continue;
        all = false;
        (void)SendRemoval(member, known.id());
      }
    }
    return all;
  };
  if (testing::WaitUntil(settled, kUntilSettled)) return Status::Ok();
  return {Code::kInternal, "the membership does not settle: " + seen};
}

}  // namespace raftkv::faults
