"""Synthetic English sentences with a topic, a sentiment and entities on the same text.

The corpus is for tests, demonstrations and smoke runs. Counting words does not
solve it: sentiment hangs on negation and on the main clause, entity types on the context, and the
names of the validation and test splits never occur in training (`AMBIGUOUS` ones apart). It does
not replace real data: whoever solves it has understood these patterns, not English.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import yaml
from datasets import Dataset, Features, IterableDataset, List, NamedSplit, Value

LEXICON_FILE = Path(__file__).with_name("synthetic_lexicon.yaml")

TOPICS = ("Finance/Tech", "Health/Lifestyle", "Entertainment/Sports")
SENTIMENTS = ("positive", "negative")
ENTITY_TYPES = ("PER", "ORG", "LOC")
SPLITS = ("train", "validation", "test")

FEATURES = Features(
    {
        "text": Value("string"),
        "topic": Value("string"),
        "sentiment": Value("string"),
        "entities": List(
            {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
        ),
    }
)

# Of ten possible texts, four belong to the training split: see `_split_of`.
SPLIT_OF_REMAINDER = ("train",) * 4 + ("validation",) * 3 + ("test",) * 3

# Common slots that the lexicon doesn't list.
NUMBERS = {
    "percent": [*(f"{n}%" for n in range(2, 60)), *(f"{n} percent" for n in range(3, 30))],
    "number": [str(n) for n in range(18, 90)],
    "price": [f"${n}" for n in range(15, 400, 5)],
}

# Slots whose words would sound odd when repeated within a text.
NEVER_TWICE = frozenset(("part", "adj", "strong", "np", "verdict", "quantity"))

T = TypeVar("T")

SLOT = re.compile(r"\{(\w+!?)\}")
ENTITY = re.compile(r"<(\w+):([^>]+)>")
SENTENCE_START = re.compile(r'(^"?|[.?!] |: ")([a-z])')
A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=(?:<\w+:)?(?!one|use|uni|eur)[aeiou])", re.IGNORECASE)

# The full form used in the patterns -> the common contraction.
CONTRACTIONS = (
    (re.compile(r"\b(is|was|did|does|would|could|do) not\b"), r"\1n't"),
    (re.compile(r"\bI would\b"), "I'd"),
    (re.compile(r"\b([Ii]t|that|there|what) is\b"), r"\1's"),
    (re.compile(r"\b(they|we|you) will\b"), r"\1'll"),
)


def generate(split: str, num_rows: int, seed: int = 0) -> Iterator[dict]:
    """Yields `num_rows` rows of a split, the same ones on every machine and in every process.

    The first n rows of a longer run are those of a shorter one. No text occurs in two splits.

    Args:
        split (str): One of `SPLITS`.
        num_rows (int): Number of rows, at least 1.
        seed (int): Another seed gives other rows.

    Yields:
        dict: `text` (str), `topic` (one of `TOPICS`), `sentiment` (one of `SENTIMENTS`) and
        `entities`, a list of `{"start": int, "end": int, "label": str}` in the order of the text,
        where `text[start:end]` is the name and `label` one of `ENTITY_TYPES`.

    Raises:
        ValueError: For an unknown split or fewer than one row.
    """
    _check(split, num_rows)
    return _generate(split, num_rows, seed)


def load_synthetic(
    split: str, num_rows: int, seed: int = 0, streaming: bool = False
) -> Dataset | IterableDataset:
    """The rows of `generate`, with its arguments and errors, as a data set of `FEATURES`;
    `streaming` makes them on the fly, in constant memory and without the cache."""
    _check(split, num_rows)
    arguments = {"split": split, "num_rows": num_rows, "seed": seed}
    if streaming:
        return IterableDataset.from_generator(
            generate, features=FEATURES, gen_kwargs=arguments, split=NamedSplit(split)
        )
    return Dataset.from_generator(
        generate,
        features=FEATURES,
        gen_kwargs=arguments,
        split=NamedSplit(split),
        # The cache knows a generator by its name only: without the source in the fingerprint, it
        # would go on serving the rows of an older version of these files.
        fingerprint=f"synthetic-{split}-{num_rows}-{seed}-{_source_checksum():08x}",
    )


@cache
def lexicon() -> dict[str, Any]:
    """The words and sentence patterns in `LEXICON_FILE`."""
    return yaml.safe_load(LEXICON_FILE.read_text(encoding="utf-8"))


def _check(split: str, num_rows: int) -> None:
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}. Expected one of: {', '.join(SPLITS)}.")
    if num_rows < 1:
        raise ValueError(f"num_rows should be at least 1. Found {num_rows}.")


def _source_checksum() -> int:
    return zlib.crc32(Path(__file__).read_bytes() + LEXICON_FILE.read_bytes())


def _generate(split: str, num_rows: int, seed: int) -> Iterator[dict]:
    rng = Random(f"{seed}/{split}")
    count = 0
    while count < num_rows:
        row = _row(rng, split)
        if _split_of(row["text"]) == split:
            count += 1
            yield row


def _split_of(text: str) -> str:
    """The only split that may hold `text`, so that short texts without names never leak."""
    return SPLIT_OF_REMAINDER[zlib.crc32(text.lower().encode()) % len(SPLIT_OF_REMAINDER)]


def _row(rng: Random, split: str) -> dict:
    topic = _pick(rng, TOPICS)
    sentiment = rng.randrange(len(SENTIMENTS))
    domain = _pick(rng, _domains(topic))
    writer = _Writer(rng, split, domain, sentiment)
    text, entities = _strip_markup(writer.text())
    return {
        "text": _restyle(rng, text),
        "topic": topic,
        "sentiment": SENTIMENTS[sentiment],
        "entities": entities,
    }


def _pick(rng: Random, options: Sequence[T]) -> T:
    """Faster `rng.choice(options)`: a third of the time, and most of a row's cost."""
    return options[int(rng.random() * len(options))]


