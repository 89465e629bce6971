"""Converts tags of any scheme to IOB2, and resolves overlapping spans.

| scheme | tags | an entity of three words, then one of one word, of the same type |
|---|---|---|
| `iob2` | each entity begins with `B-` | `B-X I-X I-X B-X` |
| `iob1` | `B-` only where an entity directly follows another of its type | `I-X I-X I-X B-X` |
| `io` | the bare type; neighbours of one type can't be told apart | `X X X X` |
| `bilou` | `L-` ends an entity, `U-` is one of one word | `B-X I-X L-X U-X` |

`bilou` stands for IOBES (`E-` for `L-`, `S-` for `U-`) and BMES (`M-` for `I-` as well) too: the
same roles under other letters. All letters are capitals (other spellings: tag_styles.py). Types are
any text, hyphens included. A word without a label has None in place of a tag.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

SCHEMES = ("iob2", "iob1", "io", "bilou")
OVERLAPS = ("refuse", "longest", "first")

_ROLES = {"B": "B", "I": "I", "M": "I", "L": "L", "E": "L", "U": "U", "S": "U"}
_OUTSIDE, _UNLABELLED = ("O", ""), ("?", "")
_EXPECTED = {
    "iob2": "tags `O`, `B-...` and `I-...` (IOB2)",
    "iob1": "tags `O`, `B-...` and `I-...` (IOB1)",
    "io": "tags `O` and types without a prefix (IO)",
    "bilou": "tags `O`, `B-...`, `I-...`, `L-...` and `U-...` (BILOU; "
    "or `E-` for `L-`, `S-` for `U-`, `M-` for `I-`)",
}
# Tags that lost their type or case: `io` would take each for a type.
_NOT_TYPES = ("", "o", "B", "I", "B-")


def detect_scheme(sequences: Iterable[list[str]]) -> str:
    """Detect the tag scheme that all sequences share.

    By the prefixes that occur:

    - none: `io`. Types that all look like prefixed ones (`B-cell` alone) can't be recognised;
    - any of `L-`, `U-`, `E-`, `S-`, `M-`: `bilou`;
    - only `B-` and `I-`: `iob1` if every `B-` directly follows a tag of its type, which is the only
      place where IOB1 has it (also if there is no `B-`); else `iob2`, broken or not;
    - no tags but `O`: `iob2`.

    Reads the sequences once and keeps none. `to_iob2` checks that the tags are valid.

    Args:
        sequences (`Iterable[list[str]]`): a tag per word, of every row: a few rows may hold too few
            entities to tell.

    Raises:
        ValueError: some tags have a prefix and some have none.
    """
    letters: set[str] = set()
    examples: dict[bool, str] = {}  # a tag with a prefix, and a tag without
    b_is_iob1 = True
    for tags in sequences:
        for left, tag in pairwise(["O", *tags]):
            if tag == "O":
                continue
            examples[_has_prefix(tag)] = tag
            if len(examples) == 2:
                raise ValueError(
                    "should have tags that all have a prefix such as `B-`, or types that all have "
                    f"none. Found {examples[True]!r} and {examples[False]!r}. Set its tag_scheme "
                    f"({', '.join(SCHEMES)}) if types look like prefixes, or its unlabelled_tag if "
                    "one marks words without a label."
                )
            if True in examples:
                letters.add(tag[0])
                b_is_iob1 &= tag[0] != "B" or left[1:] == tag[1:]
    if False in examples:
        return "io"
    if letters - {"B", "I"}:
        return "bilou"
    return "iob1" if letters and b_is_iob1 else "iob2"


def to_iob2(tags: list[str | None], scheme: str) -> tuple[list[str | None], int]:
    """IOB2 tags of the same entities, and the number of given tags that contradict the scheme.

    A tag continues an entity if it is an `I-` or `L-` that directly follows a `B-` or `I-` of its
    type (under `io`: if it follows its type); any other tag begins one. So broken sequences are
    read as seqeval reads them in its default mode. A tag contradicts the scheme if the scheme has
    another one for its place in these entities: an `I-` that begins an entity under `iob2`, a `B-`
    under `bilou` that nothing continues.

    Args:
        tags (`list[str]`): one per word.
        scheme (`str`): one of `SCHEMES`.

    Returns:
        `(iob2, repaired)`: as many tags, and the number that contradicted the scheme.

    Raises:
        ValueError: a tag that is not in the scheme, or an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"the scheme should be one of {', '.join(SCHEMES)}. Found {scheme!r}.")
    parts = [_OUTSIDE, *(_role_and_type(tag, scheme) for tag in tags), _OUTSIDE]
    # Per border between neighbours: word i has joined[i] on its left, joined[i + 1] on its right.
    joined = [_is_joined(left, right, scheme) for left, right in pairwise(parts)]
    iob2, repaired = [], 0
    for index, ((_, left_type), (role, entity_type)) in enumerate(pairwise(parts[:-1])):
        if role in "O?":
            iob2.append(tags[index])
            continue
        continues, continued = joined[index : index + 2]
        iob2.append(f"{'I' if continues else 'B'}-{entity_type}")
        expected = {
            "iob2": "I" if continues else "B",
            "iob1": "B" if left_type == entity_type and not continues else "I",
            "io": "I",
            "bilou": ("UB", "LI")[continues][continued],
        }[scheme]
        repaired += role != expected
    return iob2, repaired


