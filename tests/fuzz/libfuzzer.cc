// The entry points that libFuzzer calls. The environment variable RAFTKV_FUZZ_TARGET says which
// target; `./dev fuzz` sets it.

#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "tests/fuzz/fuzz.h"

namespace {

const raftkv::fuzz::Target* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  const char* name = std::getenv("RAFTKV_FUZZ_TARGET");
  chosen = raftkv::fuzz::FindTarget(name == nullptr ? "" : name);
  if (chosen == nullptr) {
    std::fprintf(stderr, "RAFTKV_FUZZ_TARGET has to name a target\n");
    std::exit(2);
  }
  raftkv::log::SetLevel(raftkv::log::ParseLevel("off").value());
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  chosen->run({reinterpret_cast<const char*>(data), size});
  return 0;
}
