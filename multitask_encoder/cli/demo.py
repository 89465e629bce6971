"""Show a finished model's answers in a browser.

    multitask-encoder demo                           # the quickstart's, at http://127.0.0.1:7860
    multitask-encoder demo --model runs/mine         # or a Hub id
    multitask-encoder demo --texts mine.csv          # begins with these: a column text, or TXT
    multitask-encoder demo --host 0.0.0.0 --port 80

Ctrl-C or SIGTERM ends it. Exit code 2: an invalid model or port; one line says what is wrong. In a
Space, the variable MULTITASK_MODEL names the model. The page loads nothing from other hosts, and
nothing is reported to anyone.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from multitask_encoder.cli.errors import command_parser, fail, refusing

QUICKSTART = "runs/quickstart"


def main(argv: list[str] | None = None) -> None:
    given = parse(sys.argv[1:] if argv is None else argv)
    if given.model == QUICKSTART and not Path(QUICKSTART).is_dir():
        fail(f"There is no {QUICKSTART}: `make quickstart` trains it. Else name a --model.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # or visitors' uploads would stay
    with tempfile.TemporaryDirectory(prefix="multitask-demo-") as folder:
        set_environment(folder)
        with refusing():
            serve(**vars(given))


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; exits with code 2 for invalid ones."""
    parser = command_parser("demo", __doc__)
    parser.add_argument(
        "--model",
        default=os.environ.get("MULTITASK_MODEL", QUICKSTART),
        help=f"a run folder or a Hub id; default: $MULTITASK_MODEL, or else {QUICKSTART}",
    )
    parser.add_argument(
        "--texts",
        type=Path,
        help="a CSV or TXT file of texts to begin with and to find the nearest in; default: a "
        "sample that the run left in its folder, or else built-in ones",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="default: $GRADIO_SERVER_NAME, which Spaces set, or else 127.0.0.1: only this machine",
    )
    parser.add_argument("--port", type=int, default=7860, help="default: 7860")
    parser.add_argument(
        "--bf16", choices=("true", "false"), help="compute in bfloat16; default: where it is fast"
    )
    given = parser.parse_args(argv)
    if not 0 < given.port < 2**16:
        parser.error(f"--port should be from 1 to 65535. Found {given.port}.")
    return given


def set_environment(folder: str) -> None:
    """Set what Gradio and the Hub's client read when they are imported; visitors' uploads and
    downloads go to `folder`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = folder


def serve(model: str, texts: Path | None, host: str, port: int, bf16: str | None = None) -> None:
    """Load the model and show the page until it is interrupted.

    Raises:
        ModuleNotFoundError, OSError, ValueError: as `Predictor` and `sentences_for`; OSError for a
            port in use.
    """
    print(f"Loading {model}", flush=True)  # importing takes longest
    from multitask_encoder.demo.page import CSS, THEME, build
    from multitask_encoder.demo.sentences import sentences_for
    from multitask_encoder.demo.texts import MAX_FILE_BYTES
    from multitask_encoder.inference import Predictor
    from multitask_encoder.inference.precision import print_precision

    sentences = sentences_for(model, texts)
    predict = Predictor(model, bf16=None if bf16 is None else bf16 == "true")
    print_precision(predict.pipeline)
    page = build(predict, Path(model).resolve().name, sentences)
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,  # a second server, by Node, for nothing
            run_history=False,  # texts stay out of the browser's storage
            footer_links=["api"],
            max_file_size=MAX_FILE_BYTES,
            theme=THEME,
            css=CSS,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:  # Gradio's words are about its own options
        raise OSError(f"Can't listen at {host}, port {port}.") from error
    print(f"Ready: {url}", flush=True)
    page.block_thread()
