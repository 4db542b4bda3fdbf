#include "node/kv/slice_writer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutations.h"
#include "node/kv/reader.h"

namespace raftkv::kv {
namespace {

bool InRange(std::string_view key, std::string_view start, std::string_view end) {
  return key >= start && (end.empty() || key < end);
}

Status NeedsDisk() { return {Code::kUnavailable, "this takes a look at the disk"}; }

}  // namespace

SliceWriter::SliceWriter(storage::StateStore* store, HeaderCache* cache, const Meta& meta,
                         From from)
    : store_(store), cache_(cache), from_(from), batch_(store->NewBatch()), meta_(meta) {}

Result<SliceWriter::Slot*> SliceWriter::Find(std::string_view key) {
  current_key_.clear();
  AppendCurrentKey(key, &current_key_);
  if (const auto it = slots_.find(current_key_); it != slots_.end()) return &it->second;

  Slot slot;
  if (const auto cached = cache_->FindAsWriter(key)) {
    slot.header = *cached;
    slot.cached = true;
  } else {
    ASSIGN_OR_RETURN(const auto stored, from_ == From::kMemory ? store_->GetFromMemory(current_key_)
                                                               : store_->Get(current_key_));
    const auto header = stored ? ParseHeader(*stored) : RecordHeader();
    if (!header) return Error(Unreadable("a record"));
    slot.header = *header;
  }
  slot_bytes_ += current_key_.size() + sizeof(Slot);
  return &slots_.emplace(current_key_, slot).first->second;
}

Result<std::string_view> SliceWriter::Value(const Slot& slot) {
  CHECK(slot.header.live());
  if (slot.put_here) return std::string_view(values_).substr(slot.value_at, slot.value_size);
  if (from_ == From::kMemory) return Error(NeedsDisk());
  const auto get = [this](std::string_view stored_key) { return store_->Get(stored_key); };
  ASSIGN_OR_RETURN(auto stored, ReadValue(slot.header, get));
  if (!stored) return Error(Unreadable("a value"));
  value_ = *std::move(stored);
  return std::string_view(value_);
}

void SliceWriter::Put(Slot* slot, std::string_view key, std::string_view value) {
  const uint64_t revision = next_revision();
  const bool live = slot->header.live();
  const bool large = value.size() > kMaxRowValueBytes;
  if (large) {
    other_key_.clear();
    AppendValueKey({revision, sub_}, &other_key_);
    batch_->Put(other_key_, value);
  }
  Change(slot, key,
         {.kind = large ? RecordKind::kLargeValue : RecordKind::kValue,
          .mod = {revision, sub_},
          .create = live ? slot->header.create : revision,
          .version = live && !MUTATION(count_no_versions) ? slot->header.version + 1 : 1},
         large ? std::string_view() : value);
  slot->value_at = values_.size();
  slot->value_size = value.size();
  slot->put_here = true;
  values_.append(value);
  if (!live) ++meta_.live_keys;
}

void SliceWriter::Delete(Slot* slot, std::string_view key) {
  CHECK(slot->header.live());
  Change(slot, key, {.kind = RecordKind::kTombstone, .mod = {next_revision(), sub_}}, {});
  --meta_.live_keys;
}

void SliceWriter::Change(Slot* slot, std::string_view key, RecordHeader header,
                         std::string_view row_value) {
  SetPlaceAfter(slot->header, &header);
  Row row = MakeRow(header, slot->header, key);
  row.value = row_value;
  bytes_.clear();
  AppendRow(row, &bytes_);
  other_key_.clear();
  AppendRevisionKey(header.mod, &other_key_);
  batch_->Put(other_key_, bytes_);

  slot->header = header;
  bytes_.clear();
  AppendHeader(header, &bytes_);
  current_key_.clear();
  AppendCurrentKey(key, &current_key_);
  batch_->Put(current_key_, bytes_);
  slot->cached = false;

  ++meta_.stored_versions;
  ++sub_;
}

void SliceWriter::EndCommand() {
  if (sub_ == 0) return;
  ++meta_.revision;
  sub_ = 0;
}

Result<std::vector<std::string>> SliceWriter::LiveKeys(std::string_view start, std::string_view end,
                                                       size_t max_keys) {
  std::vector<std::string> keys;
  if (!end.empty() && end <= start) return keys;
  if (from_ == From::kMemory) return Error(NeedsDisk());
  for (const auto& [current_key, slot] : slots_) {
    const std::string_view key = std::string_view(current_key).substr(1);
    if (slot.header.live() && InRange(key, start, end)) keys.emplace_back(key);
  }
  std::string lower;
  AppendCurrentKey(start, &lower);
  std::string upper = TableEnd(kCurrentTable);
  if (!end.empty()) {
    upper.clear();
    AppendCurrentKey(end, &upper);
  }
  const auto view = store_->View();
  const auto it = view->NewIterator(lower, upper);
  for (it->SeekToFirst(); it->Valid() && keys.size() <= max_keys; it->Next()) {
    if (slots_.contains(it->key())) continue;
    const auto header = ParseHeader(it->value());
    if (!header) return Error(Unreadable("a record"));
    if (header->live()) keys.emplace_back(it->key().substr(1));
  }
  RETURN_UNEXPECTED_IF_ERROR(it->status());
  std::ranges::sort(keys);
  return keys;
}

Status SliceWriter::Commit() {
  batch_->Put(kMetaKey, EncodeMeta(meta_));
  cache_->BeginChange();
  const Status written =
      from_ == From::kMemory ? store_->WriteToMemory(*batch_) : store_->Write(*batch_);
  if (written.ok()) {
    for (const auto& [current_key, slot] : slots_) {
      if (!slot.cached) cache_->Set(std::string_view(current_key).substr(1), slot.header);
    }
  } else if (from_ == From::kAnywhere) {
    cache_->Clear();
  }
  cache_->EndChange();
  return written;
}

}  // namespace raftkv::kv
