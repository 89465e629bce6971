"""Makes one virtual environment for each peer, with its pinned packages.

    python benchmarks/peers/install.py               # all of them
    python benchmarks/peers/install.py flair spacy   # some

Each is built once, in `.environments/<name>` beside this file, and built anew when its pins have
changed. One line a peer says what is installed, or why it could not be.
"""

import argparse
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parent / ".environments"
STAMP = "installed.json"

# Installed first and held: a peer that asks for "some torch" would else bring a build for GPUs.
TORCH = "torch==2.13.0"

# Direct pins; the first one is the peer itself. The rest is what the peer's resolver takes.
REQUIREMENTS = {
    "stock_trainer": ["transformers==5.23.0", "accelerate==1.15.0", "datasets==5.2.0"],
    "sentence_transformers": ["sentence-transformers==6.2.0", "transformers==5.23.0"],
    "setfit": ["setfit==1.2.0"],
    "flair": ["flair==0.15.1"],
    "spacy": ["spacy-transformers==1.4.0", "spacy==3.8.18"],
    "tasknet": ["tasknet==1.60"],
    "span_marker": ["span-marker==1.8.1"],
    "cnlp_transformers": ["cnlp-transformers==0.8.0"],
    "gliner2": ["gliner2[train]==2.1.0"],
}

# Peers that can't be measured, each with the reason. They are listed under the table.
CANNOT_RUN: dict[str, str] = {}


def environment_python(name: str) -> Path:
    """The interpreter of a peer's environment, there or not."""
    folder = ENVIRONMENTS / name
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def is_installed(name: str) -> bool:
    """Whether the environment is whole and of the pins above."""
    return _stamp(name).get("digest") == _digest(name)


def install(name: str) -> str:
    """Build the environment where it isn't there yet; return the line that says how it went."""
    if is_installed(name):
        return f"{name}: {_shown(_stamp(name)['versions'])} (was there)"
    folder = ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    steps = [
        [sys.executable, "-m", "venv", str(folder)],
        [*_pip(name), "install", TORCH],
        # Old sdists (seqeval) need the standard build; the second torch is the one to keep.
        [*_pip(name), "install", "--use-pep517", TORCH, *REQUIREMENTS[name]],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines()]
            errors = [line for line in lines if line.lower().startswith("error")]
            reason = (errors or list(filter(None, lines)) or ["no message"])[-1]
            return f"{name}: could not be installed: {reason}"
    listing = subprocess.check_output([*_pip(name), "list", "--format", "json"], text=True)
    found = {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listing)}
    packages = [re.match(r"[\w-]+", pin)[0] for pin in REQUIREMENTS[name]]
    versions = {one: found[one] for one in ("torch", "transformers", *packages) if one in found}
    stamp = {"digest": _digest(name), "versions": versions}
    (folder / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    return f"{name}: {_shown(versions)}"


def _pip(name: str) -> list[str]:
    return [str(environment_python(name)), "-m", "pip", "--disable-pip-version-check"]


def _digest(name: str) -> str:
    pins = [platform.python_version(), TORCH, *REQUIREMENTS[name]]
    return hashlib.sha256(json.dumps(pins).encode()).hexdigest()


def _stamp(name: str) -> dict:
    try:
        return json.loads((ENVIRONMENTS / name / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _shown(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(REQUIREMENTS)}; default: all")
    names = parser.parse_args().names or list(REQUIREMENTS)
    unknown = [name for name in names if name not in REQUIREMENTS]
    if unknown:
        parser.error(f"Unknown peer {unknown[0]}. Known: {', '.join(REQUIREMENTS)}.")
    for name in names:
        print(install(name), flush=True)
    sys.exit(not all(map(is_installed, names)))


if __name__ == "__main__":
    main()
