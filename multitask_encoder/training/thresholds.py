"""The scores that labels and entities have to exceed, chosen on validation rows.

For a precision asked for, the lowest score above which that share of answers is right. For a
coverage asked for, the highest score above which that share of true labels is still found: the
labels above it are a conformal set (Sadinle, Lei and Wasserman 2019, "Least Ambiguous Set-Valued
Classifiers With Bounded Error Levels", arXiv 1609.00451; where a text has several labels or
entities, the bound is of the share missed: Angelopoulos et al. 2024, "Conformal Risk Control",
arXiv 2208.02814). Both count one more mistake than was seen, which makes up for the choice. For a
task of several labels there are also those with the best F1.

They are kept in the model's config, and go when it is trained further.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.modeling.answering import has_one_label
from multitask_encoder.modeling.batching import length_batches
from multitask_encoder.modeling.decoding import likeliest_labels, tags_to_spans

from .passes import MAX_TOKENS
from .scoring import FOLDS, LEAST_ROWS, SEVERAL, Scored

SHARES = (0.9, 0.95, 0.98, 0.99)
LEAST_OF_A_LABEL = 10  # rows with it, and without it, for a threshold of its own
ROUNDING = 1e-9
POINTS = 20  # of the curve of precision


class Judged(NamedTuple):
    """Answers and the truth, of shapes `(num_answers,)` and `(num_true,)`: the score of each answer
    and whether it is right; the score that each true label or entity was given, 0 if it was not
    found, and its share of its text's."""

    scores: torch.Tensor
    right: torch.Tensor
    true_scores: torch.Tensor
    shares: torch.Tensor
    num_rows: int


def judge(scored: Scored) -> Judged:
    """The answers for labelled rows: the likeliest label of each text; or all labels of each; or
    its entities."""
    if "labelling" in scored.task:
        return _judged_entities(scored)
    logits, labels = scored.logits, scored.labels
    if scored.problem_type == SEVERAL:
        scores, there = _as_given(logits.sigmoid()), labels > 0
        shares = (there / there.sum(1, keepdim=True).clamp(min=1))[there]
        num_rows = int(there.any(1).sum())
        return Judged(scores.flatten(), there.flatten(), scores[there], shares, num_rows)
    probabilities = _as_given(logits.softmax(-1))
    scores, best = probabilities.max(-1)
    true_scores = probabilities.gather(1, labels[:, None])[:, 0]
    return Judged(scores, best == labels, true_scores, torch.ones_like(scores), len(labels))


def _as_given(scores: torch.Tensor) -> torch.Tensor:
    """Scores that differ only where those of the pipeline do, which are in float32."""
    return scores.float().double()


def _judged_entities(scored: Scored) -> Judged:
    names, rows = scored.task["labels"], [*scored.by_row()]
    scores: list[float] = []
    right: list[bool] = []
    true_scores: list[float] = []
    shares: list[float] = []
    for batch in length_batches([len(labels) for _, labels in rows], MAX_TOKENS):
        logits = pad_sequence([rows[row][0] for row in batch], batch_first=True)
        lengths = torch.tensor([len(rows[row][1]) for row in batch])
        best = likeliest_labels(logits, torch.arange(logits.shape[1]) < lengths[:, None], names)
        chances = _as_given(logits.softmax(-1)).gather(-1, best.unsqueeze(-1)).squeeze(-1)
        for place, row in enumerate(batch):
            labels = rows[row][1]
            found = {
                span[:3]: chances[place, span[3]].mean().item()
                for span in _spans(names, best[place, : len(labels)])
            }
            true = [span[:3] for span in _spans(names, labels)]
            scores += found.values()
            right += [span in true for span in found]
            true_scores += [found.get(span, 0.0) for span in true]
            shares += [1 / len(true) for _ in true]
    return Judged(
        torch.tensor(scores, dtype=torch.double),
        torch.tensor(right, dtype=torch.bool),
        torch.tensor(true_scores, dtype=torch.double),
        torch.tensor(shares, dtype=torch.double),
        round(sum(shares)),
    )


def _spans(names: Sequence[str], ids: torch.Tensor) -> list[tuple[int, int, str, list[int]]]:
    tags = [names[index] for index in ids.tolist()]
    return tags_to_spans(tags, [*pairwise(range(len(tags) + 1))])


def choose_thresholds(config: MultiTaskConfig, rows: dict[str, Scored]) -> None:
    """Write `thresholds` to the tasks of a model's config, of those with 100 labelled rows. A share
    that can't be had has none.

    Args:
        config (`MultiTaskConfig`): its tasks are changed in place.
        rows (`dict[str, Scored]`): what the heads say of validation rows.
    """
    for name, scored in rows.items():
        if scored.num_rows < LEAST_ROWS:
            continue
        judged = judge(scored)
        chosen = {
            "precision": {f"{share:g}": for_precision(judged, share) for share in SHARES},
            "coverage": {f"{share:g}": for_coverage(judged, share) for share in SHARES},
        }
        chosen = {key: _known(of) for key, of in chosen.items()}
        if scored.problem_type == SEVERAL and (best := _for_f1(scored)):
            chosen["f1"] = best
        if chosen := {key: of for key, of in chosen.items() if of}:
            config.tasks[name]["thresholds"] = chosen
    config.check()


def _known(by_share: dict[str, float | None]) -> dict[str, float]:
    return {share: value for share, value in by_share.items() if value is not None}


