"""Plans and speaks canaries before any training, for any toolkit.

  python -m launch.make_canaries --corpus=LibriSpeech/train-clean-100 \\
    --output=planned
  python -m launch.make_canaries --config=launch/configs/own.py --fit \\
    --config.canaries.repetitions='(1, 4, 16)' --corpus=data/train \\
    --output=planned

--config.canaries.* says what a canary is. Words are those of the corpus (a
folder, a manifest, records, or a text file of a transcript a line), and no
canary equals one of its transcripts. Writes

DIR/canaries.json    the plan, for launch.audit and launch.prepare
DIR/canaries/        the sound of all of it, hold-out included, as records
DIR/wav/ID.wav       the canaries to insert; nothing of the hold-out
DIR/manifest.tsv     a line for each insertion, evenly spread; the
                     column before counts the corpus' utterances: it comes
                     before this one

Add the manifest's lines to a training list, train a pass, and ask the result:

  python -m launch.audit --plan=planned/canaries.json --output=audit \\
    --transcribe=module:function

Sped up four times, a canary may have more labels than another toolkit's network
has frames. --fit checks this, for config.model and config.tokenizer. For
another network look at what its training leaves out, or plan with a smaller
--config.canaries.speeds.
"""

import io
import os
from collections.abc import Sequence
from typing import NamedTuple

import scipy.io.wavfile
from absl import flags, logging
from ml_collections import config_dict

from launch import cli
from launch.canaries import in_corpus, speaking
from launch.canaries import of_run as canaries_
from launch.canaries.of_run import Canaries
from launch.runs import datasets, experiment
from tf_pcc import files, locks
from tf_pcc.audit import texts as texts_
from tf_pcc.data import tables, text

_CONFIG = cli.config_flag()
_CORPUS = flags.DEFINE_string(
  "corpus", None, "Corpus (see launch.prepare), records, or a .txt file."
)
_OUTPUT = flags.DEFINE_string("output", None, "Directory to make.")
_FIT = flags.DEFINE_bool(
  "fit", False, "Leave out what config.model has too few frames for."
)
_MANIFEST = "manifest.tsv"
_COLUMNS = ("id", "path", "speaker", "seconds", "text", "before")


def make(
  config: config_dict.ConfigDict,
  texts: Sequence[str],
  directory: str | os.PathLike,
  fit: bool = False,
) -> Canaries:
  """Does what the module says.

  Args:
    config: the experiment's `ConfigDict`.
    texts: transcripts of the corpus.
    directory: to write to.
    fit: bool, whether canaries must fit the frames of the config's model.

  Returns:
    `launch.canaries.of_run.Canaries`.

  Raises:
    ValueError: If there is another plan already, a repetition count exceeds the
      transcripts, canaries are more than canaries.max_share, or
      `tf_pcc.audit.make_plan` refuses the fields.
  """
  experiment.check_fields(config)
  in_corpus.require_room(config.canaries.repetitions, len(texts))
  canaries_.require_share(config, len(texts))
  with locks.owned(directory, "--output"):
    found = canaries_.draw(
      config, texts, fits=_fits(config, texts) if fit else None
    )
    manifest = _manifest(found, len(texts))
    wavs = os.path.join(directory, "wav")
    planned = _planned(directory)
    if planned is not None:
      there, listed = planned
      if (there.plan.digest(), listed) != (found.plan.digest(), manifest):
        raise ValueError(
          "--output must not hold another plan: one that may have been trained "
          f"with is never overwritten. Received: output={directory}"
        )
      # By the sound that was planned: a voice's next version speaks another.
      if damaged := _write_wavs(there, wavs):
        logging.warning(
          "%s: damaged or gone, written again: %s", wavs, ", ".join(damaged)
        )
      else:
        logging.info("%s is finished: nothing was written", directory)
      return found
    files.make_folder(wavs)
    files.sweep(wavs)
    files.sweep(directory)
    _write_wavs(found, wavs)
    files.write_text(os.path.join(directory, _MANIFEST), manifest)
    # The plan last: where it is, the rest is, too.
    canaries_.save(directory, found)
    return found


def _write_wavs(canaries, folder):
  """Writes the files that are not there as they must be; a list of them."""
  files.make_folder(folder)
  written = []
  for canary, row in zip(
    canaries.plan.canaries, canaries.rows(canaries.plan.canaries)
  ):
    name = f"{canary.id}.wav"
    path = os.path.join(folder, name)
    sound = io.BytesIO()
    scipy.io.wavfile.write(
      sound, canaries.records.sample_rate, canaries.records.read(row)
    )
    content = sound.getvalue()
    if not os.path.isfile(path) or files.read_bytes(path) != content:
      files.write_bytes(path, content)
      written.append(name)
  return written


def _planned(directory):
  """The canaries and the manifest that are there, None without a plan."""
  path = os.path.join(directory, "canaries.json")
  if not os.path.exists(path):
    return None
  manifest = os.path.join(directory, _MANIFEST)
  return (
    canaries_.load_plan(path, flag="output"),
    files.read_text(manifest) if os.path.exists(manifest) else "",
  )


def _manifest(found, utterances):
  """The lines of manifest.tsv."""
  rate = found.records.sample_rate
  seconds = {
    canary.id: len(found.records.read(row)) / rate
    for canary, row in zip(found.plan.canaries, found.rows(found.plan.canaries))
  }
  rows = [
    (
      f"{canary.id}#{repetition}",
      f"wav/{canary.id}.wav",
      speaking.speaker_of(canary),
      f"{seconds[canary.id]:.3f}",
      text.normalize(canary.text),
      str(position),
    )
    for position, canary, repetition in in_corpus.repetitions(
      found.plan, utterances
    )
  ]
  return tables.write([_COLUMNS, *rows])


class _Texts(NamedTuple):
  texts: Sequence[str]


def _fits(config, texts):
  fields = config.canaries
  # A tokenizer learnt from a corpus with canaries knows their words, too.
  words = {"characters": texts_.LETTERS, "template": texts_.DIGITS}
  more = [*words.get(fields.kind, ()), *fields.templates]
  known = [text.normalize(t.replace("{secret}", " ")) for t in more]
  train = _Texts([*texts, *known])
  tokenizer = datasets.make_tokenizer(config, train)
  model = experiment.make_model(config, tokenizer.vocab_size)
  return canaries_.spoken_fits(tokenizer, model.fits)


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  texts = datasets.read_texts(cli.given(_CORPUS))
  output = cli.given(_OUTPUT)
  plan = make(_CONFIG.value, texts, output, _FIT.value).plan
  print(
    f"{len(plan.canaries)} canaries, {plan.repetitions.sum()} lines in "
    f"{os.path.join(output, 'manifest.tsv')}; {len(plan.holdout)} held "
    "out"
  )
  print(
    f"{plan.dropped} left out that have more labels than frames"
    if _FIT.value
    else "not checked: whether their labels fit a network's frames (see --fit)"
  )


if __name__ == "__main__":
  cli.run("launch.make_canaries", main, required=["corpus", "output"])
