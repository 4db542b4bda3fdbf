// What whoever runs a cluster asks for by mistake, or twice, under load.
#include <fstream>
#include <thread>

#include "base/hex_id.h"
#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

constexpr int kExitFailed = 1;

// A request that must be refused, and must change nothing.
struct Mistake {
  std::string what;
  std::string path;
  std::string body;
  int status = 0;
};

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

std::string AddLearner(const std::string& id) {
  return R"({"add_learners":[{"id":)" + Quoted(id) +
         R"(,"name":"mistake","peer_address":"127.0.0.1:1"}]})";
}

// `removed`: the ID of a former member.
std::vector<Mistake> Mistakes(Bed& bed, size_t member, const std::string& removed) {
  const std::string id = bed.MemberId(member);
  const std::string stranger = "00000000000000ff";
  std::string all;
  for (size_t i = 0; i < bed.size(); ++i) all += (i > 0 ? "," : "") + Quoted(bed.MemberId(i));
  const std::string change = "/admin/membership";
  return {
      {"initialize again", "/admin/initialize", "{}", 409},
      {"initialize as another cluster", "/admin/initialize",
       R"({"cluster_id":"00000000000000c1","members":[{"id":)" + Quoted(id) +
           R"(,"peer_address":"127.0.0.1:1"}]})",
       409},
      {"initialize without this node", "/admin/initialize",
       R"({"members":[{"id":)" + Quoted(stranger) + R"(,"peer_address":"127.0.0.1:1"}]})", 400},
      {"add a member that is one", change, AddLearner(id), 409},
      {"add a used ID", change, AddLearner(removed), 409},
      {"promote a voter", change, R"({"promote":[)" + Quoted(id) + "]}", 409},
      {"promote a stranger", change, R"({"promote":[)" + Quoted(stranger) + "]}", 409},
      {"demote a stranger", change, R"({"demote":[)" + Quoted(stranger) + "]}", 409},
      {"remove a stranger", change, R"({"remove":[)" + Quoted(stranger) + "]}", 404},
      {"remove a removed one", change, R"({"remove":[)" + Quoted(removed) + "]}", 404},
      {"decide on an old configuration", change,
       R"({"expected_config_index":1,"demote":[)" + Quoted(id) + "]}", 409},
      {"change nothing", change, "{}", 400},
      {"no JSON", change, "{", 400},
      {"hand over to a stranger", "/admin/transfer", R"({"to":)" + Quoted(stranger) + "}", 400},
      {"hand over from a stranger", "/admin/transfer", R"({"from":)" + Quoted(stranger) + "}", 409},
      {"hand over on an old configuration", "/admin/transfer", R"({"expected_config_index":1})",
       409},
      {"compact what is not there yet", "/admin/compact", R"({"revision":"999999999999"})", 400},
  };
}

// Asks until it is not refused for what somebody else does at this moment.
Status ExpectRefusal(Bed& bed, size_t member, const Mistake& mistake) {
  testing::HttpReply reply;
  RETURN_IF_ERROR(bed.WaitFor("an answer to: " + mistake.what, [&] {
    reply = bed.node(member).Admin("POST", mistake.path, mistake.body);
    const bool busy = reply.body.find("is under way") != std::string::npos;
    return reply.status != 0 && reply.status != 503 && reply.status != 504 && !busy;
  }));
  return Expect(reply.status == mistake.status,
                mistake.what + " is refused with " + std::to_string(mistake.status) + ": " +
                    std::to_string(reply.status) + " " + reply.body);
}

// A second process on the directory of a member that runs: it says whose it is, and ends.
Status ExpectLockedOut(Bed& bed, size_t member, int round) {
  const std::string name = "twin" + std::to_string(round);
  testing::NodeProcess twin(name, (bed.directory(member) / name).string());
  twin.Start({"--start-mode", "join", "--start-peers", bed.node(member).advertised_address(),
              "--data-dir", bed.node(member).data_dir()});
  const int status = twin.process()->Wait();
  RETURN_IF_ERROR(
      Expect(status == kExitFailed,
             "a second process on a directory ends with 1, not " + std::to_string(status)));
  const std::string owner = std::to_string(bed.node(member).process()->pid());
  return Expect(twin.Log().find(owner) != std::string::npos,
                "it names the process that has the directory: " + twin.Log());
}

std::string ClusterOf(const testing::NodeProcess& node) {
  const std::optional<v1::StatusResponse> status = node.Status();
  return status ? HexId(status->cluster_id()) : "none";
}

