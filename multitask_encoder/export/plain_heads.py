"""One head as the encoder family's own class: the stock pipelines load it without our code.

A token head is one linear layer, as in `...ForTokenClassification` of nearly all families.
`...ForSequenceClassification` has more between the pooled vector and the logits: a dense layer and
an activation f. They can be set to let the logits through, since f(x) - f(-x) is a straight line:
2x for a tanh near 0, x for a ReLU or GELU anywhere. The pooling can't be set: it is the first
token's vector in all families but ModernBERT.
"""

import copy
import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from multitask_encoder.modeling import MultiTaskModel

from . import parity
from .folders import save_tokenizer

TOLERANCE = 1e-4
AUTO = {
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
}
INSTEAD = "--to onnx exports all heads of any model"


class Line(NamedTuple):
    """f(scale x) - f(-scale x) = slope * scale * x, up to rounding."""

    slope: float
    scale: float


TANH, GELU, RELU = Line(2, 2.0**-20), Line(1, 1), Line(1, 1)


class DenseHead(NamedTuple):
    """The names of the dense layer and the classifier in a class, and what is between them."""

    dense: str
    classifier: str
    activation: Line
    norm: str | None = None


ROBERTA = DenseHead("classifier.dense", "classifier.out_proj", TANH)
# Its config chooses the activation: here none. A normalisation follows, so values must be small.
MODERNBERT = DenseHead("head.dense", "classifier", Line(2, 2.0**-20), "head.norm")
DENSE_HEADS = {
    "sequence_classification": {
        "bert": DenseHead("bert.pooler.dense", "classifier", TANH),
        "deberta-v2": DenseHead("pooler.dense", "classifier", GELU),
        "distilbert": DenseHead("pre_classifier", "classifier", RELU),
        "electra": DenseHead("classifier.dense", "classifier.out_proj", GELU),
        "modernbert": MODERNBERT,
        "mpnet": ROBERTA,
        "roberta": ROBERTA,
        "xlm-roberta": ROBERTA,
    },
    "token_classification": {"modernbert": MODERNBERT},
}


def export(
    model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, task_name: str, folder: Path
) -> dict[str, float]:
    """Write one head, with the encoder and the tokenizer, to `folder`, and load it there.

    Prompts are not written: stock pipelines know none; put them into the texts.

    Returns:
        `dict[str, float]`: the largest difference in its logits (see parity.py).

    Raises:
        ValueError: an unknown task, a family whose class can't answer as this head does, or a
            difference above `TOLERANCE`.
    """
    plain_model(model, task_name).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    plain = AUTO[model.config.tasks[task_name]["type"]].from_pretrained(folder).eval()
    return parity.check(model, tokenizer, partial(outputs, plain, task_name), TOLERANCE)


@torch.inference_mode()
def outputs(plain: PreTrainedModel, task_name: str, batch: parity.Batch) -> parity.Outputs:
    """The logits of a plain model, in the form of `parity.outputs`."""
    ids, mask = batch
    logits = plain(input_ids=ids, attention_mask=mask).logits
    return {task_name: logits[mask == 1] if logits.ndim == 3 else logits}


@torch.no_grad()
def plain_model(model: MultiTaskModel, task_name: str) -> PreTrainedModel:
    """The family's own model that gives the logits of one head.

    Raises:
        ValueError: as in `export`.
    """
    tasks = {name: task for name, task in model.config.tasks.items() if task["type"] in AUTO}
    if task_name not in tasks:
        raise ValueError(f"Unknown head {task_name!r}. This model has: {', '.join(tasks)}.")
    task = tasks[task_name]
    config = copy.deepcopy(model.config.encoder_config)
    family = config.model_type
    pooling = model.config.pooling_of(task_name)
    if task["type"] == "sequence_classification":
        _check_pooling(pooling, family)
    config.id2label = dict(enumerate(task["labels"]))
    config.label2id = {label: index for index, label in enumerate(task["labels"])}
    config.problem_type = task["problem_type"]
    if family == "modernbert":
        config.classifier_pooling = pooling
        config.classifier_activation, config.classifier_bias = "linear", True
    try:
        plain = AUTO[task["type"]].from_config(config)
    except ValueError as error:
        raise ValueError(
            f"{family} has no class for {task['type']} in transformers; {INSTEAD}."
        ) from error

    plain.base_model.load_state_dict(model.encoder.state_dict(), strict=False)
    head = _one_layer(model.heads[task_name])
    design = DENSE_HEADS[task["type"]].get(family)
    set_layers: list[str] = []
    if design is not None:
        set_layers += [name for name in (design.dense, design.classifier, design.norm) if name]
        _let_through(head, plain, design)
    elif isinstance(getattr(plain, "classifier", None), nn.Linear):
        set_layers += ["classifier"]
        plain.classifier.load_state_dict(head.state_dict())
    _check_all_set(plain, model, set_layers)
    return plain.eval()


