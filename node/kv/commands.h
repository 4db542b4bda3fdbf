// Executes the commands that change keys or the compact revision.
//
// Thread-safety: ExecuteCommand belongs to the applying thread; CheckReadable may be called
// anywhere.
#pragma once

#include <string_view>

#include "base/status.h"
#include "node/kv/slice_writer.h"
#include "node/kv/state_machine.h"
#include "raftkv/v1/command.pb.h"

namespace raftkv::kv {

// The lowest Command.version with which it means what it says: members of an older program go on as
// long as nobody uses what they do not know, and stop before they would understand it otherwise.
uint32_t VersionOf(const v1::Command& command);

// A command that cannot be carried out changes nothing and says why in the result's status. An
// error is one of the state store. The command is not an InviteCommand.
Result<CommandResult> ExecuteCommand(const v1::Command& command, SliceWriter& writer);

// Whether every member of this version can read a serialized command. One that it cannot read stops
// a replica when it is applied (it must not diverge from those that can), so nothing of the kind
// may be proposed: Protobuf writes strings that are not UTF-8 and then refuses to parse them.
Status CheckReadable(std::string_view command);

}  // namespace raftkv::kv
