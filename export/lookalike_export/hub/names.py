"""From the words of other people's models to our garments, and from our labels to what a text tower understands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lookalike_export.hub.errors import HubError
from lookalike_export.stages.vocabulary import CATEGORIES, GARMENTS, MATERIALS, PATTERNS

__all__ = ["FASHIONPEDIA", "Groups", "garment_of", "garments_of", "is_part", "prompts_of", "read_classes"]

FASHIONPEDIA = (
    *("shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest", "pants", "shorts"),
    *("skirt", "coat", "dress", "jumpsuit", "cape", "glasses", "hat", "headband, head covering, hair accessory"),
    *("tie", "glove", "watch", "belt", "leg warmer", "tights, stockings", "sock", "shoe", "bag, wallet", "scarf"),
    *("umbrella", "hood", "collar", "lapel", "epaulette", "sleeve", "pocket", "neckline", "buckle", "zipper"),
    *("applique", "bead", "bow", "flower", "fringe", "ribbon", "rivet", "ruffle", "sequin", "tassel"),
)
"""The 46 classes of Fashionpedia (Jia et al., ECCV 2020), which checkpoints trained on it often leave unnamed."""

# The last word of an alternative decides: a "vest dress" is a dress, a "leg warmer" is neither leg nor dress.
_WORDS = {
    "top": "top shirt blouse sweater sweatshirt hoodie jumper pullover polo vest tank bra bodysuit undershirt camisole",
    "outer": "jacket coat cape cardigan blazer suit outerwear outwear parka anorak poncho",
    "dress": "dress gown jumpsuit romper",
    "pants": "pants trousers jeans legging chinos joggers",
    "shorts": "shorts",
    "skirt": "skirt",
    "shoes": "shoe boot sneaker sandal heel loafer pump flat slipper footwear",
    "bag": "bag handbag backpack purse wallet clutch satchel tote luggage",
    "hat": "hat cap beanie helmet headwear",
    "belt": "belt",
    "scarf_tie": "scarf tie necktie",
    "eyewear": "glasses sunglasses eyewear eyeglasses",
    "legwear": "sock stocking tights warmer legwear hosiery",
    "accessory": "accessory headband glove watch bracelet necklace ring earring umbrella jewelry jewellery",
}
_GARMENT_OF_WORD = {word: garment for garment, words in _WORDS.items() for word in words.split()}
_PHRASES = {"t shirt": "top", "upper clothes": "top", "upper body": "top"}
# What Fashionpedia cuts out of a garment: it belongs to whichever garment it is found on.
_PARTS = frozenset(FASHIONPEDIA[FASHIONPEDIA.index("hood") :])

Groups = dict[str, list[int]]
"""A garment of ours -> the model's classes that mean it."""


def garment_of(name: str) -> str:
    """Our garment for a class such as "top, t-shirt, sweatshirt" or "Left-shoe"; "" where there is none."""
    for alternative in re.split(r"[,/&]", name):
        words = re.findall(r"[a-z]+", alternative.lower())
        phrase = " ".join(words)
        if phrase in _PHRASES:
            return _PHRASES[phrase]
        for word in _singulars(words[-1] if words else ""):
            if word in _GARMENT_OF_WORD:
                return _GARMENT_OF_WORD[word]
    return ""


def is_part(name: str) -> bool:
    """Whether a class is a piece of a garment, such as a sleeve or a collar."""
    return name.strip().lower() in _PARTS


def garments_of(names: Sequence[str], *, model: str) -> Groups:
    """Group a model's classes by our garments, in our order; raises HubError when none of them is a garment."""
    found = [garment_of(name) for name in names]
    groups = {garment: [i for i, each in enumerate(found) if each == garment] for garment in GARMENTS}
    groups = {garment: classes for garment, classes in groups.items() if classes}
    if groups:
        return groups
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    if all(re.fullmatch(r"(label|class)?[ _-]?\d+", name, re.IGNORECASE) for name in names):
        raise HubError(
            f"{model} does not say what its {len(names)} classes mean ({shown}); give their names in order with "
            "--classes FILE, one a line, or --classes fashionpedia for the 46 of that data set"
        )
    raise HubError(
        f"none of the {len(names)} classes of {model} is a garment ({shown}); take a model trained on clothes, or "
        f"give its classes names that end in a garment's word (such as {', '.join(GARMENTS[:5])}) with --classes FILE"
    )


def read_classes(given: str) -> tuple[str, ...]:
    """The names behind --classes: "fashionpedia", or a file with one name a line; raises HubError."""
    if given == "fashionpedia":
        return FASHIONPEDIA
    names = tuple(line.strip() for line in _read(Path(given)).splitlines() if line.strip())
    if not names:
        raise HubError(f"{given} names no class; write one name a line, in the order of the model's outputs")
    return names


def prompts_of(head: str, file: Path | None) -> dict[str, str]:
    """Label -> what to ask a text tower for it.

    `head` is category, pattern or material; without a file the labels are ours. A line of the file is a label, or
    `label = text` where the label itself says too little ("other = a garment of cotton or silk").
    Raises HubError for an empty file and for labels that the repository cannot hold.
    """
    if file is None:
        return dict(_OURS[head])
    prompts: dict[str, str] = {}
    for line in filter(None, map(str.strip, _read(file).splitlines())):
        label, _, text = (part.strip() for part in line.partition("="))
        if not label or re.search(r'[,"\\]', label) or label in prompts:
            raise HubError(f"{file}: {line!r} is no label; each needs a name of its own without comma or quote")
        prompts[label] = text or _FORMS[head].format(label.rpartition("/")[2].replace("_", " "))
    if len(prompts) < 2:
        raise HubError(f"{file} must hold at least two labels, one a line: a {head} is chosen among them")
    return prompts


def _singulars(word: str) -> Iterable[str]:
    yield word
    for ending, stem in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(ending):
            yield word.removesuffix(ending) + stem


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(f"{file} cannot be read: {error}") from error


_FORMS = {"category": "a {}", "pattern": "a {} garment", "material": "a garment made of {}"}
_SPOKEN = {
    "top/longsleeve": "a long sleeved top",
    "top/undershirt": "an undershirt",
    "top/body": "a bodysuit",
    "top/top": "a sleeveless top",
    "outer/outwear": "a coat or a jacket",
    "pants": "a pair of trousers",
    "shorts": "a pair of shorts",
    "shoes": "a pair of shoes",
    "scarf_tie": "a scarf or a tie",
    "eyewear": "a pair of glasses",
    "legwear": "socks or tights",
    "accessory": "jewellery or a watch",
    "solid": "a plain garment of a single color",
    "dotted": "a garment with polka dots",
    "floral": "a garment with a floral print",
    "graphic": "a garment with a picture or text on it",
    "knit": "a knitted garment of wool",
    "leather": "a garment made of leather or fur",
    "other": "a garment made of cotton or silk or polyester",
}


def _ours(head: str, labels: Sequence[str]) -> Mapping[str, str]:
    spoken = {label: _FORMS[head].format(label.rpartition("/")[2]) for label in labels}
    return {label: _SPOKEN.get(label, text) for label, text in spoken.items()}


_OURS = {
    "category": _ours("category", CATEGORIES),
    "pattern": _ours("pattern", PATTERNS),
    "material": _ours("material", MATERIALS),
}
