# SPDX-License-Identifier: LGPL-2.1-or-later
# Kernel code: clang for windows-gnu, freestanding, SEH; linked by lld-link (see src/driver).
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(triple x86_64-w64-windows-gnu)
set(CMAKE_C_COMPILER clang-19)
set(CMAKE_CXX_COMPILER clang++-19)
set(CMAKE_C_COMPILER_TARGET ${triple})
set(CMAKE_CXX_COMPILER_TARGET ${triple})
set(CMAKE_AR llvm-ar-19)
set(CMAKE_RANLIB llvm-ranlib-19)
set(WNBD_KERNEL ON)
# The x64 kernel gives 24 KiB of stack: no stack probes, frames below 2 KiB. Unwind tables must be asked for.
set(kernel_flags
    "-ffreestanding -fasynchronous-unwind-tables -fms-extensions -fno-stack-protector -mno-stack-arg-probe -Wframe-larger-than=2048")
set(CMAKE_C_FLAGS_INIT "${kernel_flags}")
set(CMAKE_CXX_FLAGS_INIT "${kernel_flags} -fno-exceptions -fno-rtti -fno-threadsafe-statics")
add_compile_definitions(WNBD_KERNEL_MODE=1)
