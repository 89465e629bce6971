"""Publishing the model of a run."""

import logging
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.export.finished_run import finished_run
from multitask_encoder.export.publish import publish
from multitask_encoder.modeling import MultiTaskModel

from .errors import refusing

logger = logging.getLogger("multitask_encoder")


def publish_run(
    run: RunArguments,
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    results: dict[str, Any],
) -> None:
    """Publish the model on the Hub. A failure is one line, and leaves the run folder whole."""
    output_dir = Path(run.training.output_dir)
    with refusing():
        url = publish(
            model,
            tokenizer,
            run.training.hub_model_id or output_dir.name,
            finished_run(run.set_keys(), results, output_dir),
            revision=run.training.hub_revision,
            private=run.training.hub_private_repo,
            token=run.training.hub_token,
        )
    logger.info("Published: %s", url)
