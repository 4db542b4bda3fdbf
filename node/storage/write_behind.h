// WriteBehind: a StateStore that gathers batches in memory and hands many of them to the store
// beneath as one, sorted (docs/design/storage.md). An insertion into the store costs a search; in
// the order of the keys most of it is saved, and so is what each batch costs by itself.
//
// Reads see every batch at once: they look at what is gathered first and never wait for a write.
// A crash loses what was gathered, as it loses what the store beneath has not flushed:
// batches stay whole and in order, so what is left is some earlier batch's state.
//
// Thread-safety: as StateStore.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "node/storage/state_store.h"

namespace raftkv::storage {

struct WriteBehindOptions {
  // So many changes, or bytes of them, are worth writing: CatchUp does. Write itself waits for them
  // at four times as much.
  size_t changes = 512;
  size_t bytes = 256 << 10;
  // Called after each write to the store beneath, on the thread that wrote: how long it took, the
  // time that the store held it back included.
  std::function<void(std::chrono::nanoseconds took)> on_write;
};

std::unique_ptr<StateStore> WriteBehind(std::unique_ptr<StateStore> beneath,
                                        const WriteBehindOptions& options = {});
// `beneath` must outlive the result.
std::unique_ptr<StateStore> WriteBehind(StateStore* beneath,
                                        const WriteBehindOptions& options = {});

}  // namespace raftkv::storage
