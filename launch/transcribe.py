"""Transcribes audio files with a trained recogniser, one line a file.

  python -m launch.transcribe --workdir=runs/desk a.wav b.flac c.mp3

Files that cannot be read are named on standard error, the rest is still done,
and the exit code is then 1.
"""

import sys

from absl import logging

from launch import cli, scoring, workdir
from tf_pcc.data import audio, records

_WORKDIR = cli.workdir_flag()
_BATCH = cli.batch_flag()


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
  model, tokenizer, _, _ = workdir.load_model(_WORKDIR.value)
  found, failed = read_all(paths)
  for path, reason in failed.items():
    print(f"launch.transcribe: {path}: {reason}", file=sys.stderr)
  if found:
    speech = records.MemoryRecords(
      list(found.values()), [""] * len(found), ids=list(found)
    )
    transcripts = scoring.transcribe(model, tokenizer, speech, _BATCH.value)
    by_path = dict(zip(found, transcripts))
    for path in paths:
      if path in by_path:
        print(f"{path}\t{by_path[path]}")
  sys.exit(1 if failed else 0)


if __name__ == "__main__":
  cli.run(
    "launch.transcribe",
    main,
    required=["workdir"],
    verbosity=logging.WARNING,
  )
