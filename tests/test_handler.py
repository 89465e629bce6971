"""Requests to an Inference Endpoint; test_publish.py starts a published one."""

import pytest

from multitask_encoder.export import handler


@pytest.fixture
def endpoint(monkeypatch) -> handler.EndpointHandler:
    """One whose pipeline answers with what it is called with."""

    def pipeline(task, **how):
        assert (task, how) == ("multitask", {"model": "folder", "trust_remote_code": True})
        return lambda inputs, **parameters: (inputs, parameters)

    monkeypatch.setattr(handler, "pipeline", pipeline)
    return handler.EndpointHandler("folder")


@pytest.mark.parametrize("inputs", ["a text", ["several", "texts"], [], ""])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tasks": ["topic"]},
        {"tasks": "topic", "prompt_name": "query", "top_k": 2, "thresholds": {"topic": 0.5}},
    ],
)
def test_request_reaches_the_pipeline(inputs, parameters, endpoint):
    assert endpoint({"inputs": inputs, "parameters": parameters}) == (inputs, parameters)


@pytest.mark.parametrize("nothing", [{}, {"parameters": None}])
def test_parameters_may_be_left_out(nothing, endpoint):
    assert endpoint({"inputs": "a text", **nothing}) == ("a text", {})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (None, 'The request should be {"inputs": a text or a list of texts}.'),
        ({"text": "a"}, 'The request should be {"inputs": a text or a list of texts}.'),
        ({"inputs": 3}, "inputs should be a text or a list of texts. Found int."),
        ({"inputs": {"text": "a"}}, "inputs should be a text or a list of texts. Found dict."),
        ({"inputs": "a", "task": "b"}, "should hold inputs and parameters. Found 'task'."),
        ({"inputs": "a", "parameters": [1]}, "parameters should be an object. Found list."),
        (
            {"inputs": "a", "parameters": {"top": 3}},
            "parameters should be some of tasks, prompt_name, top_k, thresholds, precision, "
            "coverage. Found 'top'.",
        ),
        ({"inputs": "a", "parameters": {"tasks": 1}}, "tasks should be a list of names. Found 1."),
        ({"inputs": "a", "parameters": {"tasks": [["x"]]}}, "tasks should be a list of names."),
        ({"inputs": "a", "parameters": {"prompt_name": []}}, "prompt_name should be a name."),
    ],
)
def test_what_is_wrong_with_a_request_is_said(request_, message, endpoint):
    with pytest.raises(ValueError) as error:
        endpoint(request_)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
