// SPDX-License-Identifier: LGPL-2.1-or-later
// The kernel's functions under their own names, for code linked into this program that is written
// against the DDK: the lab's port driver above all. Jumps, so that the return address the verifier
// sees is the real caller's. In Wine's kernel process the same code gets these names from
// ntoskrnl.exe. Import pointers too, for what declares the functions as imports.
#define KERNEL_FUNCTION(name)                                     \
    asm(".text\n.globl " #name "\n" #name ":\n    jmp lab_" #name \
        "\n"                                                      \
        ".section .rdata,\"dr\"\n.balign 8\n.globl __imp_" #name  \
        "\n"                                                      \
        "__imp_" #name ":\n    .quad lab_" #name "\n.text\n");
#include "lab/kernel/functions.inc"
#include "lab/process/process_functions.inc"
