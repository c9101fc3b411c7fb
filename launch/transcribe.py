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
* words. Times are of the frames that emit a word's tokens: CTC emits a token in
a frame or two, so a word sounds on after its "end".

--arpa searches the CTC output, that of a hybrid too, whose transducer is then
ignored. The search runs on the host, in Python, one utterance after another:
minutes of speech, not days.

Files that cannot be read are named on standard error, the rest is still done,
and the exit code is then 1.
"""

import json
import sys

from absl import flags, logging

from launch import cli
from launch.recognition import searching
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
  "timestamps", False, "Whether to give the time of each word."
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


def main(paths):
  if not paths:
    raise ValueError("name at least one audio file. Received: none")
  hear, _ = searching.open_recogniser(
    _WORKDIR.value,
    _SAVED_MODEL.value,
    _SEARCH(nbest=_NBEST.value, timestamps=_TIMESTAMPS.value),
    _STEP.value,
    _BATCH.value,
  )
  found, failed = read_all(paths)
  for path, reason in failed.items():
    print(f"launch.transcribe: {path}: {reason}", file=sys.stderr)
  heard = {}
  if found:
    speech = records.MemoryRecords(list(found.values()), [""] * len(found))
    heard = dict(zip(found, hear(speech)))
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
