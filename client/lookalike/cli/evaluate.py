"""`lookalike evaluate`: a judged file in, figures and a report out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lookalike.catalogs.extra import ExtraMissing
from lookalike.catalogs.fetching import Fetcher
from lookalike.cli.evaluate_display import EvaluateDisplay
from lookalike.cli.progress import open_progress
from lookalike.cli.ranking import ranking_options
from lookalike.cli.usage import UsageError, check_picture
from lookalike.client import Client
from lookalike.evaluate.asking import Found, photos_of, read_photo
from lookalike.evaluate.document import to_json
from lookalike.evaluate.judgments import JudgmentsUnreadable, read_judgments
from lookalike.evaluate.outcome import Evaluation
from lookalike.evaluate.report import SHOWN, Report
from lookalike.evaluate.running import LeftOut, Plan, Unusable, evaluate
from lookalike.evaluate.thumbnails import ProductPictures
from lookalike.values import catalog_name

__all__ = ["evaluate_command"]

SOME_LEFT_OUT = 1
PAGES = (".html", ".htm")


async def evaluate_command(client: Client, options: argparse.Namespace) -> int:
    """Measure and show; gives the exit code. Raises UsageError and LookalikeError."""
    plan = _plan(options)
    display = EvaluateDisplay()
    try:
        judgments = read_judgments(Path(options.path), catalog=catalog_name(options.catalog))
        async with Fetcher(concurrency=2 * plan.at_once) as fetcher:
            total = len(photos_of(judgments.queries))
            with open_progress(display.errors, total=total, doing="searching", noun="photo") as progress:
                evaluation, left_out, known = await evaluate(
                    client,
                    judgments,
                    fetcher=fetcher,
                    plan=plan,
                    on_photo=lambda used: progress.advance(failed=not used),
                )
            if options.json:
                print(json.dumps(_json(evaluation, left_out, options), indent=2))
            else:
                display.report(evaluation, left_out)
            if options.report:
                await _write_report(evaluation, left_out, known, fetcher=fetcher, options=options)
    except (JudgmentsUnreadable, Unusable, ExtraMissing) as error:
        raise UsageError(str(error)) from error
    return SOME_LEFT_OUT if left_out else 0


def _plan(options: argparse.Namespace) -> Plan:
    """What would spoil the end of a long evaluation is found before its beginning."""
    if options.report:
        check_picture(options.report, endings=PAGES, kind="page")
    if options.images and not options.report:
        raise UsageError("--images is for the report: name its file with --report")
    if options.also_viewed and options.versions:
        raise UsageError("--embedding-version is for looks; what others also viewed has none")
    if options.similarity_share and not options.also_viewed:
        raise UsageError("--similarity-share is for what others also viewed: add --also-viewed")
    if len(options.versions) > 2 or len(set(options.versions)) < len(options.versions):
        raise UsageError("--embedding-version is given once, or twice to compare two different versions")
    return Plan(
        versions=tuple(options.versions) or (0,),
        ks=tuple(sorted(set(options.ks))) or (10,),
        relevant=options.relevant,
        depth=options.depth,
        at_once=options.callers,
        skip=options.skip_problems,
        shown=SHOWN if options.report else 0,
        options=ranking_options(options),
        also_viewed=options.also_viewed,
        similarity_share=options.similarity_share,
    )


def _json(evaluation: Evaluation, left_out: LeftOut, options: argparse.Namespace) -> dict[str, object]:
    return {
        "file": options.path,
        "server": options.server,
        "catalog": options.catalog,
        "filter": options.filter,
        "category_mode": options.category_mode,
        "color_weight": options.color_weight,
        "pattern_weight": options.pattern_weight,
        "also_viewed": options.also_viewed,
        "similarity_share": options.similarity_share,
        "depth": options.depth,
        "relevant": options.relevant,
        "left_out": left_out.to_json(),
        **to_json(evaluation),
    }


async def _write_report(
    evaluation: Evaluation,
    left_out: LeftOut,
    known: Mapping[str, Found],
    *,
    fetcher: Fetcher,
    options: argparse.Namespace,
) -> None:
    folder = Path(options.path).absolute().parent
    report = Report(
        evaluation,
        known=known,
        read=partial(read_photo, folder=folder, fetcher=fetcher),
        pictures=ProductPictures(options.images, fetcher),
    )
    source = f"{options.path} on {options.server}, catalog {options.catalog}"
    page = await report.page(source=source, left_out=left_out.sentences(), most=options.worst)
    try:
        Path(options.report).write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report {options.report} cannot be written ({error.strerror or error})") from error
    print(f"report {options.report}", file=sys.stderr if options.json else sys.stdout)