// A member of another cluster is told to join ours, by request and by its flags: it stays what it
// is, and nobody here knows it.
Status ExpectStranger(Bed& bed, size_t member, testing::NodeProcess& stranger) {
  const std::string own = ClusterOf(stranger);
  const std::string here =
      R"({"peer_addresses":[)" + Quoted(bed.node(member).advertised_address()) + "]}";
  const testing::HttpReply reply = stranger.Admin("POST", "/admin/join", here);
  RETURN_IF_ERROR(Expect(reply.status == 409, "a member of another cluster does not join: " +
                                                  std::to_string(reply.status) + " " + reply.body));
  stranger.Kill();
  stranger.Start({"--start-mode", "join", "--start-peers", bed.node(member).advertised_address()});
  RETURN_IF_ERROR(bed.WaitFor("the other cluster serves", [&] { return stranger.IsReady(); }));
  RETURN_IF_ERROR(Expect(ClusterOf(stranger) == own, "it is what it was"));
  const std::optional<v1::StatusResponse> status = bed.node(member).Status();
  RETURN_IF_ERROR(Expect(status.has_value(), "a member answers"));
  for (const v1::Member& known : status->cluster().members()) {
    RETURN_IF_ERROR(Expect(known.name() != stranger.name(), "nobody has taken it in"));
  }
  return Status::Ok();
}

// A backup that is restored is a new cluster; on members of this one it is refused, by request and
// by their flags.
Status ExpectNoRestore(Bed& bed, size_t member, const std::string& backup) {
  testing::HttpReply reply;
  RETURN_IF_ERROR(bed.WaitFor("an answer to a restore", [&] {
    reply = bed.node(member).Admin("POST", "/admin/restore?offset=0", backup.substr(0, 1 << 20),
                                   {{"Content-Type", "application/vnd.raftkv.snapshot"}});
    return reply.status != 0;
  }));
  RETURN_IF_ERROR(Expect(reply.status == 409, "a member is not restored: " +
                                                  std::to_string(reply.status) + " " + reply.body));
  const std::string file = (bed.directory(member) / "backup").string();
  std::ofstream(file, std::ios::binary) << backup;
  bed.Kill(member);
  bed.Restart(member, {"--start-mode", "restore", "--start-snapshot", file});
  return ReadyAsBefore(bed, member);
}

// Of another cluster, with this backup as its content: it has a new name.
Status ExpectNewCluster(Bed& bed, testing::NodeProcess& stranger, const std::string& file) {
  stranger.Start({"--start-mode", "restore", "--start-snapshot", file});
  RETURN_IF_ERROR(bed.WaitFor("the restored cluster serves", [&] { return stranger.IsReady(); }));
  return Expect(ClusterOf(stranger) != ClusterOf(bed.node(0)), "a restored cluster is another one");
}

Status OperatorErrors(Bed& bed) {
  // Whose ID is used from then on.
  const size_t replaced = bed.Pick(bed.size());
  const std::string removed = bed.MemberId(replaced);
  RETURN_IF_ERROR(bed.Replace(replaced));
  std::vector<std::string> ids;
  for (size_t i = 0; i < bed.size(); ++i) ids.push_back(bed.MemberId(i));
  const testing::HttpReply backup = bed.node(0).Admin("GET", "/admin/snapshot/file");
  RETURN_IF_ERROR(Expect(backup.status == 200, "a backup is made"));
  const std::string file = (bed.directory(0) / "backup-of-all").string();
  std::ofstream(file, std::ios::binary) << backup.body;
  testing::NodeProcess stranger("stranger", (bed.directory(0) / "stranger").string());
  RETURN_IF_ERROR(ExpectNewCluster(bed, stranger, file));
  int refused = 0;
  int rounds = 0;
  bed.BeginFault();
  do {
    const size_t member = bed.Pick(bed.size());
    for (const Mistake& mistake : Mistakes(bed, member, removed)) {
      RETURN_IF_ERROR(ExpectRefusal(bed, member, mistake));
      ++refused;
    }
    RETURN_IF_ERROR(ExpectLockedOut(bed, member, ++rounds));
    RETURN_IF_ERROR(ExpectStranger(bed, member, stranger));
    RETURN_IF_ERROR(ExpectNoRestore(bed, member, backup.body));
    RETURN_IF_ERROR(bed.Progress(20));
  } while (!bed.Over());
  RETURN_IF_ERROR(bed.EndFault());
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(ReadyAsBefore(bed, i));
    RETURN_IF_ERROR(Expect(bed.MemberId(i) == ids[i], "the members are those that they were"));
    RETURN_IF_ERROR(bed.AwaitVote(i));
  }
  bed.Note(std::to_string(refused) + " wrong requests, each refused as it should be; " +
           std::to_string(rounds) +
           " times each a second process on a directory, a member of another cluster, a restore");
  return Status::Ok();
}

