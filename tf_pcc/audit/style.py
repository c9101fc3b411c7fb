"""The report's style sheet: phone, desktop, and black-and-white print."""

STYLE = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
.limits { white-space: nowrap; color: #444; }
body { margin: 0; background: #fff; color: #111;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.3rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1rem 0 .4rem; }
p { max-width: 75ch; margin: .5rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; padding: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid #bbb;
  text-align: right; vertical-align: top; }
thead th { border-bottom: 2px solid #111; vertical-align: bottom; }
th:first-child { text-align: left; }
tbody tr.first th, tbody tr.first td { border-top: 2px solid #777; }
.figures { display: grid; gap: 1.5rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure h3 { margin-top: 0; }
figure img { display: block; width: 100%; max-width: 620px; height: auto; }
figcaption { font-size: .85rem; color: #333; margin-top: .4rem;
  overflow-wrap: anywhere; }
@media (min-width: 701px) { .wide .limits { display: block; } }
@media (max-width: 700px) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  table, tbody, tr, th, td { display: block; width: 100%; }
  tr { border: 1px solid #bbb; border-radius: 6px; margin-bottom: .75rem;
    padding: .4rem .6rem; }
  tbody th, td { display: flex; justify-content: space-between; gap: 1rem;
    border: 0; padding: .15rem 0; }
  tbody th::before, td::before { content: attr(data-label); text-align: left;
    font-weight: 400; color: #444; }
  tbody th { border-bottom: 1px solid #ddd; margin-bottom: .2rem; }
}
@media print {
  body { font-size: 10pt; color: #000; }
  main { max-width: none; padding: 0; }
  table { font-size: 7.5pt; }
  th, td { padding: .2rem .25rem; }
  h2, h3, summary { break-after: avoid; }
  tr, figure { break-inside: avoid; }
  details::details-content { content-visibility: visible; }
  figcaption, tbody th::before, td::before { color: #000; }
  .figures { grid-template-columns: 1fr 1fr; gap: 1rem; }
}
"""
