# SPDX-License-Identifier: LGPL-2.1-or-later
# What every folder shares: the kind of build, warnings, sanitizers, the version, how a test is declared.

if(WNBD_KERNEL)
  set(WNBD_KIND driver)
elseif(WIN32)
  set(WNBD_KIND windows)
else()
  set(WNBD_KIND native)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(WNBD_SANITIZE "" CACHE STRING "Sanitizers of a native build: address,undefined or thread")
option(WNBD_FUZZ "Build the fuzzers (clang)" OFF)

# Lines are what a back trace needs; all else that -g writes takes a quarter of the compiler's time. The
# sanitizers' own advice is -O1, which takes less again.
if(NOT WNBD_KIND STREQUAL "driver")
  foreach(language C CXX)
    if(WNBD_SANITIZE)
      set(CMAKE_${language}_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")
    else()
      set(CMAKE_${language}_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
    endif()
  endforeach()
endif()

add_compile_options(-Wall -Wextra -Werror)
include_directories("${CMAKE_SOURCE_DIR}/include" "${CMAKE_SOURCE_DIR}/src")

# Kernel code declares itself for Windows 10 1809, through mingw's DDK headers.
if(WNBD_KIND STREQUAL "driver")
  include_directories(SYSTEM /usr/share/mingw-w64/include/ddk)
  add_compile_definitions(NOMINMAX _WIN32_WINNT=0x0A00 NTDDI_VERSION=0x0A000006)
  add_compile_options("-Wno-#warnings")
  enable_testing()
endif()

if(WNBD_SANITIZE)
  add_compile_options(-fsanitize=${WNBD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WNBD_SANITIZE})
endif()
if(WNBD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

include(WnbdVersion)

if(WNBD_KIND STREQUAL "windows")
  enable_testing()
endif()

if(WNBD_KIND STREQUAL "native")
  find_package(GTest REQUIRED)
  find_package(Threads REQUIRED)
  enable_testing()
endif()

# wnbd_not_fuzzed(<target>)
# For what no fuzzer runs: noting where a fuzzer has been takes a quarter of the compiler's time.
function(wnbd_not_fuzzed target)
  if(WNBD_FUZZ)
    target_compile_options(${target} PRIVATE -fno-sanitize=fuzzer-no-link)
  endif()
endfunction()

# wnbd_quickly_compiled(<target>)
# For what takes no time worth optimising, as a test's own code: optimising it takes half of the compiler's.
function(wnbd_quickly_compiled target)
  target_compile_options(${target} PRIVATE -O0)
endfunction()

# wnbd_unit_test(<name> [ONE_THREAD] [OPTIMIZED] SOURCES <x_test.cpp>... [LIBRARIES <target>...])
# A native test program. Tests lie beside the code they test; in other kinds of build this does nothing.
# ONE_THREAD: nothing in it starts a thread, so that the thread sanitizer has nothing to find there.
# OPTIMIZED: the test itself computes much.
function(wnbd_unit_test name)
  cmake_parse_arguments(arg "ONE_THREAD;OPTIMIZED" "" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT WNBD_KIND STREQUAL "native" OR (arg_ONE_THREAD AND WNBD_SANITIZE STREQUAL "thread"))
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  wnbd_not_fuzzed(${name})
  if(NOT arg_OPTIMIZED)
    wnbd_quickly_compiled(${name})
  endif()
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} GTest::gmock GTest::gtest_main Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300)
endfunction()
