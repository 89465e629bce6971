"""The model: every encoder, every round trip."""

import copy
import json
import math
import os

import pytest
import torch
from conftest import ENCODERS, TASKS, encoder_config
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertForTokenClassification,
    DistilBertForTokenClassification,
    pipeline,
)
from transformers.quantizers import (
    HfQuantizer,
    register_quantization_config,
    register_quantizer,
)
from transformers.utils.quantization_config import QuantizationConfigMixin

from multitask_encoder.modeling import (
    MultiTaskConfig,
    MultiTaskForSequenceClassification,
    MultiTaskForTokenClassification,
    MultiTaskModel,
)
from multitask_encoder.modeling.attention import NAME

LABELS = {
    "topic": torch.tensor([0, 2, -100, 1]),
    "entities": torch.tensor(
        [
            [-100, 0, 1, 2, 0, 0, 3, 0, -100],
            [-100, 0, 0, 0, 1, 0, -100, -100, -100],
            [-100] * 9,
            [-100] * 9,
        ]
    ),
}


@register_quantization_config("unchanged")
class Unchanged(QuantizationConfigMixin):
    """Asks for a quantizer that leaves the weights as they are: others need packages."""


@register_quantizer("unchanged")
class UnchangedQuantizer(HfQuantizer):
    requires_calibration = False
    is_trainable = True

    def is_serializable(self, **_) -> bool:
        return True


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("family", ENCODERS)
def test_every_encoder_answers_all_tasks_and_round_trips(family, make_model, batch, tmp_path):
    model = make_model(family).eval()
    output = model(**batch, token_type_ids=torch.zeros_like(batch["input_ids"]))
    assert output.sentence_embedding.shape == (4, 16)
    assert output.last_hidden_state.shape == (4, 9, 16)
    assert {name: tuple(value.shape) for name, value in output.logits.items()} == {
        "topic": (4, 3),
        "entities": (4, 9, 5),
    }
    model.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    assert same_weights(model, loaded)
    assert loaded.config.tasks == model.config.tasks
    assert list(loaded.config.tasks) == list(TASKS)
    again = loaded(**batch)
    assert torch.equal(again.sentence_embedding, output.sentence_embedding)
    assert all(torch.equal(again.logits[name], output.logits[name]) for name in output.logits)


@pytest.mark.parametrize("family", ENCODERS)
def test_starts_from_the_pretrained_weights_with_no_unused_parameter(
    family, make_model, backbone, batch
):
    model = make_model(family)
    pretrained = AutoModel.from_pretrained(backbone(family)).state_dict()
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, pretrained[key])
    model.train()
    model(**batch, labels=LABELS).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ENCODERS)
def test_round_trip_is_bit_exact_in_every_precision_and_attention(
    family, dtype, attention, make_model, batch, tmp_path
):
    if attention == "sdpa" and not AutoModel.from_config(encoder_config(family))._supports_sdpa:
        pytest.skip(f"{family} has no sdpa in transformers")
    model = make_model(family, dtype=dtype, attn_implementation=attention).eval()
    names = {"eager": "eager", "sdpa": NAME}
    assert model.encoder.config._attn_implementation == names[attention]
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    output = model(**batch)
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    loaded = MultiTaskModel.from_pretrained(tmp_path, attn_implementation=attention)
    assert loaded.dtype == dtype
    assert same_weights(model, loaded)
    assert torch.equal(loaded(**batch).sentence_embedding, output.sentence_embedding)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_padding_changes_no_answer(family, pooling, make_model, batch):
    model = make_model(family, pooling=pooling).eval()
    together = model(**batch)
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = model(input_ids=batch["input_ids"][row : row + 1, :length])
        torch.testing.assert_close(
            alone.sentence_embedding[0], together.sentence_embedding[row], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            alone.logits["entities"][0],
            together.logits["entities"][row, :length],
            rtol=1e-4,
            atol=1e-5,
        )


