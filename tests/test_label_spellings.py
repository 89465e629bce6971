"""Labels that are one, however they are written."""

import pytest

from multitask_encoder.data.label_spellings import (
    combined_labels,
    merged,
    other_spellings,
    same_values,
    similar_labels,
)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["1", "1.0", "2", "2.0", "3"], [["1", "1.0"], ["2", "2.0"]]),
        (["1.50", "1.5", "-1", "-1.0"], [["-1", "-1.0"], ["1.5", "1.50"]]),
        (["true", "True", "FALSE", "false"], [["FALSE", "false"], ["True", "true"]]),
        (["007", "7", "1e3", "1000", "0x1", "1"], []),
        (["yes", "Yes", "1", "one"], []),
        ([" 1", "1"], [["1", " 1"]]),
        (["٣", "3"], []),
    ],
)
def test_equal_numbers_and_booleans_are_one(labels, groups):
    assert sorted(same_values(labels)) == groups


def test_a_number_or_boolean_has_other_spellings():
    assert other_spellings(["True", "3.0", "2.5", "007", "x"]) == {
        *("true", "True", "TRUE"),
        *("3", "3.0"),
    }


def test_many_labels_that_hold_a_separator_are_no_hang():
    labels = [f"Home, kitchen {number}" for number in range(20_000)]
    assert combined_labels([*labels, "Home", "kitchen 7"]) == ["Home, kitchen 7"]


def test_a_task_lists_its_own_spelling():
    assert same_values(["1", "2"], given=[["1.0", "2.0"]]) == [["1.0", "1"], ["2.0", "2"]]


def test_labels_that_a_task_lists_separately_stay_apart():
    given = [["3.1", "3.10", "4"]]
    assert same_values(["3.1", "3.10", "4.0", "4"], given) == [["4", "4.0"]]
    assert same_values([], [["1"], ["1.0", "2"]]) == [["1", "1.0"]]  # of two models


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["Yes", "yes ", "YES", "no"], [["YES", "Yes", "yes "]]),
        (["café", "cafe\u0301", "cafe"], [["cafe\u0301", "café"]]),
        (["new york", "new  york", "newyork"], [["new  york", "new york"]]),
        (["ﬁne", "fine"], [["fine", "ﬁne"]]),
        (["a", "b"], []),
    ],
)
def test_similar_labels_are_named(labels, groups):
    assert similar_labels(labels) == groups


@pytest.mark.parametrize(
    ("labels", "several"),
    [
        (["x", "y", "x#y"], ["x#y"]),
        (["a", "b", "c", "a, b", "c|a", "b;c;a"], ["a, b", "b;c;a", "c|a"]),
        (["x", "x#y"], []),
        (["C", "C#", "x"], []),
        (["new york, ny", "york"], []),
    ],
)
def test_several_labels_in_a_cell_of_one_are_named(labels, several):
    assert combined_labels(labels) == several


def test_a_run_warns_of_them(run, caplog):
    rows = [{"text": text, "topic": text} for text in ("x", "y", "x#y")] * 4
    run(train_file=rows, validation_file=rows, num_train_epochs=1)
    assert "Labels of topic that are several of its labels in one cell: 'x#y'." in caplog.text


@pytest.mark.parametrize(
    ("label_map", "expected"),
    [
        (None, {"1": "1", "1.0": "1"}),
        ({"1": "low"}, {"1": "low", "1.0": "low"}),
        ({"1.0": "low", "2": None}, {"1": "low", "1.0": "low", "2": None}),
        ({"1": None}, {"1": None, "1.0": None}),
    ],
)
def test_a_label_map_goes_for_every_spelling(label_map, expected):
    assert merged(label_map, [["1", "1.0"]]) == expected
