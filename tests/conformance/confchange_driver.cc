#include "node/raft/confchange.h"
#include "tests/conformance/driver.h"

namespace raftkv::conformance {
namespace {

class ConfChangeDriver final : public Driver {
 public:
  std::string Run(const Directive& directive) override {
    raft::ChangeResult changed = Change(directive);
    // The last index rises with every directive, so that the output shows when a member came.
    ++last_index_;
    if (!changed) return changed.error();
    tracker_.config = std::move(changed->config);
    tracker_.progress = std::move(changed->progress);
    return tracker_.config.ToString() + "\n" + Describe(tracker_.progress);
  }

 private:
  raft::ChangeResult Change(const Directive& directive) const {
    const raft::Changer changer(tracker_, last_index_);
    const auto steps = raft::ParseSteps(directive.input);
    if (!steps) return std::unexpected(steps.error());

    if (directive.command == "simple") return changer.Simple(*steps);
    if (directive.command == "enter-joint") {
      bool auto_leave = false;
      for (const Argument& argument : directive.arguments) {
        if (argument.key != "autoleave" || argument.values.size() != 1) {
          return std::unexpected("expected autoleave=<bool>, not " + argument.key);
        }
        const Result<bool> value = ParseBool(argument.values.front());
        if (!value) return std::unexpected(value.error().message());
        auto_leave = *value;
      }
      return changer.EnterJoint(auto_leave, *steps);
    }
    if (directive.command == "leave-joint") {
      if (!steps->empty()) return std::unexpected("this command takes no input");
      return changer.LeaveJoint();
    }
    return std::unexpected("unknown command");
  }

  raft::Tracker tracker_{/*max_inflight_messages=*/10, /*max_inflight_bytes=*/0};
  raft::Index last_index_;
};

}  // namespace

std::unique_ptr<Driver> MakeConfChangeDriver() { return std::make_unique<ConfChangeDriver>(); }

}  // namespace raftkv::conformance
