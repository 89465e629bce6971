"""Answers the requests of a Hugging Face Inference Endpoint; publishing copies it beside the model.

    {"inputs": "a text", or ["several", "texts"],
     "parameters": {"tasks": ["topic"], "top_k": 3}}                  # may be left out

The parameters are those of `MultiTaskPipeline` (PARAMETERS), whose answer this is: one per text.
"""

from typing import Any

from transformers import pipeline

PARAMETERS = ("tasks", "prompt_name", "top_k", "thresholds", "precision", "coverage")


class EndpointHandler:
    """Made once by the endpoint's server, and called with each request.

    Args:
        path (`str`): the folder of the published model, whose code runs: deploying it means trust.
    """

    def __init__(self, path: str = ""):
        self.pipeline = pipeline("multitask", model=path, trust_remote_code=True)

    def __call__(self, data: dict[str, Any]) -> dict | list[dict]:
        """One answer for a text, a list of them for a list.

        Raises:
            ValueError: an invalid request; the server sends the line.
        """
        inputs, parameters = _checked(data)
        return self.pipeline(inputs, **parameters)


def _checked(data: Any) -> tuple[str | list[str], dict[str, Any]]:
    if not isinstance(data, dict) or "inputs" not in data:
        raise ValueError('The request should be {"inputs": a text or a list of texts}.')
    inputs, parameters = data["inputs"], data.get("parameters") or {}
    for key in data:
        if key not in ("inputs", "parameters"):
            raise ValueError(f"The request should hold inputs and parameters. Found {key!r}.")
    if not isinstance(inputs, str | list):
        raise ValueError(
            f"inputs should be a text or a list of texts. Found {type(inputs).__name__}."
        )
    if not isinstance(parameters, dict):
        raise ValueError(f"parameters should be an object. Found {type(parameters).__name__}.")
    for key in parameters:
        if key not in PARAMETERS:
            raise ValueError(
                f"parameters should be some of {', '.join(PARAMETERS)}. Found {key!r}."
            )
    tasks, prompt_name = parameters.get("tasks"), parameters.get("prompt_name")
    of_texts = isinstance(tasks, list) and all(isinstance(name, str) for name in tasks)
    if not (of_texts or isinstance(tasks, str | None)):
        raise ValueError(f"tasks should be a list of names. Found {tasks!r}.")
    if not isinstance(prompt_name, str | None):
        raise ValueError(f"prompt_name should be a name. Found {prompt_name!r}.")
    return inputs, parameters