def test_gradient_checkpointing_gives_the_same_gradients(make_model, batch):
    plain, checkpointed = make_model().train(), make_model().train()
    checkpointed.activation_checkpointing_enable()
    assert checkpointed.is_activation_checkpointing
    for model in (plain, checkpointed):
        model(**batch, labels=LABELS).loss.backward()
    for one, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_resized_embeddings_round_trip(make_model, tmp_path):
    model = make_model()
    model.resize_token_embeddings(333)
    model.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    assert loaded.config.encoder_config.vocab_size == 333
    assert loaded.get_input_embeddings().weight.shape == (333, 16)
    assert same_weights(model, loaded)


def test_a_head_can_be_added_and_dropped_on_load(make_model, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path)
    tasks = {
        "topic": TASKS["topic"],
        "mood": {"type": "sequence_classification", "labels": ["good", "bad"]},
    }
    loaded, report = MultiTaskModel.from_pretrained(tmp_path, tasks=tasks, output_loading_info=True)
    assert sorted(report["missing_keys"]) == [
        "heads.mood.classifier.bias",
        "heads.mood.classifier.weight",
    ]
    assert list(loaded.heads) == ["topic", "mood"]
    assert same_weights(loaded.heads["topic"], model.heads["topic"])
    assert same_weights(loaded.encoder, model.encoder)
    new = loaded.heads["mood"].classifier
    assert new.bias.eq(0).all()
    assert 0 < new.weight.std() < 0.1


def test_loss_is_the_weighted_sum_of_mean_cross_entropies(make_model, batch):
    tasks = copy.deepcopy(TASKS)
    tasks["entities"]["weight"] = 0.25
    model = make_model(tasks=tasks).eval()
    output = model(**batch, labels=LABELS)
    expected = {
        "topic": torch.nn.functional.cross_entropy(output.logits["topic"], LABELS["topic"]),
        "entities": torch.nn.functional.cross_entropy(
            output.logits["entities"].transpose(1, 2), LABELS["entities"]
        ),
    }
    assert output.losses.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(output.losses[name], loss)
    labelled = LABELS["entities"] != -100
    length = labelled.sum() / labelled.any(1).sum()  # the loss of a row is a sum over its tokens
    torch.testing.assert_close(
        output.loss, expected["topic"] + 0.25 * length * expected["entities"]
    )


def test_a_batch_without_labels_of_a_task_costs_nothing(make_model, batch):
    model = make_model().train()
    labels = {name: torch.full_like(value, -100) for name, value in LABELS.items()}
    output = model(**batch, labels=labels)
    assert output.loss.item() == 0.0
    output.loss.backward()
    assert all(weight.grad.eq(0).all() for weight in model.parameters())


def test_only_the_asked_tasks_are_answered(make_model, batch):
    model = make_model().eval()
    assert list(model(**batch, tasks=["topic"]).logits) == ["topic"]
    assert model(**batch, tasks=[]).logits == {}
    with pytest.raises(ValueError, match=r"Unknown task 'mood'\. This model has: topic, entities"):
        model(**batch, tasks=["mood"])
    with pytest.raises(ValueError, match="Unknown task 'mood'"):
        model(**batch, labels={"mood": LABELS["topic"]})


@pytest.mark.parametrize(
    ("family", "reference"),
    [("bert", BertForTokenClassification), ("distilbert", DistilBertForTokenClassification)],
)
def test_token_head_equals_transformers_own(family, reference, make_model, batch):
    model = make_model(family).eval()
    config = encoder_config(family)
    config.num_labels = 5
    theirs = reference(config).eval()
    getattr(theirs, theirs.base_model_prefix).load_state_dict(model.encoder.state_dict())
    theirs.classifier.load_state_dict(model.heads["entities"].classifier.state_dict())
    ours = model(**batch, labels=LABELS)
    expected = theirs(**batch, labels=LABELS["entities"])
    torch.testing.assert_close(ours.logits["entities"], expected.logits)
    torch.testing.assert_close(ours.losses["entities"], expected.loss)


