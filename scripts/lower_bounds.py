"""Prints the lowest version of each dependency that pyproject.toml allows, as pip's constraints.

    python scripts/lower_bounds.py > lower_bounds.txt

It stands in for a resolver's `--resolution lowest-direct`, which pip lacks: pip still
chooses the indirect dependencies.
"""

import re
import tomllib
from itertools import chain
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
LOWEST = re.compile(r"([\w-]+)(?:\[[\w,]+\])?(?:>=|==)([\w.]+)")


def lower_bounds(content: dict) -> list[str]:
    """A line `name==version` for every lower bound.

    Args:
        content (`dict`): the parsed pyproject.toml.
    """
    project, groups = content["project"], content["dependency-groups"]
    listed = chain(
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *([entry for entry in group if isinstance(entry, str)] for group in groups.values()),
    )
    bounds = [match.groups() for entry in listed if (match := LOWEST.match(entry))]
    return sorted({f"{name}=={version}" for name, version in bounds})


if __name__ == "__main__":
    print("\n".join(lower_bounds(tomllib.loads(PYPROJECT.read_text(encoding="utf-8")))))
