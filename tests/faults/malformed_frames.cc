#include "tests/faults/malformed_frames.h"

#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "node/storage/data_dir.h"
#include "node/transport/frame.h"
#include "node/transport/transport.h"

namespace raftkv::faults {
namespace {

using Then = MalformedDial::Then;
using transport::kMagic;

constexpr size_t kMostAnswerBytes = size_t{1} << 20;
constexpr uint32_t kMost32 = std::numeric_limits<uint32_t>::max();

std::string Magic() { return std::string(kMagic); }

std::string Frame(const std::string& body) {
  transport::ByteBuffer out;
  const size_t begin = transport::BeginFrame(out);
  out.Append(body);
  transport::EndFrame(out, begin);
  return std::string(out.view());
}

std::string Frame(const google::protobuf::MessageLite& message) {
  return Frame(message.SerializeAsString());
}

// The head of a frame whose body is not there.
std::string Head(uint32_t length) {
  std::string head;
  for (int shift = 0; shift < 32; shift += 8) head += static_cast<char>(length >> shift);
  return head + std::string(4, '\0');
}

class Builder {
 public:
  Builder(const DialedNode& node, std::mt19937_64& random) : node_(node), random_(random) {}

  v1::Hello Hello(v1::Hello::Purpose purpose, uint64_t from) const {
    v1::Hello hello;
    hello.set_protocol_version(transport::kProtocolVersion);
    hello.set_purpose(purpose);
    hello.set_cluster_id(node_.cluster_id);
    hello.set_member_id(from);
    hello.set_target_id(node_.member_id);
    return hello;
  }
  v1::Hello Stranger(v1::Hello::Purpose purpose) { return Hello(purpose, random_()); }
  uint64_t Random() { return random_(); }
  std::string Noise(size_t size) {
    std::string noise(size, '\0');
    for (char& byte : noise) byte = static_cast<char>(random_());
    return noise;
  }
  const DialedNode& node() const { return node_; }

  // Closed without a word.
  void Closed(const std::string& category, const std::string& bytes) {
    dials_.push_back({.category = category, .bytes = bytes});
  }
  void Misdirected(const std::string& category, const std::string& bytes) {
    dials_.push_back({.category = category, .bytes = bytes, .http = true});
  }
  void Judged(const std::string& category, const v1::Hello& hello, v1::HelloReply::Verdict verdict,
              const std::string& more = "", Then then = Then::kNothing) {
    // Who waits for the answer to a call or an offer stays on the line.
    dials_.push_back(
        {category, Magic() + Frame(hello) + more, then == Then::kNothing, true, verdict, then});
  }
  void Call(const std::string& category, const v1::PeerCall& call, Then then,
            const std::string& more = "", bool may_close = false) {
    Judged(category, Stranger(v1::Hello::CALL), v1::HelloReply::OK, Frame(call) + more, then);
    dials_.back().may_close = may_close;
  }
  // In the name of the other member.
  void Member(const std::string& category, v1::Hello::Purpose purpose, const std::string& bytes,
              Then then = Then::kNothing) {
    Judged(category, Hello(purpose, node_.other_member), v1::HelloReply::OK, bytes, then);
  }

  std::vector<MalformedDial> Take() { return std::move(dials_); }

