"""The service without Ray: what it answers and refuses, over real connections."""

import asyncio
import gzip
import itertools
import json
from unittest.mock import Mock

import httpx
import pytest
from running_service import CLOSED, JSON, Server, ask, assert_same

from multitask_encoder.modeling import MultiTaskPipeline
from multitask_encoder.serving.api import Limits, Reply, build_api
from multitask_encoder.serving.front_door import FrontDoor
from multitask_encoder.serving.options import ServiceOptions
from multitask_encoder.serving.turns import Turns

LIMITS = Limits(max_texts=8, max_characters=1000, max_tokens=1000, max_body_bytes=20_000)


@pytest.fixture
def answers(make_model, tokenizer) -> MultiTaskPipeline:
    return MultiTaskPipeline(model=make_model().eval(), tokenizer=tokenizer)


@pytest.fixture
def port(answers):
    """Of a server of the service's API behind its front door."""

    turns = Turns(answers, LIMITS.max_tokens, on_answer=Mock())
    api = build_api(answers.model.config, LIMITS, turns.answer)
    app = FrontDoor(api, LIMITS.max_body_bytes, 2)
    with Server(app) as port:
        yield port


def asked(*args, **kwargs):
    return asyncio.run(ask(*args, **kwargs))


def test_a_text_or_several_are_answered_as_the_pipeline_does(port, answers):
    texts = ["play jazz in Paris", "", "  ", "Ünïcödé \U0001f600 \0 text", "word " * 150]
    for asks, expected in (
        ({"texts": texts}, answers(texts)),
        ({"text": texts[0]}, answers(texts[:1])),
        ({"text": ""}, answers([""])),
        ({"texts": texts, "tasks": ["topic"]}, answers(texts, tasks=["topic"])),
        ({"texts": texts, "tasks": []}, answers(texts, tasks=[])),
    ):
        reply = asked(port, asks)
        assert reply.status == 200
        assert_same(reply.json, {"answers": expected})
        Reply.model_validate(reply.json)


def test_answers_come_without_the_embedding_if_asked(port, answers):
    reply = asked(port, {"text": "play jazz in Paris", "embedding": False})
    (expected,) = answers(["play jazz in Paris"])
    del expected["embedding"]
    assert_same(reply.json, {"answers": [expected]})
    Reply.model_validate(reply.json)
    assert asked(port, {"text": "a", "embedding": "no"}).status == 422


def test_the_model_and_the_limits_can_be_asked_for(port, answers):
    found = asked(port, path="/model").json
    assert found["tasks"]["topic"]["labels"] == answers.model.config.tasks["topic"]["labels"]
    assert found["limits"] == vars(LIMITS)
    assert asked(port, path="/healthz").json == {"status": "ok"}
    assert httpx.head(f"http://127.0.0.1:{port}/healthz").status_code == 200
    schema = asked(port, path="/openapi.json").json
    assert set(schema["paths"]) == {"/predict", "/model", "/healthz"}
    assert "Question" in schema["components"]["schemas"]
    assert asked(port, path="/docs").status == 404  # its page would load scripts from elsewhere


