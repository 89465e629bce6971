"""The service's paths and the schemas of its requests and replies; independent of Ray."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

# Texts, the pipeline's arguments, and whether to answer with the embedding; the JSON of a `Reply`.
Answering = Callable[[list[str], dict[str, Any], bool], Awaitable[bytes]]


@dataclass(frozen=True)
class Limits:
    """The most that a request may hold: texts, characters of a text, tokens of all its texts, bytes
    of the body."""

    max_texts: int
    max_characters: int
    max_tokens: int
    max_body_bytes: int


class Arguments(BaseModel):
    """The pipeline's arguments besides texts. A field here is an argument of its call; the service
    refuses what the pipeline refuses by a ValueError, in the same words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[str] | None = Field(None, description="tasks to answer; by default all")
    prompt_name: str | None = Field(None, description="one of the model's prompts")
    top_k: int | None = Field(None, ge=1, description="how many `scores` to return, highest first")
    thresholds: float | dict[str, float] | None = Field(
        None, description="scores to exceed, in 0 to 1, for a label to apply; of all or by task"
    )
    precision: float | None = Field(
        None,
        description="0.9, 0.95, 0.98 or 0.99: the thresholds above which that share of validation "
        "answers was right",
    )
    coverage: float | None = Field(
        None,
        description="one of the same: the thresholds above which that share of true labels and "
        "entities was found; a label gets a `label_set`",
    )


class Label(BaseModel):
    label: str | list[str] | None = Field(
        description="the likeliest; a list for a multi-label task and for a regression of several "
        "values; null below the threshold"
    )
    score: float | list[float]
    scores: dict[str, float]
    label_set: list[str] | None = Field(
        None, description="where `coverage` is asked for: the labels that could be the right one"
    )
    out_of_scope: float | None = Field(
        None,
        description="the share of in-scope texts that are less strange, 0 to 1, where the model "
        "knows its scope; `label` is null above its limit",
    )


class Entity(BaseModel):
    start: int = Field(description="in characters: text[start:end] is the entity's text")
    end: int
    text: str
    label: str
    score: float


class Answer(BaseModel):
    embedding: list[float] | None = Field(None, description="unless the request leaves it out")
    labels: dict[str, Label] = Field(description="by sentence task")
    entities: dict[str, list[Entity]] = Field(description="by token task")


class Reply(BaseModel):
    answers: list[Answer] = Field(description="one per text, in the order of the texts")


class Description(BaseModel):
    tasks: dict[str, dict[str, Any]] = Field(description="type and labels, by name")
    prompts: list[str]
    limits: dict[str, int]


class Problem(BaseModel):
    detail: str


PROBLEMS = {
    400: "the body can't be read",
    408: "the body took too long to arrive",
    413: "the body is too large",
    415: "the body is not JSON, or is compressed",
    422: "the request is invalid",
    500: "something went wrong in the service",
    503: "too many requests are waiting, or a replica has ended: try again",
    504: "the answer took too long",
}


def build_api(config: Any, limits: Limits, answer: Answering) -> FastAPI:
    """The ASGI application.

    Args:
        config (`MultiTaskConfig`): the model's.
        limits (`Limits`): larger requests are refused.
        answer (`Callable`): answers texts. May raise a ValueError for arguments that the pipeline
            refuses.
    """
    Text = Annotated[str, StringConstraints(max_length=limits.max_characters)]

    class Question(Arguments):
        """One text or several, and the arguments for them."""

        text: Text | None = None
        texts: list[Text] | None = Field(None, min_length=1, max_length=limits.max_texts)
        embedding: bool = Field(True, description="whether answers hold the embedding")

        @model_validator(mode="after")
        def one_of_them(self):
            if (self.text is None) == (self.texts is None):
                raise ValueError("there should be either a text or texts")
            return self

    api = _api_without_paths(limits.max_body_bytes)

    @api.post("/predict", response_model=Reply)
    async def predict(question: Question) -> Response:
        """The answers for one text or several."""
        texts = [question.text] if question.texts is None else question.texts
        given = question.model_dump(include=set(Arguments.model_fields), exclude_none=True)
        try:
            content = await answer(texts, given, question.embedding)
        except ValueError as error:
            raise HTTPException(422, _plain(str(error))) from error
        return Response(content, media_type="application/json")

    @api.get("/model")
    async def model() -> Description:
        """The model's tasks and prompts, and the limits of a request."""
        prompts = list(config.prompts or {})
        return Description(tasks=config.tasks, prompts=prompts, limits=vars(limits))

    @api.head("/healthz", include_in_schema=False)  # as some load balancers ask
    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether a replica is up."""
        return {"status": "ok"}

    return api


def _api_without_paths(max_body_bytes: int) -> FastAPI:
    # The pages at /docs would load scripts from other hosts: give those tools /openapi.json.
    return FastAPI(
        title="multitask-encoder",
        docs_url=None,
        redoc_url=None,
        max_body_size=max_body_bytes,
        responses={
            status: {"model": Problem, "description": description}
            for status, description in PROBLEMS.items()
        },
        exception_handlers={RequestValidationError: _refuse},
    )


async def _refuse(request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong and where, without the texts that were sent: they stay out of logs."""
    content_type = request.headers.get("content-type", "none")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        reason = f"Content-Type should be application/json. Found {content_type}."
        return JSONResponse({"detail": _plain(reason)}, 415)
    first, *others = error.errors()
    where = ".".join(str(part) for part in first["loc"][1:])
    reason = f"{where}: {first['msg']}" if where else first["msg"]
    more = f" (and {len(others)} more)" if others else ""
    return JSONResponse({"detail": _plain(reason) + more}, 422)


def _plain(reason: str) -> str:
    """Short and in ASCII, even if the request put half characters or a megabyte into it."""
    reason = reason.encode("ascii", "backslashreplace").decode()
    return reason if len(reason) <= 500 else reason[:500] + "..."
