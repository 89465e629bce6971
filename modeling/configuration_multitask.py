"""The configuration of a `MultiTaskModel`: an encoder's config, pooling, and the tasks."""

import json
import re
from dataclasses import fields
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

TASK_TYPES = ("sequence_classification", "token_classification", "sentence_embedding")
PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")
POOLING_NAMES = ("cls", "mean", "max")
LABELLINGS = ("first", "all")
SENTENCE_WINDOWS = ("first", "mean")
EMBEDDING_LOSSES = ("retention", "cosent", "in_batch_negatives", "none")
TASK_KEYS = (
    *("type", "labels", "problem_type", "labelling", "pooling", "weight", "loss", "dimensions"),
)
TASK_NAME = re.compile(r"[A-Za-z]\w*")
# A config.json from anywhere must not be able to ask for code, for kernels, for files, or for
# another form of the weights; `num_labels` takes memory by its size alone. Of an encoder's config
# these are left out, wherever they stand in it ...
UNTRUSTED = (
    *("trust_remote_code", "auto_map", "custom_pipelines", "_name_or_path", "name_or_path"),
    *("attn_implementation", "_attn_implementation", "experts_implementation"),
    *("transformers_weights", "quantization_config", "num_labels"),
)
# ... and of a finished model's only the fields of the class and these are read.
ALSO_READ = ("model_type", "auto_map", "custom_pipelines", "use_cache", "torch_dtype")
CODE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
# More than the vocabularies and the layers of any encoder.
LARGEST_NUMBER, LARGEST_COUNT = 10**7, 10**5


