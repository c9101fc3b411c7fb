"""What launch.inspect prints, draws and lists to listen to."""

import os
import random
from typing import Any

from tf_pcc import extras, files
from tf_pcc.data import inspection, normalizers
from tf_pcc.data.utterances import Corpus

_BAR, _SHOWN = 40, 20


def report(result: dict[str, Any]) -> str:
  """The result in words, with a histogram.

  Args:
    result: what `tf_pcc.data.inspection.describe` returned.

  Returns:
    Lines of text.
  """
  lines = [inspection.summary(result), ""]
  edges, counts = result["histogram"]["edges"], result["histogram"]["counts"]
  for first, last, count in zip(edges, edges[1:], counts):
    bar = "#" * -(-count * _BAR // max(*counts, 1))
    lines.append(f"{first:8.2f} to {last:6.2f} s  {count:7d}  {bar}")
  lines.append("")
  rates = ", ".join(
    f"{count} at {rate}{' Hz' if rate.isdigit() else ' rate'}"
    for rate, count in result["rates"].items()
  )
  lines.append(f"utterances by the rate of their file: {rates}")
  lines.append(
    f"{result['silent']} silent, {result['clipped']} clipped, "
    f"{result['repeated_sounds']} with the sound of another one"
  )
  characters = "".join(
    c if not c.isspace() else "" for c in sorted(result["characters"])
  )
  lines.append(f"characters: {characters[:200]}")
  if result["dropped"]:
    lines.append(
      f"the normalizer {result['normalizer']} leaves out or changes: "
      f"{_counted(result['dropped'])}"
    )
  if result["advice"]:
    lines.append(result["advice"])
  if result["unknown"] is not None:
    lines.append(
      f"{result['unencodable']} utterances are outside the vocabulary; it "
      f"lacks {_counted(result['unknown']) or 'no character'}"
    )
  if result["skipped"]:
    lines += ["", f"{len(result['skipped'])} cannot be used:"]
    lines += [f"  {key}: {why}" for key, why in result["skipped"][:_SHOWN]]
  if result["suspicious"]:
    shown = result["suspicious"][:_SHOWN]
    many = len(result["suspicious"])
    lines += ["", f"{many} suspicious; the {len(shown)} most suspicious:"]
    for doubt in shown:
      lines.append(f"  {doubt['id']}: {'; '.join(doubt['reasons'])}")
      lines.append(f"    {doubt['text'][:100]}")
  return "\n".join(lines)


def _counted(counts):
  found = normalizers.Dropped()
  found.counts.update(counts)
  return str(found) if counts else ""


def play_list(result: dict[str, Any], corpus: Corpus) -> str:
  """The most suspicious utterances and as many others, as an .m3u file.

  Args:
    result: what `tf_pcc.data.inspection.describe` returned.
    corpus: the corpus it is of.

  Returns:
    Content of the file.
  """
  doubtful = [doubt["id"] for doubt in result["suspicious"][:_SHOWN]]
  others = sorted({u.id for u in corpus} - set(doubtful))
  others = random.Random(0).sample(others, min(_SHOWN, len(others)))
  place = {u.id: u for u in corpus if u.path and os.path.exists(u.path)}
  lines = ["#EXTM3U"]
  for key in (*doubtful, *others):
    if key not in place:
      continue
    utterance = place[key]
    part = utterance.segment
    lines.append(f"#EXTINF:-1,{key}: {utterance.text}")
    if part.start:
      lines.append(f"#EXTVLCOPT:start-time={part.start:.3f}")
    if part.seconds is not None:
      lines.append(f"#EXTVLCOPT:stop-time={part.start + part.seconds:.3f}")
    lines.append(os.path.abspath(utterance.path))
  return "\n".join(lines) + "\n"


def draw(result: dict[str, Any], path: str | os.PathLike) -> None:
  """Draws the lengths and the commonest characters.

  Args:
    result: of `inspect`.
    path: the PNG file.
  """
  figures = extras.load("matplotlib.figure", "--png", "report")
  figure = figures.Figure(figsize=(8, 6), layout="constrained")
  lengths, characters = figure.subplots(2)
  edges, counts = result["histogram"]["edges"], result["histogram"]["counts"]
  lengths.stairs(counts, edges, fill=True)
  lengths.set(xlabel="seconds", ylabel="utterances", title=result["path"])
  common = [
    item for item in result["characters"].items() if not item[0].isspace()
  ][:40]
  # Characters of many scripts are in no font: their codes are.
  names = [c if c.isascii() else f"{ord(c):04X}" for c, _ in common]
  characters.bar(range(len(common)), [count for _, count in common])
  characters.set_xticks(range(len(common)), names, rotation=90)
  characters.set(ylabel="utterances", xlabel="character")
  with files.replacing(path) as temporary:
    figure.savefig(temporary, format="png")
