# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes version.h. The numbers come from project(VERSION); the string tells the commit when there is one.

execute_process(
  COMMAND git -C "${CMAKE_SOURCE_DIR}" rev-list --count HEAD
  OUTPUT_VARIABLE WNBD_COMMIT_COUNT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE wnbd_git_failed)
if(wnbd_git_failed OR NOT WNBD_COMMIT_COUNT)
  set(WNBD_COMMIT_COUNT 0)
  set(WNBD_VERSION_STRING "${PROJECT_VERSION}")
else()
  execute_process(
    COMMAND git -C "${CMAKE_SOURCE_DIR}" rev-parse --short=8 HEAD
    OUTPUT_VARIABLE wnbd_commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(WNBD_VERSION_STRING "${PROJECT_VERSION}-${WNBD_COMMIT_COUNT}-g${wnbd_commit}")
endif()

configure_file("${CMAKE_SOURCE_DIR}/cmake/version.h.in" "${CMAKE_BINARY_DIR}/generated/version.h" @ONLY)
include_directories("${CMAKE_BINARY_DIR}/generated")
