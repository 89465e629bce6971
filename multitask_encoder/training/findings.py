"""What preprocessing did to the rows of a split, in words."""

import pyarrow.compute as pc
from datasets import Dataset, List

from multitask_encoder.data.offset_units import likely_shift
from multitask_encoder.data.preprocessing import FINDINGS

FEW_WIDENED = 0.05  # of all spans
ROWS_THAT_TELL = 1000


def findings(split: str, rows: Dataset, windows: Dataset) -> list[str]:
    """The effects of preprocessing on the rows of a split, one line each."""
    total = {key: pc.sum(windows.data[key]).as_py() or 0 for key in FINDINGS}
    repairs = sum(rows["repairs"])
    places = pc.value_counts(windows.with_format("arrow")["window"][:]).to_pylist()
    count = {place["values"]: place["counts"] for place in places}
    long = count.get(1, 0)
    notes = [f"{split}: {count.get(0, 0)} rows."]
    if long:
        notes.append(f"{split}: {long} long rows are read in windows, {len(windows)} in all.")
    if repairs:
        notes.append(
            f"{split}: {repairs} labels were repaired: broken tags, or spans that overlap, are "
            "given twice, or have a blank at a border."
        )
    if unlabelled := _unlabelled_words(rows):
        notes.append(f"{split}: {unlabelled} words of labelled rows have no label.")
    if total["widened"]:
        notes.append(
            f"{split}: {total['widened']} spans begin or end inside a word: training widens them "
            "to whole words, and they count as missed. `labelling: all` goes by tokens."
        )
    if total["unalignable"]:
        notes.append(
            f"{split}: {total['unalignable']} spans have no word or token of their own: they can't "
            "be learned, and count as missed."
        )
    if total["cut_tokens"]:
        notes.append(
            f"{split}: long_texts: truncate cut off {total['cut_tokens']} tokens, and with them "
            f"{total['cut_entities']} entities."
        )
    return notes


def _unlabelled_words(rows: Dataset) -> int:
    columns = rows.with_format("arrow")
    return sum(
        pc.list_flatten(columns[name][:]).null_count
        for name, feature in rows.features.items()
        if isinstance(feature, List) and name != "tokens"
    )


def many_widened(split: str, rows: Dataset, windows: Dataset) -> str | None:
    """What to do if more than a few spans begin or end inside a word."""
    columns = rows.with_format("arrow")
    of_spans = [
        name
        for name, feature in rows.features.items()
        if isinstance(feature, List) and isinstance(feature.feature, dict)
    ]
    spans = sum(pc.sum(pc.list_value_length(columns[name][:])).as_py() or 0 for name in of_spans)
    widened = pc.sum(windows.data["widened"]).as_py() or 0
    if widened <= FEW_WIDENED * spans:
        return None
    line = (
        f"{split}: {widened} of {spans} spans ({widened / spans:.0%}) begin or end inside a word."
    )
    first = rows.select(range(min(len(rows), ROWS_THAT_TELL)))
    if advice := likely_shift((row["text"], row[name] or []) for row in first for name in of_spans):
        return f"{line} They would fit the words if you {advice}."
    return (
        f"{line} If they are right, set `labelling: all` of the task. If they are not, as in "
        "exports that count bytes or UTF-16 units, mend the file: `--do_inspect` shows the first "
        "rows."
    )
