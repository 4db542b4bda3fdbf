// A member whose data are damaged, and how it gets new ones without an operator's hand
// (docs/design/membership.md, "Damaged members"). In DIR:
//
//   members      a MemberNote: who this member is and who the others are; a hint for the day on
//                which nothing else can be read
//   suspect      written before the process ends because it met damage while it ran: the next start
//                reads every block before it goes on
//   rebuild      a MemberNote: the member with this id is given up for good. While it is there,
//                this directory never runs as that member, and never founds a cluster
//   damaged-ID/  the files of the member that was given up
//
// Thread-safety: one thread at a time for a directory, which holds its lock, except where said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "node/runtime/options.h"
#include "node/runtime/recovery.h"
#include "node/storage/data_dir.h"
#include "node/storage/files.h"
#include "raftkv/v1/cluster.pb.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::runtime {

// What DIR/members says of this member of this cluster.
v1::MemberNote NoteOf(const v1::ClusterState& cluster, uint64_t member_id);
// Writes DIR/members. Any thread.
Status SaveMemberNote(const std::string& dir, const v1::MemberNote& note,
                      storage::Files& files = storage::SystemFiles());

// Best effort, from any thread, right before the process ends.
void MarkSuspect(const std::string& dir, const Status& reason);

// Whether a node that starts there follows its bootstrap settings: nobody was there before, or no
// member of a cluster and none that is to be replaced. What cannot be read is not blank.
bool IsBlank(const std::string& dir);

// OpenStorage for a directory that may have been, or be, damaged: finishes what a crash
// interrupted, checks a suspect one, and sets options->replaces. kCorruption: the data are damaged,
// or cannot be told from damaged ones.
Result<OpenedStorage> OpenDirectory(Options* options, const storage::LogOptions& log_options,
                                    const storage::WriteBehindOptions& gathering = {});

// Its two halves. Before anything is opened: DIR/rebuild, if it is there; then nothing in DIR is
// the given up member's any more.
Result<std::optional<v1::MemberNote>> FinishSetAside(
    const std::string& dir, storage::Files& files = storage::SystemFiles());
// Then, when the identity is known: sets options->replaces, unless the place is taken already.
Status TakePlaceOf(const std::optional<v1::MemberNote>& given_up, const v1::Identity& identity,
                   Options* options, storage::Files& files = storage::SystemFiles());

// The new member has its place: removes DIR/rebuild.
Status FinishRebuild(const std::string& dir, storage::Files& files = storage::SystemFiles());

// What is left to know of a damaged member; ids are 0 if nothing tells them.
v1::MemberNote ReadDamagedMember(const Options& options,
                                 storage::Files& files = storage::SystemFiles());
// Whom to ask to be replaced; empty if this member must not or cannot be.
std::vector<std::string> WhomToAsk(const Options& options, const v1::MemberNote& note);
// A member that refuses names the members it knows: who asks may have nothing but the address of
// one that does not lead. Adds theirs, but not the node's own, and not without end.
void LearnWhomToAsk(const Options& options, const v1::JoinReply& told,
                    std::vector<std::string>* ask);

// Gives the member up for good and moves its files aside. A crash at any point leaves either the
// member as it was, or a directory with DIR/rebuild that OpenDirectory goes on with.
Status SetAside(const Options& options, v1::MemberNote note,
                storage::Files& files = storage::SystemFiles());

}  // namespace raftkv::runtime
