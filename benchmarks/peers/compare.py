"""Compares this package with peers on the same rows, encoder, batch size and budget.

    python benchmarks/peers/install.py
    python benchmarks/peers/compare.py --data DIR [--only flair,spacy] [--rounds 3]

DIR holds train.jsonl and test.jsonl with rows like
    {"tokens": ["play", "jazz"], "slots": ["O", "B-genre"], "intent": "PlayMusic"}

Every peer runs in a process and an environment of its own (see install.py), between two runs of
ours: a round is ours, the peers one after the other, ours. A peer's ratios are the mean of its
round's two runs of ours over its own; all numbers in the table are medians over rounds. Quality is
scored here, from the answers, for all alike. What each runner counts as training and as prediction
says common.py.

Writes results.json, with every run, and table.md. Exit code 2: data or encoder are not there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from itertools import product
from pathlib import Path
from typing import NoReturn

import common
from install import CANNOT_RUN, REQUIREMENTS, environment_python, is_installed
from seqeval.metrics import f1_score
from sklearn.metrics import accuracy_score

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OURS = "ours"
HEADER = (
    "| package | version | answers | train, sent./s | ours is | predict, sent./s | ours is "
    "| intent acc. | slot F1 | exact | note |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)
RUNNER_OPTIONS = ("data", "encoder", "rows", "test_rows", "epochs", "batch_size", "seed")
EMBEDDING = {OURS, "sentence_transformers"}  # embed the sentence in the same answer


def main() -> None:
    options = parse_options()
    data = Path(options.data)
    for path in (Path(options.encoder), data / "train.jsonl", data / "test.jsonl"):
        if not path.exists():
            fail(f"{path} should be there, and isn't.")
    names = [name for name in REQUIREMENTS if options.only is None or name in options.only]
    reasons = {name: CANNOT_RUN[name] for name in names if name in CANNOT_RUN}
    for name in names:
        if name not in reasons and not is_installed(name):
            reasons[name] = f"not installed: python benchmarks/peers/install.py {name}"
    names = [name for name in names if name not in reasons]
    gold = common.read_rows(data / "test.jsonl", options.test_rows)

    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    rounds: list[dict[str, list[dict]]] = []
    for number in range(options.rounds):
        runs: dict[str, list[dict]] = {}
        rounds.append(runs)
        for name in [OURS, *(names if number % 2 == 0 else names[::-1]), OURS]:
            if name in reasons:  # failed in an earlier round
                continue
            try:
                run = run_once(name, options)
                run["quality"] = score(run.pop("answers"), gold)
            except (RuntimeError, ValueError) as error:
                if name == OURS:
                    raise
                reasons[name] = str(error)
                print(f"round {number + 1}: {name}: {error}", flush=True)
                continue
            runs.setdefault(name, []).append(run)
            print(f"round {number + 1}: {name}: {shown(runs[name][-1])}", flush=True)
    names = [name for name in names if name not in reasons]
    rows = {name: summary(name, rounds) for name in [OURS, *names]}
    report = {
        "date": date.today().isoformat(),
        "options": vars(options),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "summary": rows,
        "cannot_run": reasons,
        "rounds": rounds,
    }
    (output / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = table(rows, reasons, options)
    (output / "table.md").write_text(text, encoding="utf-8")
    print(text)


def parse_options() -> argparse.Namespace:
    parser = common.options_parser(__doc__)
    parser.set_defaults(encoder=str(ROOT / "backbones/minilm"))
    parser.add_argument("--only", type=lambda text: text.split(","), help="peers, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--output", default=str(ROOT / "runs/benchmarks/peers"))
    options = parser.parse_args()
    unknown = [name for name in options.only or [] if name not in REQUIREMENTS]
    if unknown:
        fail(f"Unknown peer {unknown[0]}. Known: {', '.join(REQUIREMENTS)}.")
    return options


def run_once(name: str, options: argparse.Namespace) -> dict:
    """One process of the runner; its result.

    Raises:
        RuntimeError: it failed; the message is the last line that it said.
    """
    python = Path(sys.executable) if name == OURS else environment_python(name)
    script = HERE / ("ours.py" if name == OURS else f"run_{name}.py")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [str(python), str(script), "--output", str(result)]
        for key in RUNNER_OPTIONS:
            value = getattr(options, key)
            is_path = key in ("data", "encoder")
            command += [f"--{key}", str(Path(value).resolve() if is_path else value)]
        # Runners write into the folder they run in, if anywhere; and nobody asks the Hub.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=options.timeout,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done after {options.timeout:.0f} s") from None
        if done.returncode or not result.exists():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeError(f"failed: {(lines or [f'exit code {done.returncode}'])[-1]}")
        return json.loads(result.read_text(encoding="utf-8"))


def score(answers: list[dict], gold: list[dict]) -> dict[str, float | None]:
    """Fractions; None for what a peer doesn't answer.

    Raises:
        ValueError: not one answer a row, or not one tag a word.
    """
    if len(answers) != len(gold):
        raise ValueError(f"{len(gold)} answers are expected. Found {len(answers)}.")
    intents, slots = ([one[key] for one in answers] for key in ("intent", "slots"))
    gold_intents, gold_slots = ([row[key] for row in gold] for key in ("intent", "slots"))
    quality: dict[str, float | None] = {"intent": None, "slots": None, "exact": None}
    if None not in intents:
        quality["intent"] = float(accuracy_score(gold_intents, intents))
    if None not in slots:
        for number, (found, expected) in enumerate(zip(slots, gold_slots, strict=True), start=1):
            if len(found) != len(expected):
                raise ValueError(
                    f"Row {number}: {len(expected)} tags are expected. Found {len(found)}."
                )
        quality["slots"] = float(f1_score(gold_slots, slots, zero_division=0))
        if None not in intents:
            right = [
                (answer["intent"], answer["slots"]) == (row["intent"], row["slots"])
                for answer, row in zip(answers, gold, strict=True)
            ]
            quality["exact"] = sum(right) / len(right)
    return quality


def summary(name: str, rounds: list[dict[str, list[dict]]]) -> dict:
    """Medians and spreads over a package's runs, and over rounds of ours to it."""
    runs = [run for one in rounds for run in one[name]]
    found = {key: runs[0][key] for key in ("versions", "note")}
    for phase, clock in product(("train", "predict"), ("wall", "processor")):
        key = f"{phase}_{clock}"
        if runs[0][phase] is None:
            found[key] = found[f"{key}_ratio"] = None
            continue
        found[key] = spread([speed(run, phase, clock) for run in runs])
        ours, theirs = (
            [statistics.mean(speed(run, phase, clock) for run in one[who]) for one in rounds]
            for who in (OURS, name)
        )
        found[f"{key}_ratio"] = spread([a / b for a, b in zip(ours, theirs, strict=True)])
    for key in ("intent", "slots", "exact"):
        values = [run["quality"][key] for run in runs]
        found[key] = None if None in values else spread(values)
    return found


