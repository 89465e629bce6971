"""The publishable facts of the run that made a model: no paths, no secrets."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CardData, ModelCard, try_to_load_from_cache
from huggingface_hub.utils import HFValidationError, validate_repo_id

from multitask_encoder.arguments.yaml_file import read_yaml
from multitask_encoder.comparison.runs import MULTI, WITHOUT_EFFECT
from multitask_encoder.files import read_json
from multitask_encoder.reporting.report_page import PICTURES
from multitask_encoder.training.intervals import SUFFIX

# Results that are no numbers: of how far scores can be relied on.
SCORE_TABLES = ("calibration", "thresholds", "out_of_scope")
# Keys of one machine or person, besides those without effect on the model.
LEFT_OUT = (
    *WITHOUT_EFFECT,
    *("hub_token", "push_to_hub_token", "data_dir", "encoder", "model", "teachers"),
)
# Keys of which more is read than whether it holds a path: the kinds of their values, in words too.
READ_HERE: dict[str, tuple[Any, str]] = {
    "encoder": (str, "a text"),
    "model": (str, "a text"),
    "datasets": (dict, "a mapping"),
    "train_file": (str | list, "a text or a list"),
    "examples": (str | list, "a text or a list"),
}
# Keys that hold a mapping, or the path of a file with one.
MAPPING_OR_PATH = ("accelerator_config", "deepspeed", "fsdp_config")
# Keys whose values may hold a slash without being a path.
FREE_TEXT = ("tasks", "prompt", "columns", "column_names", "text_column", "tokens_column")


class Base(NamedTuple):
    """The encoder or model that a run began with, as far as it is known.

    Args:
        repo_id (`str`, *optional*): on the Hub; for a folder, the `base_model` of its own card.
        license (`str`, *optional*), languages (`list[str]`): from its card.
    """

    repo_id: str | None = None
    license: str | None = None
    languages: list[str] = []


class FinishedRun(NamedTuple):
    """A run, for the card of its model.

    Args:
        base (`Base`): the encoder or model it began with.
        settings (`dict[str, Any]`): its keys, see `publishable`.
        examples (`list[str]`): texts to try it with.
        results (`dict[str, Any]`): of all_results.json: numbers, their intervals, and those of
            `SCORE_TABLES`.
        report (`str`, *optional*): its comparison with single-task models, in Markdown.
        picture (`Path`, *optional*): the picture in that report.
        pictures (`list[Path]`): of the run itself, those of `PICTURES` that exist.
    """

    base: Base = Base()
    settings: dict[str, Any] = {}
    examples: list[str] = []
    results: dict[str, Any] = {}
    report: str | None = None
    picture: Path | None = None
    pictures: list[Path] = []


def read_run(folder: Path) -> FinishedRun:
    """The run in a folder; an empty one for a Hub id or any other folder.

    Raises:
        OSError, ValueError: a file of it can't be read, or is invalid.
    """
    return finished_run(
        _keys(folder / "config.yaml"), _results(folder / "all_results.json"), folder
    )


def _keys(path: Path) -> dict[str, Any]:
    keys = read_yaml(path) if path.is_file() else {}
    for key, (kind, expected) in READ_HERE.items():
        if not isinstance(keys.get(key), kind | None):
            raise ValueError(f"{path}: {key} should be {expected}. Found {keys[key]!r}.")
    return keys


def _results(path: Path) -> dict[str, Any]:
    results = read_json(path) if path.is_file() else {}
    if not isinstance(results, dict):
        raise ValueError(f"{path} should hold results by their names. Found {results!r}.")
    return results


def finished_run(keys: dict[str, Any], results: dict[str, Any], folder: Path) -> FinishedRun:
    """A run with these keys (see `RunArguments.set_keys`) and results, in that folder.

    The report is the folder's or, for `multi-seed<n>`, that of the comparison it belongs to.
    """
    base, examples = base_of(keys), keys.get("examples") or []
    places = [folder]
    if re.fullmatch(rf"{MULTI}-seed\d+", folder.resolve().name):
        places.append(folder.resolve().parent)
    place = next((folder for folder in places if (folder / "report.md").is_file()), None)
    picture = place / "report.png" if place else None
    return FinishedRun(
        base=base,
        settings=publishable(keys, base),
        examples=[examples] if isinstance(examples, str) else examples,
        results={key: value for key, value in results.items() if _is_of_the_card(key, value)},
        report=(place / "report.md").read_text(encoding="utf-8") if place else None,
        picture=picture if picture and picture.is_file() else None,
        pictures=[folder / name for name in PICTURES if (folder / name).is_file()],
    )


def _is_of_the_card(key: str, value: Any) -> bool:
    if key in SCORE_TABLES or key.endswith(SUFFIX):
        return True
    return isinstance(value, int | float) and math.isfinite(value)


def publishable(keys: dict[str, Any], base: Base) -> dict[str, Any]:
    """The keys of a run that decide its results, without paths: files keep only their names, the
    encoder its Hub id. With `data_dir` they start the run again."""
    start = {"model" if keys.get("model") else "encoder": base.repo_id} if base.repo_id else {}
    rest = _without_paths(keys)
    if not start:
        rest.pop("revision", None)
    return start | rest


def _without_paths(keys: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in keys.items():
        if key in LEFT_OUT:
            continue
        if isinstance(value, dict) and key not in FREE_TEXT:
            kept[key] = _without_paths(value)
        elif isinstance(value, str) and key.endswith("_file"):
            kept[key] = _name(value)
        elif isinstance(value, list) and key.endswith("_file"):
            kept[key] = [_name(str(path)) for path in value]
        elif key in FREE_TEXT or not _may_be_path(key, value):
            kept[key] = value
    return kept


def is_hub_dataset(key: str, value: Any) -> bool:
    """Whether a key of a run or of one of its data sets names a data set on the Hub."""
    named = key == "dataset" and value not in (None, "synthetic")
    return named and _may_be_on_hub(value)


def _may_be_path(key: str, value: Any) -> bool:
    if key == "dataset":
        return value != "synthetic" and not is_hub_dataset(key, value)
    return (key in MAPPING_OR_PATH and isinstance(value, str)) or _holds_path(value)


def _holds_path(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(_holds_path, value))
    return isinstance(value, str) and bool(set(value) & set("/\\~"))


def _name(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _may_be_on_hub(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not Path(name).exists()


def base_of(keys: dict[str, Any], passed: frozenset[Path] = frozenset()) -> Base:
    """The model that a run with these keys began with: only what its card says, no guesses. Run
    folders already `passed` are not entered again: a model may be trained further in its own."""
    model = keys.get("model")
    begins_with_model = model is not None and Path(model).resolve() not in passed
    name = model if begins_with_model else keys.get("encoder")
    if name is None:
        return Base()
    folder = Path(name)
    if (folder / "config.yaml").is_file():  # a run, which began with another model
        return base_of(_keys(folder / "config.yaml"), passed | {folder.resolve()})
    if folder.exists():
        card = _card(folder / "README.md")
        repo_id = card.get("base_model") if card else None
    else:
        card = _card(name)
        # Without a card it counts as on the Hub if a file of it came from there.
        known = card or (_may_be_on_hub(name) and try_to_load_from_cache(name, "config.json"))
        repo_id = name if known else None
    if card is None:
        return Base(repo_id)
    license, languages = card.get("license"), card.get("language") or []
    return Base(
        repo_id if isinstance(repo_id, str) else None,  # a merge has several
        license if isinstance(license, str) else None,
        [languages] if isinstance(languages, str) else languages,
    )


def _card(name: str | Path) -> CardData | None:
    """The data of the card of a Hub id, or of a README.md; None if there is no readable one."""
    try:
        return ModelCard.load(name).data
    except Exception:  # no such card, no network, no such id, no YAML: each its own kind
        return None
