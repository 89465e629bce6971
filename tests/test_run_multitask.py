"""Whole runs of the command line: what they read, and what they leave."""

import json
import re
from collections import Counter

import pytest
import torch
from conftest import ROWS, TOPIC, results
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.inference.sample_texts import read_sample_texts
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_persistent_workers_score_each_split_on_its_own_rows(run):
    found = [
        results(run(test_file=ROWS[:3], dataloader_num_workers=workers, **kept))
        for workers, kept in [(0, {}), (1, {"dataloader_persistent_workers": True})]
    ]
    assert found[0]["test_loss"] == pytest.approx(found[1]["test_loss"], abs=1e-6)
    assert found[0]["test_loss"] != found[0]["eval_loss"]


def test_labels_are_those_of_all_rows_that_a_split_was_cut_off(run):
    rare = [{"text": f"{row['text']} {i}", "topic": row["topic"]} for i, row in enumerate(ROWS)]
    tags = {"variety": {"type": "sequence_classification"}}
    for index, row in enumerate(rare):
        row["variety"] = f"k{index}"
    folder = run(tasks=TOPIC | tags, train_file=rare, validation_file=None, validation_fraction=0.5)
    config = json.loads((folder / "config.json").read_text())
    assert len(config["tasks"]["variety"]["labels"]) == len(rare)


def test_every_value_of_a_regression_counts(run):
    values = [{"text": row["text"], "size": [i, -i]} for i, row in enumerate(ROWS)]
    task = {
        "type": "sequence_classification",
        "problem_type": "regression",
        "labels": ["one", "two"],
    }
    found = results(run(tasks={"size": task}, train_file=values, validation_file=values))
    assert -1 <= found["eval_size_spearman"] <= 1


def test_a_regression_is_streamed_without_labels(run):
    values = [{"text": row["text"], "size": i} for i, row in enumerate(ROWS)]
    task = {"type": "sequence_classification", "problem_type": "regression"}
    folder = run(
        tasks={"size": task},
        train_file=values,
        validation_file=values,
        streaming=True,
        max_steps=2,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
    )
    assert json.loads((folder / "config.json").read_text())["tasks"]["size"]["labels"] == ["size"]


def test_streamed_labels_are_spelled_as_the_task_spells_them(run):
    rows = [{**row, "topic": row["topic"] == "x"} for row in ROWS]
    folder = run(
        tasks={"topic": {**TOPIC["topic"], "labels": ["true", "false"]}},
        train_file=rows,
        validation_file=rows,
        streaming=True,
        max_steps=2,
    )
    assert results(folder)["eval_samples"] == len(rows)


def test_roberta_reads_as_many_tokens_as_it_has_positions_for(run, backbone, tmp_path):
    folder = tmp_path / "roberta"
    tokenizer = AutoTokenizer.from_pretrained(backbone("roberta"))
    tokenizer.model_max_length = 10**30
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((backbone("roberta") / name).read_bytes())
    long = [{"text": "a " * 700, "topic": "x"}, *ROWS]
    finished = run(encoder=str(folder), train_file=long, validation_file=long)
    saved = json.loads((finished / "tokenizer_config.json").read_text())
    assert saved["model_max_length"] == 514 - 1  # this one's padding has id 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataloader_drop_last", True),
        ("label_smoothing_factor", 0.1),
        ("remove_unused_columns", True),
    ],
)
def test_keys_that_would_change_results_unnoticed_are_refused(key, value, run, capsys):
    with pytest.raises(SystemExit):
        run(**{key: value})
    assert f"error: {key} should be " in capsys.readouterr().err


def test_a_checkpoint_that_broke_off_is_not_gone_on_with(run, tmp_path, capsys):
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(SystemExit):
        run("--resume_from_checkpoint", str(tmp_path / "checkpoint-3"))
    assert "checkpoint-3 should be whole. It is an interrupted one." in capsys.readouterr().err


def test_the_smallest_loss_of_a_task_is_its_best(run):
    folder = run(
        num_train_epochs=3,
        learning_rate=1e-3,
        metric_for_best_model="loss_topic",
        save_total_limit=3,
    )
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = json.loads((newest / "trainer_state.json").read_text())
    losses = [log["eval_loss_topic"] for log in state["log_history"] if "eval_loss_topic" in log]
    assert len(set(losses)) > 1
    assert state["best_metric"] == min(losses)


def test_positive_pairs_alone_are_chosen_by_their_loss(run):
    pairs = [{"question": row["text"], "answer": row["topic"]} for row in ROWS]
    keys = {
        "tasks": {"embedding": {"type": "sentence_embedding", "loss": "in_batch_negatives"}},
        "text_column": ["question", "answer"],
        "train_file": pairs,
        "validation_file": pairs,
    }
    assert results(run(**keys))["eval_loss"] > 0
    run("--resume_from_checkpoint", "--num_train_epochs", "2", **keys, overwrite_output_dir=False)


