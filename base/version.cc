#include "base/version.h"

namespace raftkv {

std::string_view Version() { return RAFTKV_VERSION; }

}  // namespace raftkv
