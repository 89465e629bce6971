"""How tags are spelled: where a tag has the role (`B`, `I`, ...) and the type of its entity.

| tags | what differs from `O`, `B-PER`, `I-PER` |
|---|---|
| `B_PER` `B/PER` `B:PER` `B|PER` `B.PER` `B–PER` | what parts the role from the type |
| `b-per` | small roles |
| `PER-B` | the role is last |
| `BEGIN-PER` `INSIDE-PER` | the role is a word |
| `B` `I` | no type: the task has one, which gets the task's name |
| `0` `o` `OUT` `OUTSIDE` | the tag of a word outside entities |

Other tags are types without a role (see label_schemes.py), and refused where they are none.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

OUTSIDE = "O"
ROLES = ("B", "I", "M", "L", "E", "U", "S")
# Longest first, as a regular expression takes the first that fits.
ROLE_OF = {
    "BEGINNING": "B",
    "BEGIN": "B",
    "INSIDE": "I",
    "MIDDLE": "M",
    "SINGLETON": "S",
    "SINGLE": "S",
    "UNIQUE": "U",
    "UNIT": "U",
    "LAST": "L",
    "BEG": "B",
    "END": "E",
    "MID": "M",
    "IN": "I",
    **{role: role for role in ROLES},
}
OUTSIDES = ("0", "OUT", "OUTSIDE")  # in any case, as is `o`
PARTING = r"[-_/:|.–—]"
ROLE = "|".join(ROLE_OF)
PREFIXED, SUFFIXED = (
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rf"(?P<role>(?i:{ROLE}))(?P<parting>{PARTING})(?P<type>.+)",
        rf"(?P<type>.+)(?P<parting>{PARTING})(?P<role>(?i:{ROLE}))",
    )
)
COMMON = "-"  # parts the roles of the scheme's own tags
TAKE_TYPES = "`tag_scheme: io` takes every tag but `O` for a type"
NO_TYPES = ("_", "-", "*", "NONE", "NULL", "NIL")


class TagStyle(NamedTuple):
    """A style of tags: the tag outside entities; and of the others whether the role comes `first`
    or `last`, or is the whole tag (`alone`), or the tags are of the common style (empty)."""

    outside: str = OUTSIDE
    role: str = ""

    def common(self, tag: str | None, name: str) -> str | None:
        """The tag in the common style: `O`, `B-PER`. A tag of another style stays as it is.

        Args:
            tag (`str`, *optional*): None of a word without a label.
            name (`str`): the type of tags without one.
        """
        if tag is None:
            return None
        tag = tag.strip()
        if tag == self.outside:
            return OUTSIDE
        if self.role == "alone":
            role = ROLE_OF.get(tag.upper())
            return f"{role}-{name}" if role else tag
        found = _MATCH[self.role](tag) if self.role else None
        return f"{ROLE_OF[found['role'].upper()]}-{found['type']}" if found else tag


_MATCH: dict[str, Callable[[str], re.Match | None]] = {
    "first": PREFIXED.fullmatch,
    "last": SUFFIXED.fullmatch,
}


def detect_style(tags: Iterable[str]) -> TagStyle:
    """The style that all tags of a task share, the common one if they have no other.

    Tags have roles if all but the outside one have, parted in the same way, and a `B` or `I` is
    among them.

    Args:
        tags (`Iterable[str]`): each tag of the task's rows, once.

    Raises:
        ValueError: several tags for words outside entities; numbers; tags without a role that
            differ only by one, or that name no type.
    """
    tags = {tag.strip() for tag in tags}
    outsides = sorted(tag for tag in tags if tag == OUTSIDE or tag.upper() in (OUTSIDE, *OUTSIDES))
    if len(outsides) > 1:
        raise ValueError(
            "should have one tag for the words outside entities. "
            f"Found {outsides[0]!r} and {outsides[1]!r}; {TAKE_TYPES}."
        )
    outside = outsides[0] if outsides else OUTSIDE
    others = sorted(tags - {outside})
    if others and all(tag.isdecimal() for tag in others):
        raise ValueError(
            "should have tags such as `B-PER`, or the ids of the task's `labels`, which are not "
            f"set. Found {others[0]!r}."
        )
    if others and all(tag.upper() in ROLE_OF for tag in others) and _begins(others):
        return TagStyle(outside, "alone")
    for role, match in _MATCH.items():
        found = [match(tag) for tag in others]
        parts = [one for one in found if one]
        if parts and len(parts) == len(others) and _share_spelling(parts):
            is_common = role == "first" and all(
                one["parting"] == COMMON and one["role"] in ROLES for one in parts
            )
            return TagStyle(outside, "" if is_common else role)
    if not any(len(tag) > 2 and tag[0] in ROLES and tag[1] == COMMON for tag in others):
        _check_types(others)
    return TagStyle(outside)


def _begins(roles: list[str]) -> bool:
    return any(ROLE_OF[role.upper()] in "BI" for role in roles)


def _share_spelling(parts: list[re.Match]) -> bool:
    """Whether roles are parted by the same mark, spelled in the same case, and say where an entity
    begins or goes on."""
    roles = [one["role"] for one in parts]
    return (
        len({one["parting"] for one in parts}) == 1
        and any(all(map(same, roles)) for same in (str.isupper, str.islower, str.istitle))
        and _begins(roles)
    )


def _check_types(types: list[str]) -> None:
    """Refuse types that name none, and types that differ only by what may be a role."""
    for name in types:
        if name.upper() in NO_TYPES:
            raise ValueError(
                f"should have types of entities, and `O` outside. Found {name!r}; {TAKE_TYPES}."
            )
    bare: dict[str, str] = {}
    for name in types:
        match = PREFIXED.fullmatch(name) or SUFFIXED.fullmatch(name)
        if match and bare.setdefault(match["type"], name) != name:
            raise ValueError(
                "should have tags of one style, such as `B-PER` and `I-PER`. "
                f"Found {bare[match['type']]!r} and {name!r}; {TAKE_TYPES}."
            )
