"""Answer over HTTP from a finished model, by Ray Serve.

    multitask-encoder serve --model runs/mine                  # http://127.0.0.1:8888/predict
    multitask-encoder serve --model runs/mine --replicas 2 --host 0.0.0.0
    multitask-encoder serve --model runs/mine-onnx --backend onnx
    serve run multitask_encoder.cli.serve:build model=runs/mine     # on a cluster; docs/serving.md

SIGTERM or Ctrl-C ends it once the running requests are answered. Exit code 2: an invalid model,
option or port; one line says what is wrong.
"""

import argparse
import contextlib
import ipaddress
import logging
import math
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from multitask_encoder.cli.errors import command_parser, refusing

if TYPE_CHECKING:
    from ray.serve import Application

    from multitask_encoder.serving.options import ServiceOptions

# Ray's minimum, with room for the answers in transit.
OBJECT_STORE_BYTES = 100 * 2**20
NAME = "multitask"  # of the application, in Serve's status and metrics
# Options that a replica has nothing to do with.
CONNECTION = ("host", "port", "timeout", "max_connections", "metrics_port")


def build(arguments: dict) -> "Application":
    """The service for `serve run ...:build model=runs/mine` or a Serve config's `import_path`.

    Args:
        arguments (`dict`): the fields of `ServiceOptions`.

    Raises:
        ValueError: an unknown, missing or invalid one.
    """
    from multitask_encoder.serving.options import ServiceOptions
    from multitask_encoder.serving.service import application

    return application(ServiceOptions.of(arguments))


