# Writes OUTPUT, with the commit of SOURCE_DIR in it, unless that is what it says already.
execute_process(
  COMMAND git -C ${SOURCE_DIR} describe --always --dirty --abbrev=12 --exclude *
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "tests/build_stamp/build_stamp.h"

namespace raftkv {

std::string_view BuiltCommit() { return "@commit@"; }

}  // namespace raftkv
]])