def test_problem_types_follow_transformers(make_model, batch):
    tasks = {
        "tags": {
            "type": "sequence_classification",
            "labels": ["a", "b"],
            "problem_type": "multi_label_classification",
        },
        "stars": {
            "type": "sequence_classification",
            "labels": ["stars"],
            "problem_type": "regression",
        },
    }
    model = make_model(tasks=tasks).eval()
    nan = math.nan
    tags = torch.tensor([[1.0, 0.0], [0.0, 0.0], [nan, nan], [1.0, 1.0]])
    stars = torch.tensor([[4.0], [nan], [2.5], [1.0]])
    output = model(**batch, labels={"tags": tags, "stars": stars})
    rows = [0, 1, 3]
    torch.testing.assert_close(
        output.losses["tags"],
        torch.nn.functional.binary_cross_entropy_with_logits(
            output.logits["tags"][rows], tags[rows]
        ),
    )
    rows = [0, 2, 3]
    torch.testing.assert_close(
        output.losses["stars"],
        torch.nn.functional.mse_loss(output.logits["stars"][rows], stars[rows]),
    )


STARS = {"type": "sequence_classification", "problem_type": "regression", "labels": ["stars"]}


def test_one_number_a_text_is_a_label_with_or_without_an_axis_of_its_own(make_model, batch):
    tasks = {"stars": STARS, "topic": TASKS["topic"]}
    model = make_model(tasks=tasks).eval()
    stars = torch.tensor([4.0, math.nan, 2.5, 1.0])
    flat, column = (
        model(**batch, labels={"stars": labels, "topic": LABELS["topic"]})
        for labels in (stars, stars.unsqueeze(1))
    )
    expected = (flat.logits["stars"][[0, 2, 3], 0] - stars[[0, 2, 3]]).square().mean()
    torch.testing.assert_close(flat.losses["stars"], expected)
    assert flat.losses["stars"] == column.losses["stars"] and flat.loss == column.loss


def test_numbers_have_all_their_digits_where_the_encoder_computes_in_bfloat16(make_model, batch):
    model = make_model(tasks={"year": {**STARS, "labels": ["year"]}}).eval()
    torch.nn.init.constant_(model.heads["year"].classifier.bias, 2003.0)
    wide = model(**batch).logits["year"]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(**batch).logits["year"]
    assert mixed.dtype == torch.float32
    assert wide.unique().numel() > 1
    torch.testing.assert_close(mixed, wide, atol=0.05, rtol=0)  # a step of bfloat16 is 8


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("topic", torch.zeros(4, 1, dtype=torch.long), r"\(4,\)\. Found \(4, 1\)"),
        ("entities", torch.zeros(4, 8, dtype=torch.long), r"\(4, 9\)\. Found \(4, 8\)"),
        ("entities", torch.zeros(4, dtype=torch.long), r"\(4, 9\)\. Found \(4,\)"),
        ("stars", torch.zeros(1), r"\(4, 1\)\. Found \(1,\)"),
        ("stars", torch.zeros(4, 4), r"\(4, 1\)\. Found \(4, 4\)"),
        ("ratings", torch.zeros(4), r"\(4, 2\)\. Found \(4,\)"),
        ("tags", torch.zeros(4, 1), r"\(4, 2\)\. Found \(4, 1\)"),
        ("embedding", torch.zeros(4, 1), r"\(4, 16\)\. Found \(4, 1\)"),
        ("similarity", torch.zeros(4, 1), r"\(4,\)\. Found \(4, 1\)"),
        ("stars", [1.0, 2.0], r"\(4, 1\)\. Found list"),
    ],
)
def test_labels_of_another_shape_are_refused(task, labels, expected, make_model, batch):
    tasks = {
        **TASKS,
        "stars": STARS,
        "ratings": {**STARS, "labels": ["food", "service"]},
        "tags": {**STARS, "labels": ["a", "b"], "problem_type": "multi_label_classification"},
        "similarity": {"type": "sentence_embedding", "loss": "cosent"},
    }
    message = rf"^Labels of task '{task}' should be a tensor of shape {expected}\.$"
    with pytest.raises(ValueError, match=message):
        make_model(tasks=tasks)(**batch, labels={task: labels})


def test_labels_that_are_not_by_task_are_refused(make_model, batch):
    for tasks in (TASKS, {"topic": TASKS["topic"]}):
        with pytest.raises(TypeError, match=r"^labels should map tasks to .* Found Tensor\.$"):
            make_model(tasks=tasks)(**batch, labels=LABELS["topic"])


