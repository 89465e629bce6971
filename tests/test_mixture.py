"""Several data sets in one run: different formats, tasks of their own, and one that two share."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.training.model_loading import load_model
from multitask_encoder.training.prepare_data import prepare_data, tokenize_data
from multitask_encoder.training.run_rows import load_rows
from multitask_encoder.training.trainer import MultiTaskTrainer

SIZES = {"words": 12, "topics": 24, "reviews": 4}
NER = ["precision", "recall", "f1", "strict_f1"]


def write_data(folder: Path) -> None:
    """40 rows to train on, 5 to evaluate on, in CoNLL, JSON lines and CSV."""
    sentences = [
        [*["the"] * (number % 5), "Ann", "is", "in", "Paris"] for number in range(SIZES["words"])
    ]
    texts = []
    for number in range(SIZES["topics"]):
        text = "the " * (number % 7) + "play in Paris"
        spans = [{"start": len(text) - 5, "end": len(text), "label": "LOC"}]
        texts.append({"text": text, "topic": ["sports", "tech"][number % 2], "places": spans})
    reviews = [
        (f"is the {'play' * number} s", "good" if number % 2 else "bad") for number in range(4)
    ]
    for split, counts in {"train": (12, 24, 4), "validation": (2, 2, 1)}.items():
        with (folder / f"{split}.conll").open("w") as file:
            for words in sentences[: counts[0]]:
                tags = {"Ann": "B-PER", "Paris": "B-LOC"}
                file.writelines(f"{word}\t{tags.get(word, 'O')}\n" for word in words)
                file.write("\n")
        with (folder / f"{split}.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in texts[: counts[1]])
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("review", "verdict"), *reviews[: counts[2]]])


@pytest.fixture
def config(backbone, tmp_path) -> Path:
    """A run over the data sets of `write_data`."""
    write_data(tmp_path)
    run = {
        "encoder": str(backbone("bert")),
        "head_dropout": 0.3,
        "data_dir": str(tmp_path),
        "output_dir": str(tmp_path / "run"),
        "tasks": {
            "ner": {"type": "token_classification"},
            "topic": {"type": "sequence_classification"},
            "sentiment": {"type": "sequence_classification"},
        },
        "datasets": {
            "words": {**files("conll"), "columns": {"ner": "tags"}},
            "topics": {**files("jsonl"), "columns": {"topic": "topic", "ner": "places"}},
            "reviews": {
                **files("csv"),
                "text_column": "review",
                "columns": {"sentiment": "verdict"},
            },
        },
        "max_length": 128,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "report": False,
        "disable_tqdm": True,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(run, sort_keys=False))
    return path


def files(ending: str) -> dict[str, str]:
    return {f"{split}_file": f"{split}.{ending}" for split in ("train", "validation")}


def run(config: Path, name: str, *argv: str) -> tuple[Path, dict[str, float]]:
    folder = config.parent / name
    run_multitask.main([str(config), "--output_dir", str(folder), *argv])
    return folder, json.loads((folder / "all_results.json").read_text())


def trainer_of(config: Path, *argv: str) -> tuple[RunArguments, MultiTaskTrainer]:
    """What `main` would train with."""
    arguments = parse_arguments([str(config), *argv])
    arguments, data = prepare_data(arguments)
    tokenizer, model = load_model(arguments, data.rows)
    tokenize_data(arguments, data, tokenizer, model)
    return arguments, run_multitask.make_trainer(arguments, model, tokenizer, data)


def epoch_of(trainer: MultiTaskTrainer, epoch: int = 0) -> list[list[dict]]:
    """The rows of each micro-batch."""
    sampler = trainer.get_train_dataloader().batch_sampler
    sampler.set_epoch(epoch)
    return [list(trainer.train_dataset.select(indices)) for indices in sampler]


# What is measured


def test_each_data_set_has_its_metrics(config):
    folder, results = run(config, "run", "--metric_for_best_model", "words_ner_recall")
    metrics = {key.removeprefix("eval_") for key in results if key.startswith("eval_")}
    metrics -= {"runtime", "samples", "samples_per_second", "steps_per_second"}
    assert metrics == {
        *("loss", "loss_ner", "loss_topic", "loss_sentiment", "score", "exact_match"),
        *(f"ner_{one}" for one in NER),
        *("topic_accuracy", "topic_macro_f1", "sentiment_accuracy", "sentiment_macro_f1"),
        *("ner_f1_interval", "topic_accuracy_interval", "sentiment_accuracy_interval"),
        "exact_match_interval",
        *("words_score", "words_exact_match", *(f"words_ner_{one}" for one in NER)),
        *("topics_score", "topics_exact_match", *(f"topics_ner_{one}" for one in NER)),
        *("reviews_score", "reviews_exact_match"),
    }
    results = {key.removeprefix("eval_"): value for key, value in results.items()}
    assert results["words_score"] == results["words_ner_f1"]
    assert results["reviews_score"] == results["sentiment_accuracy"]
    assert results["topics_score"] == pytest.approx(
        (results["topic_accuracy"] + results["topics_ner_f1"]) / 2
    )
    assert results["score"] == pytest.approx(
        (results["ner_f1"] + results["topic_accuracy"] + results["sentiment_accuracy"]) / 3
    )
    # 2 + 2 + 1 rows.
    assert 5 * results["exact_match"] == pytest.approx(
        2 * results["words_exact_match"]
        + 2 * results["topics_exact_match"]
        + results["reviews_exact_match"]
    )
    state = json.loads((folder / "trainer_state.json").read_text())
    logged = [
        logs["eval_words_ner_recall"]
        for logs in state["log_history"]
        if "eval_words_ner_recall" in logs
    ]
    assert state["best_metric"] == max(logged)


def test_one_data_set_has_no_metrics_of_its_own(config):
    given = yaml.safe_load(config.read_text())
    del given["datasets"]["words"], given["datasets"]["reviews"], given["tasks"]["sentiment"]
    config.write_text(yaml.safe_dump(given))
    _, results = run(config, "run", "--num_train_epochs", "1")
    assert {"eval_ner_f1", "eval_topic_accuracy", "eval_score"} <= set(results)
    assert not [key for key in results if "topics" in key]


@pytest.mark.parametrize("metric", ["reviews_ner_f1", "words_sentiment_accuracy", "films_score"])
def test_a_best_metric_that_no_data_set_has_is_refused(metric, config, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(config, "run", "--metric_for_best_model", metric)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "topics_ner_f1" in error
    assert f"Found '{metric}'." in error


# What is trained on


def test_a_data_set_has_no_labels_of_tasks_that_it_does_not_label(config):
    # A column that happens to be called like a task says nothing.
    path = config.parent / "train.jsonl"
    rows = [{**json.loads(line), "sentiment": "good"} for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    _, trainer = trainer_of(config)
    rows = trainer.train_dataset
    assert Counter(rows["dataset"]) == {0: 12, 1: 24, 2: 4}
    labelled = {
        name: Counter(
            number
            for number, label in zip(rows["dataset"], rows[name], strict=True)
            if np.max(label) >= 0
        )
        for name in ("ner", "topic", "sentiment")
    }
    assert labelled == {"ner": {0: 12, 1: 24}, "topic": {1: 24}, "sentiment": {2: 4}}
    words = sum(number % 5 + 4 for number in range(12))
    words += sum(number % 7 + 3 for number in range(24))
    batches, counts = trainer.get_batch_samples(
        iter(trainer.get_train_dataloader()), 5, trainer.args.device
    )
    assert len(batches) == 5
    counts = {name: count.tolist() for name, count in counts.items()}
    assert counts == {"ner": [words, 36], "topic": [24, 24], "sentiment": [4, 4]}  # labels and rows


def test_labels_of_a_shared_task_are_those_of_all_its_data_sets(config):
    _, trainer = trainer_of(config)
    tasks = trainer.model.config.tasks
    assert tasks["ner"]["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert tasks["topic"]["labels"] == ["sports", "tech"]
    assert tasks["sentiment"]["labels"] == ["bad", "good"]


@pytest.mark.parametrize(
    ("argv", "counts"),
    [
        (("--mixing", "proportional"), [12, 24, 4]),
        (("--mixing", "uniform"), [14, 13, 13]),
        # Square roots of the sizes: 3.46, 4.90 and 2 of 10.36, times 40.
        (("--mixing", "temperature", "--mixing_temperature", "2"), [13, 19, 8]),
        (
            (
                "--mixing",
                "weights",
                "--datasets.words.weight",
                "0",
                "--datasets.topics.weight",
                "3",
            ),
            [0, 30, 10],
        ),
    ],
)
def test_an_epoch_is_mixed_as_asked(argv, counts, config):
    _, trainer = trainer_of(config, *argv)
    seen: Counter[tuple[int, int]] = Counter()
    for epoch in range(3):
        rows = [row for batch in epoch_of(trainer, epoch) for row in batch]
        found = Counter(row["dataset"] for row in rows)
        assert [found[number] for number in range(3)] == counts
        seen.update((row["dataset"], row["row"]) for row in rows)
    # Rows of a data set come in turn.
    for number, size in enumerate(SIZES.values()):
        times = [seen[number, row] for row in range(size)]
        assert sum(times) == 3 * counts[number]
        assert max(times) - min(times) <= 1


@pytest.mark.parametrize("mixing", ["proportional", "temperature"])
def test_a_step_has_the_same_rows_however_it_is_split(mixing, config):
    def steps(size: int, accumulation: int) -> list[list[tuple[int, int]]]:
        split = (size, accumulation)
        keys = ("per_device_train_batch_size", "gradient_accumulation_steps")
        argv = [
            word
            for pair in zip(keys, split, strict=True)
            for word in (f"--{pair[0]}", str(pair[1]))
        ]
        _, trainer = trainer_of(config, "--mixing", mixing, *argv)
        batches = epoch_of(trainer, 0) + epoch_of(trainer, 1)
        assert len(batches) == 2 * 5 * accumulation
        return [
            sorted(
                (row["dataset"], row["row"])
                for batch in batches[start : start + accumulation]
                for row in batch
            )
            for start in range(0, len(batches), accumulation)
        ]

    whole = steps(8, 1)
    assert steps(4, 2) == whole
    assert steps(2, 4) == whole
    assert whole[:5] != whole[5:]


def test_a_run_resumed_in_the_middle_of_an_epoch_ends_with_the_same_weights(config):
    steps = ("--save_strategy", "steps", "--save_steps", "7", "--save_total_limit", "3")
    argv = ("--mixing", "temperature", *steps, "--load_best_model_at_end", "false")
    whole, _ = run(config, "whole", *argv)
    broken = config.parent / "broken"
    shutil.copytree(whole / "checkpoint-7", broken / "checkpoint-7")  # of 5 an epoch
    run(config, "broken", *argv, "--resume_from_checkpoint")
    left, right = (load_file(folder / "model.safetensors") for folder in (whole, broken))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert losses(broken) == losses(whole)


def losses(folder: Path) -> list[tuple]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    keys = ("step", "loss", "loss_ner", "loss_topic", "loss_sentiment")
    return [tuple(logs[key] for key in keys) for logs in history if "loss" in logs]


# How labels are written


ENTITIES = [
    (["Ann", "Bob", "is", "in", "New", "Paris", "the"], "I-PER B-PER O O I-LOC I-LOC O"),
    (["Paris", "is", "the", "play"], "I-LOC O O O"),
]
IN_BILOU = ["U-PER U-PER O O B-LOC L-LOC O", "U-LOC O O O"]
IN_IOB2 = ["B-PER B-PER O O B-LOC I-LOC O", "B-LOC O O O"]


def write_conll(path: Path, words: list[list[str]], tags: list[str]) -> None:
    sentences = [
        "".join(f"{word}\t{tag}\n" for word, tag in zip(one, of_it.split(), strict=True))
        for one, of_it in zip(words, tags, strict=True)
    ]
    path.write_text("\n".join(sentences))


def sharing_ner(config: Path, first: list[str], second: list[str], **task) -> None:
    """A run of two CoNLL files that share a task, with the same words."""
    words = [one for one, _ in ENTITIES]
    write_conll(config.parent / "first.conll", words, first)
    write_conll(config.parent / "second.conll", words, second)
    given = yaml.safe_load(config.read_text())
    given["tasks"] = {"ner": {"type": "token_classification", **task}}
    given["datasets"] = {
        name: {"train_file": f"{name}.conll", "columns": {"ner": "tags"}}
        for name in ("first", "second")
    }
    given["do_eval"] = False
    config.write_text(yaml.safe_dump(given, sort_keys=False))


def test_tag_schemes_of_data_sets_that_share_a_task_become_one(config):
    sharing_ner(config, [tags for _, tags in ENTITIES], IN_BILOU)
    arguments = parse_arguments([str(config)])
    arguments, rows, _ = load_rows(arguments)
    expected = [tags.split() for tags in IN_IOB2]
    assert rows["train"]["first"]["ner"][:] == expected
    assert rows["train"]["second"]["ner"][:] == expected
    assert sum(rows["train"]["first"]["repairs"]) == sum(rows["train"]["second"]["repairs"]) == 0
    _, model = load_model(arguments, rows)
    labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert model.config.tasks["ner"]["labels"] == labels


def test_labels_are_renamed_in_every_data_set(config):
    renamed = [tags.replace("LOC", "PLACE") for tags in IN_BILOU]
    sharing_ner(config, IN_IOB2, renamed, label_map={"LOC": "GPE", "PLACE": "GPE", "PER": None})
    arguments = parse_arguments([str(config)])
    _, rows, _ = load_rows(arguments)
    expected = [["O", "O", "O", "O", "B-GPE", "I-GPE", "O"], ["B-GPE", "O", "O", "O"]]
    assert rows["train"]["first"]["ner"][:] == expected
    assert rows["train"]["second"]["ner"][:] == expected


def rows_of(config: Path, *argv: str):
    return load_rows(parse_arguments([str(config), *argv]))[1]


def test_every_split_has_the_data_sets_in_their_order(config):
    """Also one whose validation rows are cut off, after the others' were read."""
    sharing_ner(config, IN_IOB2, IN_IOB2)
    given = yaml.safe_load(config.read_text())
    given["datasets"]["first"]["validation_fraction"] = 0.5
    given["datasets"]["second"]["validation_file"] = "second.conll"
    config.write_text(yaml.safe_dump({**given, "do_eval": True}, sort_keys=False))
    rows = rows_of(config)
    assert [list(parts) for parts in rows.values()] == [["first", "second"]] * 2


