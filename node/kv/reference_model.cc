#include "node/kv/reference_model.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "node/kv/format.h"

namespace raftkv::kv {
namespace {

CommandResult Refused(Code code) { return {.status = Status(code, "")}; }

bool Met(const v1::Precondition& precondition, const KeyValue* newest) {
  if (precondition.has_absent()) return newest == nullptr;
  if (precondition.has_present()) return newest != nullptr;
  return (newest != nullptr ? newest->mod_revision : 0) == precondition.mod_revision();
}

bool InRange(std::string_view key, std::string_view start, std::string_view end) {
  return key >= start && (end.empty() || key < end);
}

bool Covers(const v1::DeleteCommand& del, std::string_view key) {
  if (del.range_end().empty()) return key == del.key();
  const bool to_the_last = del.range_end() == std::string_view("\0", 1);
  return InRange(key, del.key(), to_the_last ? std::string_view() : del.range_end());
}

bool HasDuplicates(const google::protobuf::RepeatedPtrField<v1::TxnCommand::Op>& ops) {
  std::multiset<std::string> puts;
  for (const auto& op : ops) {
    if (op.has_put()) puts.insert(op.put().key());
  }
  for (const std::string& key : puts) {
    if (puts.count(key) > 1) return true;
    for (const auto& op : ops) {
      if (op.has_delete_() && Covers(op.delete_(), key)) return true;
    }
  }
  return false;
}

template <typename T>
bool Compared(const T& a, v1::TxnCommand::Compare::Relation relation, const T& b) {
  using C = v1::TxnCommand::Compare;
  return relation == C::EQUAL       ? a == b
         : relation == C::NOT_EQUAL ? a != b
         : relation == C::GREATER   ? a > b
                                    : a < b;
}

}  // namespace

const KeyValue* ReferenceModel::Newest(const std::string& key) const {
  const auto it = keys_.find(key);
  return it != keys_.end() && it->second.back().live ? &it->second.back().item : nullptr;
}

void ReferenceModel::Put(const std::string& key, const std::string& value) {
  const KeyValue* newest = Newest(key);
  KeyValue item{.key = key,
                .value = value,
                .create_revision = newest != nullptr ? newest->create_revision : revision_ + 1,
                .mod_revision = revision_ + 1,
                .version = newest != nullptr ? newest->version + 1 : 1};
  keys_[key].push_back({true, std::move(item)});
  ++changes_;
}

uint64_t ReferenceModel::Delete(const v1::DeleteCommand& del) {
  uint64_t deleted = 0;
  for (auto& [key, versions] : keys_) {
    if (!versions.back().live || !Covers(del, key)) continue;
    versions.push_back({false, {.key = key, .mod_revision = revision_ + 1}});
    ++deleted;
  }
  changes_ += deleted;
  return deleted;
}

bool ReferenceModel::Holds(const v1::TxnCommand::Compare& compare) const {
  const KeyValue* newest = Newest(compare.key());
  const KeyValue item = newest != nullptr ? *newest : KeyValue();
  if (compare.has_version()) return Compared(item.version, compare.relation(), compare.version());
  if (compare.has_value()) return Compared(item.value, compare.relation(), compare.value());
  if (compare.has_create_revision()) {
    return Compared(item.create_revision, compare.relation(), compare.create_revision());
  }
  return Compared(item.mod_revision, compare.relation(), compare.mod_revision());
}

CommandResult ReferenceModel::DoTxn(const v1::TxnCommand& txn) {
  if (HasDuplicates(txn.success()) || HasDuplicates(txn.failure())) {
    return Refused(Code::kInvalidArgument);
  }
  CommandResult result;
  result.succeeded = true;
  for (const auto& compare : txn.compare()) result.succeeded &= Holds(compare);
  for (const auto& op : result.succeeded ? txn.success() : txn.failure()) {
    if (op.has_put()) {
      Put(op.put().key(), op.put().value());
    } else {
      result.deleted += Delete(op.delete_());
    }
  }
  return result;
}

CommandResult ReferenceModel::Do(const v1::Command& command) {
  CommandResult result;
  changes_ = 0;
  if (command.has_compact()) {
    if (command.compact().revision() > revision_) {
      result = Refused(Code::kInvalidArgument);
    } else if (command.compact().revision() <= compact_revision_) {
      result = Refused(Code::kConflict);
    } else {
      compact_revision_ = command.compact().revision();
    }
  } else if (command.has_txn()) {
    result = DoTxn(command.txn());
  } else if (command.has_put()) {
    const KeyValue* newest = Newest(command.put().key());
    const uint64_t prev = newest != nullptr ? newest->mod_revision : 0;
    if (command.put().has_precondition() && !Met(command.put().precondition(), newest)) {
      result = Refused(Code::kConflict);
    } else {
      result.created = newest == nullptr;
      Put(command.put().key(), command.put().value());
    }
    result.prev_mod_revision = prev;
  } else {
    const v1::DeleteCommand& del = command.delete_();
    const KeyValue* newest = del.range_end().empty() ? Newest(del.key()) : nullptr;
    const uint64_t prev = newest != nullptr ? newest->mod_revision : 0;
    if (del.has_precondition() && !Met(del.precondition(), newest)) {
      result = Refused(Code::kConflict);
    } else {
      result.deleted = Delete(del);
    }
    result.prev_mod_revision = prev;
  }
  if (changes_ > 0) ++revision_;
  result.revision = revision_;
  return result;
}

std::optional<KeyValue> ReferenceModel::Get(std::string_view key, uint64_t revision) const {
  const auto it = keys_.find(key);
  if (it == keys_.end()) return std::nullopt;
  const auto newer = std::ranges::upper_bound(
      it->second, revision, {}, [](const Version& version) { return version.item.mod_revision; });
  if (newer == it->second.begin() || !std::prev(newer)->live) return std::nullopt;
  return std::prev(newer)->item;
}

std::vector<KeyValue> ReferenceModel::Range(std::string_view start, std::string_view end,
                                            uint64_t revision) const {
  std::vector<KeyValue> items;
  for (const auto& [key, versions] : keys_) {
    if (!InRange(key, start, end)) continue;
    if (auto item = Get(key, revision)) items.push_back(*std::move(item));
  }
  return items;
}

template <typename Counted>
uint64_t ReferenceModel::CountReachable(Counted counted) const {
  uint64_t count = 0;
  for (const auto& [key, versions] : keys_) {
    for (size_t i = 0; i < versions.size(); ++i) {
      const bool ended =
          i + 1 < versions.size() && versions[i + 1].item.mod_revision <= compact_revision_;
      const bool old_tombstone =
          !versions[i].live && versions[i].item.mod_revision < compact_revision_;
      if (!ended && !old_tombstone && counted(versions[i])) ++count;
    }
  }
  return count;
}

uint64_t ReferenceModel::reachable_versions() const {
  return CountReachable([](const Version&) { return true; });
}

uint64_t ReferenceModel::reachable_large_values() const {
  return CountReachable([](const Version& version) {
    return version.live && version.item.value.size() > kMaxRowValueBytes;
  });
}

uint64_t ReferenceModel::reachable_keys() const {
  return std::ranges::count_if(keys_, [this](const auto& item) {
    const Version& newest = item.second.back();
    return newest.live || newest.item.mod_revision >= compact_revision_;
  });
}

}  // namespace raftkv::kv