def test_one_task_views_share_all_weights(make_model, batch, tmp_path):
    model = make_model().eval()
    model.save_pretrained(tmp_path)
    output = model(**batch, labels=LABELS)
    for cls, task in [
        (MultiTaskForSequenceClassification, "topic"),
        (MultiTaskForTokenClassification, "entities"),
    ]:
        view = cls.from_pretrained(tmp_path)
        assert same_weights(view, model)
        assert list(view.config.id2label.values()) == TASKS[task]["labels"]
        answer = view(**batch, labels=LABELS[task])
        assert torch.equal(answer.logits, output.logits[task])
        torch.testing.assert_close(answer.loss, output.losses[task])


def test_one_task_view_answers_the_named_task(make_model, tmp_path):
    tasks = {**TASKS, "mood": {"type": "sequence_classification", "labels": ["good", "bad"]}}
    make_model(tasks=tasks).save_pretrained(tmp_path)
    view = MultiTaskForSequenceClassification.from_pretrained(tmp_path, task_name="mood")
    assert view.config.id2label == {0: "good", 1: "bad"}
    with pytest.raises(
        ValueError, match="`task_name` should be one of topic, entities, embedding, mood"
    ):
        MultiTaskForSequenceClassification.from_pretrained(tmp_path, task_name="moods")
    for one in (MultiTaskForSequenceClassification, AutoModelForSequenceClassification):
        with pytest.raises(
            ValueError,
            match=r"^`task_name` of a MultiTaskForSequenceClassification should be one of topic, "
            r"mood\. Found 'entities', which is token_classification\.$",
        ):
            one.from_pretrained(tmp_path, task_name="entities")
    view.save_pretrained(tmp_path / "mood")  # whose config names the task of this view
    other = MultiTaskForTokenClassification.from_pretrained(tmp_path / "mood")
    assert other.task_name == "entities"


def test_stock_pipeline_answers_the_task_that_its_model_kwargs_name(
    make_model, tokenizer, tmp_path
):
    tasks = {**TASKS, "mood": {"type": "sequence_classification", "labels": ["good", "bad"]}}
    make_model(tasks=tasks).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    def answer(task_name: str) -> str:
        classify = pipeline(
            "text-classification", model=str(tmp_path), model_kwargs={"task_name": task_name}
        )
        return classify("Paris")[0]["label"]

    assert answer("mood") in ("good", "bad")
    assert answer("topic") in TASKS["topic"]["labels"]
    with pytest.raises(ValueError, match=r"^`task_name` should be one of topic, .*'moods'\.$"):
        answer("moods")
    with pytest.raises(ValueError, match=r"should be one of topic, mood\. Found 'entities'"):
        answer("entities")


@pytest.mark.parametrize("tasks", [TASKS, {"embedding": TASKS["embedding"]}])
def test_stock_feature_extraction_takes_batches(tasks, make_model, tokenizer, tmp_path):
    model = make_model(tasks=tasks).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["Paris", "the play is in Paris", "x", "in the play"]
    extract = pipeline("feature-extraction", model=str(tmp_path))
    found = extract(texts, batch_size=3)
    assert len(found) == 4
    for text, answer in zip(texts, found, strict=True):
        expected = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        given = torch.tensor(answer)[:, : expected.shape[1]]  # then padding, as of any model
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [MultiTaskModel, MultiTaskForSequenceClassification])
def test_labels_in_another_order_are_the_same_labels(cls, make_model, batch, tmp_path):
    model = make_model().eval()
    model.save_pretrained(tmp_path)
    labels = TASKS["topic"]["labels"]
    tasks = {**TASKS, "topic": {**TASKS["topic"], "labels": labels[::-1]}}
    loaded = cls.from_pretrained(tmp_path, tasks=tasks)
    logits = loaded(**batch).logits
    logits = logits if cls is MultiTaskForSequenceClassification else logits["topic"]
    torch.testing.assert_close(logits.flip(-1), model(**batch).logits["topic"])
    loaded.save_pretrained(tmp_path / "again")
    again = MultiTaskModel.from_pretrained(tmp_path / "again")
    torch.testing.assert_close(again(**batch).logits["topic"], logits)


