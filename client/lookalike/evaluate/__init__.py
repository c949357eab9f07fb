"""How well a running server finds what people find alike: `lookalike evaluate` as a library.

`metrics` computes figures from a ranking and grades and knows nothing else; `significance` says how far their means can
be trusted. `judgments` reads the judged CSV, `asking` sends its photos, `running` does the whole, `outcome` and
`document` hold what came of it, `report` shows it as a page.
"""
