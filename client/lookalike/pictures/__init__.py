"""Result pictures (needs the extra `cli`: Pillow and a font).

`draw_analysis` draws the garments into their photo; `draw_search` puts the photo beside the products that were
found for each garment.
"""

from __future__ import annotations

from lookalike.pictures.page import FetchImage, draw_search
from lookalike.pictures.photo import draw_analysis, open_photo
from lookalike.pictures.store import images_in_folder

__all__ = ["FetchImage", "draw_analysis", "draw_search", "images_in_folder", "open_photo"]
