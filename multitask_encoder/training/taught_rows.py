"""Training rows with what their teachers say: soft labels."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset, Features, concatenate_datasets

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.caching import fingerprint
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.data.rehearsal_texts import OF_SAMPLE
from multitask_encoder.data.soft_labels import likeliest, soft_features
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize

from .lessons import Lesson
from .teacher_means import mean_answers
from .teachers import ROWS_AT_ONCE, Answer, ask

logger = logging.getLogger("multitask_encoder.training")


def ask_own_share(run: RunArguments, rows: dict[str, Dataset], lessons: Sequence[Lesson]) -> None:
    """Let this process ask the teachers about its share of the rows, for `teach_rows` to find the
    answers in the cache; of one process, nothing."""
    rank, processes = run.training.process_index, run.training.world_size
    if processes == 1 or not lessons:
        return
    for title, part in rows.items():
        for share in _shares(part, processes)[rank : rank + 1]:
            _teach_share(run, share, lessons, title)
    run.training.distributed_state.wait_for_everyone()


def teach_rows(
    run: RunArguments, rows: dict[str, Dataset], lessons: Sequence[Lesson]
) -> dict[str, Dataset]:
    """The training rows, by data set, with the soft labels of all lessons."""
    rows = {
        title: concatenate_datasets(
            [
                _teach_share(run, share, lessons, title)
                for share in _shares(part, run.training.world_size)
            ]
        )
        for title, part in rows.items()
    }
    for lesson in lessons:
        asked = sum(sum(map(bool, part[f"{lesson.name}.soft"])) for part in rows.values())
        names = " and ".join(teacher.name for teacher in lesson.teachers)
        logger.info("%s is taught by %s in %s rows.", lesson.name, names, f"{asked:,}")
    return rows


def _shares(rows: Dataset, processes: int) -> list[Dataset]:
    """The rows in order, cut for as many processes as they are worth."""
    number = max(1, min(processes, len(rows) // ROWS_AT_ONCE))
    return [rows.shard(number, index, contiguous=True) for index in range(number)]


def _teach_share(
    run: RunArguments, rows: Dataset, lessons: Sequence[Lesson], title: str
) -> Dataset:
    for together in _by_models(lessons):
        models = [teacher.model for teacher in together[0].teachers]
        homes = [next(model.parameters()).device for model in models]
        for model in models:
            model.eval().to(run.training.device)
        rows = teach(rows, together, title, bf16=run.training.bf16)
        for model, home in zip(models, homes, strict=True):
            model.to(home)
    return rows


def _by_models(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    """The lessons that the same models give, together."""
    found: dict[tuple[int, ...], list[Lesson]] = {}
    for lesson in lessons:
        models = tuple(id(teacher.model) for teacher in lesson.teachers)
        found.setdefault(models, []).append(lesson)
    return list(found.values())


def teach(rows: Dataset, lessons: Sequence[Lesson], title: str, bf16: bool = False) -> Dataset:
    """Loaded rows with the soft labels of all lessons (see data/soft_labels.py): of each the mean
    over its teachers. The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set.
        lessons (`Sequence[Lesson]`): given by the same models, which read each text once.
        title (`str`): of the rows, for the progress bar.
        bf16 (`bool`): whether the models compute in bfloat16; for numbers (regressions) they don't.
    """
    columns = {}
    for lesson in lessons:
        kind = kind_of(lesson.task)
        columns[lesson.name] = soft_features(
            lesson.name, kind.by_token, loaded=True, numeric=kind.numeric
        )

    def soften(batch: dict[str, list]) -> dict[str, list]:
        count = len(next(iter(batch.values())))
        examples = [{key: batch[key][i] for key in batch} for i in range(count)]
        found: dict[str, list] = {}
        for lesson, answers in zip(lessons, _ask_all(lessons, examples), strict=True):
            taught, keys = lesson.taught, list(columns[lesson.name])
            dtype = columns[lesson.name][keys[0]].feature.dtype
            found |= {key: [] for key in keys}
            # What the model knew before the task had its new classes is of none of them.
            new_classes = lesson.unknown if lesson.grown else []
            for index in range(count):
                ranges, values = answers.get(index, ([], np.zeros((0, len(taught.known)))))
                if taught.of_classes:
                    impossible = new_classes if examples[index].get(OF_SAMPLE) else ()
                    values, ids = likeliest(values, taught.known, impossible)
                else:
                    ids = np.tile(taught.known, (len(values), 1))
                found[keys[0]].append(values.astype(dtype).ravel())
                found[keys[1]].append(ids.ravel())
                for key in keys[2:]:  # of token tasks
                    found[key].append([start for start, _ in ranges])
        return found

    names = ", ".join(lesson.name for lesson in lessons)
    new = {key: feature for of_task in columns.values() for key, feature in of_task.items()}
    states = [
        (
            lesson.name,
            lesson.task["labels"],
            (lesson.unlabelled_only, lesson.grown),
            *(one.state for one in lesson.teachers),
        )
        for lesson in lessons
    ]
    bf16 = bf16 and not any(kind_of(lesson.task).numeric for lesson in lessons)
    device = next(lessons[0].teachers[0].model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return rows.map(
            soften,
            batched=True,
            batch_size=ROWS_AT_ONCE,
            features=Features({**rows.features, **new}),
            desc=f"Asking the teachers of {names}: {title}",
            new_fingerprint=fingerprint(
                rows._fingerprint,
                *(states, bf16),
                functions=(teach, ask, mean_answers, tokenize, UNITS["first"]),
            ),
        )


def _ask_all(lessons: Sequence[Lesson], examples: list[dict]) -> list[dict[int, Answer]]:
    """Of each lesson the answers by the places of the rows that it teaches."""
    asked = [
        [
            place
            for place, row in enumerate(examples)
            if "texts" not in row
            and not (lesson.unlabelled_only and row.get(lesson.name) is not None)
        ]
        for lesson in lessons
    ]
    union = sorted(set().union(*asked))
    texts = [text_and_words(examples[place])[0] for place in union]
    by_model = zip(*(lesson.teachers for lesson in lessons), strict=True)
    by_lesson = zip(*(ask(teachers, texts) for teachers in by_model), strict=True)
    found = []
    for lesson, places, of_models in zip(lessons, asked, by_lesson, strict=True):
        said = [dict(zip(union, of_model, strict=True)) for of_model in of_models]
        of_each = [[of_model[place] for place in places] for of_model in said]
        means = mean_answers(lesson.teachers, lesson.task, lesson.taught, of_each)
        found.append(dict(zip(places, means, strict=True)))
    return found