def speed(run: dict, phase: str, clock: str) -> float:
    """Sentences a second."""
    return run[phase]["sentences"] / run[phase][clock]


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def table(rows: dict[str, dict], reasons: dict[str, str], options: argparse.Namespace) -> str:
    lines = [
        f"{options.rows} training rows, {options.epochs} epochs, batch {options.batch_size}, "
        f"{options.test_rows} test rows, encoder {Path(options.encoder).name}, "
        f"{os.environ.get('OMP_NUM_THREADS', 'default')} threads. Medians of {options.rounds} "
        "rounds (lowest to highest); wall time; quality in percent.",
        "",
        HEADER,
    ]
    for name, row in rows.items():
        package, version = next(iter(row["versions"].items()))
        answers = [key for key in ("intent", "slots") if row[key]]
        if name in EMBEDDING:
            answers.append("embedding")
        own = name == OURS
        cells = [
            "**this package**" if own else name.replace("_", " "),
            f"{package} {version}",
            ", ".join(answers),
            number(row["train_wall"], "{:.1f}"),
            "" if own else number(row["train_wall_ratio"], "{:.2f}x"),
            number(row["predict_wall"], "{:.0f}"),
            "" if own else number(row["predict_wall_ratio"], "{:.2f}x"),
            *(number(row[key], "{:.1f}", 100) for key in ("intent", "slots", "exact")),
            row["note"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if reasons:
        lines += ["", "Not in the table:", ""]
        lines += [f"- {name.replace('_', ' ')}: {reason}" for name, reason in reasons.items()]
    return "\n".join(lines) + "\n"


def number(found: dict[str, float] | None, form: str, factor: float = 1) -> str:
    if found is None:
        return "-"
    median, lowest, highest = (
        form.format(factor * found[key]) for key in ("median", "lowest", "highest")
    )
    return median if lowest == highest else f"{median} ({lowest} to {highest})"


def shown(run: dict) -> str:
    parts = [
        f"{phase} {speed(run, phase, 'wall'):.1f}/s"
        for phase in ("train", "predict")
        if run[phase] is not None
    ]
    parts += [f"{key} {value:.3f}" for key, value in run["quality"].items() if value is not None]
    return ", ".join(parts)


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