def sharing_verdict(config: Path, first: list[str], second: list[str], **task) -> None:
    """Two tables that label the same task, and evaluate on the first's rows."""
    for name, verdicts in {"first": first, "second": second}.items():
        with (config.parent / f"{name}.csv").open("w", newline="") as file:
            rows = ((f"{name} play {index}", verdict) for index, verdict in enumerate(verdicts))
            csv.writer(file).writerows([("text", "verdict"), *rows])
    given = yaml.safe_load(config.read_text())
    given["tasks"] = {"verdict": {"type": "sequence_classification", **task}}
    given["datasets"] = {
        name: {"train_file": f"{name}.csv", "columns": {"verdict": "verdict"}}
        for name in ("first", "second")
    }
    given["datasets"]["first"]["validation_file"] = "second.csv"
    config.write_text(yaml.safe_dump(given))


def test_labels_that_are_the_same_number_or_boolean_are_one_in_every_data_set(config):
    sharing_verdict(config, ["1", "true", "2.5"], ["1.0", "True", "2"])
    rows = rows_of(config)
    assert rows["train"]["first"]["verdict"][:] == ["1", "True", "2.5"]
    assert rows["train"]["second"]["verdict"][:] == ["1", "True", "2"]
    sharing_verdict(config, ["1", "2"], ["1.0", "2"], labels=["1.0", "2.0"])
    assert rows_of(config)["train"]["first"]["verdict"][:] == ["1.0", "2.0"]
    sharing_verdict(config, ["1", "2"], ["1.0", "2"], label_map={"1": "low"})
    assert rows_of(config)["train"]["second"]["verdict"][:] == ["low", "2"]


def test_labels_that_differ_in_case_or_blanks_are_named(config, caplog):
    sharing_verdict(config, ["Yes", "no", "no"], ["yes ", "no", "YES"])
    rows_of(config)
    (warning,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert warning.startswith(
        "Labels of verdict that differ only in case, blanks or Unicode forms: 'YES', 'Yes', 'yes '."
    )


def test_texts_that_another_data_set_trains_on_are_counted(config, caplog):
    sharing_verdict(config, ["a", "b"], ["a", "b", "a"])  # the second is the first's validation
    prepare_data(parse_arguments([str(config)]))
    (warning,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert warning.startswith("3 validation rows have a text that is also in train")
    caplog.clear()
    (config.parent / "second.csv").write_text("text,verdict\nFIRST  play 0,a\nnew,b\n")
    given = yaml.safe_load(config.read_text())
    del given["datasets"]["second"]
    config.write_text(yaml.safe_dump(given))
    prepare_data(parse_arguments([str(config)]))
    (warning,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert warning.startswith("1 validation rows")
