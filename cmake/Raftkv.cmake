# Build settings shared by every folder, and the two functions that folders use:
#   raftkv_library(NAME SOURCES... [LIBS ...])  a static library, linked as raftkv::NAME
#   raftkv_test(NAME SOURCES... [LIBS ...])     a GoogleTest program, registered with ctest

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
# Symbols stay in the binary: a crash report without line numbers helps nobody.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")

find_program(CCACHE ccache)
if(CCACHE)
  # What one checkout compiled serves every other: paths below the checkout count as relative.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=15G ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(RAFTKV_SANITIZE)
  # No -Werror here: what sanitizers insert makes g++ warn of code that is right (memory "maybe
  # uninitialized", "unallocated objects" freed), each version of other places. The plain builds judge.
  # Left out are the checks at every access through a pointer: they add a third to the time to compile (9.5 to 13.0 s
  # for raft's replication, the state machine and the routes of /kv), and an access through null or a wrong type shows
  # in the address sanitizer. Bytes become numbers by memcpy only.
  add_compile_options(-O1 -fsanitize=${RAFTKV_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize=null,alignment,object-size,vptr -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${RAFTKV_SANITIZE})
elseif(RAFTKV_WERROR)
  add_compile_options(-Werror)
endif()

if(RAFTKV_FUZZ)
  add_compile_options(-O1 -fsanitize=fuzzer-no-link)
endif()

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(ROCKSDB REQUIRED IMPORTED_TARGET rocksdb)
# raftkv::rocksdb: the package's static library, if it can be linked. The shared one costs each process 4 to 5 MiB of
# resident memory and 5 to 10 % of the CPU of a put (docs/performance.md). Sanitizers get the shared one: code that
# is not instrumented shall not share its inline functions with code that is.
add_library(raftkv_rocksdb INTERFACE)
add_library(raftkv::rocksdb ALIAS raftkv_rocksdb)
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES librocksdb.a snappy lz4 zstd bz2 z Threads::Threads)
check_cxx_source_compiles("
  #include <rocksdb/db.h>
  int main() {
    rocksdb::DB* db = nullptr;
    return rocksdb::DB::Open(rocksdb::Options(), \"\", &db).ok();
  }" RAFTKV_STATIC_ROCKSDB)
if(RAFTKV_STATIC_ROCKSDB AND NOT RAFTKV_SANITIZE)
  target_link_libraries(raftkv_rocksdb INTERFACE ${CMAKE_REQUIRED_LIBRARIES})
else()
  target_link_libraries(raftkv_rocksdb INTERFACE PkgConfig::ROCKSDB)
endif()
unset(CMAKE_REQUIRED_LIBRARIES)
# raftkv::allocator: jemalloc, as a static library, for programs that are measured (docs/design/allocator.md).
# Sanitizers have their own.
add_library(raftkv_allocator INTERFACE)
add_library(raftkv::allocator ALIAS raftkv_allocator)
if(NOT RAFTKV_SANITIZE)
  find_library(RAFTKV_JEMALLOC NAMES libjemalloc_pic.a REQUIRED)
  target_link_libraries(raftkv_allocator INTERFACE ${RAFTKV_JEMALLOC} Threads::Threads ${CMAKE_DL_LIBS} m)
endif()
# The package's flags matter: without its defines the class layouts differ from the shared library's.
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
if(RAFTKV_BUILD_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

function(raftkv_library name)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  add_library(raftkv_${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  add_library(raftkv::${name} ALIAS raftkv_${name})
  target_include_directories(raftkv_${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_link_libraries(raftkv_${name} PUBLIC ${ARG_LIBS})
endfunction()

function(raftkv_test name)
  if(NOT RAFTKV_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "LIBS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)  # against what hangs, not what is slow
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
