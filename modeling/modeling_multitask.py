"""One encoder, many heads, one forward pass.

Shapes: `batch_size` texts of `seq_len` tokens (the longest of the batch), hidden states of
`hidden_size`; a task has `num_labels` labels.

`MultiTaskModel` answers all tasks at once. `MultiTaskForSequenceClassification` and
`MultiTaskForTokenClassification` hold the same weights and answer one task, in the form that the
stock pipelines know. Nothing here tokenizes, trains, or decodes.
"""

import inspect
import re
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput
from transformers.utils import ModelOutput

from .attention import use_products_where_faster
from .configuration_multitask import FITTED, OF_LABELS, MultiTaskConfig
from .heads import HEADS, EmbeddingHead
from .library_errors import one_line_errors
from .losses import EMBEDDING_LOSSES, IGNORE_INDEX, check_labels, count_labels, numbers
from .pretrained_encoder import check_forward, pretrained_encoder
from .scope import Scope
from .sentence_transformers_files import write_description
from .stored_weights import PLACES, check_encoder, check_heads, match_labels, stored_shapes

AUTO_MAP = {
    "AutoConfig": "configuration_multitask.MultiTaskConfig",
    "AutoModel": "modeling_multitask.MultiTaskModel",
    "AutoModelForSequenceClassification": "modeling_multitask.MultiTaskForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_multitask.MultiTaskForTokenClassification",
}
# What a push takes besides the folder.
HUB_KEYS = (
    *("repo_id", "commit_message", "commit_description", "private", "token", "revision"),
    *("create_pr", "tags"),
)
# A model's folder also holds one for sentence-transformers, 1_Pooling.
PART = re.compile(r"\d_[A-Z]\w+")


def models_beside(folder: Path) -> list[str]:
    """The names of models beside a folder that does not exist: the name may be mistyped."""
    if len(folder.parts) < 2 or folder.exists():
        return []
    names = [config.parent.name for config in folder.parent.glob("*/config.json")]
    return sorted(name for name in names if not PART.fullmatch(name))


@dataclass
class MultiTaskOutput(ModelOutput):
    """All answers of one forward pass.

    Args:
        loss (`torch.FloatTensor` of shape `()`): of all tasks, see `MultiTaskModel.combined`; None
            without labels.
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, seq_len, hidden_size)`): from
            the encoder's last layer.
        sentence_embedding (`torch.FloatTensor` of shape `(batch_size, hidden_size)`): the pooled
            vectors, scaled to length 1 if the config says `normalize`.
        logits (`dict[str, torch.FloatTensor]`): per task, `(batch_size, num_labels)` or
            `(batch_size, seq_len, num_labels)`.
        losses (`dict[str, torch.FloatTensor]`): per task the mean over labels, of shape `()`.
        hidden_states, attentions (`tuple[torch.FloatTensor]`): the encoder's.
        out_of_scope (`dict[str, torch.FloatTensor]`): of tasks with a `Scope` the share of in-scope
            texts that are less strange, of shape `(batch_size,)`.
    """

    loss: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    sentence_embedding: torch.FloatTensor | None = None
    logits: dict[str, torch.FloatTensor] | None = None
    losses: dict[str, torch.FloatTensor] | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    out_of_scope: dict[str, torch.FloatTensor] | None = None

    def __post_init__(self):
        super().__post_init__()
        # Stock pipelines take batches apart item by item: they know tensors in a ModelOutput, but
        # neither those in a dict nor none at all.
        for key in ("logits", "out_of_scope"):
            if self.get(key):
                setattr(self, key, ModelOutput(self[key]))
            elif key in self:
                OrderedDict.__delitem__(self, key)


