"""What is damaged, and how it is opened: a target for each kind of file.

`build` makes good files in an empty folder; `damaged` is the pattern of those
that come to harm; `open` reads them as the programs do and counts good
utterances that were lost, and damage that was read as if it were good. Long,
because it is one list, an entry a kind of file.
"""

import dataclasses
import importlib.util
import json
import os
from collections.abc import Callable

import numpy as np
import soundfile

from launch.canaries import of_run
from launch.comparison import bound_files, choice_files, training_jobs
from launch.runs import (
  checkpoints,
  cluster,
  experiment,
  metrics,
  opening,
  resuming,
  saved_config,
)
from tests.faults.samples import tiny_config, tones
from tf_pcc import audit, files
from tf_pcc.data import corpora, records, text

_TEXTS = ("HELLO WORLD", "ONE TWO THREE", "A GOOD ONE")
_RATE = 16000


@dataclasses.dataclass(frozen=True)
class Target:
  """A kind of file.

  Attributes:
    name: str.
    damaged: pattern of the files that are damaged, in the folder of `build`.
    build: function of a folder.
    open: function (folder, damaged path, its bytes before) -> None or a dict
      with lost and silent.
  """

  name: str
  damaged: str
  build: Callable
  open: Callable


def _waveforms():
  return [0.9 * waveform for _, waveform in tones(3, seed=3)]


def _sounds(extension, subtype=None):
  names = ("a", "b", "c")

  def build(folder):
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, waveform in zip(names, _waveforms()):
      path = corpus / f"{name}.{extension}"
      soundfile.write(path, waveform, _RATE, subtype=subtype)
    lines = map(" ".join, zip(names, _TEXTS))
    (corpus / "x.trans.txt").write_text("\n".join(lines) + "\n")

  def open_(folder, path, before):
    corpus = corpora.read_corpus(folder / "corpus", 1.0)
    out = folder / "out"
    records.write_records(
      corpus, out, max_skipped_share=1.0, workers=1, progress=False
    )
    return {"lost": len({"a", "c"} - set(records.Records(out).ids))}

  return Target(extension.upper(), f"corpus/b.{extension}", build, open_)


def _manifest(name, line_of, header=()):
  def build(folder):
    for i, waveform in enumerate(_waveforms()):
      soundfile.write(folder / f"{i}.wav", waveform, _RATE)
    lines = [*header, *map(line_of, range(3))]
    (folder / name).write_text("\n".join(lines) + "\n")

  def open_(folder, path, before):
    corpus = corpora.read_corpus(path, 1.0)
    found = {(os.path.basename(u.path), u.text) for u in corpus}
    listed = path.read_bytes().splitlines()
    kept = [
      i
      for i in range(3)
      if line_of(i).encode() in listed and (f"{i}.wav", _TEXTS[i]) not in found
    ]
    return {"lost": len(kept)}

  kind = name.rpartition(".")[2].upper()
  return Target(f"{kind} manifest", name, build, open_)


def _tsv_line(i):
  return f"{i}.wav\t{_TEXTS[i]}\ts{i}"


def _json_line(i):
  return json.dumps({"audio_filepath": f"{i}.wav", "text": _TEXTS[i]})


def _write_records(folder):
  records.write_records(
    list(tones(6, 1)), folder / "records", shards=2, progress=False
  )


def _read_records(folder, path, before):
  found = records.Records(folder / "records")
  good = {u.id: (u.text, w) for u, w in tones(6, 1)}
  silent, errors = 0, []
  for row, (name, words) in enumerate(zip(found.ids, found.texts)):
    try:
      waveform = found.read(row)
    except ValueError as error:
      errors.append(error)
      continue
    expected, sound = good.get(name, (None, np.zeros(0)))
    same = expected == words and len(sound) == len(waveform)
    silent += not (same and np.abs(sound * 2**15 - waveform).max() < 2)
  if errors and not silent:
    raise errors[0]
  return {"silent": silent}


def _tokenizer(kind, size=None):
  texts = [*_TEXTS, "TO BE OR NOT TO BE"] * 3

  def build(folder):
    text.build_tokenizer(kind, texts, size).save(folder / "tokenizer.json")

  def open_(folder, path, before):
    text.load_tokenizer(path).decode([1])

  return Target(f"{kind} vocabulary", "tokenizer.json", build, open_)


def _run(folder):
  """A run with two checkpoints of an untrained model, and its small files."""
  config = tiny_config(folder)
  tokenizer = text.build_tokenizer("character", _TEXTS)
  model = _model(config, tokenizer)
  directory = str(folder / "run")
  saved_config.save_config(directory, config)
  opening.save_tokenizer(directory, tokenizer)
  saver = checkpoints.Checkpoints(directory, model)
  for step in (1, 2):
    model.head.bias.assign(np.full(model.head.bias.shape, float(step)))
    saver.save(step)
    metrics.Writer(directory, step).write({"step": step, "loss": 0.5})
  files.write_json(
    files.join(directory, "summary.json"),
    {
      **{"steps": 3, "cores": 2, "training_utterances": 24},
      **{"peak_memory_gb": 0.5, "seconds_per_step": 0.1, "validation_wer": 0.5},
    },
  )
  texts = {
    **{"references": ["A B"], "transcripts": ["A"]},
    **{"edits": [2], "characters": [3], "losses": [None]},
  }
  scores = {"inserted": texts, "holdout": texts}
  (folder / "run" / "audit").mkdir()
  files.write_json(
    files.join(directory, "audit", "audit.json"),
    {
      "checkpoints": [
        {"step": 1, "wer": 0.5, "scores": scores, "summary": {"ceiling": 6.0}}
      ]
    },
  )
  files.write_json(
    files.join(directory, "bounds.json"),
    {"pcc": {"bound": 2.5, "tried": [[2.5, 0.3], [5.0, 0.4]]}},
  )
  tried = {
    **{"line": "clipping.bound", "value": 5.0, "wer": [0.3], "score": 0.3},
    **{"error": 0.1, "taken": True},
  }
  fields = {"clipping.bound": 5.0}
  choice = {"fields": fields, "tried": [tried], "at_edge": ["clipping.bound"]}
  choice_files.write(directory, _GRID, {"pcc": choice})


