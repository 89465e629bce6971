"""What trackers are told of a run: a curve for each task's loss and metrics, and nothing leaves."""

import socket

import pytest
from conftest import ROWS, TOPIC

TASKS = {**TOPIC, "other": {"type": "sequence_classification"}}
DATA = [{**row, "other": row["topic"]} for row in ROWS]
SETTINGS = {
    "tasks": TASKS,
    "train_file": DATA,
    "validation_file": DATA,
    "logging_steps": 1,
    "num_train_epochs": 2,
}
# Name of a curve -> the steps it has points at: 16 rows in batches of 8, evaluated after an epoch.
CURVES = {
    f"{prefix}{name}": steps
    for names, prefix, steps in [
        (("loss", "loss_topic", "loss_other"), "train/", [1, 2, 3, 4]),
        (("loss", "loss_topic", "loss_other", "score"), "eval/", [2, 4]),
        (("topic_accuracy", "topic_macro_f1"), "eval/", [2, 4]),
        (("other_accuracy", "other_macro_f1"), "eval/", [2, 4]),
    ]
    for name in names
}


def assert_curves(steps: dict[str, list[int]]) -> None:
    for name, expected in CURVES.items():
        # The model that the run ends with, its best one, is measured once more.
        assert sorted(set(steps[name])) == expected, name
        assert len(steps[name]) <= len(expected) + 1, name


def test_tensorboard_has_a_curve_for_each_task(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run(report_to="tensorboard", **SETTINGS)
    (events,) = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    read = EventAccumulator(str(events)).Reload()
    steps = {name: [event.step for event in read.Scalars(name)] for name in read.Tags()["scalars"]}
    assert_curves(steps)


@pytest.mark.filterwarnings("ignore")  # trackio's and gradio's own, of which there are many
def test_trackio_keeps_one_run_on_this_machine(run, tmp_path, monkeypatch):
    import trackio.sqlite_storage as storage
    import trackio.utils

    asked = []

    def refuse(host, *args, **kwargs):
        asked.append(host)
        raise OSError("no network in this test")

    folder = tmp_path / "trackio"
    for module in (storage, trackio.utils):
        monkeypatch.setattr(module, "TRACKIO_DIR", folder, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: refuse(to))
    run(report_to="trackio", project="mine", **SETTINGS)
    trackio.finish()
    assert not asked
    (name,) = storage.SQLiteStorage.get_runs("mine")
    assert name.startswith("run-")
    logs = storage.SQLiteStorage.get_logs("mine", name)
    steps: dict[str, list[int]] = {}
    for log in logs:
        for key in log:
            steps.setdefault(key, []).append(log["train/global_step"])
    assert_curves(steps)
