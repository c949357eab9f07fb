"""Large catalogs: embedded by a Ray Data job into a folder of Parquet, and loaded from there.

A catalog file is cut into parts of some hundred products (planning.py). Workers of Ray read a part's photographs, have
them looked at by Triton, put them into the image store, and write one Parquet file of products with their views and
vectors (embedding.py, parts.py). The command loads what is there into database and index (loading.py). Each step is
done when its file, or its row, is there: whatever ends in between, running the command again goes on from there.
"""