def _one_layer(head: nn.Module) -> nn.Linear:
    """A linear layer that gives the head's logits."""
    if head.standardization is None:
        return head.classifier
    layer = copy.deepcopy(head.classifier)
    layer.bias.copy_(head.in_units(head.classifier.bias))
    layer.weight.copy_(
        head.classifier.weight * layer.weight.new_tensor(head.standardization)[:, 1:]
    )
    return layer


def _check_pooling(pooling: str, family: str) -> None:
    known = DENSE_HEADS["sequence_classification"]
    if family not in known:
        raise ValueError(
            f"{family}'s own sequence classification is not supported. Supported: "
            f"{', '.join(known)}; {INSTEAD}."
        )
    allowed = ("cls", "mean") if family == "modernbert" else ("cls",)
    if pooling not in allowed:
        raise ValueError(
            f"{family}'s own sequence classification pools by {' or '.join(allowed)}. Found a "
            f"head that pools by {pooling}; {INSTEAD}."
        )


def _let_through(head: nn.Linear, plain: PreTrainedModel, design: DenseHead) -> None:
    """Set a dense layer, an activation and the classifier behind it to compute what `head` does."""
    dense, classifier = plain.get_submodule(design.dense), plain.get_submodule(design.classifier)
    labels, (slope, scale) = head.out_features, design.activation
    width = dense.out_features
    if 2 * labels + 2 > width:
        raise ValueError(
            f"A head that fits the family's own class should have at most {width // 2 - 1} labels "
            f"(half of the encoder's width). Found {labels}; {INSTEAD}."
        )
    for parameter in (*dense.parameters(), *classifier.parameters()):
        parameter.zero_()
    positive, negative = slice(0, labels), slice(labels, 2 * labels)
    for sign, rows in ((1, positive), (-1, negative)):
        dense.weight[rows] = sign * scale * head.weight
    factor = 1 / (slope * scale)
    if design.norm is not None:
        # Beside a 1 and a -1 the small values change neither mean nor variance, which makes the
        # normalisation a constant factor.
        norm = plain.get_submodule(design.norm)
        norm.reset_parameters()
        dense.bias[-2:] = torch.tensor([1.0, -1.0])
        factor *= math.sqrt(2 / width + norm.eps)
    classifier.weight[:, positive] = factor * torch.eye(labels)
    classifier.weight[:, negative] = -factor * torch.eye(labels)
    classifier.bias.copy_(head.bias)


def _check_all_set(plain: PreTrainedModel, model: MultiTaskModel, set_layers: list[str]) -> None:
    """Refuse a class with weights that come neither from the encoder nor from the head."""
    prefix = f"{plain.base_model_prefix}."
    known = {prefix + name for name in model.encoder.state_dict()}
    layers = tuple(f"{name}." for name in set_layers)
    unset = [
        name for name in plain.state_dict() if name not in known and not name.startswith(layers)
    ]
    lost = [name for name in known if name not in plain.state_dict()]
    if unset or lost:
        raise ValueError(
            f"{type(plain).__name__} should have the encoder's weights and one linear layer. Found "
            f"a difference in {', '.join(sorted(unset + lost)[:3])}; {INSTEAD}."
        )
