// What the log's tests share.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "node/storage/log_storage.h"
#include "node/storage/test_util.h"

namespace raftkv::storage {

inline raft::Entry MakeEntry(uint64_t term, uint64_t index, std::string data = "data") {
  return {raft::Term(term), raft::Index(index), Buffer(std::move(data))};
}

// Entries [first, last] of one term; the payload tells term and index.
inline std::vector<raft::Entry> MakeEntries(uint64_t term, uint64_t first, uint64_t last,
                                            size_t padding = 0) {
  std::vector<raft::Entry> out;
  for (uint64_t i = first; i <= last; ++i) {
    out.push_back(MakeEntry(
        term, i, std::to_string(term) + "/" + std::to_string(i) + "/" + std::string(padding, 'x')));
  }
  return out;
}

inline Status AppendEntries(LogStorage* log, std::vector<raft::Entry> entries) {
  const LogWrite write{std::move(entries), std::nullopt, true};
  return log->Append({&write, 1});
}

inline Status SetHardState(LogStorage* log, uint64_t term, uint64_t vote, uint64_t commit,
                           bool sync = true) {
  const LogWrite write{
      {}, raft::HardState{raft::Term(term), raft::NodeId(vote), raft::Index(commit)}, sync};
  return log->Append({&write, 1});
}

inline std::vector<raft::Entry> ReadAll(const LogStorage& log) {
  return log.entries(log.first_index(), log.last_index().Next(), ~0ull).value();
}

inline Status OpenError(const std::string& path) {
  auto log = OpenRocksLog(path, {});
  return log.has_value() ? Status::Ok() : log.error();
}

}  // namespace raftkv::storage