NESTED = b"[" * 9000
REFUSED = {
    "no JSON": (b"play jazz", 422),
    "binary": (bytes(range(256)), 422),
    "half a character": (b'{"text": "\xe4"}', 400),
    "half a pair": (b'{"text": "a\\ud83d"}', 422),
    "half a pair as a key": (b'{"\\ud83d": 1, "text": "a"}', 422),
    "half a pair as a task": (b'{"tasks": ["\\ud83d"], "text": "a"}', 422),
    "nothing": (b"", 422),
    "null": (b"null", 422),
    "a list": (b'["a"]', 422),
    "nested lists": (NESTED, 400),
    "nested objects": (b'{"text":' * 2000, 400),
    "whole nested lists": (b'{"text": ' + NESTED + b"]" * 9000 + b"}", 400),
    "no text": (b"{}", 422),
    "text and texts": (b'{"text": "a", "texts": ["a"]}', 422),
    "no texts": (b'{"texts": []}', 422),
    "NaN": (b'{"text": NaN}', 422),
    "infinity": (b'{"texts": [-Infinity]}', 422),
    "a number": (b'{"text": 1}', 422),
    "a number of 5000 digits": (b'{"text": ' + b"1" * 5000 + b"}", 400),
    "a text as texts": (b'{"texts": "a"}', 422),
    "null as a text": (b'{"texts": ["a", null]}', 422),
    "too many texts": (b'{"texts": [' + b'"a",' * 8 + b'"a"]}', 422),
    "too long a text": (b'{"text": "' + b"a" * 1001 + b'"}', 422),
    "too many tokens": (b'{"texts": ["' + b"." * 900 + b'", "' + b"." * 900 + b'"]}', 422),
    "a task that is not there": (b'{"text": "a", "tasks": ["intent"]}', 422),
    "a task that is no list": (b'{"text": "a", "tasks": "topic"}', 422),
    "a prompt that is not there": (b'{"text": "a", "prompt_name": "query"}', 422),
    "a threshold above 1": (b'{"text": "a", "thresholds": {"topic": 2}}', 422),
    "no best labels": (b'{"text": "a", "top_k": 0}', 422),
    "an unknown argument": (b'{"text": "a", "batch_size": 1000000}', 422),
    "too large": (b'{"text": "' + b"a" * 20_000 + b'"}', 413),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_requests_are_refused_with_a_reason(port, name):
    body, status = REFUSED[name]
    reply = asked(port, body)
    assert reply.status == status, reply.content
    assert 0 < len(reply.json["detail"]) < 1000
    assert asked(port, {"text": "play jazz"}).status == 200


def test_reasons_name_the_place_and_not_the_text(port):
    reply = asked(port, {"texts": ["secret", 7, 8]})
    assert reply.json["detail"] == "texts.1: Input should be a valid string (and 1 more)"
    reply = asked(port, {"text": "secret", "tasks": ["intent"]})
    assert "Unknown task 'intent'. This model has: topic, entities" in reply.json["detail"]
    assert "secret" not in reply.content.decode()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_read(port, content_type):
    reply = asked(port, {"text": "a"}, headers={"Content-Type": content_type})
    assert reply.status == 415
    assert "application/json" in reply.json["detail"]


def test_compressed_bodies_are_not_unpacked(port):
    bomb = gzip.compress(json.dumps({"text": "a" * 10**7}).encode())
    assert len(bomb) < LIMITS.max_body_bytes
    for encoding in ("gzip", "deflate", "br", "identity, gzip"):
        reply = asked(port, bomb, headers={**JSON, "Content-Encoding": encoding})
        assert reply.status == 415
        assert "compressed" in reply.json["detail"]
    body = b'{"text": "a"}'
    assert asked(port, body, headers={**JSON, "Content-Encoding": "identity"}).status == 200


def test_bodies_without_a_length_are_counted(port):
    whole = [b'{"text"', b': "play ', b'jazz"}']
    assert asked(port, whole, chunked=True).status == 200
    reply = asked(port, itertools.repeat(b"a" * 1000), chunked=True)  # without an end
    assert reply.status == 413
    assert reply.headers["connection"] == "close"


def test_a_length_above_the_limit_is_refused_before_the_body_is_there(port):
    for length in (str(LIMITS.max_body_bytes + 1), "9" * 18):
        reply = asked(port, b'{"text"', headers={**JSON, "Content-Length": length})
        assert reply.status == 413
    for length in ("-1", "1e3", "9" * 5000):  # the server's own refusals: no length at all
        try:
            reply = asked(port, b'{"text"', headers={**JSON, "Content-Length": length})
        except (*CLOSED, KeyError):
            continue
        assert 400 <= reply.status < 500


def test_a_body_that_takes_too_long_is_given_up(port):
    reply = asked(port, b'{"text": "pl', headers={**JSON, "Content-Length": "100"})
    assert reply.status == 408
    assert "within 2 seconds" in reply.json["detail"]


def test_other_paths_and_methods(port):
    assert asked(port, path="/").status == 404
    assert asked(port, path="/predict").status == 405
    assert asked(port, path="/%ff%00/../predict").status == 404
    assert asked(port, {"text": "a"}, path="/model").status == 405


class FromServe:
    """Stands for Serve's proxy behind the front door: says what it is told to say."""

    def __init__(self, *messages):
        self.messages = messages

    async def __call__(self, scope, receive, send):
        self.headers = scope["headers"]
        await receive()
        for message in self.messages:
            await send(message)


def plain(status: int) -> tuple:
    content = b"in its own words"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(content))]
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": content},
    )


@pytest.mark.parametrize(
    ("said", "status", "retry"),
    [
        ((), 503, True),  # a replica that ended
        (plain(408), 504, False),
        (plain(503), 503, True),
        (plain(429), 429, True),
        (plain(404), 503, True),
        (plain(500), 500, False),
    ],
)
def test_what_serve_says_is_put_into_json(said, status, retry):
    with Server(FrontDoor(FromServe(*said))) as port:
        reply = asked(port, {"text": "a"})
    assert reply.status == status
    assert set(reply.json) == {"detail"}
    assert ("retry-after" in reply.headers) == retry