def test_other_labels_than_those_of_a_head_are_refused(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    tasks = {**TASKS, "topic": {**TASKS["topic"], "labels": ["x", "y", "z"]}}
    message = r"labels of task 'topic' should be those that it was trained with.*Found x, y, z\."
    with pytest.raises(ValueError, match=message):
        MultiTaskModel.from_pretrained(tmp_path, tasks=tasks)


@pytest.mark.parametrize(
    "cls", [MultiTaskForSequenceClassification, AutoModelForSequenceClassification]
)
@pytest.mark.parametrize("number", [2, 5])
def test_a_one_task_view_takes_another_number_of_labels(number, cls, make_model, batch, tmp_path):
    tasks = {**TASKS, "topic": {**TASKS["topic"], "class_weights": {"sports": 2.0}}}
    model = make_model(tasks=tasks).eval()
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"^Can't load model .*ignore_mismatched_sizes=True"):
        cls.from_pretrained(tmp_path, num_labels=number)
    view = cls.from_pretrained(tmp_path, num_labels=number, ignore_mismatched_sizes=True)
    labels = [f"LABEL_{index}" for index in range(number)]
    assert view.num_labels == view.config.num_labels == number
    assert view(**batch).logits.shape == (4, number)
    assert view.config.tasks["topic"]["labels"] == list(view.config.id2label.values()) == labels
    assert same_weights(view.encoder, model.encoder)
    assert same_weights(view.heads["entities"], model.heads["entities"])
    view.save_pretrained(tmp_path / "again")
    again = MultiTaskModel.from_pretrained(tmp_path / "again")
    assert again.config.tasks["topic"]["labels"] == labels


def test_a_one_task_view_trains_its_head_alone(make_model, batch, tmp_path):
    """DistributedDataParallel waits for the gradient of each parameter that is trained."""
    make_model().save_pretrained(tmp_path)
    view = MultiTaskForSequenceClassification.from_pretrained(tmp_path)
    view.train()(**batch, labels=LABELS["topic"]).loss.backward()
    trained = {name for name, parameter in view.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, one in view.named_parameters() if one.grad is not None}
    assert not any(name.startswith("heads.entities") for name in trained)
    assert any(name.startswith("heads.topic") for name in trained)


@pytest.mark.parametrize("max_shard_size", ["50GB", "20KB"])
def test_a_variant_loads(max_shard_size, make_model, batch, tmp_path):
    model = make_model().eval()
    model.half().save_pretrained(tmp_path, variant="fp16", max_shard_size=max_shard_size)
    assert not (tmp_path / "model.safetensors").exists()
    loaded = MultiTaskModel.from_pretrained(tmp_path, variant="fp16", dtype="auto")
    assert loaded.dtype == torch.float16
    assert same_weights(loaded, model)
    reason = r"There should be a model\.safetensors\. Found none"
    with pytest.raises(OSError, match=reason):
        MultiTaskModel.from_pretrained(tmp_path)


def test_positions_reach_the_encoder(make_model, batch):
    model = make_model().eval()
    positions = torch.arange(batch["input_ids"].shape[1]).expand(batch["input_ids"].shape)
    plain = model(**batch).sentence_embedding
    assert torch.equal(model(**batch, position_ids=positions).sentence_embedding, plain)
    moved = model(**batch, position_ids=positions + 3).sentence_embedding
    assert not torch.allclose(moved, plain)
    expected = model.encoder(**batch, position_ids=positions + 3).last_hidden_state
    found = model(**batch, position_ids=positions + 3).last_hidden_state
    assert torch.equal(found, expected)


def test_a_quantized_model_is_not_saved(make_model, tmp_path):
    """Its config could not say how to read the weights."""
    make_model().save_pretrained(tmp_path / "model")
    quantized = MultiTaskModel.from_pretrained(
        tmp_path / "model", quantization_config=Unchanged(quant_method="unchanged")
    )
    with pytest.raises(ValueError, match=r"^A quantized model can't be saved"):
        quantized.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_one_task_view_keeps_its_labels_where_their_number_is_given(make_model, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path)
    view = MultiTaskForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    assert view.num_labels == 3 and same_weights(view, model)
    assert list(view.config.id2label.values()) == TASKS["topic"]["labels"]
    tokens = MultiTaskForTokenClassification(view.config)
    assert tokens.num_labels == 5 and tokens.config.label2id["I-PER"] == 4
    named = {0: "x", 1: "y", 2: "z"}
    with pytest.raises(ValueError, match=r"labels of task 'topic' should be .* Found x, y, z\."):
        MultiTaskForSequenceClassification.from_pretrained(tmp_path, id2label=named)