def test_bad_rows_of_an_evaluation_are_counted_and_kept_apart(run, tmp_path, caplog):
    bad = [*ROWS, {"text": 1, "topic": "x"}]
    folder = run(train_file=bad, on_bad_row="skip", num_train_epochs=1)
    trained = (folder / "bad_rows.jsonl").read_text()
    before = results(folder)
    run(
        model=str(folder),
        encoder=None,
        do_train=False,
        on_bad_row="skip",
        validation_file=[*bad, {"text": 2, "topic": "x"}],
    )
    assert "Skipped 2 bad rows" in caplog.text
    assert (folder / "bad_rows.jsonl").read_text() == trained
    assert len((folder / "bad_rows_of_evaluation.jsonl").read_text().splitlines()) == 2
    after = results(folder)
    assert {key: after[key] for key in before if key.startswith("train_")} == {
        key: value for key, value in before.items() if key.startswith("train_")
    }


def test_what_is_said_of_a_finished_model_holds(run, tmp_path):
    folder = run(prompt="search: ", head_dropout=0.2)
    again = tmp_path / "again"
    run(model=str(folder), encoder=None, output_dir=str(again), pooling="cls", normalize=True)
    config = json.loads((again / "config.json").read_text())
    assert (config["pooling"], config["normalize"]) == ("cls", True)
    assert (config["prompts"], config["head_dropout"]) == ({"default": "search: "}, 0.2)
    run(model=str(folder), encoder=None, output_dir=str(again), prompt="query: ")
    config = json.loads((again / "config.json").read_text())
    assert (config["pooling"], config["prompts"]) == ("mean", {"default": "query: "})


def test_examples_of_several_labels_are_shown(run, capsys):
    rows = [
        {"text": row["text"], "kinds": ["one", "two"][: i % 3], "sizes": [0.1, 0.2]}
        for i, row in enumerate(ROWS)
    ]
    kinds = {"type": "sequence_classification", "problem_type": "multi_label_classification"}
    sizes = {"type": "sequence_classification", "problem_type": "regression", "labels": ["a", "b"]}
    run(
        tasks={"kinds": kinds, "sizes": sizes},
        train_file=rows,
        validation_file=rows,
        examples=["What is it?"],
    )
    said = capsys.readouterr().out
    *_, line = [line for line in said.splitlines() if line.startswith("  sizes ")]
    assert line.count("(") == 2


def test_labels_of_a_finished_model_may_be_listed_in_any_order(run, tmp_path):
    folder = run(learning_rate=1e-3, num_train_epochs=3)
    before = results(folder)
    labels = json.loads((folder / "config.json").read_text())["tasks"]["topic"]["labels"]
    task = {"type": "sequence_classification", "labels": labels[::-1]}
    keys = {"model": str(folder), "encoder": None, "do_train": False, "tasks": {"topic": task}}
    after = results(run(**keys, output_dir=str(tmp_path / "again")) and tmp_path / "again")
    assert after["eval_topic_accuracy"] == before["eval_topic_accuracy"]
    assert after["eval_loss"] == pytest.approx(before["eval_loss"])


def test_a_finished_model_is_measured_on_test_rows_alone(run, tmp_path):
    folder = run()
    keys = {"model": str(folder), "encoder": None, "do_train": False, "test_file": ROWS}
    again = tmp_path / "again"
    run(**keys, train_file=None, validation_file=None, output_dir=str(again))
    found = results(again)
    assert found["test_topic_accuracy"] >= 0
    assert not any(key.startswith("eval_") for key in found)


def test_new_heads_are_not_measured_in_place_of_a_finished_model(run, capsys):
    folder = run()
    before = results(folder)
    with pytest.raises(SystemExit, match="2"):
        run(do_train=False)
    error = capsys.readouterr().err
    assert f"do_train: false measures a finished `model`. Found none. Of {folder}: --model" in error
    assert results(folder) == before


def test_a_label_that_is_rather_none_is_pointed_out(run, caplog):
    rows = [*ROWS, {"text": "e", "topic": "NaN"}]
    run(train_file=rows)
    said = (
        "The label 'NaN' of topic looks like a missing one: label_map: {'NaN': null} leaves it out."
    )
    assert said in caplog.text
    caplog.clear()
    task = {**TOPIC["topic"], "label_map": {"NaN": None}}
    folder = run(train_file=rows, tasks={"topic": task})
    assert json.loads((folder / "config.json").read_text())["tasks"]["topic"]["labels"] == [
        "x",
        "y",
    ]
    assert "looks like" not in caplog.text


def test_a_task_that_is_null_is_left_out(run):
    tasks = {**TOPIC, "other": {"type": "sequence_classification"}}
    folder = run("--tasks.other", "null", tasks=tasks)
    assert list(json.loads((folder / "config.json").read_text())["tasks"]) == ["topic"]


