"""Publish a model on the Hub, from a clean folder and in one commit."""

import shutil
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from transformers import PreTrainedTokenizerBase

from multitask_encoder.modeling import MultiTaskModel

from .finished_run import FinishedRun
from .folders import save_tokenizer
from .model_card import model_card
from .sentence_transformers import describe

HERE = Path(__file__).parent

# Weights of an earlier model, which might be loaded instead of the new ones.
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "pytorch_model*")


def stage(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    repo_id: str,
    run: FinishedRun,
    folder: Path,
) -> None:
    """Write the files to publish as `repo_id` to `folder`: weights, config, tokenizer, code, card,
    the run's keys, the handler of an Inference Endpoint with its requirements, and the configs for
    sentence-transformers."""
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    describe(model.config, tokenizer, folder)
    model_card(model.config, tokenizer.model_max_length, repo_id, run).save(folder / "README.md")
    if run.settings:
        text = yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
    for picture in (*run.pictures, *([run.picture] if run.picture else [])):
        shutil.copyfile(picture, folder / picture.name)
    shutil.copyfile(HERE / "handler.py", folder / "handler.py")
    # An endpoint's container has some torch, and often an older transformers.
    shutil.copyfile(HERE / "endpoint_requirements.txt", folder / "requirements.txt")


def publish(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    repo_id: str,
    run: FinishedRun,
    revision: str | None = None,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Push model, tokenizer, code and card as one commit: all of it arrives, or nothing.

    Other files of the repository stay, except an earlier model's weights.

    Args:
        repo_id (`str`): `owner/name`; created if missing.
        run (`FinishedRun`): the run that made the model, for its card.
        revision (`str`, *optional*): the branch to commit to, created if missing.
        private (`bool`, *optional*): for a new repository.
        token (`str`, *optional*): by default that of the logged-in user.

    Returns:
        `str`: the commit's URL.

    Raises:
        OSError: the Hub refused it or could not be reached.
    """
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage(model, tokenizer, repo_id, run, folder)
        try:
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            # Not upload_folder, which continues in several commits if one fails.
            commit = api.create_commit(
                repo_id=repo_id,
                operations=_operations(folder, api.list_repo_files(repo_id, revision=revision)),
                revision=revision,
                commit_message="Publish the model",
            )
        except Exception as error:  # of the HTTP library, which changes with versions
            reason = " ".join(str(error).split())
            raise OSError(f"Nothing was published to {repo_id}: {reason}") from error
    return commit.commit_url


def _operations(
    folder: Path, present: list[str]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Add every file of `folder`; delete the weights among `present` that it lacks."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    old = [path for path in present if any(fnmatch(path, pattern) for pattern in WEIGHTS)]
    return [
        *(CommitOperationDelete(path) for path in old if path not in names),
        *(CommitOperationAdd(name, folder / name) for name in names),
    ]
