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
a frame or two, so a word is still audible after its "end".

--arpa searches the CTC output, that of a hybrid too, whose transducer is then
ignored. The search runs on the host, in Python, one utterance after another:
minutes of speech, not days.

Files are read as they are needed, and lines come in their order. Of any number
and any length of files no more than a few minutes of sound are in memory. Sound
of more than a minute goes through the model in windows of 20 seconds that
overlap. For an export, which gives no times, it is cut into sections of at most
30 seconds that end where it is quiet.

Files that cannot be read are named on standard error, the rest is still done,
and the exit code is then 1.
"""

import json
import sys
from collections.abc import Sequence

from absl import flags, logging

from launch import cli
from launch.recognition import searching, transcribing
from tf_pcc.data import audio, long_audio

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


def main(paths: Sequence[str]) -> None:
  if not paths:
    raise ValueError("name at least one audio file. Received: none")
  recogniser, _ = transcribing.open_recogniser(
    _WORKDIR.value,
    _SAVED_MODEL.value,
    _SEARCH(nbest=_NBEST.value, timestamps=_TIMESTAMPS.value),
    _STEP.value,
    _BATCH.value,
  )
  failed = set()

  def blocks(number, path):
    try:
      yield from long_audio.blocks(path)
    except (ValueError, OSError) as error:
      failed.add(number)
      print(f"launch.transcribe: {path}: {error}", file=sys.stderr)

  # By number, because a path may be given twice.
  sounds = ((i, blocks(i, path)) for i, path in enumerate(paths))
  for number, transcript in recogniser(sounds, audio.SAMPLE_RATE, len(paths)):
    if number in failed:
      # Part of it could be read.
      continue
    path = paths[number]
    if _NBEST.value or _TIMESTAMPS.value:
      print(json.dumps({"id": path, **transcript.to_dict()}), flush=True)
    else:
      print(f"{path}\t{transcript.text}", flush=True)
  sys.exit(1 if failed else 0)


if __name__ == "__main__":
  cli.run("launch.transcribe", main, verbosity=logging.WARNING)