def test_fp16_alone_is_not_at_odds_with_a_default(monkeypatch):
    monkeypatch.setattr(
        "multitask_encoder.arguments.run_arguments.has_fast_bf16", lambda use_cpu: True
    )
    arguments = MultiTaskTrainingArguments(output_dir="x", fp16=True, report_to="none")
    assert (arguments.fp16, arguments.bf16) == (True, False)


def test_an_undefined_correlation_is_null_and_errors_are_in_units(run, capsys):
    rows = [{"text": text, "stars": 2.0} for text in "abcd"]
    tasks = {"stars": {"type": "sequence_classification", "problem_type": "regression"}}
    folder = run(tasks=tasks, train_file=rows, validation_file=rows)
    found = results(folder)
    assert (found["eval_stars_spearman"], found["eval_score"]) == (None, 0.0)
    assert "eval_stars_spearman_interval" not in found
    assert found["eval_stars_rmse"] == pytest.approx(found["eval_loss_stars"] ** 0.5, rel=1e-4)
    printed = {
        line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if line
    }
    assert printed["stars_spearman"] == "–"
    assert float(printed["stars_mae"]) == pytest.approx(found["eval_stars_mae"], rel=1e-3)


def test_a_run_leaves_a_sample_of_its_validation_texts(run):
    rows = [{"text": f"text {number}", "topic": "xy"[number % 2]} for number in range(300)]
    folder = run(
        train_file=rows[:20], validation_file=[*rows, {"text": "long " * 99, "topic": "x"}]
    )
    texts = read_sample_texts(folder)
    assert len(texts) == len({*texts}) == 128  # 64 of each of two topics
    assert {*texts} <= {row["text"] for row in rows}
    assert texts[0] == "text 0" and int(texts[49].split()[1]) > 290  # 50 of all rows come first
    kinds = [{**row, "topic": "x" if n % 10 else "yz"[n // 240]} for n, row in enumerate(rows)]
    texts = read_sample_texts(run(train_file=kinds, validation_file=kinds))
    topics = {row["text"]: row["topic"] for row in kinds}
    of_each = Counter(topics[text] for text in texts)
    assert of_each == {"x": 64, "y": 24, "z": 6}  # of y and z all there are
    words = [{"tokens": ["so", "good"], "topic": "x"}, {"tokens": ["bad"], "topic": "y"}]
    folder = run(train_file=words * 4, validation_file=words)
    assert read_sample_texts(folder) == ["so good", "bad"]


def test_training_texts_fill_up_the_sample_of_each_label(run):
    rows = [{"text": f"text {number}", "topic": "xy"[number % 2]} for number in range(300)]
    texts = read_sample_texts(run(train_file=rows[100:], validation_file=rows[:100]))
    assert {*texts[:50]} < {*texts[:100]} == {row["text"] for row in rows[:100]}
    assert texts[100:] == [row["text"] for row in rows[100:128]]
    texts = read_sample_texts(run(train_file=rows[:4], validation_file=None, do_eval=False))
    assert texts == [row["text"] for row in rows[:4]]
    long = [{"text": f"{number} long" * 99, "topic": "xy"[number % 2]} for number in range(4)]
    folder = run(train_file=long, validation_file=None, do_eval=False)
    assert read_sample_texts(folder) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", 'sample_texts.json should hold {"texts": [...]}, a list of strings.'),
        ('{"texts": [1]}', 'sample_texts.json should hold {"texts": [...]}, a list of strings.'),
        ("[", "sample_texts.json is not valid JSON: Expecting value: line 1 column 2 (char 1)"),
    ],
)
def test_a_damaged_sample_is_refused(content, message, tmp_path):
    (tmp_path / "sample_texts.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_sample_texts(tmp_path)


def test_sentence_transformers_loads_the_embedding_of_a_run(run):
    folder = run(pooling="cls", normalize=True, prompt="query: ")
    texts = [row["text"] for row in ROWS]
    found = SentenceTransformer(str(folder), device="cpu", trust_remote_code=True).encode(texts)
    model, tokenizer = MultiTaskModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    answers = MultiTaskPipeline(model=model, tokenizer=tokenizer)(texts)
    expected = torch.tensor([answer["embedding"] for answer in answers])
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (
            {},
            "FSDP needs several processes, each with a GPU or another accelerator. Found 1 on cpu",
        ),
        ({"do_train": False}, "FSDP is for training: with do_train: false, start the run without"),
    ],
)
def test_sharding_that_would_be_left_out_is_refused(keys, reason, run, monkeypatch, capsys):
    if keys:  # what measures needs a model
        keys = {**keys, "model": str(run()), "encoder": None, "test_file": ROWS}
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(SystemExit, match="2"):
        run(**keys)
    assert reason in capsys.readouterr().err


def test_a_run_says_how_long_its_training_steps_took(run, capsys):
    found = results(run())
    assert 0 < found["train_steps_runtime"] < found["train_runtime"] < found["run_runtime"]
    said = capsys.readouterr().out
    assert re.search(r"^Took \d+ seconds, of which training steps \d+ %\.$", said, re.MULTILINE)
