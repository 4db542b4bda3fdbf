// What members are called and where their peers find them, which follows from their slots.
//
// Thread-safety: pure functions.
#pragma once

#include <string>

#include "operator/raftkv/observation.h"

namespace raftkv::op {

inline constexpr int kPeerPort = 7071;

// "NAME-SLOT.NAME-peers.NS.svc:7071": where the others find the member of this pod.
std::string PeerAddress(const std::string& ns, const std::string& name, const std::string& pod);
// A member that gives up its slot to a new one is in the way under the pod's name and address,
// which are unique among members: until it is removed it is called "NAME-SLOT.ID", at an address
// that leads nowhere (RFC 2606).
std::string FormerName(const std::string& pod, MemberId member);
std::string FormerPeerAddress(MemberId member);
// The pod's name in a member's.
std::string PodOfMember(const std::string& name);

}  // namespace raftkv::op
