"""The tables of `lookalike evaluate`."""

from __future__ import annotations

from rich.text import Text

from lookalike.cli.display import Display, new_table
from lookalike.evaluate.outcome import Evaluation, version_name
from lookalike.evaluate.running import LeftOut
from lookalike.evaluate.significance import Interval
from lookalike.formatting import counted, one_line

__all__ = ["EvaluateDisplay"]


class EvaluateDisplay(Display):
    """Prints figures for people: what was left out first, then the means, the verdict, and what is doubtful."""

    def report(self, evaluation: Evaluation, left_out: LeftOut) -> None:
        """All that was measured."""
        for sentence in left_out.sentences():
            self._emphasize(f"LEFT OUT: {one_line(sentence)}", style="bold red")
        queries = counted(len(evaluation.queries), "query", plural="queries")
        self.line(f"{queries} on {evaluation.subjects()}, relevant from grade {evaluation.relevant}")
        self._means(evaluation)
        verdict = evaluation.verdict()
        if verdict:
            self.line("")
            self._emphasize(verdict, style="bold green" if " is better than " in verdict else "bold yellow")
        for note in evaluation.notes():
            self.line(f"note: {one_line(note)}")

    def _means(self, evaluation: Evaluation) -> None:
        heads: list[str] = []
        for version in evaluation.versions:
            heads += [version_name(version), "95 %"]
        compared = evaluation.comparison
        columns = [*heads, *(["difference", "95 %"] if compared else [])]
        right = [column for column in columns if column != "95 %"]
        table = new_table("mean of the queries", *columns, right=right)
        for name in evaluation.means[0]:
            style = "bold" if name == evaluation.headline else ""
            cells = [Text(name, style=style)]
            for means in evaluation.means:
                cells += [Text(f"{means[name].mean:.3f}", style=style), Text(_range(means[name]), style="dim")]
            if compared:
                difference = compared.differences[name]
                cells += [Text(f"{difference.mean:+.3f}", style=style), Text(_range(difference, form="+.3f"))]
            table.add_row(*cells)
        self.table(table)

    def _emphasize(self, text: str, *, style: str) -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


def _range(interval: Interval, *, form: str = ".3f") -> str:
    if interval.low is None or interval.high is None:
        return "-"
    return f"{interval.low:{form}} to {interval.high:{form}}"
