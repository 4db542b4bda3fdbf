// The version of raftkv, as CMakeLists.txt names it.
#pragma once

#include <string_view>

namespace raftkv {

std::string_view Version();  // "0.1.0"

}  // namespace raftkv
