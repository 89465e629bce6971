"""The tests that transformers runs over each of its own models, over ours.

test_transformers_own_tests.py puts this file among those tests, which come with the source of
transformers. Those that can't apply are skipped here, each with its reason; transformers itself
skips those of generation, quantization and accelerators that are not there.
"""

import unittest

import torch
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from transformers import AutoConfig

from multitask_encoder.modeling import (
    MultiTaskConfig,
    MultiTaskForSequenceClassification,
    MultiTaskForTokenClassification,
    MultiTaskModel,
)

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
ENCODERS: dict[str, dict] = {
    "bert": {**TINY, "intermediate_size": 32},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "deberta-v2": {
        **TINY,
        "intermediate_size": 32,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
    },
    "modernbert": {
        **TINY,
        "intermediate_size": 32,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
}
# Complete, as the config fills in what is left out.
TASKS = MultiTaskConfig(
    tasks={
        "topic": {"type": "sequence_classification", "labels": ["a", "b", "c"]},
        "entities": {"type": "token_classification", "labels": ["O", "B-X", "I-X"]},
    }
).tasks
TEXTS, TOKENS, VOCABULARY = 4, 7, 99


class Tester:
    """What the common tests ask of a model: its config, inputs and sizes."""

    batch_size, seq_length, is_training = TEXTS, TOKENS, True
    hidden_size, num_hidden_layers, num_attention_heads = TINY.values()

    def __init__(self, family: str, tasks: dict[str, dict]):
        self.family, self.tasks = family, tasks

    def prepare_config_and_inputs_for_common(self) -> tuple[MultiTaskConfig, dict]:
        encoder = AutoConfig.for_model(
            self.family, vocab_size=VOCABULARY, pad_token_id=0, **ENCODERS[self.family]
        )
        config = MultiTaskConfig(
            encoder_config=encoder.to_dict(), tasks=self.tasks, head_dropout=0.0
        )
        config.set_encoder_dropout(0.0)
        return config, {
            "input_ids": ids_tensor([TEXTS, TOKENS], VOCABULARY - 5) + 5,
            "attention_mask": random_attention_mask([TEXTS, TOKENS]),
        }


class Common(ModelTesterMixin):
    family: str
    task: str | None  # the one that the class answers, which then is the only one

    def setUp(self):
        # Each parameter should get a gradient; beside a task that is trained, other heads get none.
        tasks = {self.task: TASKS[self.task]} if self.task else TASKS
        self.model_tester = Tester(self.family, tasks)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class)
        if return_labels:
            labels = {
                "topic": torch.zeros(TEXTS, dtype=torch.long),
                "entities": torch.zeros((TEXTS, TOKENS), dtype=torch.long),
            }
            inputs["labels"] = labels[self.task] if self.task else labels
        return inputs

    def test_config(self):
        # Its sizes are the encoder's: `common_properties` are those of a flat config.
        ConfigTester(
            self,
            config_class=MultiTaskConfig,
            has_text_modality=False,
            common_properties=[],
            tasks=TASKS,
        ).run_common_tests()

    @unittest.skip("heads that a file lacks are refused: `from_backbone` begins new ones")
    def test_correct_missing_keys(self):
        pass

    @unittest.skip("a file that lacks weights is refused, where transformers would draw new ones")
    def test_model_weights_reload_no_missing_tied_weights(self):
        pass


CLASSES = {
    MultiTaskModel: None,
    MultiTaskForSequenceClassification: "topic",
    MultiTaskForTokenClassification: "entities",
}
for family in ENCODERS:
    for cls, task in CLASSES.items():
        name = f"{family}_{cls.__name__}"
        content = {"family": family, "task": task, "all_model_classes": (cls,)}
        globals()[name] = type(name, (Common, unittest.TestCase), content)
del ModelTesterMixin, Common, cls  # collected only in the classes above
