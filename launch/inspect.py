"""Summarises a corpus before training: lengths, rates, suspicious utterances.

  python -m launch.inspect LibriSpeech/train-clean-100
  python -m launch.inspect data/train --json=look.json --png=look.png
  python -m launch.inspect cv/hi/train.tsv --normalizer=lower \\
    --play_list=listen.m3u

The path is a corpus (see launch.prepare) or a directory of records. All sound
is decoded. Nothing is changed: write the ids that you do not want, one a line,
into a file for launch.prepare --exclude. --play_list names the most suspicious
utterances, then as many others by chance, for any player.
"""

import concurrent.futures
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from launch import cli
from launch.inspection import reporting
from tf_pcc import bars, extras, files
from tf_pcc.data import (
  audio,
  corpora,
  inspection,
  normalizers,
  records,
  text,
)
from tf_pcc.data import sounds as sounds_
from tf_pcc.data.manifests import Reading
from tf_pcc.data.text import Tokenizer
from tf_pcc.data.utterances import Corpus, Utterance

_JSON = cli.json_flag()
_NORMALIZER = cli.normalizer_flag()
_OUTSIDE = cli.allow_outside_flag()
_TOKENIZER = flags.DEFINE_string(
  "tokenizer",
  None,
  "File of launch.vocabulary: name the characters that it lacks.",
)
_PNG = flags.DEFINE_string("png", None, "File to draw the histograms to.")
_PLAY_LIST = flags.DEFINE_string(
  "play_list", None, "File to write a play list to (.m3u)."
)
# Utterances of one task of a thread, and rows of a histogram.
_TASK, _ROWS = 16, 12


def inspect(
  path: str | os.PathLike,
  normalizer: str = "upper",
  tokenizer: Tokenizer | None = None,
  allow_outside: bool = False,
  progress: bool = True,
) -> tuple[dict[str, Any], Corpus]:
  """Looks at a corpus.

  Args:
    path: a corpus or a directory of records.
    normalizer: a name of `tf_pcc.data.normalizers`.
    tokenizer: `tf_pcc.data.text.Tokenizer`, or None.
    allow_outside: as `manifests.Reading` takes.
    progress: bool, whether to show a bar.

  Returns:
    (dict of JSON values, `utterances.Corpus`). The dict has path, normalizer,
    all of `inspection.describe`, histogram (edges in seconds and counts), rates
    (dict from the files' rates in Hz to how many utterances have them), dropped
    (what the normalizer leaves out: dict from characters to counts), advice (on
    the choice of a normalizer, or ""), unknown (characters that the tokenizer
    lacks: dict to how many utterances have them, or None), unencodable (how
    many utterances have no labels, or None), repeated_sounds, silent, clipped,
    skipped (list of [id, reason]), and suspicious (list of dicts with id,
    weight, reasons, text and path).

  Raises:
    ValueError: If there is no corpus at `path`.
  """
  corpus = _open(path, allow_outside)
  normalize = normalizers.get(normalizer)
  skipped = [[skip.id, skip.reason] for skip in corpus.skips]
  sounds, rates, kept = [], {}, []
  for number, (found, rate) in enumerate(_measured(corpus, progress)):
    if isinstance(found, ValueError):
      skipped.append([corpus.utterances[number].id, str(found)])
      continue
    kept.append(number)
    sounds.append(found)
    rates[rate] = rates.get(rate, 0) + 1
  corpus = corpus.select(kept)
  dropped, texts = normalizers.Dropped(), []
  for utterance in corpus:
    texts.append(normalize(utterance.text))
    dropped.add(utterance.id, utterance.text, texts[-1])
  ids = [utterance.id for utterance in corpus]
  raw = [utterance.text for utterance in corpus]
  seconds = np.array([sound.seconds for sound in sounds])
  known = set("".join(tokenizer.surfaces)) if tokenizer else None
  doubts = inspection.suspicions(ids, raw, texts, seconds, sounds, known)
  result = inspection.describe(texts, [u.speaker for u in corpus], seconds)
  counts, edges = np.histogram(seconds, bins=_ROWS)
  unknown = None
  if tokenizer:
    unknown = {
      c: count
      for c, count in result["characters"].items()
      if c not in known and not c.isspace()
    }
    labels = tokenizer.encode_batch(texts, strict=False)
  place = dict(zip(ids, corpus))
  # "unknown" after the numbers, with which it does not compare.
  of_rates = sorted(rates, key=lambda rate: (isinstance(rate, str), rate))
  return {
    "path": str(path),
    "normalizer": normalizer,
    **result,
    "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    "rates": {str(rate): rates[rate] for rate in of_rates},
    "dropped": dict(dropped.counts.most_common()),
    "advice": dropped.advice(normalizer),
    "unknown": unknown,
    "unencodable": labels.count(None) if tokenizer else None,
    "repeated_sounds": len(sounds) - len({sound.digest for sound in sounds}),
    "silent": sum(sound.is_silent for sound in sounds),
    "clipped": sum(sound.is_clipped for sound in sounds),
    "skipped": skipped,
    "suspicious": [
      {
        "id": key,
        "weight": round(float(weight), 3),
        "reasons": reasons,
        "text": place[key].text,
        "path": place[key].path,
      }
      for weight, key, reasons in doubts
    ],
  }, corpus