def main(argv: list[str] | None = None) -> None:
    given = vars(parse(sys.argv[1:] if argv is None else argv))
    connection = {name: given.pop(name) for name in CONNECTION}
    set_environment(connection["host"])
    with refusing():
        import torch

        from multitask_encoder.inference.precision import print_precision
        from multitask_encoder.serving.options import ServiceOptions

        threads = max(1, torch.get_num_threads() // max(1, given.get("replicas", 1)))
        options = ServiceOptions.of({"threads": threads, **given})
        check_port(connection["host"], connection["port"])
        print(f"Loading {options.model}", flush=True)
        print_precision(options.load())  # fails here, once; replicas would try again
    with refusing(OSError):
        serve_locally(options, **connection)


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; of `ServiceOptions`, only the given ones."""
    parser = command_parser("serve", __doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument("--model", required=True, help="a run folder, an export, or a Hub id")
    parser.add_argument("--backend", help="torch (default), or onnx or openvino for an export")
    parser.add_argument(
        "--bf16", choices=("true", "false"), help="compute in bfloat16; default: where it is fast"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=int, default=8888, help="default: 8888")
    parser.add_argument("--replicas", type=int, help="processes that answer; default: 1")
    parser.add_argument("--threads", type=int, help="of each; default: its share of the cores")
    parser.add_argument("--gpus", type=float, help="of each; 0.5 lets two share one; default: 0")
    parser.add_argument("--timeout", type=float, default=60, help="seconds an answer may take; 60")
    parser.add_argument(
        "--max_connections", type=int, default=128, help="of one address at once; default: 128"
    )
    parser.add_argument("--max_texts", type=int, help="of a request; default: 256")
    parser.add_argument("--max_characters", type=int, help="of a text; default: 100000")
    parser.add_argument("--max_tokens", type=int, help="of a request's texts; default: 32768")
    parser.add_argument("--max_body_bytes", type=int, help="of a request; default: 1048576")
    parser.add_argument("--metrics_port", type=int, default=0, help="default: any that is free")
    options = parser.parse_args(argv)
    if not 0 < options.timeout < math.inf:
        parser.error(f"--timeout should be above 0, and finite. Found {options.timeout:g}.")
    if options.max_connections < 1:
        parser.error(f"--max_connections should be at least 1. Found {options.max_connections}.")
    return options


def set_environment(host: str) -> None:
    """Set what Ray reads when it is imported or started."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anyone
    # Ray's own ports ask for this token, which only processes of this service have.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if is_loopback(host):
        # Ray's own ports, except the replicas', then listen to this machine only, as on Windows
        # and macOS, hence the name.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def check_port(host: str, port: int) -> None:
    """Raise an OSError unless the port is free: Serve would only log it."""
    if not 0 < port < 2**16:
        raise OSError(f"--port should be from 1 to 65535. Found {port}.")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise OSError(f"Can't listen at {host}, port {port}: {error}") from error


def serve_locally(
    options: "ServiceOptions",
    host: str,
    port: int,
    timeout: float,
    max_connections: int,
    metrics_port: int,
) -> None:
    """Start Ray on this machine, the service in it and HAProxy before it; end all at a signal.

    Raises:
        OSError: Ray doesn't start, or HAProxy can't listen.
    """
    import ray
    from ray import serve

    from multitask_encoder.serving import reverse_proxy
    from multitask_encoder.serving.front_door import CALLBACK, MAX_BODY_BYTES_VARIABLE
    from multitask_encoder.serving.service import LOGGING, application

    os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = CALLBACK
    os.environ[MAX_BODY_BYTES_VARIABLE] = str(options.max_body_bytes)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    haproxy = reverse_proxy.find()
    serve_at = ("127.0.0.1", reverse_proxy.free_port()) if haproxy else (host, port)
    ended = threading.Event()
    with contextlib.ExitStack() as running:
        home = running.enter_context(home_without_questions())
        running.callback(ray.shutdown)
        with ray_problems():
            ray.init(
                address="local",  # never a cluster that happens to run
                num_cpus=options.replicas * options.threads,  # reserved for the replicas
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                logging_level=logging.WARNING,
                _metrics_export_port=metrics_port or None,
                runtime_env={"env_vars": {"HOME": home}},
            )
            for number in (signal.SIGTERM, signal.SIGINT):  # of which Ray has ideas of its own
                signal.signal(number, lambda *_: ended.set())
            http_options = {"host": serve_at[0], "port": serve_at[1], "request_timeout_s": timeout}
            serve.start(http_options=http_options, logging_config=LOGGING)
            serve.run(application(options), name=NAME)
        running.callback(delete)
        if haproxy:
            limits = reverse_proxy.Limits(timeout, max_connections)
            address = (host, port)
            running.enter_context(reverse_proxy.running(haproxy, address, serve_at[1], limits))
        else:
            print("HAProxy is not installed: connections have no limits.", flush=True)
        (node,) = ray.nodes()
        metrics = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        print(f"Ready: http://{host}:{port}/predict; metrics: {metrics}", flush=True)
        ended.wait()
        print("Ending: running requests are answered first.", flush=True)


def delete() -> None:
    """End the replicas. Behind HAProxy, which has ended, no request is left: one that is not yet
    with a replica would wait for another in vain. Without it, Serve waits for those at replicas."""
    from ray import serve

    try:
        serve.delete(NAME)  # while Serve's proxy still passes answers
    except TimeoutError:
        print("Some requests are still unanswered after a minute.", flush=True)


@contextlib.contextmanager
def home_without_questions() -> Iterator[str]:
    """Keep Ray's head process from asking the metadata services of three clouds where it runs: it
    doesn't, where its home folder has a file of Ray's cluster launcher. Gives the home folder of
    all others."""
    home, given = os.path.expanduser("~"), os.environ.get("HOME")
    with tempfile.TemporaryDirectory(prefix="multitask-") as folder:
        Path(folder, "ray_bootstrap_config.yaml").write_text("{}\n")
        os.environ["HOME"] = folder
        try:
            yield home
        finally:
            os.environ.pop("HOME")
            if given is not None:
                os.environ["HOME"] = given


@contextlib.contextmanager
def ray_problems() -> Iterator[None]:
    """What keeps Ray from starting, a busy machine or too little memory, as an OSError of one line.
    Ray raises plain `Exception`s for it."""
    try:
        yield
    except Exception as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OSError(f"The service did not start: {first}") from error
