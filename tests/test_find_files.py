"""Files of data are found by name and glob."""

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from multitask_encoder.data.readers import find_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.jsonl", "odd[1].csv", "deep/d.csv", "slots/seq.in"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["c.jsonl", "a.csv"], ["c.jsonl", "a.csv"]),
        (["?.csv"], ["a.csv", "b.csv"]),
        (["b.csv", "?.csv"], ["b.csv", "a.csv"]),
        (["*/*.csv"], ["deep/d.csv"]),
        (["**/d.csv"], ["deep/d.csv"]),
        (["odd[1].csv"], ["odd[1].csv"]),
        (["slots"], ["slots"]),
        (["*s"], ["slots"]),
        (["~/a.csv"], ["a.csv"]),
        ("a.csv", ["a.csv"]),  # one name, as in YAML
    ],
)
def test_files_are_found_by_name_and_glob(patterns, names, folder):
    assert find_files(patterns, str(folder)) == [folder / name for name in names]
    assert find_files(patterns, "~") == [folder / name for name in names]


def test_names_are_taken_as_they_are_without_a_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_files(["a.csv", str(folder / "b.csv")], None) == [Path("a.csv"), folder / "b.csv"]


def test_the_folder_of_the_data_is_no_glob(folder):
    (folder / "[x]").mkdir()
    (folder / "[x]" / "e.csv").touch()
    assert find_files(["*.csv"], str(folder / "[x]")) == [folder / "[x]" / "e.csv"]


@pytest.mark.parametrize("pattern", ["no.csv", "*.parquet", "dee*"])
def test_files_that_are_not_there_are_named(pattern, folder):
    with pytest.raises(FileNotFoundError) as error:
        find_files(["a.csv", pattern], str(folder))
    assert str(error.value) == f"No file {folder / pattern}."


def test_a_folder_of_files_is_no_file(folder):
    with pytest.raises(FileNotFoundError) as error:
        find_files(["deep"], str(folder))
    path = folder / "deep"
    assert str(error.value) == (
        f"No file {path}. It is a folder: name its files, like {path}/*.jsonl."
    )


def test_a_folder_of_several_splits_is_no_file(tmp_path):
    rows = Dataset.from_dict({"text": ["a"]})
    DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(FileNotFoundError, match=r"several splits: name one, like .*both/train\.$"):
        find_files(["both"], str(tmp_path))
    assert find_files(["both/train"], str(tmp_path)) == [tmp_path / "both" / "train"]
