#include "tests/simulation/sim_files.h"

#include <algorithm>
#include <utility>

#include "base/mutations.h"

namespace raftkv::sim {
namespace {

using storage::ParentOf;

constexpr size_t kSector = 512;

Status Missing(const std::string& path) { return {Code::kIoError, path + " does not exist"}; }

bool IsBelow(const std::string& path, const std::string& dir) {
  return path.starts_with(dir) && (path.size() == dir.size() || path[dir.size()] == '/');
}

// The paths at and below `path`, which lie together but for names that continue its own.
template <typename Tree>
Tree Take(Tree& tree, const std::string& path) {
  Tree taken;
  for (auto it = tree.lower_bound(path); it != tree.end() && it->first.starts_with(path);) {
    if (!IsBelow(it->first, path)) {
      ++it;
      continue;
    }
    taken.insert(tree.extract(it++));
  }
  return taken;
}

// What a crash leaves where `after` was to replace `before`: of each sector the old bytes or the
// new ones.
std::string Torn(const std::string& before, const std::string& after, Random& random) {
  std::string left = after;
  for (size_t at = 0; at < after.size(); ++at) {
    if (at % kSector == 0 && random.Uniform(2) == 0) {
      at += kSector - 1;  // this one is written
      continue;
    }
    left[at] = at < before.size() ? before[at] : '\0';
  }
  return left;
}

}  // namespace

bool SimFiles::Apply(const Change& change, Tree& tree) {
  const auto has_parent = [&tree](const std::string& path) {
    const std::string parent = ParentOf(path);
    return parent == "/" || tree.contains(parent);
  };
  if (change.node != nullptr) {
    return has_parent(change.path) && tree.emplace(change.path, change.node).second;
  }
  if (change.to.empty()) {
    Take(tree, change.path);
    return true;
  }
  if (!tree.contains(change.path) || !has_parent(change.to)) return false;
  Take(tree, change.to);
  for (auto& [path, node] : Take(tree, change.path)) {
    tree[change.to + path.substr(change.path.size())] = std::move(node);
  }
  return true;
}

void SimFiles::Do(Change change) {
  Apply(change, now_);
  unsynced_.push_back(std::move(change));
}

bool SimFiles::has_unsynced() const {
  return !unsynced_.empty() ||
         std::ranges::any_of(now_, [](const auto& item) { return !item.second->synced; });
}

void SimFiles::Crash(Random& random) {
  for (const Change& change : std::exchange(unsynced_, {})) {
    if (random.Uniform(2) == 0) {
      coverage_->Hit(Path::crash_lost_name);
    } else if (Apply(change, durable_)) {
      coverage_->Hit(Path::crash_kept_name);
    }
  }
  now_ = durable_;
  for (const auto& [path, node] : now_) {
    if (node->synced) continue;
    node->bytes = Torn(node->durable, node->bytes, random);
    node->durable = node->bytes;
    node->synced = true;
  }
}

void SimFiles::Put(const std::string& path, const std::string& bytes) {
  const auto node = std::make_shared<Node>(Node{.is_dir = false, .bytes = bytes, .durable = bytes});
  now_[path] = durable_[path] = node;
}

void SimFiles::Erase(const std::string& path) {
  now_.erase(path);
  durable_.erase(path);
}

void SimFiles::Rot(const std::string& path) {
  const auto found = now_.find(path);
  if (found == now_.end() || found->second->bytes.empty()) return;
  std::string& bytes = found->second->bytes;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  found->second->durable = bytes;
}

Status SimFiles::WriteFile(const std::string& path, std::string_view bytes) {
  BeforeChange();
  if (!now_.contains(path)) {
    Do({.path = path, .to = {}, .node = std::make_shared<Node>()});
    if (!now_.contains(path)) return Missing(ParentOf(path));
  }
  Node& node = *now_[path];
  node.bytes = bytes;
  node.synced = false;
  BeforeChange();
  node.durable = node.bytes;
  node.synced = true;
  return Status::Ok();
}

Status SimFiles::Rename(const std::string& from, const std::string& to) {
  BeforeChange();
  if (!now_.contains(from)) return Missing(from);
  Do({.path = from, .to = to, .node = nullptr});
  return Status::Ok();
}

Status SimFiles::RemoveTree(const std::string& path) {
  if (!now_.contains(path)) return Status::Ok();
  BeforeChange();
  Do({.path = path, .to = {}, .node = nullptr});
  return Status::Ok();
}

Status SimFiles::SyncDir(const std::string& dir) {
  BeforeChange();
  if (MUTATION(skip_directory_sync)) return Status::Ok();
  std::erase_if(unsynced_, [&](const Change& change) {
    const bool here =
        ParentOf(change.path) == dir || (!change.to.empty() && ParentOf(change.to) == dir);
    return here && Apply(change, durable_);
  });
  return Status::Ok();
}

Status SimFiles::MakeDirs(const std::string& path) {
  if (now_.contains(path)) return Status::Ok();
  if (ParentOf(path) != "/") RETURN_IF_ERROR(MakeDirs(ParentOf(path)));
  BeforeChange();
  Do({.path = path, .to = {}, .node = std::make_shared<Node>(Node{.is_dir = true})});
  return SyncDir(ParentOf(path));
}

Result<std::string> SimFiles::ReadFile(const std::string& path) {
  const auto found = now_.find(path);
  if (found == now_.end() || found->second->is_dir) return Error(Missing(path));
  return found->second->bytes;
}

Result<std::vector<std::string>> SimFiles::ListDir(const std::string& dir) {
  std::vector<std::string> names;
  for (const auto& [path, node] : now_) {
    if (ParentOf(path) == dir) names.push_back(path.substr(dir.size() + 1));
  }
  return names;
}

}  // namespace raftkv::sim