@cache
def _domains(topic: str) -> tuple[str, ...]:
    return tuple(name for name, domain in lexicon()["domains"].items() if domain["topic"] == topic)


@cache
def _grammar(domain: str, sentiment: str) -> dict[str, list[str]]:
    """The options for each slot in a sentence of this domain and sentiment."""
    domains = lexicon()["domains"]
    source = domains[domain]
    events = [event.partition(" ") for event in source["events"][sentiment]]
    return {
        **lexicon()["common"],
        **NUMBERS,
        **{slot: options[sentiment] for slot, options in lexicon()["polar"].items()},
        **{slot: source[slot] for slot in ("item", "part", "actor", "scene")},
        "quantity": source["quantity"][sentiment],
        "do": [f"{verb.split('/')[0]} {rest}" for verb, _, rest in events],
        "did": [f"{verb.split('/')[1]} {rest}" for verb, _, rest in events],
        "foreign": [
            item
            for other in domains.values()
            if other["topic"] != source["topic"]
            for item in other["item"]
        ],
    }


@cache
def _parse(pattern: str) -> tuple[str, ...]:
    """`pattern` cut into literal text (even positions) and slot names (odd positions)."""
    return tuple(SLOT.split(pattern))


class _Writer:
    """Writes one text, in which an entity is marked up as `<PER:Anna Becker>`."""

    def __init__(self, rng: Random, split: str, domain: str, sentiment: int):
        self.rng = rng
        self.split = split
        self.domain = domain
        self.sentiment = sentiment
        # A text speaks of one thing throughout, and says nothing twice about it.
        self.item = self.draw("domains", domain, "item")
        self.said: set[str] = set()
        self.it = "thing"

    def draw(self, *keys: str) -> str:
        """One of the words or patterns that the lexicon lists below `keys`."""
        options: Any = lexicon()
        for key in keys:
            options = options[key]
        return _pick(self.rng, options)

    def text(self) -> str:
        rng = self.rng
        shape = rng.random()
        if shape < 0.50:
            text = self.fill("{scene}")
            self.it = "again"
            opinion = self.opinion()
            if text.endswith("?"):
                text = f"{text} {opinion}"
            else:
                text += _pick(rng, (". ", ". ", ". ", ", and ", ": ", "; ", " - ", "! ")) + opinion
        elif shape < 0.77:
            before, after = self.draw("frames").split("{opinion}")
            opinion = self.opinion()
            text = self.fill(before) + opinion + self.fill(after)
        elif shape < 0.86:
            text = self.opinion()
        else:
            text = self.fill(self.draw("news"))
            if text[-1].isalnum() and rng.random() < 0.5:
                text += self.fill(self.draw("reactions"))
        if rng.random() < 0.1:
            text = f"{self.draw('prefixes')} {text}"
        text = self.punctuate(text)
        if rng.random() < 0.5:
            for long, short in CONTRACTIONS:
                text = long.sub(short, text)
        text = A_BEFORE_VOWEL.sub(r"\1n ", text)
        return SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), text)

    def opinion(self) -> str:
        kind = self.rng.choices(("plain", "negated", "mixed"), (48, 23, 29))[0]
        opinion = self.fill(self.draw(kind))
        if self.rng.random() < 0.3:
            opinion += self.fill(self.draw("echoes"))
        return opinion

    def punctuate(self, text: str) -> str:
        rng = self.rng
        if text[-1] not in '?!"':
            text += rng.choices((".", "", "!", "!!", "..."), (60, 20, 14, 3, 3))[0]
        if rng.random() < 0.07:
            text += " " + _pick(rng, lexicon()["hashtags"] + lexicon()["emoji"])
        return text

    def fill(self, pattern: str, flipped: bool = False) -> str:
        """`pattern` with its slots filled, of the opposite sentiment if `flipped`."""
        pieces = list(_parse(pattern))
        for position in range(1, len(pieces), 2):
            slot = pieces[position]
            if slot.endswith("!"):
                pieces[position] = self.slot(slot[:-1], not flipped)
            else:
                pieces[position] = self.slot(slot, flipped)
        return "".join(pieces)

    def slot(self, slot: str, flipped: bool) -> str:
        if slot == "PER" and self.rng.random() < 0.15:
            return self.titled_person()
        if slot in ("PER", "NAME"):
            return f"<PER:{self.person()}>"
        if slot == "ORG":
            return f"<ORG:{self.organisation()}>"
        if slot == "LOC":
            return f"<LOC:{self.place()}>"
        if slot == "item":
            return self.item
        if slot == "it":
            slot, self.it = self.it, "pronoun"
        sentiment = SENTIMENTS[self.sentiment ^ flipped]
        options = _grammar(self.domain, sentiment)[slot]
        choice = _pick(self.rng, options)
        while slot in NEVER_TWICE and choice in self.said:
            choice = _pick(self.rng, options)
        self.said.add(choice)
        return self.fill(choice, flipped)

    def titled_person(self) -> str:
        ambiguous = self.rng.random() < 0.25
        title = self.draw("titles")
        surname = self.draw("ambiguous_surnames") if ambiguous else self.surname()
        return f"{title} <PER:{surname}>"

    def person(self) -> str:
        ambiguous = self.rng.random() < 0.2
        first = self.draw("ambiguous", "PER") if ambiguous else self.draw("first_names", self.split)
        if self.rng.random() < 0.35:
            return first
        return f"{first} {self.surname()}"

    def surname(self) -> str:
        return self.draw("surnames", self.split)

    def organisation(self) -> str:
        rng = self.rng
        kind = rng.random()
        if kind < 0.2:
            return self.draw("ambiguous", "ORG")
        # Now and then a suffix from another trade, lest the name give the topic away.
        domain = self.domain if rng.random() < 0.7 else _pick(rng, tuple(lexicon()["domains"]))
        suffix = self.draw("domains", domain, "suffix")
        if kind < 0.35:
            return f"{self.town()} {suffix}"
        if kind < 0.45:
            return f"{self.surname()} & {self.surname()}"
        if kind < 0.55:
            return f"{self.surname()} {suffix}"
        name = self.draw("org_stems", self.split) + self.draw("org_endings")
        if kind < 0.75:
            return name
        return f"{name} {suffix if kind < 0.9 else self.draw('org_suffixes')}"

    def place(self) -> str:
        kind = self.rng.random()
        if kind < 0.2:
            return self.draw("ambiguous", "LOC")
        if kind < 0.5:
            return self.draw("cities", self.split)
        if kind < 0.6:
            return f"{self.draw('place_prefixes')} {self.town()}"
        return self.town()

    def town(self) -> str:
        return self.draw("place_stems", self.split) + self.draw("place_endings")


def _strip_markup(markup: str) -> tuple[str, list[dict]]:
    """The plain text, and the entities marked up in it, with their offsets."""
    text, entities, position = "", [], 0
    for match in ENTITY.finditer(markup):
        text += markup[position : match.start()]
        entities.append({"start": len(text), "end": len(text) + len(match[2]), "label": match[1]})
        text += match[2]
        position = match.end()
    return text + markup[position:], entities


def _restyle(rng: Random, text: str) -> str:
    """Casing and apostrophes as people type them. Keeps the length, and so all spans."""
    if rng.random() < 0.12:
        text = text.replace("'", "’")
    style = rng.random()
    if style < 0.10:
        return text.lower()
    if style < 0.14:
        return text.upper()
    return text
