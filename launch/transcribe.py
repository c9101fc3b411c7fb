"""Transcribes audio files with a trained recogniser, one line a file.

  python -m launch.transcribe --workdir=runs/desk a.wav b.flac c.mp3
  python -m launch.transcribe --workdir=runs/desk --nbest=5 --timestamps a.wav
  python -m launch.transcribe --workdir=runs/desk --arpa=words.arpa a.wav
  python -m launch.transcribe --saved_model=exported a.wav

A line is the path, a tab and the transcript. With --nbest or --timestamps it is
JSON: {"id": path, "transcript": text, "nbest": [{"text", "score"}, ...],
"words": [{"word", "start", "end"}, ...]}, scores being natural
log-probabilities and times seconds; with --arpa, a text has its parts
"acoustic" and "lm" too, and its score is acoustic + lm_weight * lm + word_bonus
* words.

Files that cannot be read are named on standard error, the rest is still done,
and the exit code is then 1.
"""

import json
import sys

from absl import flags, logging

from launch import cli, recognisers, searching, workdir
from tf_pcc.data import audio, records

_WORKDIR = cli.workdir_flag()
_SAVED_MODEL = cli.saved_model_flag()
_BATCH = cli.batch_flag()
_STEP = cli.step_flag()
_SEARCH = searching.define_flags()
_NBEST = flags.DEFINE_integer(
  "nbest", 0, "Texts to give for each file.", lower_bound=0
)
_TIMESTAMPS = flags.DEFINE_bool(
  "timestamps", False, "Whether to say when each word was said."
)


def read_all(paths):
  """Reads audio files.

  Args:
    paths: list of paths.

  Returns:
    dict from path to float32 [samples], and dict from path to the reason why it
    cannot be read.
  """
  found, failed = {}, {}
  for path in paths:
    try:
      found[path] = audio.load(path)
    except (ValueError, OSError) as error:
      failed[path] = str(error)
  return found, failed


def exported_transcripts(transcribe, waveforms, batch_size):
  """Transcripts of an exported model.

  Args:
    transcribe: function from `recognisers.saved_model_function`.
    waveforms: list of float32 [samples].
    batch_size: int.

  Returns:
    list of `searching.Heard`.
  """
  texts = []
  for start in range(0, len(waveforms), batch_size):
    batch = waveforms[start : start + batch_size]
    texts += transcribe(batch, audio.SAMPLE_RATE)
  return [searching.Heard(text) for text in texts]


def recogniser():
  """What the flags name: function from waveforms to a list of `Heard`."""
  search = _SEARCH(nbest=_NBEST.value, timestamps=_TIMESTAMPS.value)
  directory, exported = _WORKDIR.value, _SAVED_MODEL.value
  if bool(directory) == bool(exported):
    raise ValueError(
      "give one of --workdir and --saved_model. Received: "
      f"workdir={directory}, saved_model={exported}"
    )
  if exported:
    if search.width or search.timestamps or _STEP.value is not None:
      raise ValueError(
        "an exported model transcribes greedily: --nbest, --beam_width, "
        "--arpa, --timestamps and --step need --workdir. Received: "
        f"saved_model={exported}, {search}, step={_STEP.value}"
      )
    function = recognisers.saved_model_function(exported)
    return lambda w: exported_transcripts(function, w, _BATCH.value)
  model, tokenizer, *_ = workdir.load_model(directory, step=_STEP.value)

  def hear(waveforms):
    speech = records.MemoryRecords(waveforms, [""] * len(waveforms))
    return searching.hear(model, tokenizer, speech, _BATCH.value, search)

  return hear


def main(paths):
  if not paths:
    raise ValueError("name at least one audio file. Received: none")
  hear = recogniser()
  found, failed = read_all(paths)
  for path, reason in failed.items():
    print(f"launch.transcribe: {path}: {reason}", file=sys.stderr)
  heard = dict(zip(found, hear(list(found.values())))) if found else {}
  for path in paths:
    if path not in heard:
      continue
    if _NBEST.value or _TIMESTAMPS.value:
      print(json.dumps({"id": path, **heard[path].to_dict()}))
    else:
      print(f"{path}\t{heard[path].text}")
  sys.exit(1 if failed else 0)


if __name__ == "__main__":
  cli.run("launch.transcribe", main, verbosity=logging.WARNING)
