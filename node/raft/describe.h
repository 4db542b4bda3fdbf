// Texts of the core's values, the same as etcd's Describe* functions print them (the conformance
// suite compares them byte for byte). Ids in messages are hexadecimal; slices as Go's %v.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "node/raft/core.h"

namespace raftkv::raft {

// How to print the payload of a normal entry; the default quotes it as Go's %q.
using EntryFormatter = std::function<std::string(std::string_view)>;

std::string QuoteGo(std::string_view bytes);
std::string_view MessageTypeName(const Message& message);  // MsgApp, ...

std::string Describe(Role role);  // StateFollower, ...
std::string Describe(const HardState& state);
std::string Describe(const SoftState& state);
std::string Describe(const ConfState& state);
std::string Describe(const Snapshot& snapshot);
std::string Describe(const Entry& entry, const EntryFormatter& format = {});
std::string Describe(const std::vector<Entry>& entries, const EntryFormatter& format = {});
std::string Describe(const Message& message, const EntryFormatter& format = {});
std::string Describe(const Ready& ready, const EntryFormatter& format = {});
std::string Describe(const ConfChange& change);  // "transition:... changes:{type:... node_id:..}"

}  // namespace raftkv::raft