def _has_prefix(tag: Any) -> bool:
    return isinstance(tag, str) and len(tag) > 2 and tag[0] in _ROLES and tag[1] == "-"


def _is_joined(left: tuple[str, str], right: tuple[str, str], scheme: str) -> bool:
    """Whether two neighbours, by role and type, are in one entity."""
    if left[0] == "?":  # then I- says that an entity goes on, except where it can also begin one
        return right[0] in "IL" and scheme in ("iob2", "bilou")
    if right[0] == "?":
        return left[0] in "BI" and scheme == "bilou"
    return left[0] in "BI" and right[0] in "IL" and left[1] == right[1]


def _role_and_type(tag: Any, scheme: str) -> tuple[str, str]:
    """The role (O, B, I, L, U, or ? of a word without a label) and the type; ValueError for a tag
    that is not in the scheme."""
    if tag == "O":
        return _OUTSIDE
    if tag is None:
        return _UNLABELLED
    if scheme == "io":
        # `I-PER` is often called IO too; here it is `iob1`, not a type.
        if isinstance(tag, str) and tag not in _NOT_TYPES and not tag.startswith("I-"):
            return "I", tag
    elif _has_prefix(tag) and (scheme == "bilou" or tag[0] in "BI"):
        return _ROLES[tag[0]], tag[2:]
    raise ValueError(f"should have {_EXPECTED[scheme]}. Found {tag!r}.")


def resolve_overlaps(spans: list[dict], policy: str) -> tuple[list[dict], int]:
    """Drop overlapping spans. Returns the rest in order of start, and the number dropped.

    A span that repeats another one exactly overlaps it, whatever its label. Spans that touch don't
    overlap. A span is dropped for one that is kept, never for one that is dropped itself.

    Args:
        spans (`list[dict]`): `{"start", "end", "label"}` with start < end, in any order.
        policy (`str`): `longest` prefers the longer span and, among equally long spans, the first
            to start; `first` prefers the first to start and, among several, the longest. Among
            spans in the same place, both keep the one given first. `refuse` keeps all or raises.

    Raises:
        ValueError: spans overlap under `refuse`, or an unknown policy.
    """
    if policy not in OVERLAPS:
        raise ValueError(f"the policy should be one of {', '.join(OVERLAPS)}. Found {policy!r}.")
    rank = {
        "refuse": lambda span: (span["start"], span["end"]),
        "longest": lambda span: (span["start"] - span["end"], span["start"]),
        "first": lambda span: (span["start"], -span["end"]),
    }[policy]
    kept: list[dict] = []  # in order of start: only a span's neighbours here can overlap it
    for span in sorted(spans, key=rank):
        at = bisect_left(kept, span["start"], key=lambda other: other["start"])
        overlapping = [
            other
            for other in kept[max(at - 1, 0) : at + 1]
            if other["start"] < span["end"] and span["start"] < other["end"]
        ]
        if not overlapping:
            kept.insert(at, span)
        elif policy == "refuse":
            raise ValueError(
                f"should have spans that do not overlap. Found {overlapping[0]} and {span}."
            )
    return kept, len(spans) - len(kept)
