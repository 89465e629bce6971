"""Which texts a sentence task is not about: fits the `Scope` of its head after training, without an
example of them."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.scope import POINTS, Scope

from .passes import first_windows
from .retention import embed
from .scoring import LEAST_ROWS, MAX_WINDOWS, Scored

logger = logging.getLogger("multitask_encoder")

CENTERS = 1000
ROUNDS = 20  # of k-means
LEAST_SPREAD = 1e-6  # of logits or cosines that are all the same


def fit_scopes(
    model: MultiTaskModel,
    windows: Dataset,
    rows: dict[str, Scored],
    false_alarms: dict[str, float],
    padding_id: int,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> None:
    """Give the heads of these tasks a `Scope`, and their tasks in the config `out_of_scope`. Tasks
    with fewer than 100 labelled validation rows, or no labelled training row, get none, and a line
    in the log.

    Args:
        model (`MultiTaskModel`): a trained and calibrated model.
        windows (`Dataset`): preprocessed training rows. Up to 10,000 of those that a task labels
            are encoded; 1,000 centers stand for them, or they for themselves if they are fewer.
        rows (`dict[str, Scored]`): what the heads say of validation rows, calibrated.
        false_alarms (`dict[str, float]`): by task the share of in-scope texts, in 0 to 1, that may
            be refused.
        padding_id (`int`): the padding token.
        autocast (`Callable`, *optional*): a context for the encoder's passes.
    """
    texts = first_windows(windows)
    for name, share in false_alarms.items():
        ids = texts[name][:] if name in texts.column_names else []
        labelled = np.flatnonzero(np.asarray(ids) >= 0)
        if not len(labelled) or name not in rows or rows[name].num_rows < LEAST_ROWS:
            logger.info(
                "%s gives every text a label: its scope takes %d validation rows and some training "
                "rows that are labelled.",
                *(name, LEAST_ROWS),
            )
            continue
        with autocast():
            centers = _centers(model, texts.select(labelled), padding_id)
        model.heads[name].scope = _fitted(centers, rows[name]).to(model.device)
        model.config.tasks[name]["out_of_scope"] = {"centers": len(centers), "false_alarms": share}
    model.config.check()


def _centers(model: MultiTaskModel, texts: Dataset, padding_id: int) -> torch.Tensor:
    """Of shape `(num_centers, hidden_size)`: those of the texts' embeddings, scaled to length 1, by
    k-means; or the embeddings themselves."""
    places = np.linspace(0, len(texts) - 1, min(len(texts), MAX_WINDOWS), dtype=int)
    found = embed(texts[places]["input_ids"], model.eval(), padding_id).double()
    if len(found) <= CENTERS:
        return found
    # In half the precision in half the time; k-means++ takes five times as long, and finds no more.
    clusters = KMeans(CENTERS, init="random", n_init=1, max_iter=ROUNDS, random_state=0)
    clusters.fit(found.float().numpy())
    return F.normalize(torch.from_numpy(clusters.cluster_centers_).double(), dim=-1)


def _fitted(centers: torch.Tensor, scored: Scored) -> Scope:
    """The scope with these centers to which logits and cosines of the rows matter alike."""
    assert scored.inside is not None
    scope = Scope(*centers.shape)
    scope.centers = centers
    spreads = []
    for alone in torch.eye(2, dtype=centers.dtype):
        scope.scale = alone
        spreads.append(scope.strangeness(*scored.inside).std())
    scope.scale = 1 / torch.stack(spreads).clamp(min=LEAST_SPREAD)
    strangeness = scope.strangeness(*scored.inside)
    scope.quantiles = strangeness.quantile(torch.linspace(0, 1, POINTS, dtype=centers.dtype))
    for name, buffer in list(scope.named_buffers()):
        setattr(scope, name, buffer.float())
    return scope


def measure_scopes(
    model: MultiTaskModel, rows: dict[str, dict[str, Scored]]
) -> dict[str, dict[str, Any]]:
    """What the scopes do to rows; those with a label that training lacks are out of scope.

    Args:
        model (`MultiTaskModel`): with scopes.
        rows (`dict[str, dict[str, Scored]]`): by split and task, from `score_rows`.

    Returns:
        `dict[str, dict]`: by task and split `refused`, the share of in-scope texts that get no
        label, and `accuracy`, that of all texts with none as the right answer for the others; and
        where there are others `found`, their share without a label, and `auroc`, of `out_of_scope`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, head in model.heads.items():
        if head.scope is None:
            continue
        limit = 1 - model.config.tasks[name]["out_of_scope"]["false_alarms"]
        effects = {
            split: _effects(head.scope, of_split[name], limit)
            for split, of_split in rows.items()
            if name in of_split
        }
        if effects:
            found[name] = effects
    return found


@torch.inference_mode()
def _effects(scope: Scope, scored: Scored, limit: float) -> dict[str, float]:
    assert scored.inside is not None and scored.outside is not None
    own, others = (
        scope(*(of.to(scope.centers) for of in pair)).cpu()
        for pair in (scored.inside, scored.outside)
    )
    right = (scored.logits.argmax(-1) == scored.labels) & (own <= limit)
    effects = {
        "refused": (own > limit).double().mean().item(),
        "accuracy": (right.sum() + (others > limit).sum()).item() / (len(own) + len(others)),
    }
    if len(others):
        effects["found"] = (others > limit).double().mean().item()
        truth = np.repeat([0, 1], [len(own), len(others)])
        effects["auroc"] = float(roc_auc_score(truth, torch.cat([own, others]).numpy()))
    return effects
