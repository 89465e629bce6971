"""What this machine's processor is good at, and how its memory is best kept."""

import ctypes
import sys

import torch

# Of glibc's malloc.h: what mallopt sets.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def has_fast_bf16(use_cpu: bool) -> bool:
    """Whether this machine's GPU, or processor, multiplies bfloat16 matrices in hardware."""
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def keep_freed_memory() -> None:
    """Keep what tensors leave free for the next ones, for the rest of this process.

    By default glibc gives large blocks back to the kernel, which hands them out anew page by page,
    each set to zero: in training on a processor, some thousand page faults in every step. The peak
    of memory stays the same. Does nothing where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