def _open(path, allow_outside):
  """The corpus at a path, its transcripts as they are written."""
  if not records.is_records(path):
    reading = Reading(normalizers.none, allow_outside, keep_empty=True)
    return corpora.read_corpus(path, 1.0, reading)
  opened = records.Records(path)

  def waveforms(start, stop, sample_rate):
    for number in range(start, stop):
      yield audio.resample(
        audio.to_float(opened.read(number)), opened.sample_rate, sample_rate
      )

  utterances = zip(opened.ids, opened.texts, opened.speakers, strict=True)
  return Corpus(
    name=os.path.basename(os.path.normpath(path)),
    root=str(path),
    utterances=tuple(Utterance(key, "", t, who) for key, t, who in utterances),
    reader=waveforms,
  )


def _measured(corpus, progress):
  """Yields (`Sound` or the ValueError, the file's rate or "unknown")."""

  def task(start):
    stop = min(start + _TASK, len(corpus))
    found = []
    for utterance, waveform in zip(
      corpus.utterances[start:stop], corpus.waveforms(start, stop)
    ):
      rate = "unknown"
      if not isinstance(waveform, ValueError):
        waveform = sounds_.measure(waveform)
        stated = audio.header(utterance.path)
        rate = stated[0] if stated else rate
      found.append((waveform, rate))
    return found

  bar = bars.make(total=len(corpus), unit=" utterances", disable=not progress)
  pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
  try:
    for found in pool.map(task, range(0, len(corpus), _TASK)):
      bar.update(len(found))
      yield from found
  finally:
    pool.shutdown(cancel_futures=True)
    bar.close()


def main(arguments: Sequence[str]) -> None:
  if len(arguments) != 1:
    raise ValueError(
      "give one corpus or directory of records. Received: "
      f"{' '.join(arguments) or 'none'}"
    )
  outputs = {"json": _JSON, "png": _PNG, "play_list": _PLAY_LIST}
  for name, flag in outputs.items():
    if flag.value:
      files.require_parent(flag.value, f"--{name}")
  if _PNG.value:
    extras.load("matplotlib", "--png", "report")
  tokenizer = (
    text.load_tokenizer(_TOKENIZER.value) if _TOKENIZER.value else None
  )
  normalizer = _NORMALIZER.value or "upper"
  result, corpus = inspect(arguments[0], normalizer, tokenizer, _OUTSIDE.value)
  print(reporting.report(result))
  if _JSON.value:
    files.write_json(_JSON.value, result)
  if _PNG.value:
    reporting.draw(result, _PNG.value)
  if _PLAY_LIST.value:
    files.write_text(_PLAY_LIST.value, reporting.play_list(result, corpus))


if __name__ == "__main__":
  cli.run("launch.inspect", main)
