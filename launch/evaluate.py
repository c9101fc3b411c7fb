"""Word and character error rates of a trained recogniser.

  python -m launch.evaluate --workdir=runs/desk --data=LibriSpeech/test-clean
  python -m launch.evaluate --workdir=runs/desk --data=data/test --json=wer.json
  python -m launch.evaluate --workdir=runs/desk --data=data/test \\
    --beam_width=16 --arpa=words.arpa
  python -m launch.evaluate --saved_model=exported --data=data/test

--data is a LibriSpeech-like folder, a manifest, or a directory of records.
"""

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from launch import cli
from launch.recognition import error_rates, searching, transcribing
from launch.recognition.searching import Search
from launch.runs import datasets, saved_config
from tf_pcc import files
from tf_pcc.data import audio, normalizers
from tf_pcc.data.manifests import Reading

_WORKDIR = cli.workdir_flag()
_SAVED_MODEL = cli.saved_model_flag()
_DATA = flags.DEFINE_string("data", None, "Speech and transcripts.")
_JSON = cli.json_flag()
_BATCH = cli.batch_flag()
_STEP = cli.step_flag()
_NORMALIZER = cli.normalizer_flag()
_OUTSIDE = cli.allow_outside_flag()
_MISSING = cli.max_missing_share_flag()
_EMPTY = cli.keep_empty_flag()
_VERIFY = cli.verify_flag()
_SEARCH = searching.define_flags()
_WORST = 10


def evaluate(
  directory: str | os.PathLike | None,
  data: str | os.PathLike,
  batch_size: int = 32,
  search: Search | None = None,
  step: int | None = None,
  exported: str | os.PathLike | None = None,
  normalizer: str | None = None,
  max_missing_share: float = 0.05,
  allow_outside: bool = False,
  keep_empty: bool = False,
  verify: bool = False,
) -> dict[str, Any]:
  """Scores a run's checkpoint, or an exported model.

  Args:
    directory: the run's directory, or None.
    data: path of speech and transcripts.
    batch_size: int.
    search: `searching.Search`, greedy by default.
    step: int, which checkpoint; default: the newest.
    exported: directory of an exported model, instead of a run's.
    normalizer: what references and transcripts go through, a name of
      `tf_pcc.data.normalizers`; default: the run's, or "upper".
    max_missing_share: as `corpora.read_corpus` takes.
    allow_outside: as `manifests.Reading` takes.
    keep_empty: as `manifests.Reading` takes.
    verify: bool, whether records are read and compared whole first.

  Returns:
    dict with step, data, search, normalizer, seconds (how long the speech is,
    and how long reading and transcribing took, TensorFlow's compilation
    included), wer, cer, substitutions, deletions, insertions, words,
    utterances, silence (of the utterances with an empty reference: how many,
    their seconds, the insertions and the insertions a minute), unread (list of
    [id, reason]), and worst: the ten utterances with the most word errors, each
    with id, errors, reference and transcript.

  Raises:
    ValueError: If there is no run, no model or no speech.
  """
  search = search or searching.Search()
  recogniser, step = transcribing.open_recogniser(
    directory, exported, search, step, batch_size
  )
  if not normalizer and directory:
    normalizer = saved_config.load_config(directory).data.normalizer
  normalizer = normalizer or "upper"
  normalize = normalizers.get(normalizer)
  reading = Reading(normalize, allow_outside, keep_empty)
  speech = datasets.open_any(data, reading, max_missing_share, verify)
  unread, samples = [], {}

  def blocks():
    for row, sound in enumerate(speech.sounds()):
      if isinstance(sound, Exception):
        unread.append((speech.ids[row], str(sound)))
        continue
      samples[row] = len(sound)
      yield row, [sound if sound.dtype == np.int16 else audio.to_int16(sound)]

  start = time.monotonic()
  found = recogniser(blocks(), audio.SAMPLE_RATE, len(speech.ids))
  transcripts = {row: normalize(t.text) for row, t in found}
  taken = time.monotonic() - start
  if not samples:
    raise ValueError(f"No utterance of {data} could be read: {unread[:3]}")
  rows = sorted(transcripts)
  found = error_rates.score(
    [speech.texts[row] for row in rows], [transcripts[row] for row in rows]
  )
  errors = dict(zip(rows, found.errors))
  order = sorted(rows, key=lambda row: -errors[row])
  return {
    "step": step,
    "data": data,
    "search": dataclasses.asdict(search),
    "normalizer": normalizer,
    "seconds": {
      "speech": sum(samples.values()) / audio.SAMPLE_RATE,
      "transcribing": taken,
    },
    "wer": found.wer,
    "cer": found.cer,
    "substitutions": found.substitutions,
    "deletions": found.deletions,
    "insertions": found.insertions,
    "words": found.words,
    "utterances": found.utterances,
    "silence": _silence(speech, samples, errors),
    "unread": unread,
    "worst": [
      {
        "id": speech.ids[row],
        "errors": errors[row],
        "reference": speech.texts[row],
        "transcript": transcripts[row],
      }
      for row in order[:_WORST]
    ],
  }


def _silence(speech, samples, errors):
  rows = [row for row in errors if not speech.texts[row]]
  seconds = sum(samples[row] for row in rows) / audio.SAMPLE_RATE
  insertions = sum(errors[row] for row in rows)
  return {
    "utterances": len(rows),
    "seconds": seconds,
    "insertions": insertions,
    "insertions_a_minute": insertions / seconds * 60 if rows else None,
  }


def report(result: dict[str, Any]) -> str:
  """The result in words.

  Args:
    result: what `evaluate` returned.

  Returns:
    Lines of text.
  """
  seconds = result["seconds"]
  lines = [
    f"WER {result['wer']:.2%}, CER {result['cer']:.2%} on "
    f"{result['utterances']} utterances, {result['words']} words; both sides "
    f"normalised by {result['normalizer']!r}",
    f"{result['substitutions']} substitutions, {result['deletions']} "
    f"deletions, {result['insertions']} insertions",
    f"{seconds['speech']:.0f} s of speech in {seconds['transcribing']:.1f} s, "
    f"{seconds['speech'] / seconds['transcribing']:.0f} times real time",
  ]
  silence = result["silence"]
  if silence["utterances"]:
    lines.append(
      f"{silence['utterances']} utterances of silence, "
      f"{silence['seconds']:.1f} s: {silence['insertions']} insertions, "
      f"{silence['insertions_a_minute']:.2f} a minute"
    )
  if result["unread"]:
    lines.append(f"{len(result['unread'])} utterances could not be read:")
    lines += [f"  {name}: {reason}" for name, reason in result["unread"]]
  lines.append("worst:")
  for entry in result["worst"]:
    lines.append(f"  {entry['id']}, {entry['errors']} errors")
    lines.append(f"    reference:  {entry['reference']}")
    lines.append(f"    transcript: {entry['transcript']}")
  return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  if _JSON.value:
    # Found now, not when there is something to lose.
    files.require_parent(_JSON.value, "--json")
  result = evaluate(
    _WORKDIR.value,
    cli.given(_DATA),
    _BATCH.value,
    _SEARCH(),
    _STEP.value,
    _SAVED_MODEL.value,
    _NORMALIZER.value,
    _MISSING.value,
    _OUTSIDE.value,
    _EMPTY.value,
    _VERIFY.value,
  )
  print(report(result))
  if _JSON.value:
    files.write_json(_JSON.value, result)


if __name__ == "__main__":
  cli.run("launch.evaluate", main, required=["data"])
