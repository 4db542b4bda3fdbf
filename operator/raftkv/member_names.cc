#include "operator/raftkv/member_names.h"

#include "base/hex_id.h"

namespace raftkv::op {

std::string PeerAddress(const std::string& ns, const std::string& name, const std::string& pod) {
  return pod + "." + name + "-peers." + ns + ".svc:" + std::to_string(kPeerPort);
}

std::string FormerName(const std::string& pod, MemberId member) {
  return pod + "." + HexId(member);
}

std::string FormerPeerAddress(MemberId member) {
  return HexId(member) + ".former.invalid:" + std::to_string(kPeerPort);
}

std::string PodOfMember(const std::string& name) { return name.substr(0, name.find('.')); }

}  // namespace raftkv::op
