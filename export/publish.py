"""Publish a model on the Hub, from a clean folder and in one commit."""

import tempfile
from pathlib import Path

from huggingface_hub import HfApi, ModelCard
from transformers import PreTrainedTokenizerBase

from modeling import MultiTaskModel
from modeling.pipeline_multitask import save_pipeline_code


def stage(
    model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, card: ModelCard, folder: Path
) -> None:
    """Write what is published, and nothing else, to `folder`: weights, config, tokenizer, code, card."""
    save_pipeline_code(model.config, str(folder))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card.save(folder / "README.md")


def publish(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    card: ModelCard,
    repo_id: str,
    revision: str | None = None,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Push model, tokenizer, code and card as one commit: all of it arrives, or nothing.

    Args:
        repo_id (`str`): `owner/name`; created where it does not exist.
        revision (`str`, *optional*): the branch to commit to, created where it does not exist.
        private (`bool`, *optional*): for a new repository.
        token (`str`, *optional*): by default the one that is logged in.

    Returns:
        `str`: the commit's address.

    Raises:
        OSError: the Hub refused or could not be reached.
    """
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage(model, tokenizer, card, folder)
        try:
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message="Publish the model",
            )
        except Exception as error:  # of the HTTP library beneath, which changes with versions
            reason = str(error).strip().split("\n")[0]
            raise OSError(f"Nothing was published to {repo_id}: {reason}") from error
    return commit.commit_url
