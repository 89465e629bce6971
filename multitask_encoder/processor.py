"""Whether this machine computes bfloat16 fast, and how the process keeps freed memory."""

import ctypes
import sys

import torch

# From glibc's malloc.h: parameters of mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def has_fast_bf16(use_cpu: bool) -> bool:
    """Whether this machine's GPU, or processor, multiplies bfloat16 matrices in hardware."""
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def has_int8_products() -> bool:
    """Whether the processor multiplies and adds bytes in one instruction (VNNI, AMX; on ARM, dot
    products): without it, int8 graphs of OpenVINO are slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    names = ("avx512_vnni", "avx_vnni", "amx_int8", "dot", "i8mm")
    return any(capabilities.get(name, False) for name in names)


def keep_freed_memory() -> None:
    """Keep freed memory for later tensors, for the rest of this process.

    By default glibc returns large blocks to the kernel, which hands them out again page by page,
    zeroed: thousands of page faults in every training step on a CPU. Peak memory stays the same.
    Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
