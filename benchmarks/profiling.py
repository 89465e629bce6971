"""Where the processor's time goes, by operator and by kind of operator."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.reporting import Table

TOP = 25
# How operators' names begin; the first group that has the name has the operator.
GROUPS = {
    "optimizer": ("Optimizer", "fused_adam", "foreach", "linalg_vector_norm"),
    "matrix products": ("addmm", "mm", "bmm", "baddbmm", "linear", "matmul", "mkl", "scaled_dot"),
    "dropout's random numbers": ("bernoulli", "native_dropout", "dropout", "random"),
    "copies": (
        "copy", "clone", "contiguous", "cat", "stack", "index", "embedding", "gather", "empty",
        "zero", "fill", "full", "transpose", "view", "reshape", "slice", "select", "as_strided",
        "new_", "expand", "to", "t", "resize", "detach",
    ),
    "element-wise": (
        "add", "mul", "div", "sub", "rsub", "gelu", "relu", "tanh", "softmax", "log_softmax",
        "native_layer_norm", "layer_norm", "sum", "mean", "nll", "cross_entropy", "where", "eq",
        "ne", "ge", "gt", "lt", "le", "masked", "sqrt", "clamp", "erf", "neg", "pow", "bitwise",
    ),
}  # fmt: skip


def write_profile(run: Callable[[], Any], folder: str) -> dict[str, float]:
    """Run it once under the profiler, and write `profile.md`.

    Returns:
        `dict[str, float]`: each group's share of the operators' own processor time, in 0 to 1.
    """
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    events = sorted(found.key_averages(), key=lambda one: -one.self_cpu_time_total)
    total = sum(one.self_cpu_time_total for one in events)
    shares = dict.fromkeys([*GROUPS, "other"], 0.0)
    for event in events:
        shares[group_of(event.key)] += event.self_cpu_time_total / total
    kinds = [[name, 100 * shares[name]] for name in sorted(shares, key=lambda name: -shares[name])]
    longest = []
    for event in events[:TOP]:
        time = event.self_cpu_time_total
        kind = group_of(event.key)
        longest.append([event.key, 100 * time / total, time / 1000, event.count, kind])
    header = ("operator", "share, %", "milliseconds", "calls", "kind")
    tables = [
        Table("By kind", ("", "share, %"), kinds),
        Table(f"The {TOP} longest", header, longest),
    ]
    note = (
        "Time of an operator itself, without those that it calls, of the thread that calls it. "
        "The profiler costs time of its own, most in small operators.\n"
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = "\n".join(["# Profile\n", note, *(table.markdown() for table in tables)])
    Path(folder, "profile.md").write_text(text, encoding="utf-8")
    return shares


def group_of(operator: str) -> str:
    """The kind of an operator, by its name: `aten::add_`, `AddBackward0`, ..."""
    name = operator.removeprefix("autograd::engine::evaluate_function: ").removeprefix("aten::")
    name = name if name.startswith("Optimizer") else name.lower().strip("_")
    return next((group for group, begin in GROUPS.items() if name.startswith(begin)), "other")
