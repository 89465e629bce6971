"""Reads files of one token per line, and folders of one sentence per line."""

import re
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import groupby, zip_longest
from pathlib import Path

from .bad_rows import shown
from .records import FileOptions, Rows, check_distinct, check_encoding, each, read_lines

TokenLine = tuple[str, str, list[str]]  # its place, the line, and its columns
WORDS = re.compile(r"[^ \t]+")  # not str.split(): a word may hold a no-break space
TAG = re.compile(r"O|[BILUESM]-.+|#")  # "#" is also the tag of "#" in the Penn Treebank
WEBANNO = "#FORMAT=WebAnno TSV"
CONLLU = ("id", "tokens", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLLU_ID = re.compile(r"\d+([-.]\d+)?")


def read_conll(path: Path, options: FileOptions) -> Rows:
    """Sentences of a CoNLL file. A line that begins with `#` is a comment unless it has the columns
    of a token, and, where the `#` stands alone, a tag too."""
    column_names, encoding = options.column_names, options.encoding
    place, first = _first_token_line(path, encoding)
    if not first:
        return
    if column_names is None and _is_token_of_conllu(first):
        raise ValueError(f"{place} looks like CoNLL-U: set `format: conllu`. Found {shown(first)}.")
    split = (lambda line: line.split("\t")) if "\t" in first else WORDS.findall
    count = len(split(first))
    if count < 2:
        raise ValueError(
            f"{place} should have two or more columns, separated by tabs or spaces. "
            f"Found {shown(first)}."
        )
    others = [f"column_{number}" for number in range(2, count)]
    names = column_names or ["tokens", *others, "tags"]
    if len(names) != count:
        raise ValueError(
            f"{place} should have the {len(names)} columns {', '.join(names)}. "
            f"Found {count}: {shown(first)}."
        )
    check_distinct(names)

    @cache
    def tags() -> set[str]:
        lines = (split(line) for _, line in read_lines(path, encoding) if line[:1] != "#")
        return {columns[-1] for columns in lines if len(columns) == count}

    def is_token(line: str, columns: list[str]) -> bool:
        if line[0] != "#":
            return True
        if len(columns) != count:
            return False
        return columns[0] != "#" or bool(TAG.fullmatch(columns[-1])) or columns[-1] in tags()

    for is_between, lines in groupby(read_lines(path, encoding), _is_between_sentences):
        if is_between:
            continue
        sentence = [
            (place, line, columns)
            for place, line in lines
            if is_token(line, columns := split(line))
        ]
        if sentence:
            yield from each([(sentence[0][0], sentence)], partial(_sentence_row, names))


def _first_token_line(path: Path, encoding: str | None) -> tuple[str, str]:
    """The first line that can't be a comment, or else the first that may be a token.

    Raises:
        ValueError: the file names a format that is not read.
    """
    refuse_webanno(path, encoding)
    first = ("", "")
    for numbered in read_lines(path, encoding):
        if not _is_between_sentences(numbered):
            if not numbered[1].startswith("#"):
                return numbered
            if not first[1]:
                first = numbered
    return first


def refuse_webanno(path: Path, encoding: str | None) -> None:
    """Raise a ValueError for a file that says in its first line that it is WebAnno's."""
    _, first = next(read_lines(path, encoding), ("", ""))
    if first.startswith(WEBANNO):
        raise ValueError(f"is WebAnno TSV: export it as CoNLL 2002. Found {first!r}.")


def _is_between_sentences(numbered: tuple[str, str]) -> bool:
    _, line = numbered
    return not line.strip() or line.startswith("-DOCSTART-")


def _sentence_row(names: Sequence[str], sentence: list[TokenLine]) -> dict:
    for place, line, columns in sentence:
        try:
            check_encoding(line)
        except ValueError as error:
            raise ValueError(f"{place} {error}") from None
        if len(columns) != len(names):
            raise ValueError(
                f"{place} should have {len(names)} columns. Found {len(columns)}: {shown(line)}."
            )
        if not columns[names.index("tokens") if "tokens" in names else 0]:
            raise ValueError(f"{place} should have a token. Found {shown(line)}.")
    values = zip(*(columns for _, _, columns in sentence), strict=True)
    return dict(zip(names, map(list, values), strict=True))


# CoNLL-U: https://universaldependencies.org/format.html


def is_conllu(path: Path, encoding: str | None = None) -> bool:
    """Whether a file has the ten columns and the numbers of CoNLL-U."""
    return _is_token_of_conllu(_first_token_line(path, encoding)[1])


def _is_token_of_conllu(line: str) -> bool:
    columns = line.split("\t")
    return len(columns) == len(CONLLU) and CONLLU_ID.fullmatch(columns[0]) is not None


def read_conllu(path: Path, options: FileOptions) -> Rows:
    """Sentences of a CoNLL-U file, in syntactic words, without ranges such as `1-2` and empty nodes
    such as `5.1`. `_` is no value; a key of the last column is a column, with `O` where a word
    lacks it."""
    keys: dict[str, None] = {}
    sentences = partial(_conllu_sentences, path, options.encoding)
    for _, sentence in sentences():
        for _, _, columns in sentence:
            if len(columns) == len(CONLLU):
                keys |= dict.fromkeys(_values_of(columns[-1]))
    yield from each(sentences(), partial(_conllu_row, [key for key in keys if key not in CONLLU]))


def _conllu_sentences(path: Path, encoding: str | None) -> Iterator[tuple[str, list[TokenLine]]]:
    for is_between, lines in groupby(read_lines(path, encoding), lambda one: not one[1].strip()):
        if not is_between:
            sentence = [(at, line, line.split("\t")) for at, line in lines if line[0] != "#"]
            if sentence:
                yield sentence[0][0], sentence


def _conllu_row(keys: list[str], sentence: list[TokenLine]) -> dict:
    row = _sentence_row(CONLLU, sentence)
    words = [index for index, number in enumerate(row["id"]) if number.isdecimal()]
    if not words:
        raise ValueError(f"should have words. Found {shown(sentence[0][1])}.")
    misc = [_values_of(row["misc"][index]) for index in words]
    kept = {name: [row[name][index] for index in words] for name in CONLLU}
    # A form or lemma of `_` is the underscore itself.
    empty = {name: [None if x == "_" else x for x in kept[name]] for name in CONLLU[3:]}
    return kept | empty | {key: [values.get(key, "O") for values in misc] for key in keys}


def _values_of(misc: str) -> dict[str, str]:
    """The keys and values of the last column, such as `SpaceAfter=No|Entity=B-PER`."""
    pairs = (part.partition("=") for part in misc.split("|") if "=" in part)
    return {key: value for key, _, value in pairs}


# Folders


def read_intent_slots(path: Path, options: FileOptions) -> Rows:
    read = partial(read_lines, encoding=options.encoding)
    files = [path / name for name in ("seq.in", "seq.out", "label")]
    counts = [sum(1 for _ in read(file)) for file in files]
    if len(set(counts)) > 1:
        raise ValueError(
            "seq.in, seq.out and label should have the same number of lines. "
            f"Found {', '.join(map(str, counts))}."
        )
    lines = zip_longest(*map(read, files))
    numbered = ((same[0][0], [line for _, line in same]) for same in lines)
    return each((row for row in numbered if any(map(str.strip, row[1]))), _intent_row)


def _intent_row(lines: list[str]) -> dict:
    for line in lines:
        check_encoding(line)
    tokens, slots = (WORDS.findall(line) for line in lines[:2])
    if len(tokens) != len(slots):
        raise ValueError(
            f"should have a tag in seq.out for each of the {len(tokens)} words in seq.in. "
            f"Found {len(slots)}."
        )
    return {"tokens": tokens, "slots": slots, "intent": lines[2].strip()}
