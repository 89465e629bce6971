"""The configuration of a `MultiTaskModel`: an encoder's config, pooling, and the tasks."""

import json
import math
import re
from contextlib import suppress
from dataclasses import fields
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

TASK_TYPES = ("sequence_classification", "token_classification", "sentence_embedding")
# Each problem type, and the fewest labels that it makes sense with.
FEWEST_LABELS = {"single_label_classification": 2, "multi_label_classification": 1, "regression": 1}
PROBLEM_TYPES = tuple(FEWEST_LABELS)
POOLING_NAMES = ("cls", "mean", "max")
LABELLINGS = ("first", "all")
SENTENCE_WINDOWS = ("first", "mean")
EMBEDDING_LOSSES = ("retention", "cosent", "in_batch_negatives", "none")
# Keys that only one type of task takes: that type, the default, and the allowed values. The marks
# are texts, and dimensions a list, which is checked against the encoder's width.
KEYS_OF_ONE_TYPE: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "loss": ("sentence_embedding", "retention", EMBEDDING_LOSSES),
    "dimensions": ("sentence_embedding", None, ()),
    "labelling": ("token_classification", "first", LABELLINGS),
    "begin_marks": ("token_classification", None, ()),
    "inner_marks": ("token_classification", None, ()),
    "pooling": ("sequence_classification", None, POOLING_NAMES),
}
# Factors of a task, at least 0 and by default 1: of its loss, and of its share of `score`.
WEIGHTS = ("weight", "score_weight")
# Keys that map labels to numbers which the head takes.
OF_LABELS = ("class_weights", "standardization")
# Keys that are fitted to the trained weights, and go when these change.
FITTED = ("thresholds", "out_of_scope")
TASK_KEYS = (
    *("type", "labels", "problem_type", *WEIGHTS, *OF_LABELS, *FITTED),
    *KEYS_OF_ONE_TYPE,
)
# The problem types of those task types that do not take all; none means no labels either.
PROBLEM_TYPES_OF = {"sentence_embedding": (), "token_classification": PROBLEM_TYPES[:1]}
# What thresholds are chosen for; the last one only where a text has several labels.
PURPOSES = ("precision", "coverage", "f1")
AS_THEY_ARE = {"mean": 0.0, "std": 1.0}  # numbers that are not standardised
TASK_NAME = re.compile(r"[A-Za-z]\w*")
# A config.json from anywhere must not be able to ask for code, kernels, files, or another form of
# the weights; `num_labels` takes memory by its size alone. These keys of an encoder's config are
# dropped, at any depth ...
UNTRUSTED = (
    *("trust_remote_code", "auto_map", "custom_pipelines", "_name_or_path", "name_or_path"),
    *("attn_implementation", "_attn_implementation", "experts_implementation"),
    *("transformers_weights", "quantization_config", "num_labels"),
    "use_tpu_fourier_optimizations",  # FNet's tables of its longest text, squared
)
# ... and a finished model's config is read for the class's fields and these keys only.
ALSO_READ = (
    *("model_type", "auto_map", "custom_pipelines"),
    *("output_attentions", "use_cache", "torch_dtype"),
)
CODE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
# More than any encoder's vocabulary and number of layers.
LARGEST_NUMBER, LARGEST_COUNT = 10**7, 10**5
MOST_CENTERS = 10_000


