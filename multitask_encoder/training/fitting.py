"""What is fitted to validation rows after training: calibration, thresholds and scopes."""

import logging
from typing import Any

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.modeling.configuration_multitask import FITTED

from .calibration import calibrate, measure
from .defaults import in_shards
from .out_of_scope import fit_scopes, measure_scopes
from .prepare_data import RunData
from .scoring import Scored, score_rows
from .thresholds import choose_thresholds, with_effects
from .trainer import MultiTaskTrainer

logger = logging.getLogger("multitask_encoder.training")


def fit_scores(run: RunArguments, trainer: MultiTaskTrainer, data: RunData) -> dict[str, Any]:
    """Calibrate the trained model, choose its thresholds and fit its scopes by the validation rows,
    if there are some: the results `calibration`, `thresholds` and `out_of_scope`."""
    if "validation" not in data.splits or in_shards(run.training):
        logger.info(
            "Scores are not calibrated, and there are no thresholds and scopes: that takes "
            "validation rows, and a whole model."
        )
        return {}
    model, autocast = trainer.model, trainer.accelerator.autocast
    rows = {"validation": _scored(trainer, data, "validation")}
    calibration = calibrate(model, rows["validation"])
    choose_thresholds(model.config, rows["validation"])
    asked = {name: of.out_of_scope for name, of in run.tasks.items() if of.out_of_scope}
    if asked:
        padding_id = trainer.processing_class.pad_token_id
        fit_scopes(model, trainer.train_dataset, rows["validation"], asked, padding_id, autocast)
    if run.training.do_test and "test" in data.splits:
        rows["test"] = _scored(trainer, data, "test")
        for name, errors in measure(rows["test"], calibration).items():
            calibration[name]["test"] = errors
    return ({"calibration": calibration} if calibration else {}) | _effects(trainer, rows)


def measure_fitted(
    run: RunArguments, trainer: MultiTaskTrainer, data: RunData, splits: list[str]
) -> dict[str, Any]:
    """The results `thresholds` and `out_of_scope` of a model that an earlier run fitted, on these
    splits."""
    fitted = any(key in task for task in trainer.model.config.tasks.values() for key in FITTED)
    if not fitted or in_shards(run.training):
        return {}
    return _effects(trainer, {split: _scored(trainer, data, split) for split in splits})


def _scored(trainer: MultiTaskTrainer, data: RunData, split: str) -> dict[str, Scored]:
    """What the heads say of a split."""
    padding_id, autocast = trainer.processing_class.pad_token_id, trainer.accelerator.autocast
    return score_rows(trainer.model, data.splits[split], padding_id, autocast)


def _effects(
    trainer: MultiTaskTrainer, rows: dict[str, dict[str, Scored]]
) -> dict[str, dict[str, Any]]:
    """What the model's thresholds and scopes do to what the heads say of splits."""
    found = {
        "thresholds": with_effects(trainer.model.config, rows),
        "out_of_scope": measure_scopes(trainer.model, rows),
    }
    return {key: value for key, value in found.items() if value}
