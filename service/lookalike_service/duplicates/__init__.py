"""The same picture under two products, whatever a shop has done to it: cropped, scaled, re-encoded, marked with a logo.

A photo is looked at once (fingerprints.py) and remembered (notebook.py). Photos that share rare key points are paired
(shelf.py). Those of a pair are laid over each other and compared pixel by pixel (comparing.py), which tells the same
picture from the same cut in another colour. Needs OpenCV and no models; nothing is asked of the index.
"""

from __future__ import annotations

from lookalike_service.duplicates.finding import DuplicateFinder
from lookalike_service.duplicates.notebook import Notebook
from lookalike_service.duplicates.report import Group, Link, Report, Trouble, as_csv, as_json

__all__ = ["DuplicateFinder", "Group", "Link", "Notebook", "Report", "Trouble", "as_csv", "as_json"]