def test_requests_can_not_command_serve():
    behind = FromServe(*plain(200))
    hostile = {
        "X-Request-Timeout-Seconds": "-1",
        "X-Request-Disconnect-Disabled": "?1",
        "Serve_Multiplexed_Model_Id": "other",
        "X-Session-Id": "1",
        "X-Request-Id": "\xff",
        "Authorization": "secret",
    }
    with Server(FrontDoor(behind)) as port:
        asked(port, {"text": "a"}, headers={**JSON, **hostile})
    assert {name for name, _ in behind.headers} == {b"host", b"content-type", b"content-length"}


class Answering:
    """Requests answered in turns, all asked for at once; in which order they were answered, and how
    many texts together."""

    def __init__(self, pipeline: MultiTaskPipeline, max_tokens: int = 2**20):
        self.together: list[int] = []
        self.order: list[str] = []
        self.turns = Turns(pipeline, max_tokens, self.together.append)

    async def ask(self, texts: list[str], arguments: dict | None = None) -> bytes:
        answer = await self.turns.answer(texts, arguments or {}, True)
        self.order.append(texts[0].split()[0])
        return answer

    def all(self, *asked) -> list:
        async def together():
            asking = (self.ask(*one) for one in asked)
            return await asyncio.gather(*asking, return_exceptions=True)

        return asyncio.run(together())


def test_requests_are_answered_together_and_each_gets_its_own(answers):
    asked = [
        (["first"], {}),
        (["play jazz", "in Paris"], {}),
        (["a", "b"], {"tasks": ["topic"]}),
        (["long " * 700], {}),
        (["play"], {"tasks": ["nothing"]}),
        (["x" * 90] * 3, {}),
        (["c"], {"tasks": ["topic"]}),
    ]
    answering = Answering(answers)
    found = answering.all(*asked)
    assert isinstance(found.pop(4), ValueError)
    asked.pop(4)
    for (texts, arguments), one in zip(asked, found, strict=True):
        assert_same(json.loads(one), {"answers": answers(texts, **arguments)})
    assert sum(answering.together) == 10
    assert max(answering.together) >= 3


LONG = "word " * 2000  # several turns


def test_a_short_request_does_not_wait_for_long_ones(answers):
    answering = Answering(answers)
    long: list[tuple] = [([f"long{number} {LONG}"], {}) for number in range(3)]
    answering.all(*long, (["short"], {}))
    assert answering.order[0] == "short"


def test_a_long_request_does_not_wait_until_no_short_one_comes(answers):
    answering = Answering(answers)

    async def ask_until_it_is_there():
        asking = asyncio.create_task(answering.ask([f"long {LONG}"]))
        asked = 0
        while not asking.done():
            await asyncio.gather(*(answering.ask(["short"]) for _ in range(2)))
            asked += 1
        return asked

    assert asyncio.run(ask_until_it_is_there()) < 100


def test_a_request_that_is_given_up_takes_no_more_turns(answers):
    answering = Answering(answers)
    batches = []
    answers.model.register_forward_pre_hook(lambda *_: batches.append(1))

    async def give_up():
        asking = asyncio.create_task(answering.ask([f"long {LONG * 4}"]))
        while not batches and not asking.done():
            await asyncio.sleep(0.01)
        asking.cancel()
        await answering.ask(["short"])

    asyncio.run(give_up())
    given_up = len(batches)
    batches.clear()
    answering.all(([f"long {LONG * 4}"],))
    assert given_up < len(batches) / 2
    assert answering.order == ["short", "long"]


def test_more_tokens_than_allowed_are_refused(answers):
    answering = Answering(answers, max_tokens=10)
    whole, refused = answering.all((["." * 5] * 2,), (["." * 6, "." * 5],))
    assert isinstance(whole, bytes)
    assert str(refused) == "The texts should have at most 10 tokens."


def test_a_failure_ends_only_the_requests_of_its_turn(answers):
    answering = Answering(answers)
    fail = answers.model.register_forward_pre_hook(Mock(side_effect=[MemoryError("full")]))
    (found,) = answering.all((["play jazz"],))
    assert isinstance(found, MemoryError)
    fail.remove()
    (found,) = answering.all((["play jazz"],))
    assert isinstance(found, bytes)


def test_an_answer_that_json_can_not_hold_is_an_error(answers):
    def spoil(_, __, output) -> None:
        output.sentence_embedding.fill_(float("nan"))

    answers.model.register_forward_hook(spoil)
    (found,) = Answering(answers).all((["a"],))
    assert isinstance(found, RuntimeError)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "model: Field required."),
        ({"model": "x", "replicas": "0"}, "replicas: .* Found '0'."),
        ({"model": "x", "backend": "jax"}, "backend: .* Found 'jax'."),
        ({"model": "x", "replica": 1}, "replica: .* Found 1."),
    ],
)
def test_options_are_checked_in_one_line(given, reason):
    with pytest.raises(ValueError, match=reason):
        ServiceOptions.of(given)
