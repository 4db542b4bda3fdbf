// Between the core's structs and their protobuf forms (proto/raftkv/v1/raft.proto).
//
// Decoding never trusts its input: kCorruption for what cannot be.
//
// Thread-safety: pure functions.
#pragma once

#include "base/status.h"
#include "node/raft/entry.h"
#include "node/raft/message.h"
#include "raftkv/v1/raft.pb.h"

namespace raftkv::storage {

void ToProto(const raft::Entry& entry, v1::Entry* out);
// Takes the payload out of `in` without a copy.
Result<raft::Entry> FromProto(v1::Entry&& in);

v1::HardState ToProto(const raft::HardState& state);
raft::HardState FromProto(const v1::HardState& in);

v1::ConfState ToProto(const raft::ConfState& conf);
raft::ConfState FromProto(const v1::ConfState& in);

v1::ConfChange ToProto(const raft::ConfChange& change);
Result<raft::ConfChange> FromProto(const v1::ConfChange& in);

v1::Snapshot ToProto(const raft::Snapshot& snapshot);
raft::Snapshot FromProto(const v1::Snapshot& in);

// Messages between members only; CHECKs on local ones. `from` is set only where it differs from
// `sender`.
void ToProto(const raft::Message& message, raft::NodeId sender, v1::RaftMessage* out);
Result<raft::Message> FromProto(v1::RaftMessage&& in, raft::NodeId from, raft::NodeId to);

// CRC-32C (Castagnoli), as in RFC 3720 appendix B.4. `seed` continues the checksum of the bytes
// before: Crc32c(b, Crc32c(a)) == Crc32c(a + b).
uint32_t Crc32c(std::string_view bytes, uint32_t seed = 0);
// The same without the processor's help; what Crc32c falls back to.
uint32_t Crc32cPortable(std::string_view bytes, uint32_t seed = 0);

}  // namespace raftkv::storage
