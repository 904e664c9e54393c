"""asda-demo: a page in the browser that hears clips, from files or the microphone, with one checkpoint or several.

asda-demo finetuned.pt
asda-demo finetuned.pt other.pt --port 8080

It shows the best classes, a time line of what was heard when, the spectrogram and what was attended to; of a
pre-trained encoder, which has no classes, only the last two. Everything is computed here; nothing is sent elsewhere.
"""

from __future__ import annotations

import argparse
import sys

from . import _threads  # noqa: F401 (its settings are to be there when torch loads)

# isort: split
from ..checkpoints.reading import read_checkpoint
from ..demo.listening import Listener
from . import _console as console
from ._flags import choose_device, label_names
from ._parser import Parser, finite, positive

HIGHEST_PORT = 65_535


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="shown side by side; names on the hub too")
    parser.add_argument("--top_k", type=positive, default=5, metavar="K", help="most classes of a clip [%(default)s]")
    parser.add_argument("--threshold", type=finite, default=0.3, help="of the time line, at first [%(default)s]")
    parser.add_argument("--label_file", metavar="CSV", help="index,mid,display_name rows [the checkpoints' labels]")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... [auto: a GPU if there is one]")
    parser.add_argument(
        "--host", default="127.0.0.1", help="who may see the page: 0.0.0.0 is the whole network [this machine alone]"
    )
    parser.add_argument("--port", type=positive, help="of the page's address [the first that is free from 7860 on]")
    args = parser.parse_args(argv)
    if not 0 <= args.threshold <= 1:
        parser.error(f"--threshold {args.threshold:g}: expected a score from 0 to 1")
    if args.port and args.port > HIGHEST_PORT:
        parser.error(f"--port {args.port}: expected a number up to {HIGHEST_PORT}")
    return console.run("asda-demo", lambda: demo(args))


def demo(args: argparse.Namespace) -> int:
    """Loads the checkpoints and serves the page until the program is ended."""
    try:
        from ..demo import web
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ValueError("gradio is not installed; the page needs it: pip install 'asda[web]'") from error
    device = choose_device(args.device)
    listeners = []
    for path in args.checkpoints:
        checkpoint = read_checkpoint(path)
        names = label_names(args, checkpoint) if checkpoint.head_config else None
        listeners.append(Listener(path, checkpoint, names, device))
    page = web.build_page(listeners, args.top_k, args.threshold)
    address = web.serve(page, args.host, args.port)
    print(f"{address}  (Ctrl-C ends it)", flush=True)
    web.wait(page)
    return console.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
