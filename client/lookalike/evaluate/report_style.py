"""How the report looks."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #181b22; background: #f4f5f7; margin: 0 auto; max-width: 1330px;
  padding: 28px; }
header p, small, figcaption, .card span, .legend { color: #5f6673; }
h1 { font-size: 28px; margin: 0; } h2 { font-size: 20px; margin: 40px 0 4px; }
h3 { font-size: 14px; margin: 14px 0 6px; } h3:first-child { margin-top: 0; } h3 small { font-weight: normal; }
.verdict { font-size: 18px; font-weight: 600; background: #fff; border-left: 5px solid #2f6bff; padding: 12px 16px; }
.summary { display: flex; flex-wrap: wrap; gap: 28px; align-items: flex-end; }
table, article, .spread { background: #fff; border: 1px solid #e4e6eb; border-radius: 12px; }
table { border-spacing: 0; padding: 8px 12px; } th { text-align: left; font-weight: 500; color: #5f6673; }
th, td { padding: 4px 10px; white-space: nowrap; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.headline td { font-weight: 700; background: #eef3ff; }
.spread { padding: 8px; max-width: 100%; } .spread text { font-size: 11px; fill: #5f6673; text-anchor: middle; }
.notes { max-width: 900px; } .notes li { margin: 4px 0; overflow-wrap: anywhere; }
article { display: flex; gap: 20px; padding: 16px; margin: 14px 0; } article > div { min-width: 0; flex: 1; }
figure { margin: 0; width: 220px; flex: none; } figure img { max-width: 220px; max-height: 300px; border-radius: 8px; }
figcaption { font-size: 12px; overflow-wrap: anywhere; }
.row { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: 8px; }
.card { border: 3px solid transparent; border-radius: 8px; padding: 3px; font-size: 11px;
  background: #fafbfc; box-sizing: border-box; }
.card img, .blank { display: block; width: 100%; height: 80px; object-fit: contain; border-radius: 4px;
  background: #f0f1f4; }
.card b, .card span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.card b { font-weight: 600; } .card a { color: inherit; }
.good { border-color: #12924f; } .bad { border-color: #d3352b; } .unjudged { border: 3px dashed #a9afbb; }
.lost { border-color: #f0a000; }
.none { color: #5f6673; grid-column: 1 / -1; }
.legend { font-size: 12px; margin: 0; } .legend i { display: inline-block; width: 12px; height: 12px;
  border-width: 3px; border-style: solid; border-radius: 4px; vertical-align: -4px; margin: 0 4px 0 12px; }
.legend .unjudged { border-style: dashed; }
@media (max-width: 700px) { article { flex-direction: column; }
  .row { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
@media print { body { background: #fff; } article { break-inside: avoid; } }
"""
