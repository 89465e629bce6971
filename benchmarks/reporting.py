"""What a benchmark leaves behind: results.json, results.md and plots."""

import json
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")  # there is no screen
from matplotlib import pyplot as plt

from benchmarks import machine
from benchmarks.measuring import Seconds, Spread, exponent, of_clock, rate

# A note; it ends with what else the peak has in common with what is measured.
SPREAD_AND_PEAK = (
    "Median (lowest to highest) of the rounds. Share of peak: operations of the matrix products "
    "of the real, padded batches, per wall second, of the best that this machine does of such "
    "products alone{}"
)


class Table(NamedTuple):
    """Rows of cells below a header; the first column is text, the others are numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> str:
        """As a Markdown section."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)]]
        lines += [[shown(cell) for cell in row] for row in self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## {self.title}\n\n{table}\n" if self.title else f"{table}\n"


def shown(cell: Any) -> str:
    """A cell as text: numbers with three or four digits, a spread with its range."""
    if isinstance(cell, Spread):
        return f"{shown(cell.median)} ({shown(cell.min)} to {shown(cell.max)})"
    if isinstance(cell, bool) or cell is None:
        return {True: "yes", False: "no", None: ""}[cell]
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|")


def as_json(value: Any) -> Any:
    """Named tuples as the dicts that they stand for, for the JSON module would make lists."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if isinstance(value, dict):
        return {str(key): as_json(one) for key, one in value.items()}
    return [as_json(one) for one in value] if isinstance(value, list | tuple) else value


def speed_report(
    times: dict[str, list[Seconds]],
    sentences: int,
    ratios: dict[str, Spread],
    flops: dict[str, int],
    peaks: dict[str, float],
    padding: dict[str, float],
) -> tuple[dict[str, Any], list[Table]]:
    """The results and the tables of contestants that all handle the same sentences.

    Args:
        times (`dict`): seconds of each round, by contestant; `ratios` are taken of them.
        flops (`dict[str, int]`): operations of all matrix products, by contestant, where known.
        peaks (`dict[str, float]`): GFLOP/s of the machine, by contestant.
        padding (`dict[str, float]`): padded share of the tokens, in 0 to 1.
    """
    wall, cpu = of_clock(times, "wall"), of_clock(times, "cpu")
    speed = {name: rate(sentences, seconds) for name, seconds in wall.items()}
    shares = {name: rate(flops[name] / (1e9 * peaks[name]), wall[name]) for name in flops}
    header = ("", "sentences/s", "wall s", "processor s", "share of peak, %", "padding")
    rows = []
    for name in times:
        share = Spread(*(100 * one for one in shares[name])) if name in shares else None
        padded = f"{100 * padding[name]:.1f} %" if name in padding else None
        seconds = (Spread.of(wall[name]), Spread.of(cpu[name]))
        rows.append([name, speed[name], *seconds, share, padded])
    results = {
        "times": times_as_json(times),
        "sentences_per_second": speed,
        "ratios": ratios,
        "matrix_flops": flops,
        "share_of_matrix_peak": shares,
        "padded_share": padding,
    }
    return results, [Table("Speed", header, rows), ratios_table(ratios)]


def ratios_table(ratios: dict[str, Spread]) -> Table:
    """Ratios by name."""
    return Table("Ratios", ("", "median of the rounds"), list(ratios.items()))


def times_as_json(times: dict[str, list[Seconds]]) -> dict[str, Any]:
    """Of each contestant the seconds of every round, and their medians."""
    found: dict[str, Any] = {name: {} for name in times}
    for clock in Seconds._fields:
        for name, seconds in of_clock(times, clock).items():
            found[name][clock] = {**Spread.of(seconds)._asdict(), "rounds": seconds}
    return found


def write(
    options: Namespace, results: dict[str, Any], tables: list[Table], notes: Sequence[str]
) -> None:
    """Write `results.json` and `results.md` to the folder with the plots, and show the latter.

    Args:
        options (`Namespace`): the benchmark's `title`, its command line `argv`, and `output`.
        results (`dict`): with `limits` where they were measured.
        notes (`Sequence[str]`): what a reader must know about the numbers.
    """
    title, path = options.title, Path(options.output)
    path.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", f"benchmarks.{title}", *options.argv])
    described = machine.describe()
    written = {"benchmark": title, "command": command, "machine": described, **results}
    written = as_json({**written, "notes": notes})
    (path / "results.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    parts = [f"# {title}\n", f"```\n{command}\n```\n"]
    parts += [f"{note}\n" for note in notes]
    parts += [table.markdown() for table in tables]
    parts.append(Table("Machine", ("what", "value"), list(described.items())).markdown())
    if "limits" in results:
        parts.append(_limits_table(results["limits"]).markdown())
    parts += [f"![{plot.stem}]({plot.name})\n" for plot in sorted(path.glob("*.png"))]
    text = "\n".join(parts)
    (path / "results.md").write_text(text, encoding="utf-8")
    print(text)


def _limits_table(limits: dict[str, Any]) -> Table:
    rows: list[list[Any]] = [
        [f"{dtype}: {one['tokens']} tokens, {one['inputs']} to {one['outputs']}", one["gflops"]]
        for dtype in ("fp32", "bf16")
        for one in limits[dtype]["shapes"]
    ]
    rows += [[f"{dtype}: peak", limits[dtype]["peak"]] for dtype in ("fp32", "bf16")]
    if "fp32_peak_at_the_end" in limits:
        rows.append(["fp32: peak, measured again at the end", limits["fp32_peak_at_the_end"]])
    rows.append(["memory bandwidth, GB/s", limits["memory_bandwidth_gb_s"]])
    return Table("The machine's own limits", ("matrix products", "GFLOP/s"), rows)


def plot_bars(folder: str, name: str, title: str, unit: str, values: dict[str, Spread]) -> None:
    """A horizontal bar per contestant, with its range."""
    figure, axes = plt.subplots(figsize=(8, 1 + 0.4 * len(values)), layout="constrained")
    medians, lowest, highest = np.array(list(values.values())).T
    ranges = [medians - lowest, highest - medians]
    titles = [f"{name}: {shown(one.median)}" for name, one in values.items()]
    axes.barh(titles, medians, xerr=ranges, capsize=3)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)
    _save(figure, folder, name)


def plot_growth(
    folder: str, name: str, title: str, labels: tuple[str, str], series: dict[str, dict]
) -> None:
    """Lines in log-log; `series` is by name `{"sizes", "values"}`, and the legend has exponents."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for label, one in series.items():
        slope = exponent(one["sizes"], one["values"])
        axes.plot(one["sizes"], one["values"], "o-", label=f"{label} (exponent {slope:.2f})")
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1], xscale="log", yscale="log")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    _save(figure, folder, name)


def _save(figure, folder: str, name: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder, f"{name}.png"), dpi=120)
    plt.close(figure)
