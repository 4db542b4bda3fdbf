#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

constexpr int kExitFailed = 1;
constexpr int kMostTransfers = 50;  // until one has to be done

// `disturb` while a member is removed and a new one takes its place.
Status ReplaceUnder(Bed& bed, const std::function<Status(size_t)>& disturb) {
  int replaced = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    RETURN_IF_ERROR(disturb(victim));
    RETURN_IF_ERROR(bed.Replace(victim));
    bed.proxies().Heal();
    for (size_t i = 0; i < bed.size(); ++i) {
      if (!bed.node(i).process()->IsRunning()) bed.Restart(i);
      RETURN_IF_ERROR(bed.Ready(i));
    }
    ++replaced;
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(replaced) + " members replaced");
  return Status::Ok();
}

Status ReplaceWhileKilling(Bed& bed) {
  return ReplaceUnder(bed, [&bed](size_t victim) {
    const size_t other = bed.Other(victim);
    // Four members while the new one joins; two of them are down for a moment.
    bed.Kill(other);
    bed.Pace(milliseconds(200));
    bed.Restart(other);
    return Status::Ok();
  });
}

Status ReplaceOverBadLinks(Bed& bed) {
  return ReplaceUnder(bed, [&bed](size_t) {
    for (size_t i = 0; i < bed.size(); ++i) {
      bed.proxies().SetAround(
          i, bed.size(),
          {.delay = milliseconds(10), .jitter = milliseconds(40), .stall = 0.02, .reset = 0.002});
    }
    return Status::Ok();
  });
}

Status MoveLeadership(Bed& bed) {
  int asked = 0;
  int moved = 0;
  bed.BeginFault();
  while (!bed.Over() || (moved == 0 && asked < kMostTransfers)) {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t to = bed.Other(leader);
    if (bed.Pick(3) == 0) bed.Kill(to);
    const int status =
        bed.node(leader)
            .Admin("POST", "/admin/transfer", R"({"to":")" + bed.MemberId(to) + R"("})")
            .status;
    ++asked;
    if (status == 200) ++moved;
    if (!bed.node(to).process()->IsRunning()) bed.Restart(to);
    RETURN_IF_ERROR(bed.Ready(to));
    RETURN_IF_ERROR(bed.Progress(20));
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(asked) + " transfers, " + std::to_string(moved) + " of them done");
  RETURN_IF_ERROR(Expect(moved > 0, "leadership is handed over"));
  return Status::Ok();
}

// An empty directory under an old name: it has to be a stranger, not its former self.
Status WipeDisk(Bed& bed) {
  int wiped = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    const std::string former = bed.MemberId(victim);
    bed.Kill(victim);
    bed.node(victim).Wipe();
    bed.Restart(victim);  // with the flags of its first start
    bed.Pace(milliseconds(1500));
    RETURN_IF_ERROR(bed.Progress());
    const std::optional<v1::StatusResponse> status = bed.node(victim).Status();
    RETURN_IF_ERROR(Expect(!status || status->role() == v1::StatusResponse::BLANK ||
                               status->role() == v1::StatusResponse::JOINING,
                           "a wiped node takes no part"));
    RETURN_IF_ERROR(bed.Replace(victim));
    RETURN_IF_ERROR(Expect(bed.MemberId(victim) != former, "it has a new identity"));
    ++wiped;
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(wiped) + " wiped, none took part until replaced");
  return Status::Ok();
}

// The removed member's process runs on, cut off, and comes back.
Status RemoveWhileCutOff(Bed& bed) {
  ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
  const size_t victim = bed.Other(leader);
  CutAway(bed, {victim}, Cut::kBoth);
  bed.BeginFault();
  bed.BeginMinority({victim});
  RETURN_IF_ERROR(bed.ChangeMembers(R"({"remove":[")" + bed.MemberId(victim) + R"("]})"));
  RETURN_IF_ERROR(bed.Progress());
  RETURN_IF_ERROR(bed.EndFault());
  RETURN_IF_ERROR(ExpectMinority(bed, {victim}));
  bed.proxies().Heal();
  RETURN_IF_ERROR(bed.Progress());
  ASSIGN_OR_RETURN_STATUS(const int status, bed.End(victim));
  RETURN_IF_ERROR(Expect(status == 0, "it ends by itself with 0, not " + std::to_string(status)));
  bed.Restart(victim);
  ASSIGN_OR_RETURN_STATUS(const int again, bed.End(victim));
  RETURN_IF_ERROR(Expect(again == kExitFailed, "it never starts again"));
  bed.Retire(victim);
  return bed.Progress();
}

}  // namespace

std::vector<Row> MemberRows() {
  return {
      {.name = "replace-while-killing",
       .injected = "a member is removed, wiped and joins anew while another one is killed",
       .promised = "the change goes through; the history holds",
       .run = ReplaceWhileKilling},
      {.name = "replace-over-bad-links",
       .injected = "the same with 10 to 50 ms, stalls and resets on every link",
       .promised = "as above",
       .gaps = kBadLinks,
       .run = ReplaceOverBadLinks},
      {.name = "transfer",
       .injected = "leadership is handed over all the time; now and then to a node just killed",
       .promised = "goes on",
       .run = MoveLeadership},
      {.name = "wiped-disk",
       .injected = "a member starts with an empty directory and the flags of its first start",
       .promised = "it does not vote or serve as its old self",
       .run = WipeDisk},
      {.name = "remove-cut-off",
       .injected = "a member is removed while it is cut off; then the network heals",
       .promised = "it refuses reads and writes while it is cut off; it disturbs nobody, ends by "
                   "itself and never starts again",
       .run = RemoveWhileCutOff},
  };
}

}  // namespace raftkv::faults
