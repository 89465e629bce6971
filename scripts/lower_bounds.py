"""Prints the lowest version of each dependency that pyproject.toml allows, as pip's constraints.

    python scripts/lower_bounds.py > lower_bounds.txt

It stands in for a resolver's `--resolution lowest-direct`, which pip lacks: dependencies of
dependencies stay as pip chooses them.
"""

import re
import tomllib
from itertools import chain
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
LOWEST = re.compile(r"([\w-]+)(?:\[[\w,]+\])?(?:>=|==)([\w.]+)")


def lower_bounds(content: dict) -> list[str]:
    """`name==version` for every bound.

    Args:
        content (`dict`): of pyproject.toml.
    """
    project, groups = content["project"], content["dependency-groups"]
    listed = chain(
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *([one for one in group if isinstance(one, str)] for group in groups.values()),
    )
    found = [match.groups() for one in listed if (match := LOWEST.match(one))]
    return sorted({f"{name}=={version}" for name, version in found})


if __name__ == "__main__":
    print("\n".join(lower_bounds(tomllib.loads(PYPROJECT.read_text(encoding="utf-8")))))
