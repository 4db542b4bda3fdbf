// Executes the commands that change keys or the compact revision.
//
// Thread-safety: none; the apply thread's.
#pragma once

#include "base/status.h"
#include "node/kv/slice_writer.h"
#include "node/kv/state_machine.h"
#include "raftkv/v1/command.pb.h"

namespace raftkv::kv {

// A command that cannot be carried out changes nothing and says why in the result's status. An
// error is one of the state store. The command is not an InviteCommand.
Result<CommandResult> ExecuteCommand(const v1::Command& command, SliceWriter& writer);

}  // namespace raftkv::kv
