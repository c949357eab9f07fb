"""The command `hub`: a model of the hub by name in, a served stage and everything that follows from it out."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lookalike_export.hub.errors import HubError

__all__ = ["add_parser", "run"]

_EXAMPLES = {
    "detect": "valentinafeve/yolos-fashionpedia",
    "segment": "mattmdjaga/segformer_b2_clothes",
    "embed": "Marqo/marqo-fashionSigLIP",
}


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse's own class for them is private
    """Add `hub STAGE NAME ...` to the command line of the workshop; the parsed arguments bring `run` along."""
    hub = subparsers.add_parser("hub", help="export a well-known model of the hub into the repository")
    stages = hub.add_subparsers(dest="stage", required=True)
    for stage, example in _EXAMPLES.items():
        command = stages.add_parser(stage, help=f"for instance {example}")
        command.add_argument("name", metavar="NAME", help=f"owner/model on the hub, or a folder; such as {example}")
        command.add_argument("--revision", help="a commit, tag or branch of the model; none: its newest")
        command.add_argument("--repository", type=Path, default=Path("model_repository"))
        command.set_defaults(run=run)
        if stage == "detect":
            continue
        command.add_argument("--version", type=int, default=0, help="embedding version to make; 0: the next one")
        command.add_argument(
            "--extend",
            action="store_true",
            help="change an embedding version that exists; right only while nothing was embedded with it",
        )
    for stage in ("detect", "segment"):
        stages.choices[stage].add_argument("--size", type=int, default=0, help="side in pixels of what it looks at")
        stages.choices[stage].add_argument(
            "--classes", help="what the model's classes are called: a file with one a line, or fashionpedia"
        )
    for head in ("category", "pattern", "material"):
        stages.choices["embed"].add_argument(
            f"--{head}",
            type=Path,
            metavar="FILE",
            help=f"your own {head} labels: `label` or `label = text`, one a line",
        )


def run(arguments: argparse.Namespace) -> int:
    """Export; 0, or 1 with a sentence on stderr that says what to do."""
    if find_spec("transformers") is None:
        print("lookalike_export: transformers is missing; pip install 'lookalike[export,hub]'", file=sys.stderr)
        return 1
    from lookalike_export.hub.exports import export
    from lookalike_export.onnx_files import ParityError
    from lookalike_export.triton_config import ConfigMismatch

    try:
        for line in export(arguments):
            print(line)
    except HubError as error:
        print(f"lookalike_export: {error}", file=sys.stderr)
        return 1
    except (ParityError, ConfigMismatch) as error:
        print(f"lookalike_export: {arguments.name} cannot be served: {error}", file=sys.stderr)
        return 1
    return 0