// The leader itself, while it leads.
Status RemoveTheLeader(Bed& bed) {
  int removed = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const std::string id = bed.MemberId(leader);
    bed.BeginFault();
    RETURN_IF_ERROR(bed.ChangeMembers(R"({"remove":[)" + Quoted(id) + "]}"));
    ASSIGN_OR_RETURN_STATUS(const int status, bed.End(leader));
    RETURN_IF_ERROR(Expect(status == 0, "it ends by itself with 0, not " + std::to_string(status)));
    bed.Restart(leader);
    ASSIGN_OR_RETURN_STATUS(const int again, bed.End(leader));
    RETURN_IF_ERROR(Expect(again == kExitFailed, "it never starts again"));
    RETURN_IF_ERROR(bed.EndFault());
    RETURN_IF_ERROR(bed.Replace(leader));
    ++removed;
  }
  bed.Note(std::to_string(removed) + " leaders removed");
  return Status::Ok();
}

// Asked to by two at once, through two members, and once more when it is one; then started again
// with the flags that made it join.
Status JoinTwice(Bed& bed) {
  int joined = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t node = bed.Pick(bed.size());
    const std::string former = bed.MemberId(node);
    bed.BeginFault();
    bed.Kill(node);
    RETURN_IF_ERROR(bed.ChangeMembers(R"({"remove":[)" + Quoted(former) + "]}"));
    bed.node(node).Wipe();
    bed.Restart(node, {"--start-mode", "wait"});
    RETURN_IF_ERROR(bed.WaitFor("a blank node", [&] {
      const std::optional<v1::StatusResponse> status = bed.node(node).Status();
      return status && status->role() == v1::StatusResponse::BLANK;
    }));
    const auto join = [&bed, node](size_t through) {
      const std::string body =
          R"({"peer_addresses":[)" + Quoted(bed.node(through).advertised_address()) + "]}";
      return testing::Http("POST", bed.node(node).admin_port(), "/admin/join", body,
                           {{"Content-Type", "application/json"}})
          .status;
    };
    const size_t through[] = {bed.Other(node), bed.Other(node)};
    int statuses[2] = {};
    std::vector<std::thread> callers;
    for (size_t i = 0; i < 2; ++i) {
      callers.emplace_back([&, i] { statuses[i] = join(through[i]); });
    }
    for (std::thread& caller : callers) caller.join();
    RETURN_IF_ERROR(Expect(statuses[0] == 200 || statuses[1] == 200,
                           "one of two calls at once is taken: " + std::to_string(statuses[0]) +
                               ", " + std::to_string(statuses[1])));
    RETURN_IF_ERROR(bed.Ready(node));
    RETURN_IF_ERROR(bed.AwaitVote(node));
    const std::string id = bed.MemberId(node);
    RETURN_IF_ERROR(Expect(id != former, "it is another member than before"));
    RETURN_IF_ERROR(bed.WaitFor("a member that joins again is one already",
                                [&] { return join(through[0]) == 200; }));
    bed.Kill(node);
    bed.Restart(
        node, {"--start-mode", "join", "--start-peers", bed.node(through[1]).advertised_address()});
    RETURN_IF_ERROR(ReadyAsBefore(bed, node));
    RETURN_IF_ERROR(bed.AwaitVote(node));
    const std::optional<v1::StatusResponse> status = bed.node(node).Status();
    RETURN_IF_ERROR(Expect(status.has_value(), "it answers"));
    const auto same_name = [&](const v1::Member& member) {
      return member.name() == bed.node(node).name();
    };
    RETURN_IF_ERROR(Expect(std::ranges::count_if(status->cluster().members(), same_name) == 1,
                           "it is one member, not two"));
    RETURN_IF_ERROR(bed.EndFault());
    ++joined;
  }
  bed.Note(std::to_string(joined) + " members joined, each asked to three times");
  return Status::Ok();
}

}  // namespace

std::vector<Row> OperatorRows() {
  return {
      {.name = "operator-errors",
       .injected =
           "wrong requests to the admin API of any member: initialize again, add a used ID, remove "
           "a stranger, ...; a second process on a member's directory; a member of another cluster "
           "is told to join; an old backup is restored on a member, by request and by flags",
       .promised = "each is refused with the status that says why, and changes nothing; a restored "
                   "backup is another cluster; no outage",
       .run = OperatorErrors},
      {.name = "remove-leader",
       .injected = "the leader is removed while it leads, and started again",
       .promised = "it ends by itself and never starts again; the others elect and go on",
       .run = RemoveTheLeader},
      {.name = "join-twice",
       .injected = "a blank node is asked to join by two calls at once, again as a member, and "
                   "started again with the flags of joining",
       .promised = "it is one member; the others go on",
       .run = JoinTwice},
  };
}

}  // namespace raftkv::faults