def for_precision(judged: Judged, precision: float) -> float | None:
    """The lowest score above which `precision` (0 to 1) of the answers are right; None if there is
    none."""
    scores, order = judged.scores.sort(descending=True)
    wrong = (~judged.right[order]).cumsum(0)
    given = torch.arange(1, len(scores) + 1, dtype=scores.dtype)
    enough = wrong + 1 <= (1 - precision) * (given + 1) + ROUNDING
    enough[:-1] &= scores[:-1] > scores[1:]  # equal ones go together
    if not enough.any():
        return None
    last = int(enough.nonzero()[-1])
    return _between(scores[last + 1], scores[last]) if last + 1 < len(scores) else 0.0


def for_coverage(judged: Judged, coverage: float) -> float | None:
    """The highest score above which `coverage` (0 to 1) of the true labels or entities of a text
    are found, in the mean over texts that have some; None if there is none."""
    scores, order = judged.true_scores.sort()
    missed = torch.cat([scores.new_zeros(1), judged.shares[order].cumsum(0)])
    enough = missed + 1 <= (1 - coverage) * (judged.num_rows + 1) + ROUNDING
    enough[1:-1] &= scores[1:] > scores[:-1]
    enough[-1] = False  # all of them missed
    if not len(scores) or not enough.any():
        return None
    first = int(enough.nonzero()[-1])  # that is found
    if not scores[first]:
        return None
    return _between(scores[first - 1] if first else torch.zeros(()), scores[first])


def _between(low: torch.Tensor, high: torch.Tensor) -> float:
    """In the middle, so that rounding, which differs between runtimes, decides nothing."""
    return ((low + high) / 2).item()


def _for_f1(scored: Scored) -> dict[str, float]:
    """By label the threshold with the best F1; none where those of four fifths of the rows are no
    better than 0.5 for the fifth."""
    scores, labels = scored.logits.sigmoid(), scored.labels > 0
    crossed = torch.zeros_like(labels)
    for fold in range(FOLDS):
        held = torch.arange(len(scores)) % FOLDS == fold
        crossed[held] = scores[held] > _best_thresholds(scores[~held], labels[~held])
    if _macro_f1(crossed, labels) <= _macro_f1(scores > 0.5, labels):
        return {}
    best = _best_thresholds(scores, labels)
    return dict(zip(scored.task["labels"], best.tolist(), strict=True))


def _best_thresholds(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of shape `(num_labels,)`: 0.5 for a label that few rows have, or lack."""
    best = torch.full_like(scores[0], 0.5)
    for index, (own, there) in enumerate(zip(scores.T, labels.T, strict=True)):
        if min(there.sum(), (~there).sum()) < LEAST_OF_A_LABEL:
            continue
        own, order = own.sort(descending=True)
        right = there[order].cumsum(0)
        f1 = 2 * right / (torch.arange(1, len(own) + 1) + there.sum())
        f1[:-1][own[:-1] == own[1:]] = 0
        last = int(f1.argmax())
        best[index] = _between(own[last + 1], own[last]) if last + 1 < len(own) else 0.0
    return best


def _macro_f1(found: torch.Tensor, labels: torch.Tensor) -> float:
    right = (found & labels).sum(0)
    return (2 * right / (found.sum(0) + labels.sum(0)).clamp(min=1)).mean().item()


def with_effects(
    config: MultiTaskConfig, rows: dict[str, dict[str, Scored]]
) -> dict[str, dict[str, Any]]:
    """What the thresholds of a model do to rows.

    Args:
        config (`MultiTaskConfig`): of the model.
        rows (`dict[str, dict[str, Scored]]`): by split and task, from `score_rows`.

    Returns:
        `dict[str, dict]`: by task the thresholds, and by split `precision` and `coverage`, by share
        (see `_effects`), and `curve`: the precision of the surest 5 %, 10 %, ... of all answers.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, task in config.tasks.items():
        if not (chosen := task.get("thresholds")):
            continue
        effects = {
            split: _effects(of_split[name], chosen)
            for split, of_split in rows.items()
            if name in of_split
        }
        if effects:
            found[name] = {"thresholds": chosen, **effects}
    return found


def _effects(scored: Scored, thresholds: dict[str, dict]) -> dict[str, Any]:
    """For each precision asked for, the `precision` found, and the `recall` or, in a task with one
    label a text, the share of texts `answered`; for each coverage, the `coverage` found and, in
    such a task, the mean number of `labels` in a set."""
    judged = judge(scored)
    single = has_one_label(scored.task)
    surest = judged.right[judged.scores.sort(descending=True).indices].double()
    ends = [len(surest) * point // POINTS for point in range(1, POINTS + 1)]
    found: dict[str, Any] = {"precision": {}, "coverage": {}}
    for share, threshold in thresholds.get("precision", {}).items():
        right = judged.right[judged.scores > threshold]
        effects = {"precision": right.double().mean().item() if len(right) else None}
        if single:
            effects["answered"] = len(right) / max(1, len(judged.scores))
        else:
            effects["recall"] = right.sum().item() / max(1, len(judged.true_scores))
        found["precision"][share] = effects
    for share, threshold in thresholds.get("coverage", {}).items():
        there = judged.true_scores > threshold
        if single:
            there |= judged.right  # the likeliest label is always given
        covered = judged.shares[there].sum() / max(1, judged.num_rows)
        found["coverage"][share] = {"coverage": covered.item()}
        if single:
            sizes = (scored.logits.softmax(-1) > threshold).sum(1).clamp(min=1)
            found["coverage"][share]["labels"] = sizes.double().mean().item()
    found["curve"] = [surest[:end].mean().item() if end else None for end in ends]
    return found
