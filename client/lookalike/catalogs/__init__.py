"""Catalogs of products as people keep them: a folder of images, or a CSV, JSON-lines or Parquet file.

They lie on this machine, or at an address (https://, s3://). A folder with a `products.jsonl`, `products.csv` or
`products.parquet` is read from that file. Any other folder gives one product per image (JPEG, PNG, WebP; subfolders
too, hidden ones not):

- id: the path without its ending, with every character that ids may not have replaced by `-`
  ("dresses/red linen.jpg" is "dresses-red-linen"); where that is not unique, a few digits of the path's hash follow;
- title: the file's name, `-` and `_` read as spaces;
- category: the innermost subfolder whose name says one ("dresses", "T-Shirts"); otherwise the model decides.

The files have the fields that rows.py lists. Images are paths relative to the file, or addresses.

    async with Fetcher() as fetcher, open_catalog("shop/products.csv", fetcher=fetcher) as catalog:
        async for loaded in load(catalog, fetcher=fetcher):
            print(loaded.row.number, loaded.product or loaded.problems)
"""

from lookalike.catalogs.failures import Failures, free_failures_path
from lookalike.catalogs.fetching import Fetcher
from lookalike.catalogs.loading import Loaded, load
from lookalike.catalogs.opening import Catalog, open_catalog
from lookalike.catalogs.sources import CatalogUnreadable, Row

__all__ = [
    "Catalog",
    "CatalogUnreadable",
    "Failures",
    "Fetcher",
    "Loaded",
    "Row",
    "free_failures_path",
    "load",
    "open_catalog",
]