 private:
  const DialedNode node_;
  std::mt19937_64& random_;
  std::vector<MalformedDial> dials_;
};

void OtherProtocols(Builder& out) {
  for (size_t at = 0; at < kMagic.size(); ++at) {
    for (int c = 0; c < 256; c += 17) {
      std::string magic = Magic();
      magic[at] = static_cast<char>(c);
      if (magic != kMagic) {
        out.Closed("magic", magic + Frame(out.Stranger(v1::Hello::CALL)));
      }
    }
  }
  for (const char* text :
       {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "PUT /kv/a HTTP/1.1\r\nContent-Length: 0\r\n\r\n"}) {
    out.Misdirected("other protocols", text);
  }
  for (const char* text : {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                           "*1\r\n$4\r\nPING\r\n", "RAFTKV\n", "\n", ""}) {
    out.Closed("other protocols", text);
  }
  out.Closed("other protocols", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  for (int i = 0; i < 200; ++i) {
    const std::string noise = out.Noise(1 + out.Random() % 400);
    out.Closed("noise", i % 2 == 0 ? noise : Magic() + noise);
  }
}

v1::PeerCall WhoAreYou() {
  v1::PeerCall call;
  call.set_id(1);
  call.mutable_who_are_you();
  return call;
}

// A hello and a call that are right, but for where they end or one bit of them.
void CutsAndBits(Builder& out) {
  const v1::Hello hello = out.Stranger(v1::Hello::CALL);
  const std::string greeting = Magic() + Frame(hello);
  const std::string whole = greeting + Frame(WhoAreYou());
  for (size_t size = 0; size < whole.size(); ++size) {
    if (size < greeting.size()) {
      out.Closed("cut short", whole.substr(0, size));
    } else {
      out.Judged("cut short", hello, v1::HelloReply::OK,
                 whole.substr(greeting.size(), size - greeting.size()));
    }
  }
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string wrong = whole;
    wrong[bit / 8] = static_cast<char>(wrong[bit / 8] ^ (1 << (bit % 8)));
    if (bit < 8 * greeting.size()) {
      out.Closed("flipped bit", wrong);
    } else {
      out.Judged("flipped bit", hello, v1::HelloReply::OK, wrong.substr(greeting.size()));
    }
  }
}

// Of which nothing, or a little, comes.
void Lengths(Builder& out) {
  const std::string some(1000, 'x');
  for (const uint32_t length :
       {4'097u, 5'000u, 65'536u, 1u << 20, 8u << 20, 64u << 20, 1u << 31, kMost32}) {
    out.Closed("length", Magic() + Head(length) + some);
  }
  for (const uint32_t length : {1'001u, (1u << 20) - 1, (1u << 20) + 1, 64u << 20, kMost32}) {
    out.Judged("length", out.Stranger(v1::Hello::CALL), v1::HelloReply::OK, Head(length) + some);
    out.Member("length", v1::Hello::MESSAGES, Head(length) + some);
    out.Member("length", v1::Hello::SNAPSHOT, Head(length) + some);
  }
}

void Hellos(Builder& out) {
  for (const v1::Hello::Purpose purpose :
       {v1::Hello::MESSAGES, v1::Hello::CALL, v1::Hello::SNAPSHOT}) {
    for (const uint32_t version : {0u, transport::kProtocolVersion + 1, 1u << 31, kMost32}) {
      v1::Hello hello = out.Stranger(purpose);
      hello.set_protocol_version(version);
      out.Judged("version", hello, v1::HelloReply::WRONG_VERSION);
    }
  }
  for (const int purpose : {-1, 3, 17, std::numeric_limits<int>::max()}) {
    v1::Hello hello = out.Stranger(v1::Hello::CALL);
    hello.set_purpose(static_cast<v1::Hello::Purpose>(purpose));
    out.Judged("purpose", hello, v1::HelloReply::WRONG_VERSION);
  }
  for (const std::string body : {"\xff\xff\xff", "\x2a\x10zz", "\x08", "\x11zzz", "\x0f\x0f"}) {
    out.Closed("no message", Magic() + Frame(body));
  }
  for (int i = 0; i < 200; ++i) {
    for (const v1::Hello::Purpose purpose : {v1::Hello::MESSAGES, v1::Hello::SNAPSHOT}) {
      v1::Hello hello = out.Stranger(purpose);
      if (i % 4 == 0) {
        hello.set_cluster_id(out.Random());
        out.Judged("another cluster's", hello, v1::HelloReply::WRONG_CLUSTER);
      } else if (i % 4 == 1) {
        hello.set_target_id(out.Random());
        out.Judged("for another", hello, v1::HelloReply::WRONG_TARGET);
      } else {
        out.Judged("stranger", hello, v1::HelloReply::NOT_A_MEMBER);
      }
    }
  }
  out.Judged("own id", out.Hello(v1::Hello::MESSAGES, out.node().member_id),
             v1::HelloReply::NOT_A_MEMBER);
}

void Calls(Builder& out) {
  v1::PeerCall call;
  call.set_id(1);  // what has no body at all is no frame
  out.Call("call of members", call, Then::kRefusedCall);
  call.set_command("x");
  out.Call("call of members", call, Then::kRefusedCall);
  call.mutable_change_membership()->add_remove(out.node().other_member);
  out.Call("call of members", call, Then::kRefusedCall);
  call.mutable_transfer()->set_to(out.node().other_member);
  out.Call("call of members", call, Then::kRefusedCall);
  call.mutable_join();
  out.Call("join", call, Then::kRefusedCall);
  call.mutable_join()->set_id(out.Random());
  out.Call("join", call, Then::kRefusedCall);
  for (const char* address : {"nowhere", ":1", "host:", "host:99999", "host:x", "a b:1"}) {
    call.mutable_join()->set_peer_address(address);
    out.Call("join", call, Then::kRefusedCall, "", true);
  }
  call.mutable_adopt()->set_member_id(out.Random());
  out.Call("adopt", call, Then::kRefusedCall);
  call.mutable_adopt()->set_member_id(out.node().member_id);
  call.mutable_adopt()->set_cluster_id(out.Random());
  out.Call("adopt", call, Then::kRefusedCall);
  v1::Hello elsewhere = out.Stranger(v1::Hello::CALL);
  elsewhere.set_cluster_id(out.Random());
  out.Judged("another cluster's", elsewhere, v1::HelloReply::OK, Frame(call), Then::kRefusedCall);
  for (int i = 0; i < 20; ++i) {
    out.Judged("no message", out.Stranger(v1::Hello::CALL), v1::HelloReply::OK,
               Frame("\xff\xff" + out.Noise(out.Random() % 100)));
    out.Call("after the call", WhoAreYou(), Then::kAnsweredCall, out.Noise(1 + out.Random() % 100),
             true);
    out.Call("after the call", WhoAreYou(), Then::kAnsweredCall, Frame(WhoAreYou()));
  }
  std::string silence;
  for (int i = 0; i < 1000; ++i) silence += Frame("");
  out.Judged("empty frames", out.Stranger(v1::Hello::CALL), v1::HelloReply::OK,
             silence + Frame(WhoAreYou()), Then::kAnsweredCall);
}

void MembersStreams(Builder& out) {
  v1::PeerFrame ping;
  ping.set_ping(1);
  const std::string frame = Frame(ping);
  for (size_t bit = 0; bit < 8 * frame.size(); bit += 3) {
    std::string wrong = frame;
    wrong[bit / 8] = static_cast<char>(wrong[bit / 8] ^ (1 << (bit % 8)));
    out.Member("a member's stream", v1::Hello::MESSAGES, wrong);
  }
  v1::PeerFrame reply;
  reply.add_replies();
  v1::PeerFrame snapshot;
  snapshot.add_messages()->mutable_install_snapshot();
  v1::PeerFrame without_body;
  without_body.add_messages()->set_term(1);
  for (const v1::PeerFrame& wrong : {reply, snapshot, without_body}) {
    out.Member("a member's stream", v1::Hello::MESSAGES, Frame(wrong));
  }
  for (int i = 0; i < 10; ++i) {
    const std::string nothing = Frame("\xff\xff" + out.Noise(out.Random() % 100));
    out.Member("a member's stream", v1::Hello::MESSAGES, nothing);
    out.Member("a member's snapshot", v1::Hello::SNAPSHOT, nothing);
  }
}

std::string Offer(const v1::SnapshotManifest& manifest) {
  v1::SnapshotOffer offer;
  v1::Snapshot& snapshot = *offer.mutable_message()->mutable_install_snapshot();
  snapshot.set_index(1);
  snapshot.set_term(1);
  snapshot.set_data(manifest.SerializeAsString());
  return Frame(offer);
}

void Offers(Builder& out) {
  v1::SnapshotManifest good;
  good.set_cluster_id(out.node().cluster_id);
  good.set_snapshot_id(out.Random());
  good.set_format(storage::kDataFormat);
  good.set_total_bytes(10);
  good.add_files()->set_name("a");
  good.mutable_files(0)->set_bytes(10);
  const auto refused = [&out](const v1::SnapshotManifest& manifest) {
    out.Member("a member's snapshot", v1::Hello::SNAPSHOT, Offer(manifest), Then::kRefusedOffer);
  };
  v1::SnapshotManifest wrong = good;
  wrong.set_cluster_id(out.Random());
  refused(wrong);
  wrong = good;
  wrong.clear_files();
  refused(wrong);
  wrong = good;
  wrong.set_total_bytes(11);
  refused(wrong);
  wrong = good;
  wrong.set_total_bytes(uint64_t{1} << 63);
  wrong.mutable_files(0)->set_bytes(uint64_t{1} << 63);
  refused(wrong);
  for (const char* name : {"", ".", "..", "../a", "/a", "a/b", "a/../../b"}) {
    wrong = good;
    wrong.mutable_files(0)->set_name(name);
    refused(wrong);
  }
  v1::SnapshotOffer nothing;
  out.Member("a member's snapshot", v1::Hello::SNAPSHOT, Frame(nothing));
  nothing.mutable_message()->mutable_heartbeat();
  out.Member("a member's snapshot", v1::Hello::SNAPSHOT, Frame(nothing));
}

// The frames of an answer; false: it is not made of frames.
bool Cut(const std::string& answer, std::vector<std::string>* bodies) {
  transport::FrameReader reader(kMostAnswerBytes);
  std::string_view left = answer;
  while (!left.empty()) {
    const std::span<char> room = reader.Prepare();
    const size_t size = std::min(room.size(), left.size());
    left.copy(room.data(), size);
    left.remove_prefix(size);
    reader.Commit(size);
    std::string_view body;
    transport::FrameError error = transport::FrameError::kNone;
    while ((error = reader.Next(&body)) == transport::FrameError::kNone) {
      if (!body.empty()) bodies->emplace_back(body);
    }
    if (error != transport::FrameError::kNeedMore) return false;
  }
  return answer.empty() || !reader.partial();
}

std::string WrongAfterHello(Then then, const std::string& body) {
  if (then == Then::kRefusedOffer) {
    v1::SnapshotResume resume;
    const bool right =
        resume.ParseFromString(body) && !resume.accept() && !resume.message().empty();
    return right ? "" : "the offer is answered with " + resume.ShortDebugString();
  }
  v1::PeerReply reply;
  if (!reply.ParseFromString(body)) return "the reply cannot be read";
  const bool right = then == Then::kRefusedCall ? reply.code() != 0 && !reply.message().empty()
                                                : reply.code() == 0 && reply.has_i_am();
  return right ? "" : "the call is answered with " + reply.ShortDebugString();
}

}  // namespace

std::vector<MalformedDial> MalformedDials(const DialedNode& node, std::mt19937_64& random) {
  Builder out(node, random);
  OtherProtocols(out);
  CutsAndBits(out);
  Lengths(out);
  Hellos(out);
  Calls(out);
  MembersStreams(out);
  Offers(out);
  return out.Take();
}

std::string CallersHello(std::mt19937_64& random) {
  v1::Hello hello;
  hello.set_protocol_version(transport::kProtocolVersion);
  hello.set_purpose(v1::Hello::CALL);
  hello.set_member_id(random());
  return Magic() + Frame(hello);
}

std::string MisjudgedDial(const MalformedDial& dial, const std::string& answer) {
  if (answer.starts_with('(')) return answer;
  if (dial.http) return answer.starts_with("HTTP/1.1 421 ") ? "" : "the answer is not HTTP's 421";
  std::vector<std::string> bodies;
  if (!Cut(answer, &bodies)) return "the answer is no frames";
  size_t wanted = (dial.greeted ? 1 : 0) + (dial.then != Then::kNothing ? 1 : 0);
  if (dial.may_close && bodies.size() == 1) wanted = 1;
  if (bodies.size() != wanted) {
    return std::to_string(bodies.size()) + " frames came back, not " + std::to_string(wanted);
  }
  if (!dial.greeted) return "";
  v1::HelloReply reply;
  if (!reply.ParseFromString(bodies[0])) return "the hello's answer cannot be read";
  if (reply.verdict() != dial.verdict) {
    return "the hello is answered with " + v1::HelloReply::Verdict_Name(reply.verdict());
  }
  return wanted == 1 ? "" : WrongAfterHello(dial.then, bodies[1]);
}

}  // namespace raftkv::faults