class MultiTaskConfig(PreTrainedConfig):
    """The contents of `config.json`: enough to rebuild the model, labels included.

    Args:
        encoder_config (`dict` or `PreTrainedConfig`): the config of any encoder that `AutoModel`
            builds.
        pooling (`str`): how token vectors become the sentence vector: `cls`, `mean` or `max`.
        normalize (`bool`): whether the sentence embedding is scaled to length 1.
        prompts (`dict[str, str]`, *optional*): texts to put before the input, by name, for encoders
            that want one ("query: "). The one named `default` is used if none is asked for.
        tasks (`dict[str, dict]`): each task's settings, by its name:

            - `type`: `sequence_classification`, `token_classification` or `sentence_embedding`.
            - `labels`: an ordered list of texts; a `regression` task names its values.
            - `weight`: multiplies the task's loss; at least 0, 1.0 by default.
            - `score_weight`: the task's weight in evaluation's `score`, a mean over tasks; at least
              0, 1.0 by default.
            - `class_weights`: a mapping of labels to factors above 0 of their losses; labels left
              out have 1. With `multi_label_classification` the factor is of the loss of texts that
              have the label (torch's `pos_weight`). Not for regression and embeddings.
            - `standardization`, for regression: a mapping of labels to the `mean` and the `std`,
              above 0, of their training numbers. The head learns numbers of mean 0 and standard
              deviation 1, and gives them in their own units; labels left out have 0 and 1.
            - `thresholds`: scores that were chosen on validation rows (see training/thresholds.py):
              `precision` and `coverage`, each a mapping of shares ("0.95") to scores, and `f1`, one
              of labels to scores, which `multi_label_classification` uses in place of 0.5.
            - `out_of_scope`, for sequence_classification with one label: `centers`, their number in
              its `Scope`, and `false_alarms`, the share of in-scope texts that it may refuse.
            - `problem_type`, for sequence_classification: `single_label_classification` (default),
              `multi_label_classification` or `regression`.
            - `pooling`, for sequence_classification: of the vector that the head reads; by default
              the config's, which is also the embedding's.
            - `labelling`, for token_classification: `first` (default), where a word is labelled at
              its first token and entities are whole words, or `all`, where every token is labelled
              and entities begin and end at any token.
            - `begin_marks`, `inner_marks`, for token_classification: characters that are parts of
              words in the training rows, see `decoding.word_ids`; by default none.
            - `loss`, for sentence_embedding: `retention` (default), `cosent`, `in_batch_negatives`
              (see losses.py) or `none`.
            - `dimensions`, for sentence_embedding: sizes from 1 to the encoder's width. The loss is
              the mean over the embedding cut to each size (Kusupati et al. 2022, Matryoshka
              representations); by default it is that of the whole embedding.
        head_dropout (`float`): dropout before each head but those of regressions, in [0, 1).
        stride (`int`, *optional*): tokens that a window of a long text shares with the next; by
            default a quarter of a window.
        sentence_windows (`str`): the windows of a long text that answer sentence tasks and give the
            embedding: the `first`, or the `mean` of all (of logits and of vectors).
        task_name (`str`, *optional*): the task that `AutoModelForSequenceClassification` and
            `AutoModelForTokenClassification` answer; by default the first of that type.

    Raises:
        ValueError: a key or value that is not allowed; the message says what is.
    """

    model_type = "multitask"
    sub_configs_defaults = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }
    # Evaluation must not gather these over processes: they are large, and nothing scores them.
    keys_to_ignore_at_inference = [
        "last_hidden_state",
        "sentence_embedding",
        "losses",
        "hidden_states",
        "attentions",
        "out_of_scope",
    ]

    encoder_config: Any = None
    pooling: str = "mean"
    normalize: bool = False
    prompts: dict | None = None
    tasks: dict | None = None
    head_dropout: float = 0.1
    stride: int | None = None
    sentence_windows: str = "first"
    task_name: str | None = None

    def __post_init__(self, **kwargs):
        # Labels beside those of the tasks are only there if someone asks for them.
        asked = self.num_labels is not None or kwargs.get("num_labels") is not None
        if isinstance(self.encoder_config, dict):
            check_numbers(self.encoder_config, LARGEST_NUMBER)
            self.encoder_config = _trusted(self.encoder_config)
        try:
            super().__post_init__(**kwargs)
            if isinstance(self.encoder_config, PreTrainedConfig):
                self.encoder_config.to_dict()  # as every message and file will
        except (ValueError, OSError):
            raise
        except Exception as error:  # a wrong type; the libraries' own text has several lines
            reason = " ".join(str(error).split())
            raise ValueError(f"Invalid config value: {reason}") from error
        if not asked:
            self.id2label = self.label2id = None
        self.check()

    @classmethod
    def get_config_dict(cls, *args, **kwargs):
        """As in `PreTrainedConfig`, but a file without keys and values raises a ValueError."""
        content = None
        with suppress(TypeError):  # of a file that holds null or a number
            content, kwargs = super().get_config_dict(*args, **kwargs)
        if not isinstance(content, dict):
            raise ValueError("Its config.json should hold keys and values.")
        return content, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict, **kwargs):
        """As in `PreTrainedConfig`, but reads only the keys that this class knows, and raises a
        ValueError for another kind of model."""
        found = config_dict.get("model_type", cls.model_type)
        if found != cls.model_type:
            raise ValueError(
                f"`model_type` of a finished model's config should be {cls.model_type}. "
                f"Found {found!r}; MultiTaskModel.from_backbone starts a new model on an encoder."
            )
        pipelines = config_dict.get("custom_pipelines") or {}
        try:
            valid = all(CODE.fullmatch(pipeline["impl"]) for pipeline in pipelines.values())
        except (AttributeError, KeyError, TypeError):
            valid = False
        if not valid:
            raise ValueError(
                "`custom_pipelines` should map names to an `impl`, a module beside the config and "
                f"a class. Found {pipelines!r}."
            )
        # The labels are those of the tasks.
        known = {*ALSO_READ, *(field.name for field in fields(cls))} - {"id2label", "label2id"}
        read = {key: value for key, value in config_dict.items() if key in known}
        loaded = super().from_dict(read, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        config.check()  # again, as the arguments are set after construction
        return loaded

    def check(self) -> None:
        """Fill in the tasks' defaults, and raise a ValueError for a value that is not allowed.

        Models call it too, as fields may be set after construction.
        """
        for key in ("tasks", "prompts"):
            if not isinstance(getattr(self, key), dict | None):
                raise ValueError(f"`{key}` should be a mapping. Found {getattr(self, key)!r}.")
        self._check_types()
        if not isinstance(getattr(self.encoder_config, "hidden_size", None), int):
            raise ValueError("`encoder_config` should describe an encoder, with a hidden_size.")
        self.tasks = {name: _complete_task(name, task) for name, task in (self.tasks or {}).items()}
        for name, task in self.tasks.items():
            _check_dimensions(name, task.get("dimensions", []), self.hidden_size)
        _check_choice("pooling", self.pooling, POOLING_NAMES)
        _check_choice("sentence_windows", self.sentence_windows, SENTENCE_WINDOWS)
        if self.stride is not None and self.stride < 0:
            raise ValueError(f"`stride` should be at least 0. Found {self.stride}.")
        if not 0 <= self.head_dropout < 1:
            raise ValueError(f"`head_dropout` should be in [0, 1). Found {self.head_dropout}.")
        if self.task_name is not None and self.task_name not in self.tasks:
            raise ValueError(
                f"`task_name` should be one of {', '.join(self.tasks)}. Found {self.task_name!r}."
            )
        for name, text in (self.prompts or {}).items():
            if not isinstance(text, str):
                raise ValueError(f"Prompt {name!r} should be a text. Found {text!r}.")

    def _check_types(self) -> None:
        """Raise a ValueError for a field whose value is not of its annotated type."""
        for key, allowed in type(self).__annotations__.items():
            value = getattr(self, key)
            if allowed is Any or (allowed is float and _is_number(value)):
                continue
            is_flag = isinstance(value, bool) and allowed is not bool  # an int to Python
            if is_flag or not isinstance(value, allowed):
                names = getattr(allowed, "__name__", str(allowed))
                raise ValueError(f"`{key}` should be of type {names}. Found {value!r}.")

    def to_json_string(self, use_diff: bool = True) -> str:
        """As in `PreTrainedConfig`, which sorts all keys, but tasks keep their order."""
        content = json.loads(super().to_json_string(use_diff))
        if self.id2label is None:
            content = {key: content[key] for key in content if key not in ("id2label", "label2id")}
        return json.dumps({**content, "tasks": self.tasks}, indent=2, ensure_ascii=False) + "\n"

    def set_encoder_dropout(self, probability: float) -> None:
        """Use one probability, in [0, 1), for every dropout inside the encoder.

        Raises:
            ValueError: a probability out of range.
        """
        if not 0 <= probability < 1:
            raise ValueError(f"The encoder's dropout should be in [0, 1). Found {probability}.")
        for key, value in self.encoder_config.to_dict().items():
            if "dropout" in key and isinstance(value, int | float) and "classifier" not in key:
                setattr(self.encoder_config, key, probability)

    @property
    def hidden_size(self) -> int:
        return self.encoder_config.hidden_size

    @property
    def default_prompt(self) -> str:
        """The text that goes before each input, unless a call names another prompt."""
        return (self.prompts or {}).get("default", "")

    def pooling_of(self, task: str) -> str:
        """How token vectors become the one that a sentence task's head reads."""
        return self.tasks[task].get("pooling", self.pooling)

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        """The encoder's config, which knows the vocabulary and the special tokens."""
        return self.encoder_config

    def tasks_of_type(self, task_type: str) -> list[str]:
        """The names of the tasks of one type, in order."""
        return [name for name, task in self.tasks.items() if task["type"] == task_type]


def _trusted(config: dict) -> dict:
    """A copy without the `UNTRUSTED` keys, in nested configs too."""
    return {
        key: _trusted(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in UNTRUSTED
    }


def check_numbers(config: dict, largest: int) -> None:
    """Raise a ValueError for a whole number above `largest`, or a count below 0, in an encoder's
    config, nested configs included: merely starting to build that model could use up all memory."""
    for key, value in config.items():
        if isinstance(value, dict):
            check_numbers(value, largest)
        counts = str(key).startswith(("num_", "n_"))  # layers, heads, labels
        most = min(largest, LARGEST_COUNT) if counts else largest
        for number in value if isinstance(value, list) else [value]:
            if not isinstance(number, int) or "theta" in str(key):
                continue
            if number > most:
                raise ValueError(
                    f"`{key}` of the encoder's config should be at most {most:,}. Found {number:,}."
                )
            if counts and number < 0:
                raise ValueError(
                    f"`{key}` of the encoder's config should be at least 0. Found {number:,}."
                )


def _complete_task(name: str, task: dict) -> dict:
    """The checked task with its defaults filled in."""
    if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
        raise ValueError(
            f"A task's name should be a letter followed by letters, digits and underscores. "
            f"Found {name!r}."
        )
    if hasattr(nn.ModuleDict, name) or name == "training":
        raise ValueError(f"A task can't be named {name!r}: torch.nn.ModuleDict uses that name.")
    if not isinstance(task, dict):
        raise ValueError(f"Task {name!r} should be a mapping with the key `type`. Found {task!r}.")
    for key in task:
        _check_choice(f"a key of task {name!r}", key, TASK_KEYS)
    _check_choice(f"`type` of task {name!r}", task.get("type"), TASK_TYPES)

    complete = {"type": task["type"], **_weights(name, task), **_keys_of_type(name, task)}
    problem_types = PROBLEM_TYPES_OF.get(task["type"], PROBLEM_TYPES)
    if problem_types:
        complete |= _labels(name, task, problem_types)
    if task.get("class_weights"):
        complete["class_weights"] = _class_weights(name, task["class_weights"], complete)
    if task.get("standardization"):
        complete["standardization"] = _standardization(name, task["standardization"], complete)
    if task.get("thresholds"):
        complete["thresholds"] = _thresholds(name, task["thresholds"], complete)
    if task.get("out_of_scope"):
        complete["out_of_scope"] = _out_of_scope(name, task["out_of_scope"], complete)
    return complete


def _weights(name: str, task: dict) -> dict[str, float]:
    """The checked factors of the task."""
    weights = {key: task.get(key, 1.0) for key in WEIGHTS}
    for key, weight in weights.items():
        if not _is_number(weight) or not 0 <= weight < 1e9:
            raise ValueError(f"`{key}` of task {name!r} should be at least 0. Found {weight!r}.")
    return {key: float(weight) for key, weight in weights.items()}


def _class_weights(name: str, weights: Any, task: dict) -> dict[str, float]:
    """The checked weights of a complete task's labels, all of them, in the labels' order."""
    known = task.get("labels", ())
    if not known or task["problem_type"] == "regression":
        kind = task["type"] if not known else "regression"
        raise ValueError(f"`class_weights` of task {name!r} is for labels. Found a {kind} task.")
    if not isinstance(weights, dict):
        raise ValueError(
            f"`class_weights` of task {name!r} should map labels to numbers. Found {weights!r}."
        )
    for label, weight in weights.items():
        _check_choice(f"A label in `class_weights` of task {name!r}", label, known)
        if not _is_number(weight) or not 0 < weight < math.inf:
            raise ValueError(
                f"`class_weights` of task {name!r} should be above 0, and finite. Found "
                f"{weight!r} for {label!r}."
            )
    return {label: float(weights.get(label, 1.0)) for label in known}


def _standardization(name: str, given: Any, task: dict) -> dict[str, dict[str, float]]:
    """The checked means and standard deviations of a complete task's numbers, all of them, in the
    labels' order."""
    key, known = f"`standardization` of task {name!r}", task.get("labels", ())
    if task.get("problem_type") != "regression":
        found = task.get("problem_type", task["type"])
        raise ValueError(f"{key} is for a regression. Found {found}.")
    if not isinstance(given, dict):
        raise ValueError(f"{key} should be a mapping. Found {given!r}.")
    for label, of_label in given.items():
        _check_choice(f"A label in {key}", label, known)
        values = [of_label.get(one) for one in AS_THEY_ARE] if isinstance(of_label, dict) else []
        finite = values and all(_is_number(one) and math.isfinite(one) for one in values)
        if not finite or {*of_label} != {*AS_THEY_ARE} or values[1] <= 0:
            raise ValueError(
                f"{key} should give a finite mean and a std above 0. Found {of_label!r} for "
                f"{label!r}."
            )
    moments = {label: given.get(label, AS_THEY_ARE) for label in known}
    return {label: {one: float(of[one]) for one in AS_THEY_ARE} for label, of in moments.items()}


def _thresholds(name: str, thresholds: Any, task: dict) -> dict[str, dict[str, float]]:
    """The checked thresholds of a complete task."""
    key = f"`thresholds` of task {name!r}"
    if not task.get("labels") or task["problem_type"] == "regression":
        raise ValueError(f"{key} is for labels and entities. Found a task without.")
    if not isinstance(thresholds, dict):
        raise ValueError(f"{key} should be a mapping. Found {thresholds!r}.")
    several = task["problem_type"] == "multi_label_classification"
    for purpose, values in thresholds.items():
        _check_choice(f"A key of {key}", purpose, PURPOSES if several else PURPOSES[:2])
        scores = [*values.values()] if isinstance(values, dict) else [None]
        if not all(_is_number(score) and 0 <= score <= 1 for score in scores):
            raise ValueError(f"`{purpose}` in {key} should map to scores. Found {values!r}.")
        if purpose == "f1" and values.keys() != set(task["labels"]):
            raise ValueError(f"`f1` in {key} should have its labels. Found {[*values]}.")
    return thresholds


def _out_of_scope(name: str, scope: Any, task: dict) -> dict[str, float]:
    """The checked scope of a complete task."""
    key = f"`out_of_scope` of task {name!r}"
    if (task["type"], task.get("problem_type")) != (TASK_TYPES[0], PROBLEM_TYPES[0]):
        raise ValueError(f"{key} is for {PROBLEM_TYPES[0]} of sentences.")
    if not isinstance(scope, dict) or scope.keys() != {"centers", "false_alarms"}:
        raise ValueError(f"{key} should have centers and false_alarms. Found {scope!r}.")
    centers, share = scope["centers"], scope["false_alarms"]
    if not isinstance(centers, int) or isinstance(centers, bool) or not 0 < centers <= MOST_CENTERS:
        raise ValueError(
            f"`centers` in {key} should be from 1 to {MOST_CENTERS}. Found {centers!r}."
        )
    if not _is_number(share) or not 0 < share < 1:
        raise ValueError(f"`false_alarms` in {key} should be in (0, 1). Found {share!r}.")
    return scope


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keys_of_type(name: str, task: dict) -> dict:
    """The checked values of the keys that only the task's type takes, defaults filled in."""
    values: dict[str, Any] = {}
    for key, (task_type, default, allowed) in KEYS_OF_ONE_TYPE.items():
        value = task.get(key)
        if value is not None and task["type"] != task_type:
            raise ValueError(
                f"`{key}` is for {task_type}. Found it in task {name!r}, which is {task['type']}."
            )
        if task["type"] == task_type and (value or default):
            if allowed:
                _check_choice(f"`{key}` of task {name!r}", value or default, allowed)
            if key.endswith("_marks") and not isinstance(value, str):
                raise ValueError(f"`{key}` of task {name!r} should be a text. Found {value!r}.")
            if key == "dimensions" and not isinstance(value, list | tuple):
                raise ValueError(f"`{key}` of task {name!r} should be a list. Found {value!r}.")
            values[key] = list(value) if key == "dimensions" else value or default
    return values


def _labels(name: str, task: dict, problem_types: tuple[str, ...]) -> dict:
    """The checked labels and problem type of a task."""
    labels = task.get("labels") or []
    if not isinstance(labels, list | tuple):
        raise ValueError(f"`labels` of task {name!r} should be a list. Found {labels!r}.")
    labels = list(labels)
    problem_type = task.get("problem_type") or PROBLEM_TYPES[0]
    _check_choice(f"`problem_type` of task {name!r}", problem_type, PROBLEM_TYPES)
    if problem_type not in problem_types:
        raise ValueError(
            f"`problem_type` of the {task['type']} task {name!r} should be "
            f"{', '.join(problem_types)}. Found {problem_type!r}."
        )
    fewest = FEWEST_LABELS[problem_type]
    if not all(isinstance(label, str) and label for label in labels):
        raise ValueError(f"`labels` of task {name!r} should be texts. Found {labels!r}.")
    if len(labels) < fewest or len(set(labels)) < len(labels):
        raise ValueError(
            f"`labels` of task {name!r} should be a list of at least {fewest} different texts. "
            f"Found {labels!r}."
        )
    return {"labels": labels, "problem_type": problem_type}


def _check_dimensions(name: str, dimensions: list, hidden_size: int) -> None:
    for size in dimensions:
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= hidden_size:
            raise ValueError(
                f"`dimensions` of task {name!r} should be whole numbers from 1 to {hidden_size}, "
                f"the encoder's width. Found {size!r}."
            )


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} should be one of {', '.join(allowed)}. Found {value!r}.")


MultiTaskConfig.register_for_auto_class()