class MultiTaskConfig(PreTrainedConfig):
    """What `config.json` holds: enough to rebuild the model, labels included.

    Args:
        encoder_config (`dict` or `PreTrainedConfig`): the config of any encoder that `AutoModel`
            builds.
        pooling (`str`): `cls`, `mean` or `max`: how token vectors become the sentence vector.
        normalize (`bool`): whether the sentence embedding is scaled to length 1.
        prompts (`dict[str, str]`, *optional*): texts to put before the input, by name, for encoders
            that want one ("query: "). The one named `default` is used where none is asked for.
        tasks (`dict[str, dict]`): name to `{"type", "labels", "problem_type", "weight"}`.
            `type` is one of `sequence_classification`, `token_classification` and
            `sentence_embedding`; `labels` an ordered list of texts (a `regression` task names its
            values); `problem_type` is `single_label_classification` (default),
            `multi_label_classification` or `regression`, for sequence_classification only;
            `labelling`, for token_classification only, is `first` (default): a word is labelled at
            its first token, and entities are whole words; or `all`: every token is labelled, and
            entities begin and end at any token. `pooling`, for sequence_classification only, is
            what its head reads: by default the config's `pooling`, which gives the embedding.
            `loss`, for sentence_embedding only, is `retention` (default), `cosent`,
            `in_batch_negatives` (see losses.py) or `none`; `dimensions`, for it only, are how many
            of the first numbers of the embedding its loss is taken of, by default all; of several
            the mean (Kusupati et al. 2022, Matryoshka representations). `weight` (default 1.0, at
            least 0) multiplies the task's loss.
        head_dropout (`float`): dropout before each head, in [0, 1).
        stride (`int`, *optional*): tokens that the windows of a long text share with the next; by
            default a quarter of a window.
        sentence_windows (`str`): which windows of a long text answer sentence tasks and give the
            embedding: the `first`, or the `mean` of all (of logits and of vectors).
        task_name (`str`, *optional*): the task that `AutoModelForSequenceClassification` and
            `AutoModelForTokenClassification` answer; by default the first of that type.

    Raises:
        ValueError: a key or value that is not allowed, with what was expected and what was found.
    """

    model_type = "multitask"
    sub_configs_defaults = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }
    # Fields that evaluation must not gather over processes: they are large, and nobody scores them.
    keys_to_ignore_at_inference = [
        "last_hidden_state",
        "sentence_embedding",
        "losses",
        "hidden_states",
        "attentions",
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
        if isinstance(self.encoder_config, dict):
            check_numbers(self.encoder_config, LARGEST_NUMBER)
            self.encoder_config = _trusted(self.encoder_config)
        try:
            super().__post_init__(**kwargs)
        except (ValueError, OSError):
            raise
        except Exception as error:  # the libraries' own, of several lines, for a wrong type
            reason = " ".join(str(error).split())
            raise ValueError(f"A value of the config is not as it should be: {reason}") from error
        self.check()

    @classmethod
    def from_dict(cls, config_dict: dict, **kwargs):
        """As in `PreTrainedConfig`, of the keys that this class knows; refuses the config of
        another kind of model."""
        found = config_dict.get("model_type", cls.model_type)
        if found != cls.model_type:
            raise ValueError(
                f"`model_type` of a finished model's config should be {cls.model_type}. "
                f"Found {found!r}; MultiTaskModel.from_backbone starts a new model on an encoder."
            )
        pipelines = config_dict.get("custom_pipelines") or {}
        try:
            beside = all(CODE.fullmatch(one["impl"]) for one in pipelines.values())
        except (AttributeError, KeyError, TypeError):
            beside = False
        if not beside:
            raise ValueError(
                "`custom_pipelines` should map names to an `impl`, a module beside the config and "
                f"a class. Found {pipelines!r}."
            )
        known = {*ALSO_READ, *(field.name for field in fields(cls))}
        read = {key: value for key, value in config_dict.items() if key in known}
        return super().from_dict(read, **kwargs)

    def check(self) -> None:
        """Fill in the tasks' defaults and raise a ValueError if a value is not allowed.

        Models call it too: `from_pretrained(..., tasks=...)` sets fields after construction.
        """
        for key in ("tasks", "prompts"):
            if not isinstance(getattr(self, key), dict | None):
                raise ValueError(f"`{key}` should be a mapping. Found {getattr(self, key)!r}.")
        if not isinstance(getattr(self.encoder_config, "hidden_size", None), int):
            raise ValueError("`encoder_config` should be that of an encoder, with a hidden_size.")
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

    def to_json_string(self, use_diff: bool = True) -> str:
        """As in `PreTrainedConfig`, which sorts all keys; the tasks keep their order here."""
        content = json.loads(super().to_json_string(use_diff))
        return json.dumps({**content, "tasks": self.tasks}, indent=2, ensure_ascii=False) + "\n"

    def set_encoder_dropout(self, probability: float) -> None:
        """Use one probability, in [0, 1), for every dropout inside the encoder.

        Raises:
            ValueError: a probability out of its range.
        """
        if not 0 <= probability < 1:
            raise ValueError(f"The encoder's dropout should be in [0, 1). Found {probability}.")
        for key, value in self.encoder_config.to_dict().items():
            if "dropout" in key and isinstance(value, int | float) and "classifier" not in key:
                setattr(self.encoder_config, key, probability)

    @property
    def hidden_size(self) -> int:
        return self.encoder_config.hidden_size

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        """The encoder's config: it knows the vocabulary and the special tokens."""
        return self.encoder_config

    def tasks_of_type(self, task_type: str) -> list[str]:
        """The names of the tasks of one type, in order."""
        return [name for name, task in self.tasks.items() if task["type"] == task_type]


def _trusted(config: dict) -> dict:
    """A copy without `UNTRUSTED`, in nested configs too."""
    return {
        key: _trusted(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in UNTRUSTED
    }


def check_numbers(config: dict, largest: int) -> None:
    """Raise a ValueError for a whole number in an encoder's config, or one nested in it, that is
    above what it may be: only to begin building such a model could take all memory there is."""
    for key, value in config.items():
        if isinstance(value, dict):
            check_numbers(value, largest)
        counts = str(key).startswith(("num_", "n_"))  # layers, heads, labels
        most = min(largest, LARGEST_COUNT) if counts else largest
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int) and one > most and "theta" not in str(key):
                raise ValueError(
                    f"`{key}` of the encoder's config should be at most {most:,}. Found {one:,}."
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

    weight = task.get("weight", 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < 1e9:
        raise ValueError(f"`weight` of task {name!r} should be at least 0. Found {weight!r}.")
    complete = {"type": task["type"], "weight": float(weight)}
    for key, of_type in (
        ("loss", "sentence_embedding"),
        ("dimensions", "sentence_embedding"),
        ("labelling", "token_classification"),
        ("pooling", "sequence_classification"),
    ):
        if task.get(key) is not None and task["type"] != of_type:
            raise ValueError(
                f"`{key}` is for {of_type}. Found it in task {name!r}, which is {task['type']}."
            )
    if task["type"] == "sentence_embedding":
        complete["loss"] = task.get("loss") or "retention"
        _check_choice(f"`loss` of task {name!r}", complete["loss"], EMBEDDING_LOSSES)
        if task.get("dimensions"):
            complete["dimensions"] = list(task["dimensions"])
        return complete

    labels = task.get("labels") or []
    if not isinstance(labels, list | tuple):
        raise ValueError(f"`labels` of task {name!r} should be a list. Found {labels!r}.")
    labels = list(labels)
    problem_type = task.get("problem_type") or "single_label_classification"
    _check_choice(f"`problem_type` of task {name!r}", problem_type, PROBLEM_TYPES)
    if task["type"] == "token_classification" and problem_type != "single_label_classification":
        raise ValueError(
            f"`problem_type` of the token_classification task {name!r} should be "
            f"single_label_classification. Found {problem_type!r}."
        )
    if task["type"] == "token_classification":
        complete["labelling"] = task.get("labelling") or "first"
        _check_choice(f"`labelling` of task {name!r}", complete["labelling"], LABELLINGS)
    elif task.get("pooling") is not None:
        complete["pooling"] = task["pooling"]
        _check_choice(f"`pooling` of task {name!r}", complete["pooling"], POOLING_NAMES)
    fewest = 2 if problem_type == "single_label_classification" else 1
    if len(labels) < fewest or len(set(labels)) < len(labels):
        raise ValueError(
            f"`labels` of task {name!r} should be a list of at least {fewest} different texts. "
            f"Found {labels!r}."
        )
    if not all(isinstance(label, str) and label for label in labels):
        raise ValueError(f"`labels` of task {name!r} should be texts. Found {labels!r}.")
    return {**complete, "labels": labels, "problem_type": problem_type}


def _check_dimensions(name: str, dimensions: list, hidden_size: int) -> None:
    for size in dimensions:
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= hidden_size:
            raise ValueError(
                f"`dimensions` of task {name!r} should be whole numbers from 1 to {hidden_size}, "
                f"the encoder's width. Found {size!r}."
            )


def _check_choice(what: str, found, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise ValueError(f"{what} should be one of {', '.join(allowed)}. Found {found!r}.")


MultiTaskConfig.register_for_auto_class()
