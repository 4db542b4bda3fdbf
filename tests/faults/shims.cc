#include "tests/faults/shims.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;

fs::path Shim() {
  return fs::read_symlink("/proc/self/exe").parent_path() / "libraftkv-faults-shim.so";
}

std::vector<std::string> ShimPrefix(const fs::path& directory, bool shadow) {
  std::vector<std::string> prefix = {
      "env", "LD_PRELOAD=" + Shim().string(),
      std::string(kShimControl) + "=" + (directory / "shim-control").string()};
  if (shadow) prefix.push_back(std::string(kShimShadow) + "=" + (directory / "shadow").string());
  return prefix;
}

}  // namespace

Shims::Shims(Bed& bed) : bed_(&bed) {
  for (size_t i = 0; i < bed.size(); ++i) {
    files_.push_back(std::make_unique<ShimFile>(bed.directory(i) / "shim-control"));
  }
}

Status Shims::Attach(bool shadow) {
  for (size_t i = 0; i < bed_->size(); ++i) {
    bed_->Kill(i);
    if (shadow) {
      RETURN_IF_ERROR(SeedShadow(bed_->data(i), ShadowOf(*bed_, i)));
    }
    bed_->node(i).set_prefix(ShimPrefix(bed_->directory(i), shadow));
    bed_->Restart(i);
    RETURN_IF_ERROR(bed_->Ready(i));
  }
  RETURN_IF_ERROR(bed_->Progress());
  bed_->Begin();
  return Status::Ok();
}

void Shims::Reset() {
  for (const std::unique_ptr<ShimFile>& file : files_) new (file->operator->()) ShimControl;
}

}  // namespace raftkv::faults
