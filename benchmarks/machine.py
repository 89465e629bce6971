"""What this machine can do at most, measured: matrix products and memory; and what it is."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from multitask_encoder.processor import has_fast_bf16, has_int8_products

SAMPLE_SECONDS = 0.02  # below, the clock and the threads' start would be part of what is measured
SAMPLES = 5
TOKENS = (64, 256, 1024, 4096)
BANDWIDTH_BYTES = 2**28  # many times the last cache


def describe() -> dict[str, Any]:
    """The processor, its threads and instructions, memory (GiB) and versions."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "amx_bf16": bool(capabilities.get("amx_bf16")),
        "avx512_bf16": bool(capabilities.get("avx512_bf16")),
        "int8_products": has_int8_products(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matrix_peak(
    shapes: list[tuple[int, int]],
    dtype: torch.dtype = torch.float32,
    tokens: tuple[int, ...] = TOKENS,
    samples: int = SAMPLES,
) -> dict[str, Any]:
    """GFLOP/s of `torch.nn.functional.linear`, by this process's threads and the wall clock.

    Args:
        shapes (`list[tuple[int, int]]`): widths of inputs and outputs.
        tokens (`tuple[int, ...]`): rows of the inputs.
        samples (`int`): of each shape; the fastest one counts, the others were held up.

    Returns a dict of `shapes`, a list of `{"tokens", "inputs", "outputs", "gflops"}`, and their
    `peak`, of which contestants reach shares.
    """
    found = []
    for rows in tokens:
        for inputs, outputs in shapes:
            x, weight = torch.randn(rows, inputs, dtype=dtype), torch.randn(outputs, inputs)
            weight, bias = weight.to(dtype), torch.randn(outputs).to(dtype)
            with torch.inference_mode():
                seconds = best_seconds(partial(F.linear, x, weight, bias), samples)
            gflops = 2 * rows * inputs * outputs / seconds / 1e9
            found.append({"tokens": rows, "inputs": inputs, "outputs": outputs, "gflops": gflops})
    return {"shapes": found, "peak": max(one["gflops"] for one in found)}


def best_seconds(run: Callable[[], Any], samples: int) -> float:
    """Wall seconds of one call, in the fastest of some samples of many calls each."""
    run()
    started = time.perf_counter()
    run()
    calls = max(1, round(SAMPLE_SECONDS / (time.perf_counter() - started)))
    best = float("inf")
    for _ in range(samples):
        elapsed = 0.0
        while elapsed < SAMPLE_SECONDS:
            started = time.perf_counter()
            for _ in range(calls):
                run()
            elapsed = time.perf_counter() - started
            if elapsed < SAMPLE_SECONDS:  # the first call was a slow one
                calls *= 2
        best = min(best, elapsed / calls)
    return best


def memory_bandwidth(samples: int = SAMPLES) -> float:
    """GB/s of `a = b + s * c` over arrays much larger than the caches: two read, one written."""
    size = BANDWIDTH_BYTES // 4
    a, b, c = (torch.ones(size) for _ in range(3))
    seconds = best_seconds(lambda: torch.add(b, c, alpha=3.0, out=a), samples)
    return 3 * BANDWIDTH_BYTES / seconds / 1e9


def limits(encoder: torch.nn.Module) -> dict[str, Any]:
    """What this machine can do at most, with the widths of an encoder's linear layers."""
    layers = (one for one in encoder.modules() if isinstance(one, torch.nn.Linear))
    shapes = sorted({(layer.in_features, layer.out_features) for layer in layers})
    # bfloat16 that the processor emulates is some hundred times slower: the smallest size will do.
    tokens, samples = (TOKENS, SAMPLES) if has_fast_bf16(use_cpu=True) else (TOKENS[:1], 1)
    return {
        "fp32": matrix_peak(shapes),
        "bf16": matrix_peak(shapes, torch.bfloat16, tokens, samples),
        "memory_bandwidth_gb_s": memory_bandwidth(),
    }


def peak_again(found: dict[str, Any]) -> float:
    """GFLOP/s of the best fp32 shape once more: at the end, whether the machine is still as it was
    at the beginning."""
    best = max(found["fp32"]["shapes"], key=lambda one: one["gflops"])
    return matrix_peak([(best["inputs"], best["outputs"])], tokens=(best["tokens"],))["peak"]