def _model(config, tokenizer):
  model = experiment.make_model(config, tokenizer.vocab_size)
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  return model


def _open_config(folder, path, before):
  saved_config.load_config(str(folder / "run"))


def _open_tokenizer(folder, path, before):
  opening.load_tokenizer(str(folder / "run")).decode([1])


_kept = {}


def _open_checkpoint(folder, path, before):
  if not _kept:
    config = tiny_config(folder)
    tokenizer = text.build_tokenizer("character", _TEXTS)
    _kept["model"] = _model(config, tokenizer)
  model, directory = _kept["model"], str(folder / "run")
  step = resuming.saved_step(directory, cluster.logical_cores(1))
  checkpoints.Checkpoints(directory, model).restore(step)
  good = step and (model.head.bias.numpy() == step).all()
  return {"silent": int(not good)}


def _open_metrics(folder, path, before):
  metrics.Writer(str(folder / "run"), 2)
  metrics.read(str(folder / "run"))


def _job(folder):
  directory = str(folder / "run")
  config = tiny_config(folder)
  return training_jobs.Job("pcc", "pcc", 0, config, (), directory)


def _open_summary(folder, path, before):
  _job(folder).summary()


def _open_audit(folder, path, before):
  _job(folder).audited()


def _open_bounds(folder, path, before):
  bound_files.read_bounds(str(folder / "run"), {})


def _open_choice(folder, path, before):
  choice_files.read(str(folder / "run"), _GRID)


_GRID = {"clipping.bound": (0.5, 5.0)}


def _write_canaries(folder):
  plan = audit.make_plan(
    voices=[{"engine": "nanotts", "name": "en-US", "pitch": 1.0}],
    vocabulary=["RIVER", "STONE", "CLOUD", "TABLE", "APPLE"],
    repetitions=(1, 2),
    canaries_per_count=2,
    holdout=20,
  )
  pairs = [
    (of_run._utterance(canary), np.full(3200, 0.1, np.float32))
    for canary in plan.all
  ]
  records.write_records(pairs, folder / "canaries", progress=False)
  plan.save(folder / "canaries.json")


def _open_canaries(folder, path, before):
  of_run.load_plan(str(folder / "canaries.json"), str(folder / "cache"))


def _write_partial(folder):
  pairs = list(tones(6, 1))
  out = folder / "records"
  records.write_records(pairs, folder / "whole", shards=2, progress=False)

  def cut(tasks, report):
    tasks[0].finish(report)
    raise OSError("a power cut")

  try:
    records.write_records(pairs, out, shards=2, progress=False, runner=cut)
  except OSError:
    return
  raise AssertionError("nothing was cut")


def _open_partial(folder, path, before):
  records.write_records(
    list(tones(6, 1)), folder / "records", shards=2, progress=False
  )
  found, whole = (
    records.Records(folder / name).index["sha256"]
    for name in ("records", "whole")
  )
  return {"silent": int(found != whole)}


_ARPA = r"""\data\
ngram 1=4
ngram 2=2

\1-grams:
-1	<unk>
-99	<s>	0
-1	</s>
-1	HELLO	0

\2-grams:
-0.5	<s> HELLO
-0.5	HELLO </s>

\end\
"""


def _open_arpa(folder, path, before):
  from models.decoding import ngram

  model = ngram.NgramModel(str(path))
  model.end(model.advance(model.start(), "HELLO")[1])


TARGETS = [
  *map(_sounds, ("wav", "flac", "mp3", "ogg")),
  _manifest("manifest.tsv", _tsv_line, ["path\ttext\tspeaker"]),
  _manifest("manifest.jsonl", _json_line),
  Target("TFRecord", "records/*.tfrecord", _write_records, _read_records),
  Target("records' index", "records/index.json", _write_records, _read_records),
  Target(
    "prepare's partial files",
    "records.partial/*",
    _write_partial,
    _open_partial,
  ),
  *(
    _tokenizer(kind, size)
    for kind, size in (
      *(("character", None), ("word", None)),
      *(("wordpiece", 48), ("sentencepiece", 24)),
    )
  ),
  Target("run's tokenizer", "run/tokenizer.json", _run, _open_tokenizer),
  Target("run's config", "run/config.json", _run, _open_config),
  Target("checkpoint", "run/checkpoints/c*", _run, _open_checkpoint),
  Target("metrics", "run/metrics.jsonl", _run, _open_metrics),
  Target("summary", "run/summary.json", _run, _open_summary),
  Target("bounds", "run/bounds.json", _run, _open_bounds),
  Target("choice", "run/choice.json", _run, _open_choice),
  Target("audit", "run/audit/audit.json", _run, _open_audit),
  Target("canary plan", "canaries.json", _write_canaries, _open_canaries),
]
if importlib.util.find_spec("kenlm"):
  TARGETS.append(
    Target(
      "ARPA",
      "bigram.arpa",
      lambda folder: (folder / "bigram.arpa").write_text(_ARPA),
      _open_arpa,
    )
  )