class MultiTaskModel(PreTrainedModel):
    """An encoder with one head per task of its config.

    `from_backbone` starts a new model on a pretrained encoder; `from_pretrained` loads a finished
    one, and takes `tasks=...` to add or drop heads; the heads that stay keep their weights.

    Example:

    ```python
    >>> topic = {"type": "sequence_classification", "labels": ["sports", "politics"]}
    >>> model = MultiTaskModel.from_backbone("bert-base-uncased", tasks={"topic": topic})
    ```
    """

    config: MultiTaskConfig
    config_class = MultiTaskConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    # No head reads an encoder's pooler; it is dropped, and so are its weights.
    # A scope is fitted to the weights, and not loaded where these are to be trained further.
    _keys_to_ignore_on_load_unexpected = [r"(^|\.)pooler\.", r"^heads\.\w+\.scope\."]

    def __init__(self, config: MultiTaskConfig):
        super().__init__(config)
        config.check()
        self.encoder = AutoModel.from_config(config.encoder_config)
        use_products_where_faster(self.encoder)
        if getattr(self.encoder, "pooler", None) is not None:
            # Unused parameters would break distributed training; some encoders call it unasked.
            self.encoder.pooler = nn.Identity()
        self._takes_token_types = (
            "token_type_ids" in inspect.signature(self.encoder.forward).parameters
        )
        self.embedding_head = EmbeddingHead(config.pooling, config.normalize)
        self.heads = nn.ModuleDict(
            {
                name: HEADS[task["type"]](
                    hidden_size=config.hidden_size,
                    num_labels=len(task["labels"]),
                    dropout=config.head_dropout,
                    problem_type=task["problem_type"],
                )
                for name, task in config.tasks.items()
                if HEADS[task["type"]] is not None
            }
        )
        self._take_settings_of_labels()
        for name, task in config.tasks.items():
            if "out_of_scope" in task:
                self.heads[name].scope = Scope(task["out_of_scope"]["centers"], config.hidden_size)
                self._keep_in_fp32_modules_strict = ["heads.*.scope."]
        self.post_init()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str,
        tasks: dict[str, dict],
        pooling: str = "mean",
        revision: str = "main",
        dtype: str | torch.dtype = "auto",
        attn_implementation: str | None = None,
        encoder_dropout: float | None = None,
        **config_kwargs,
    ) -> "MultiTaskModel":
        """A new model on a pretrained encoder, with freshly initialised heads.

        Args:
            name_or_path (`str`): a Hub id or a folder that `AutoModel.from_pretrained` loads.
            tasks (`dict[str, dict]`): see `MultiTaskConfig`.
            pooling (`str`): `cls`, `mean` or `max`.
            revision (`str`): branch, tag or commit of the Hub id.
            dtype (`str` or `torch.dtype`): of all weights; `auto` is the checkpoint's own.
            attn_implementation (`str`, *optional*): `eager`, `sdpa`, ...; by default the encoder's.
            encoder_dropout (`float`, *optional*): see `MultiTaskConfig.set_encoder_dropout`.
            **config_kwargs: further fields of `MultiTaskConfig`.

        Raises:
            OSError: the encoder does not exist, or its weights can't be read.
            ValueError: a config that is not allowed, or an encoder that lacks weights.
        """
        encoder = pretrained_encoder(name_or_path, revision, dtype, attn_implementation)
        config = cls.config_class(
            encoder_config=encoder.config.to_dict(), pooling=pooling, tasks=tasks, **config_kwargs
        )
        if encoder_dropout is not None:
            config.set_encoder_dropout(encoder_dropout)
        model = cls._from_config(
            config, dtype=encoder.dtype, attn_implementation=attn_implementation
        )
        encoder.pooler = nn.Identity()
        model.encoder.load_state_dict(encoder.state_dict())
        check_forward(model.eval().encoder, name_or_path)
        return model

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """As in `PreTrainedModel`, but only from safetensors that match the folder's config. An
        OSError or a ValueError names a model that does not, before memory is taken for it. Tasks
        that are given have their labels in any order: heads follow it."""
        with one_line_errors(f"model {str(pretrained_model_name_or_path)!r}"):
            stored = {}
            if pretrained_model_name_or_path is not None:
                places = {key: kwargs[key] for key in PLACES if key in kwargs}
                try:
                    config = cls.config_class.from_pretrained(
                        pretrained_model_name_or_path, **places
                    )
                except OSError as error:
                    if beside := models_beside(Path(pretrained_model_name_or_path)):
                        raise FileNotFoundError(
                            "Not a local folder, and not found on the Hub. Beside it: "
                            f"{', '.join(beside)}."
                        ) from error
                    raise
                variant = kwargs.get("variant")
                shapes = stored_shapes(pretrained_model_name_or_path, variant, **places)
                check_encoder(config.encoder_config, shapes)
                check_heads(config.tasks, config.hidden_size, shapes)
                stored = config.tasks
            kwargs["use_safetensors"] = True
            loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
            model = loaded[0] if isinstance(loaded, tuple) else loaded
            match_labels(stored, model.config.tasks, model.heads)
            model.config.check()
            model._take_settings_of_labels()
            return loaded

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: dict[str, torch.Tensor] | None = None,
        tasks: list[str] | None = None,
        groups: torch.LongTensor | None = None,
        num_items_in_batch: dict[str, torch.Tensor] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> MultiTaskOutput | tuple:
        """Encode once, answer every task.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, seq_len)`): token ids.
            attention_mask (`torch.Tensor` of shape `(batch_size, seq_len)`): 1 for tokens, 0 for
                padding; by default all 1.
            token_type_ids (`torch.LongTensor` of shape `(batch_size, seq_len)`): for encoders that
                take them; others are not given them.
            position_ids (`torch.LongTensor` of shape `(batch_size, seq_len)`, *optional*): by
                default the encoder's own.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, seq_len, hidden_size)`):
                instead of `input_ids`.
            labels (`dict[str, torch.Tensor]`): by task, in the shape that its loss takes (see
                losses.py); -100 (class ids) or NaN (floats) where absent. One number a text may
                also be of shape `(batch_size,)`.
            tasks (`list[str]`, *optional*): the heads to run; by default all. For inference.
            groups (`torch.LongTensor` of shape `(batch_size,)`, *optional*): a number for each pair
                or triplet, whose texts are adjacent; by default each text is alone.
            num_items_in_batch (`dict[str, torch.Tensor]`, *optional*): by task the divisors of the
                summed loss, as `count_labels` gives them; by default those of this batch.

        Raises:
            ValueError: labels or a task that the model has no head for, or labels of another shape
                than their loss takes.
            TypeError: labels that are not by task.
        """
        heads = self._chosen_heads(labels, tasks)
        labels = labels and {
            name: numbers(given) if self._is_regression(name) else given
            for name, given in labels.items()
        }
        if attention_mask is None:
            reference = input_ids if input_ids is not None else inputs_embeds
            attention_mask = torch.ones(reference.shape[:2], dtype=torch.long, device=self.device)
        encoded = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=self._asked("output_hidden_states", output_hidden_states),
            output_attentions=self._asked("output_attentions", output_attentions),
            return_dict=True,
            **self._where_given(token_type_ids, position_ids),
        )
        output = self._answers(encoded, attention_mask, heads, labels, groups, num_items_in_batch)
        return output if self._asked("return_dict", return_dict) else output.to_tuple()

    def _is_regression(self, task: str) -> bool:
        return self.config.tasks[task].get("problem_type") == "regression"

    def _asked(self, key: str, given: bool | None) -> bool:
        """What a call gives, or else the config."""
        return getattr(self.config, key) if given is None else given

    def _where_given(
        self, token_type_ids: torch.Tensor | None, position_ids: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The arguments that only some encoders take, where they are given. Tokenizers give token
        types unasked: encoders without them don't hear of these."""
        given = {
            "token_type_ids": token_type_ids if self._takes_token_types else None,
            "position_ids": position_ids,
        }
        return {name: tensor for name, tensor in given.items() if tensor is not None}

    def _chosen_heads(self, labels: dict | None, tasks: list[str] | None) -> dict[str, nn.Module]:
        if not isinstance(labels, Mapping | None):
            raise TypeError(
                "labels should map tasks to tensors; one-task classes take a tensor. Found "
                f"{type(labels).__name__}."
            )
        names = list(self.config.tasks) if tasks is None else tasks
        for name in [*names, *(labels or {})]:
            if name not in self.config.tasks:
                raise ValueError(
                    f"Unknown task {name!r}. This model has: {', '.join(self.config.tasks)}."
                )
        return {name: head for name, head in self.heads.items() if name in names}

    def _answers(
        self,
        encoded: ModelOutput,
        attention_mask: torch.Tensor,
        heads: dict[str, nn.Module],
        labels: dict[str, torch.Tensor] | None,
        groups: torch.Tensor | None,
        num_items: dict[str, torch.Tensor] | None,
    ) -> MultiTaskOutput:
        """The embedding, the heads' logits, and the losses if there are labels."""
        tokens = encoded.last_hidden_state  # (batch_size, seq_len, hidden_size)
        pooled, embedding = self.embedding_head(tokens, attention_mask)  # (batch_size, hidden_size)
        vectors = {self.config.pooling: pooled}
        logits = {}
        for name, head in heads.items():
            pooling = self.config.pooling_of(name)
            if pooling not in vectors:
                vectors[pooling] = self.embedding_head.pool(tokens, attention_mask, pooling)
            logits[name] = head(tokens if head.reads_tokens else vectors[pooling])
        scopes = {name: head.scope for name, head in heads.items() if head.scope is not None}
        strange = {name: scope(logits[name], embedding) for name, scope in scopes.items()}
        losses = loss = None
        if labels is not None:
            self._check_labels(labels, logits, embedding)
            held = self._held_embedding(embedding, tokens, attention_mask, labels)
            losses = self._summed_losses(logits, embedding, held, labels, groups)
            counts = num_items or {name: count_labels(labels[name]) for name in losses}
            for name in losses:
                losses[name] = losses[name] / counts[name][0].clamp(min=1)  # no label: exactly 0
            loss = self.combined(losses, counts) if losses else None
        return MultiTaskOutput(
            loss=loss,
            last_hidden_state=tokens,
            sentence_embedding=embedding,
            logits=logits,
            losses=losses,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
            out_of_scope=strange or None,
        )

    def _check_labels(
        self,
        labels: dict[str, torch.Tensor],
        logits: dict[str, torch.Tensor],
        embedding: torch.Tensor,
    ) -> None:
        """Raise a ValueError for labels of another shape than their loss takes."""
        for name, given in labels.items():
            task = self.config.tasks[name]
            if name in logits:
                check_labels(name, task["problem_type"], logits[name], given)
            elif task.get("loss") in EMBEDDING_LOSSES:
                check_labels(name, task["loss"], embedding, given)

    def _held_embedding(
        self,
        embedding: torch.Tensor,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """The embedding for the retention loss, whose gradient leaves out the tokens inside words.

        Token tasks say nothing of these: they would move to make up for the tokens that are
        labelled, and answer nonsense in texts where they are words of their own.
        """
        held = any(self.config.tasks[name].get("loss") == "retention" for name in labels)
        tagged = [name for name, head in self.heads.items() if head.reads_tokens and name in labels]
        if not held or not tagged or not torch.is_grad_enabled():
            return embedding
        # Also where no label is known to this model: another may teach it there.
        known = torch.stack([labels[name] != IGNORE_INDEX for name in tagged]).any(0)
        after_first, before_last = known.cumsum(1) > 0, known.flip(1).cumsum(1).flip(1) > 0
        inside = after_first & before_last & ~known
        tokens = torch.where(inside.unsqueeze(-1), tokens.detach(), tokens)
        return self.embedding_head(tokens, attention_mask)[1]

    def _summed_losses(
        self,
        logits: dict[str, torch.Tensor],
        embedding: torch.Tensor,
        held: torch.Tensor,
        labels: dict[str, torch.Tensor],
        groups: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """The sum of each task's losses, in the order of the config's tasks."""
        if groups is None:
            groups = torch.arange(len(embedding), device=embedding.device)
        losses = {}
        for name, task in self.config.tasks.items():
            if name not in labels:
                continue
            if name in logits:
                losses[name] = self.heads[name].loss(logits[name], labels[name]).sum()
            elif task.get("loss") in EMBEDDING_LOSSES:
                loss, sizes = EMBEDDING_LOSSES[task["loss"]], task.get("dimensions")
                vectors = held if task["loss"] == "retention" else embedding
                sums = [
                    loss(vectors[:, :size], labels[name], groups).sum()
                    for size in sizes or [embedding.shape[1]]
                ]
                losses[name] = torch.stack(sums).mean()
        return losses

    def set_of_labels(self, key: str, settings: dict[str, dict]) -> None:
        """Change what the heads of these tasks take of each label, in the config, too. Class
        weights change losses only, the standardization answers as well.

        Args:
            key (`str`): `class_weights` or `standardization`.
            settings (`dict[str, dict]`): the key's value by task, see `MultiTaskConfig`.

        Raises:
            ValueError: a label that the task lacks, or a number that is not allowed.
        """
        for name, of_labels in settings.items():
            self.config.tasks[name][key] = of_labels
        self.config.check()
        self._take_settings_of_labels()

    def _take_settings_of_labels(self) -> None:
        for name, head in self.heads.items():
            task = self.config.tasks[name]
            weights, moments = task.get("class_weights"), task.get("standardization")
            head.class_weights = list(weights.values()) if weights else None
            head.standardization = (
                [(one["mean"], one["std"]) for one in moments.values()] if moments else None
            )

    def forget_fitted(self) -> None:
        """Drop the thresholds and scopes, which were fitted to weights that change from now on."""
        for task in self.config.tasks.values():
            for key in FITTED:
                task.pop(key, None)
        for head in self.heads.values():
            head.scope = None

    def combined(
        self, losses: dict[str, torch.Tensor], counts: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """The sum over tasks of the weight times the loss of a row: the mean over labelled rows of
        the sum over a row's labels, so that no task starves beside one with fewer labels a row. An
        embedding's is the mean over its labels, as they are the numbers of one vector.

        Args:
            losses (`dict[str, torch.Tensor]`): by task the mean over labels, of shape `()`.
            counts (`dict[str, torch.Tensor]`): by task as `count_labels` gives them.
        """
        total = 0.0
        for name, loss in losses.items():
            labels, rows = counts[name]
            of_row = loss * labels / rows.clamp(min=1) if name in self.heads else loss
            total = total + self.config.tasks[name]["weight"] * of_row
        return total

    def save_pretrained(self, save_directory, *args, push_to_hub: bool = False, **kwargs):
        """As in `PreTrainedModel`, with the code beside the weights: `AutoModel`,
        `AutoModelForSequenceClassification`, `AutoModelForTokenClassification` and
        `pipeline("multitask")` load the folder anywhere; and with its tokenizer there,
        `SentenceTransformer`.

        Args:
            push_to_hub (`bool`): as `model.push_to_hub` afterwards, with its arguments; `repo_id`
                is by default the folder's name.

        Raises:
            ValueError: the model was quantized as it was loaded.
        """
        if getattr(self, "hf_quantizer", None) is not None:
            raise ValueError(
                "A quantized model can't be saved: a config.json can't ask for quantized weights. "
                "Save it as it is, and give quantization_config when you load it."
            )
        from .pipeline_multitask import save_pipeline_code  # needed only here

        # Afterwards: the files that are written below belong to it.
        hub = {key: kwargs.pop(key) for key in HUB_KEYS if push_to_hub and key in kwargs}
        self.config.auto_map = dict(AUTO_MAP)
        save_pipeline_code(self.config, str(save_directory))
        # `fully_shard` makes it a class of torch's, whose code would be saved in place of this.
        found = type(self)
        own = next(one for one in found.__mro__ if not one.__module__.startswith("torch."))
        self.__class__ = own
        try:
            super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            self.__class__ = found
        write_description(self.config, Path(save_directory))
        # safetensors writes for the owner alone; the other files follow the umask.
        for weights in Path(save_directory).glob("model*.safetensors"):
            shutil.copymode(Path(save_directory, "config.json"), weights)
        if push_to_hub and kwargs.get("is_main_process", True):
            self.push_to_hub(**{"repo_id": Path(save_directory).name, **hub})


def _asked_labels(config: MultiTaskConfig, task_name: str) -> list[str]:
    """The labels that `num_labels` or `id2label` ask for, or else the task's own."""
    own = config.tasks[task_name]["labels"]
    if config.id2label is None:
        return own
    asked = [config.id2label[index] for index in sorted(config.id2label)]
    unnamed = asked == [f"LABEL_{index}" for index in range(len(own))]
    of_a_task = any(asked == task.get("labels") for task in config.tasks.values())
    return own if unnamed or of_a_task else asked


class _OneTaskModel(MultiTaskModel):
    """A `MultiTaskModel` that answers one task, in the stock pipelines' form. Other heads are kept,
    and not trained.

    As in stock models, `num_labels=5` (or `id2label`) with `ignore_mismatched_sizes=True` begins a
    new head for that many labels.
    """

    task_type: str
    output_class: type[ModelOutput]

    def __init__(self, config: MultiTaskConfig):
        config.check()
        names = config.tasks_of_type(self.task_type)
        if not names:
            found = ", ".join(f"{name} ({task['type']})" for name, task in config.tasks.items())
            raise ValueError(
                f"{type(self).__name__} needs a {self.task_type} task. This model has: {found}."
            )
        name = config.task_name if config.task_name in names else names[0]
        labels = _asked_labels(config, name)
        if labels != config.tasks[name]["labels"]:
            same = sorted(labels) == sorted(config.tasks[name]["labels"])
            of_labels = FITTED if same else (*OF_LABELS, *FITTED)
            kept = {k: v for k, v in config.tasks[name].items() if k not in of_labels}
            config.tasks = {**config.tasks, name: {**kept, "labels": labels}}
        super().__init__(config)
        self.task_name, self.num_labels = name, len(labels)
        self._freeze_other_heads()
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        config.problem_type = config.tasks[name]["problem_type"]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """As in `MultiTaskModel`. A ValueError names the tasks that fit, if `task_name` does not;
        that of the folder may be for another class."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._freeze_other_heads()  # loading makes new parameters
        asked = model.config.task_name
        if asked in (None, model.task_name) or pretrained_model_name_or_path is None:
            return loaded
        places = {key: kwargs[key] for key in PLACES if key in kwargs}
        stored = cls.config_class.from_pretrained(pretrained_model_name_or_path, **places)
        if asked != stored.task_name:
            names = ", ".join(model.config.tasks_of_type(cls.task_type))
            raise ValueError(
                f"`task_name` of a {cls.__name__} should be one of {names}. Found {asked!r}, which "
                f"is {model.config.tasks[asked]['type']}."
            )
        return loaded

    def _freeze_other_heads(self) -> None:
        """Distributed training waits for the gradient of every parameter that is not frozen."""
        for name, head in self.heads.items():
            head.requires_grad_(name == self.task_name)

    def forward(  # type: ignore[override]  # the pipelines know one task's labels as a tensor
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> ModelOutput | tuple:
        """As `MultiTaskModel.forward`, with the logits and labels of one task as tensors."""
        answers: Any = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            labels=None if labels is None else {self.task_name: labels},
            tasks=[self.task_name],
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        output = self.output_class(
            loss=None if labels is None else answers.losses[self.task_name],
            logits=answers.logits[self.task_name],
            hidden_states=answers.hidden_states,
            attentions=answers.attentions,
        )
        return output if self._asked("return_dict", return_dict) else output.to_tuple()


class MultiTaskForSequenceClassification(_OneTaskModel):
    """One sequence_classification task: the config's `task_name`, or the first of that type."""

    task_type = "sequence_classification"
    output_class = SequenceClassifierOutput


class MultiTaskForTokenClassification(_OneTaskModel):
    """One token_classification task: the config's `task_name`, or the first of that type."""

    task_type = "token_classification"
    output_class = TokenClassifierOutput


MultiTaskModel.register_for_auto_class("AutoModel")
MultiTaskForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
MultiTaskForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
