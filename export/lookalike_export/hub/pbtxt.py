"""Edits of the repository's configurations as text, for their comments are worth keeping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lookalike_export.hub.embed import HEADS
from lookalike_export.hub.errors import HubError

__all__ = ["Ensemble", "Model"]

Labels = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Model:
    """The text files of a model by their path: configurations for each target, and label files."""

    name: str
    texts: Mapping[Path, str]

    def renamed(self, name: str) -> Model:
        """The same under another name, its graph being version 1 of it.

        No engine is built ahead of time for a hub model: what is `gpu` serves for `tensorrt`, too.
        """
        texts = {file: _with_name(text, name) for file, text in self.texts.items() if file.suffix == ".pbtxt"}
        gpu, tensorrt = Path("configs", "gpu.pbtxt"), Path("configs", "tensorrt.pbtxt")
        if gpu in texts and tensorrt in texts:
            texts[tensorrt] = texts[gpu]
        return Model(name, {**self.texts, **texts})

    def with_heads(self, size: int, labels: Labels) -> Model:
        """The same for vectors of `size` and other heads, label files included."""
        texts = {
            file: _with_output_heads(text, self.name, size, labels, batch="", files=True)
            for file, text in self.texts.items()
            if file.suffix == ".pbtxt"
        }
        heads = {Path("labels", f"{head}.txt") for head in HEADS}
        kept = {file: text for file, text in self.texts.items() if file.suffix != ".pbtxt" and file not in heads}
        words = {Path("labels", f"{head}.txt"): "\n".join(words) + "\n" for head, words in labels.items()}
        return Model(self.name, {**texts, **kept, **words})


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The configuration of one ensemble."""

    name: str
    text: str

    def of_version(self, version: int) -> Ensemble:
        """The same for another embedding version."""
        name = re.sub(r"\d+$", str(version), self.name)
        text = _with_name(self.text, name, pinned=False)
        parameter = r'(key: "embedding_version" value \{ string_value: ")\d+'
        return Ensemble(name, _replaced(text, parameter, rf"\g<1>{version}", self.name))

    def step_with(self, output: str) -> str:
        """The model whose step gives `output`."""
        return _found(r'model_name: "([^"]+)"', self._step(output), self.name)

    def version_of(self, output: str) -> int:
        """The version of that model that is pinned."""
        return int(_found(r"model_version: (\d+)", self._step(output), self.name))

    def with_step(self, output: str, model: str) -> Ensemble:
        """The same with version 1 of another model in the step that gives `output`."""
        step = self._step(output)
        changed = re.sub(r'model_name: "[^"]+"', f'model_name: "{model}"', step)
        changed = re.sub(r"model_version: -?\d+", "model_version: 1", changed)
        return Ensemble(self.name, self.text.replace(step, changed))

    def with_heads(self, size: int, labels: Labels) -> Ensemble:
        """The same for vectors of `size` and other heads."""
        text = _with_output_heads(self.text, self.name, size, labels, batch="-1, ", files=False)
        for head in HEADS:
            words = ",".join(labels.get(head, ()))
            parameter = rf'(key: "{head}_labels" value {{ string_value: ")[^"]*'
            text = _replaced(text, parameter, lambda found, words=words: found[1] + words, self.name)
            text = re.sub(rf'\n *output_map {{ key: "{head}" [^\n]*', "", text)
        line = r'\n( *)output_map { key: "embedding" value: "embedding" }'
        maps = "".join(f'\n\\1output_map {{ key: "{head}" value: "{head}" }}' for head in labels)
        return Ensemble(self.name, _replaced(text, line, rf"\g<0>{maps}", self.name))

    def _step(self, output: str) -> str:
        steps = re.split(r"(?=model_name:)", self.text)
        found = [step for step in steps if f'output_map {{ key: "{output}"' in step and step.startswith("model_name:")]
        if len(found) != 1:
            raise HubError(f"{len(found)} steps of the ensemble {self.name} give {output}; exactly one must")
        return found[0]


def _with_name(text: str, name: str, *, pinned: bool = True) -> str:
    text = _replaced(text, r'(?m)^name: "[^"]+"', f'name: "{name}"', name)
    if pinned:
        policy = "version_policy { specific { versions: [ 1 ] } }"
        text = _replaced(text, r"(?m)^version_policy {.*}$", policy, name)
    return text


def _with_output_heads(text: str, model: str, size: int, labels: Labels, *, batch: str, files: bool) -> str:
    """Write the lines of the outputs embedding, category, pattern and material anew."""
    for head in HEADS:
        text = re.sub(rf'\n *{{ name: "{head}" data_type: [^\n]*', "", text)
    lines = [f'{{ name: "embedding" data_type: TYPE_FP32 dims: [ {batch}{size} ] }}']
    for head, words in labels.items():
        file = f' label_filename: "labels/{head}.txt"' if files else ""
        lines.append(f'{{ name: "{head}" data_type: TYPE_FP32 dims: [ {batch}{len(words)} ]{file} }}')
    joined = "".join(f"\\1{line}," for line in lines)[:-1]
    return _replaced(text, r'(\n *){ name: "embedding" data_type: TYPE_FP32 dims: \[[^\]]*\] }', joined, model)


def _replaced(text: str, pattern: str, replacement: object, model: str) -> str:
    changed, count = re.subn(pattern, replacement, text)  # type: ignore[call-overload]
    if count != 1:
        raise HubError(
            f"the configuration of {model} has {count} places like {pattern!r} where one was expected; "
            "was it written by hand? Compare it with the one that came with Lookalike"
        )
    return str(changed)


def _found(pattern: str, text: str, model: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise HubError(f"the configuration of {model} has no {pattern!r}")
    return found[1]
