#include "tests/simulation/sim_disk.h"

#include <utility>

#include "base/check.h"
#include "node/kv/format.h"
#include "node/runtime/recovery.h"

namespace raftkv::sim {

SimDisk::SimDisk(const runtime::Options& options, Coverage* coverage, LogObserver* observer,
                 Random& random, std::shared_ptr<SimFiles> files)
    : path_(options.data_dir),
      files_(std::move(files)),
      log_(coverage, observer),
      state_(coverage, &checkpoints_, random.Next()),
      space_([this] { return log_.stored_bytes() + state_.stored_bytes(); }) {
  log_.SetSpace(&space_);
  state_.SetSpace(&space_);
  files_->SetBeforeChange({});
  const Status opened = Open(options, random);
  CHECK(opened.ok(), "an empty directory can be opened");
  dir_.reset();
}

Status SimDisk::Open(const runtime::Options& options, Random& random) {
  ASSIGN_OR_RETURN_STATUS(
      dir_, runtime::OpenMemberDir(options, *files_, [&random] { return random.Next(); }));
  identity_ = dir_->identity();
  log_.SetNode(id());
  RETURN_IF_ERROR(OpenDatabase(dir_->log_path(), blank(), [this] { log_.Clear(); }));
  return OpenDatabase(dir_->state_path(), true, [this] { state_.Clear(); });
}

Status SimDisk::OpenDatabase(const std::string& path, bool may_be_made,
                             const std::function<void()>& make) {
  const std::string mark = path + "/CURRENT";
  if (files_->Exists(mark)) return Status::Ok();
  if (!may_be_made) return {Code::kCorruption, path + " is gone"};
  make();
  RETURN_IF_ERROR(files_->MakeDirs(path));
  RETURN_IF_ERROR(files_->WriteFile(mark, ""));
  return files_->SyncDir(path);
}

void SimDisk::Close() {
  if (dir_ == nullptr) return;
  identity_ = dir_->identity();
  dir_.reset();
  // Unless it was moved aside.
  const Result<v1::Identity> left = storage::ReadIdentity(path_, *files_);
  if (left) identity_ = *left;
}

SimDisk::Image SimDisk::Copy() const {
  const Result<std::string> file = files_->ReadFile(path_ + "/identity");
  CHECK(file.has_value(), "a member has an identity");
  return {.identity = identity(),
          .identity_file = *file,
          .log = log_.Copy(),
          .state = state_.Copy(),
          .config_index = {},
          .applied = {}};
}

void SimDisk::LoadCopy(const Image& image) {
  identity_ = image.identity;
  files_->Put(path_ + "/identity", image.identity_file);
  log_.SetNode(id());
  log_.Load(image.log);
  state_.Load(image.state);
  copied_ = true;
}

bool SimDisk::WriteInFormat(uint32_t format) {
  SimState::Image image = state_.Copy();
  const auto stored = image.contents.find(kv::kFormatKey);
  if (stored == image.contents.end()) return false;
  stored->second = kv::EncodeFormat(format);
  state_.Load(image);
  format_ = Format::kOther;
  return true;
}

void SimDisk::WriteInOwnFormat() {
  if (format_ != Format::kOther) return;
  CHECK(WriteInFormat(kv::kStateFormat), "what was stored stays");
  format_ = Format::kOwnAgain;
}

}  // namespace raftkv::sim
