// Answers: the clients' history in the form of the linearizability checker (tests/linearizability),
// which knows nothing of the log: it takes the answers alone.
//
// Thread-safety: pure functions.
#pragma once

#include <vector>

#include "tests/linearizability/history.h"
#include "tests/simulation/history.h"

namespace raftkv::sim {

// A transaction ("if nobody changed the key since, write it, else a mark beside it") is the put
// that it was. What was refused is left out, and so is a write with unknown outcome that the log
// does not have: if it happened after all, its value comes from nowhere. One that the log has
// counts as answered at `end`, as what it became there: a history of many unknown writes without
// revisions is too hard for any checker. Compactions are left out, because clients do not see them.
// The store began with what `begin` holds.
linearizability::History ToAnswers(const std::vector<Operation>& operations, const Checker& checker,
                                   SimTime end, const kv::ReferenceModel& begin);

}  // namespace raftkv::sim
