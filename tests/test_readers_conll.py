"""CoNLL files and folders of intents and slots in, raw rows out."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_all, refusal, rows_of

from multitask_encoder.data.readers import (
    detect_format,
)

# CoNLL


@pytest.mark.parametrize(
    "content",
    [
        "a\tB-X\nb\tO\n\nc\tO\n",
        "a B-X\nb O\n\nc O",
        "\ufeffa  B-X \r\n b\tO\r\n\r\n\r\n c O\r\n",
        "a\tB-X\nb\tO\n\t\nc\tO\n\t\n",
        "\n\na\tB-X\nb\tO\n \u00a0 \nc\tO\n\n\n",
        "-DOCSTART-\tO\n\na\tB-X\nb\tO\n-DOCSTART-\tO\n\nc\tO\n",
        "# id = 1\na\tB-X\n# note\nb\tO\n\n# id = 2\n\nc\tO\n",
        "# one two three\na B-X\n#note\nb O\n\nc O\n",
        "# sentence_1\na B-X\nb O\n\n# sentence_2\nc O\n",
    ],
)
def test_a_sentence_is_a_row(content, read):
    assert rows_of(read(content, "conll")) == [
        {"tokens": ["a", "b"], "tags": ["B-X", "O"]},
        {"tokens": ["c"], "tags": ["O"]},
    ]


def test_a_comment_may_have_as_many_columns_as_a_token(read):
    content = "# id 1f8e-5a\tdomain=en\na _ _ O\nb _ _ B-X\n\n# id 2f\tdomain=en\nc _ _ O\n"
    assert [row["tokens"] for row in rows_of(read(content, "conll"))] == [["a", "b"], ["c"]]


@pytest.mark.parametrize("tag", ["B-X", "O", "#", "NOUN"])
def test_a_hash_with_a_tag_is_a_token(tag, read):
    (row,) = rows_of(read(f"# sentence_1\nx NOUN\n# {tag}\n", "conll"))
    assert row == {"tokens": ["x", "#"], "tags": ["NOUN", tag]}


def test_the_place_of_a_sentence_is_its_first_line(read):
    content = "-DOCSTART- O\n\n# an id\na O\nb O\n\n\nc O\n"
    assert [place for place, _ in read(content, "conll")] == ["line 4", "line 8"]


@pytest.mark.parametrize("token", ["a b", "a\u00a0b", "a\u2028b\x0bc\x85", "#nlp", "#", "-", '"'])
def test_a_token_between_tabs_may_be_any_text(token, read):
    assert rows_of(read(f"x\tO\n{token}\tB-X\n", "conll")) == [
        {"tokens": ["x", token], "tags": ["O", "B-X"]}
    ]
    assert rows_of(read(f"{token}\tB-X\n", "conll")) == [{"tokens": [token], "tags": ["B-X"]}]


def test_a_token_between_spaces_may_hold_other_spaces(read):
    assert rows_of(read("a\u00a0b\u3000c O\n#\u2009d O\n", "conll")) == [
        {"tokens": ["a\u00a0b\u3000c", "#\u2009d"], "tags": ["O", "O"]}
    ]


CONLLU = """\
# text = vámonos a Roma _
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\tSpaceAfter=No
2.1\tya\tya\tADV\t_\t_\t_\t_\t1:advmod\t_
3\tRoma\tRoma\tPROPN\tNNP\t_\t1\tobl\t_\tEntity=B-LOC|SpaceAfter=No
4\t_\t_\tPUNCT\t_\t_\t1\tpunct\t_\t_

