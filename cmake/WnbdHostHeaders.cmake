# SPDX-License-Identifier: LGPL-2.1-or-later
# Header-only libraries of the build host that Windows programs use too. They are reached through links
# in the build tree, so that nothing else of /usr/include comes along.
set(wnbd_host_headers "${CMAKE_BINARY_DIR}/host_headers")
file(MAKE_DIRECTORY "${wnbd_host_headers}")
foreach(library CLI nlohmann asio asio.hpp)
  if(NOT EXISTS "/usr/include/${library}")
    message(FATAL_ERROR "/usr/include/${library} is missing: apt-get install libasio-dev libcli11-dev nlohmann-json3-dev")
  endif()
  file(CREATE_LINK "/usr/include/${library}" "${wnbd_host_headers}/${library}" SYMBOLIC)
endforeach()