def test_labels_may_be_any_text(make_model, tmp_path):
    labels = ["R&D", "Café ☕", "a,b", "<b>", "1"]
    tasks = {"kind": {"type": "sequence_classification", "labels": labels}}
    make_model(tasks=tasks).save_pretrained(tmp_path)
    assert MultiTaskModel.from_pretrained(tmp_path).config.tasks["kind"]["labels"] == labels
    assert json.loads((tmp_path / "config.json").read_text())["tasks"]["kind"]["labels"] == labels


def test_weights_may_be_read_by_whom_the_other_files_may_be(make_model, tmp_path):
    before = os.umask(0o022)
    try:
        make_model().save_pretrained(tmp_path)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


def test_saved_weights_are_the_models_own(make_model, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path, True)  # is_main_process, as in PreTrainedModel
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()


def test_pooling_of_left_padded_batches(make_model, batch):
    model = make_model("deberta-v2", pooling="cls").eval()
    row = batch["input_ids"][1:2, :7]
    padded = torch.nn.functional.pad(row, (2, 0))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1]])
    torch.testing.assert_close(
        model(input_ids=padded, attention_mask=mask).sentence_embedding,
        model(input_ids=row).sentence_embedding,
        rtol=1e-4,
        atol=1e-5,
    )


def test_config_is_a_copy_of_what_it_was_given():
    given = {"topic": {"type": "sequence_classification", "labels": ["a", "b"]}}
    MultiTaskConfig(tasks=given)
    assert given == {"topic": {"type": "sequence_classification", "labels": ["a", "b"]}}


def test_a_head_may_have_a_pooling_of_its_own(make_model, batch):
    tasks = {
        "one": TASKS["topic"],
        "two": {**TASKS["topic"], "pooling": "cls"},
        "three": {**TASKS["topic"], "pooling": "max"},
    }
    model = make_model(tasks=tasks).eval()
    for name in ("two", "three"):
        model.heads[name].load_state_dict(model.heads["one"].state_dict())
    found = model(**batch).logits
    for name, pooling in {"one": "mean", "two": "cls", "three": "max"}.items():
        alone = make_model(tasks={"one": TASKS["topic"]}, pooling=pooling).eval()
        alone.heads["one"].load_state_dict(model.heads["one"].state_dict())
        torch.testing.assert_close(found[name], alone(**batch).logits["one"])


@pytest.mark.parametrize("cls", [MultiTaskModel, MultiTaskForTokenClassification])
def test_the_config_asks_for_hidden_states_and_attentions(cls, make_model, batch, tmp_path):
    make_model().save_pretrained(tmp_path)
    model = cls.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert model(**batch).hidden_states is None and model(**batch).attentions is None
    model.config.output_hidden_states = model.config.output_attentions = True
    output = model(**batch)
    layers = model.config.encoder_config.num_hidden_layers
    assert (len(output.hidden_states), len(output.attentions)) == (layers + 1, layers)
    assert model(**batch, output_hidden_states=False).hidden_states is None
    model.save_pretrained(tmp_path)
    loaded = cls.from_pretrained(tmp_path)(**batch)
    assert loaded.hidden_states is not None and loaded.attentions is not None


@pytest.mark.parametrize("cls", [MultiTaskModel, MultiTaskForTokenClassification])
def test_the_config_asks_for_tuples(cls, make_model, batch, tmp_path):
    make_model().save_pretrained(tmp_path)
    model = cls.from_pretrained(tmp_path, return_dict=False).eval()
    output = model(**batch, return_dict=True)
    assert torch.equal(model(**batch)[0], output[0]) and isinstance(model(**batch), tuple)
    model.save_pretrained(tmp_path)
    assert isinstance(cls.from_pretrained(tmp_path)(**batch), tuple)