# sent_id = 2
1\tsí\tsí\t_\t_\t_\t0\troot\t_\t_
"""


def test_conllu_is_read_in_words(read, tmp_path):
    for name in ("x.conllu", "x.conll"):
        (tmp_path / name).write_text(CONLLU)
        assert detect_format(tmp_path / name) == "conllu"
    (place, first), (_, second) = read(CONLLU, "conllu")
    assert place == "line 2"
    assert first["tokens"] == ["vamos", "nos", "Roma", "_"]
    assert first["upos"] == ["VERB", "PRON", "PROPN", "PUNCT"]
    assert first["xpos"] == [None, None, "NNP", None]
    assert first["Entity"] == ["O", "O", "B-LOC", "O"]
    assert (second["tokens"], second["upos"], second["Entity"]) == (["sí"], [None], ["O"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\ta\tO", "line 3 should have 10 columns. Found 3: '1\\ta\\tO'."),
        ("1-2" + "\t_" * 9, "should have words. Found '1-2"),
    ],
)
def test_a_broken_sentence_of_conllu_is_a_problem(line, message, read):
    good = "1\tsí" + "\t_" * 8
    rows = rows_of(read(f"{good}\n\n{line}\n", "conllu"))
    assert rows[0]["tokens"] == ["sí"]
    assert rows[1].startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.conll", CONLLU, "line 2 looks like CoNLL-U: set `format: conllu`. Found '1-2"),
        ("x.tsv", "#FORMAT=WebAnno TSV 3.3\n\n1-1\t0-2\tin\t_\n", "is WebAnno TSV: export it as"),
    ],
)
def test_relatives_of_conll_are_refused_by_name(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    assert refusal(tmp_path / name, "conll").startswith(message)


@pytest.mark.parametrize("name", ["x.conll", "x.tsv"])
def test_webanno_is_refused_by_name(name, tmp_path):
    (tmp_path / name).write_text("#FORMAT=WebAnno TSV 3.3\n\n\n#Text=in\n1-1\t0-2\tin\t_\n")
    with pytest.raises(ValueError, match=r"is WebAnno TSV: export it as CoNLL 2002\.") as error:
        read_all(tmp_path / name, detect_format(tmp_path / name))
    assert str(error.value).startswith(f"{tmp_path / name}: ")


def test_brat_is_refused_by_name(tmp_path):
    (tmp_path / "x.ann").write_text("T1\tLOC 0 4\tBonn\n")
    assert refusal(tmp_path / "x.ann").startswith("is brat's: convert the folder to CoNLL")


def test_columns_have_names(read):
    content = "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    default = {
        "tokens": ["EU", "rejects"],
        "column_2": ["NNP", "VBZ"],
        "column_3": ["B-NP", "B-VP"],
        "tags": ["B-ORG", "O"],
    }
    assert rows_of(read(content, "conll")) == [default]
    names = ["words", "pos", "chunks", "entities"]
    named = dict(zip(names, default.values(), strict=True))
    assert rows_of(read(content, "conll", column_names=names)) == [named]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b", "line 5 should have 2 columns. Found 1: 'b'."),
        ("b\tx\tO", "line 5 should have 2 columns. Found 3: 'b\\tx\\tO'."),
        ("b O", "line 5 should have 2 columns. Found 1: 'b O'."),
        ("\tO", "line 5 should have a token. Found '\\tO'."),
        (b"\xe9\tO", "line 5 should be UTF-8 (or set `encoding`). Found b'\\xe9\\tO'."),
    ],
)
def test_a_sentence_with_a_broken_line_is_a_problem(line, message, read):
    line = line if isinstance(line, bytes) else line.encode()
    good = {"tokens": ["a"], "tags": ["O"]}
    assert read(b"a\tO\n\nx\tO\ny\tO\n%s\nz\n\na\tO\n" % line, "conll") == [
        ("line 1", good),
        ("line 3", message),
        ("line 8", good),
    ]


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        (
            "# x\na\nb\n",
            None,
            "line 2 should have two or more columns, separated by tabs or spaces. Found 'a'.",
        ),
        (
            "a O\n",
            ["tokens", "pos", "tags"],
            "line 1 should have the 3 columns tokens, pos, tags. Found 2: 'a O'.",
        ),
        ("a O\n", ["x", "x"], "the columns should have different names. Found x, x."),
    ],
)
def test_a_conll_file_of_other_columns_is_refused(content, names, message, tmp_path):
    (tmp_path / "x").write_text(content)
    assert refusal(tmp_path / "x", "conll", column_names=names) == message


# White space, that begins a line or makes up all of it, is not the token's in files with spaces.
WORD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\r\n\ufeff"), min_size=1
).filter(lambda word: word.strip() and not word.startswith("-DOCSTART-"))
TAG = st.sampled_from(["O", "B-X", "I-X", "B-R&D", "I-é"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.tuples(WORD, TAG), min_size=1), min_size=1),
    st.sampled_from([" ", "  ", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\t", " "]),
)
def test_any_words_with_tags_are_read_back(sentences, separator, end, blank):
    written = [[f"{word}{separator}{tag}" for word, tag in sentence] for sentence in sentences]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(f"{end}{blank}{end}".join(map(end.join, written)).encode())
        assert [
            list(zip(row["tokens"], row["tags"], strict=True))
            for row in rows_of(read_all(path, "conll"))
        ] == sentences


# Folders of intents and slots


@pytest.fixture
def read_slots(tmp_path):
    def write(words: str, slots: str, labels: str) -> Path:
        for name, content in (("seq.in", words), ("seq.out", slots), ("label", labels)):
            (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        return tmp_path

    return write


def test_lines_of_three_files_are_a_row(read_slots):
    path = read_slots("\ufeffplay  a\u00a0b \r\nstop\n\n", "O B-x\nO\n\n", "play\n halt now \n\n")
    assert detect_format(path) == "intent_slots"
    assert read_all(path, "intent_slots") == [
        ("line 1", {"tokens": ["play", "a\u00a0b"], "slots": ["O", "B-x"], "intent": "play"}),
        ("line 2", {"tokens": ["stop"], "slots": ["O"], "intent": "halt now"}),
    ]


@pytest.mark.parametrize(
    ("words", "slots", "message"),
    [
        (
            "a b",
            "O",
            "should have a tag in seq.out for each of the 2 words in seq.in. Found 1.",
        ),
        ("", "O", "should have a tag in seq.out for each of the 0 words in seq.in. Found 1."),
        ("\udce9", "O", "should be UTF-8 (or set `encoding`). Found b'\\xe9'."),
    ],
)
def test_unequal_lines_are_a_problem(words, slots, message, read_slots):
    path = read_slots(f"x\n{words}\nx\n", f"O\n{slots}\nO\n", "i\ni\ni\n")
    good = {"tokens": ["x"], "slots": ["O"], "intent": "i"}
    assert read_all(path, "intent_slots") == [
        ("line 1", good),
        ("line 2", message),
        ("line 3", good),
    ]


def test_files_of_different_lengths_are_refused(read_slots):
    path = read_slots("a\nb\n", "O\nO", "i\n")
    assert refusal(path, "intent_slots") == (
        "seq.in, seq.out and label should have the same number of lines. Found 2, 2, 1."
    )


def test_empty_files_are_refused(read_slots):
    assert refusal(read_slots("", "", ""), "intent_slots") == "has no rows."
