"""A finished model as a Ray Serve deployment: replicas that answer several clients at once."""

import os
from typing import Any

import torch
from ray import serve
from ray.serve.metrics import Counter, Histogram

from .api import build_api
from .front_door import RETRY_AFTER_SECONDS
from .options import ServiceOptions
from .turns import Turns

# Requests that a replica holds at once, and those that wait in Serve's proxy, beyond which it
# answers 503.
MAX_ONGOING, MAX_QUEUED = 128, 256
# Serve logs nothing about a request that succeeded.
LOGGING = {"log_level": "WARNING", "enable_access_log": False}
# For a replica to finish its requests when it ends. (Serve's proxy has its own time limit.)
DRAIN_SECONDS = 60.0


def application(options: ServiceOptions) -> serve.Application:
    """The application for `serve.run` or a Serve config."""
    deployed = serve.deployment(
        name="multitask",
        num_replicas=options.replicas,
        ray_actor_options={"num_cpus": options.threads, "num_gpus": options.gpus},
        max_ongoing_requests=MAX_ONGOING,
        max_queued_requests=MAX_QUEUED,
        backpressure_config={"status_code": 503, "retry_after_s": RETRY_AFTER_SECONDS},
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        logging_config=LOGGING,
    )
    return deployed(serve.ingress()(Service)).bind(options.model_dump())


class Service:
    """One replica: a pipeline, and the requests that it answers in turns."""

    def __init__(self, given: dict[str, Any]):
        self._options = options = ServiceOptions.of(given)
        torch.set_num_threads(options.threads)
        os.environ["RAYON_NUM_THREADS"] = str(options.threads)  # read when tokenizers first work
        self._pipeline = options.load()
        self._turns = Turns(self._pipeline, options.max_tokens, self._count)
        self._failed = False
        self._texts = Counter("multitask_texts", "Texts that were answered.")
        self._texts_per_batch = Histogram(
            "multitask_texts_per_batch",
            "Texts that were answered together.",
            boundaries=[2**power for power in range(14)],
        )

    def __serve_build_asgi_app__(self):
        return build_api(self._pipeline.model.config, self._options.limits(), self.answer)

    async def answer(
        self, texts: list[str], arguments: dict[str, Any], embedding: bool = True
    ) -> bytes:
        """The JSON of the answers.

        Raises:
            ValueError: the pipeline refuses the arguments, or there are too many tokens.
        """
        try:
            return await self._turns.answer(texts, arguments, embedding)
        except ValueError:
            raise
        except Exception:
            self._failed = True
            raise

    async def check_health(self) -> None:
        """After a failure, answer a text. Serve replaces a replica that raises here, for example
        because its GPU is gone."""
        if self._failed:
            await self.answer(["Is there an answer?"], {})
            self._failed = False

    def _count(self, texts: int) -> None:
        self._texts.inc(texts)
        self._texts_per_batch.observe(texts)
