"""What a run that streams its rows can't do."""

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.arguments.tasks import BALANCED
from multitask_encoder.data.sampler import rows_per_epoch


def check_streaming(run: RunArguments) -> None:
    """Refuse settings that need all rows before the first is read."""
    if not run.data.streaming or not run.training.do_train:
        return
    if run.training.max_steps < 1:
        raise ValueError(f"streaming needs max_steps. Found {run.training.max_steps}.")
    if len(run.datasets) > 1 and run.data.mixing not in ("uniform", "weights"):
        raise ValueError(
            "streaming needs `mixing: uniform` or `weights`: the number of rows is unknown. "
            f"Found {run.data.mixing!r}."
        )
    if run.data.mixing == "weights":
        weights = [source.weight for source in run.datasets.values()]
        rows_per_epoch([1] * len(weights), "weights", weights=weights)
    for name, source in run.datasets.items():
        for split in ("validation", "test"):
            if source.arguments.fraction(split) is not None:
                raise ValueError(
                    f"streaming can't cut off a {split} split: set {split}_file. Found "
                    f"{split}_fraction{'' if len(run.datasets) == 1 else f' of {name}'}."
                )
    if run.teachers:
        raise ValueError("`teachers` need all rows before training: set streaming to false.")
    for name, task in run.tasks.items():
        if task.loss == "retention":
            raise ValueError(
                f"The retention loss of task {name!r} needs all rows before training: set its loss "
                "to none, or streaming to false."
            )
        if task.out_of_scope:
            raise ValueError(
                f"out_of_scope of task {name!r} needs all rows after training: leave it out, or "
                "set streaming to false."
            )
        if task.class_weights == BALANCED:
            raise ValueError(
                f"streaming can't balance the class_weights of task {name!r}, as the labels can't "
                "be counted before: map its labels to weights."
            )
        known = task.is_embedding or task.problem_type == "regression"
        if not known and task.labels is None and run.model.model is None:
            raise ValueError(
                f"streaming needs the `labels` of task {name!r}: they can't be collected in "
                "advance."
            )
