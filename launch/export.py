"""Writes a trained recogniser as files that need nothing of this package.

  python -m launch.export --workdir=runs/desk --output=exported
  python -m launch.export --workdir=runs/desk --output=phone --format=litert

A SavedModel loads with plain TensorFlow. Its signature serving_default takes
waveforms (float32 [B, samples], 16 kHz, in [-1, 1]) and lengths (int32 [B],
samples) and gives transcripts (strings [B]), token_ids (int32 [B, U]),
token_counts (int32 [B]) and scores (float32 [B], natural log-probabilities of
the greedy paths). A streaming model has the signatures streaming_start and
streaming_step too, whose state goes in and out as tensors.

A LiteRT model takes one utterance of any length, [1, samples], and gives token
ids; their texts are "surfaces" in metadata.json: joined and stripped they are
the transcript. Of a streaming model it has serving_default alone: it takes
whole utterances, and does not stream. LiteRT's runtime does not check what it
is given: for two waveforms at once, or two lengths, it raises "RuntimeError:
... (2 != 1) ... failed to prepare".

The results of unusual input, in both formats:

- a waveform shorter than a frame: an empty transcript with score 0;
- within its length a sample that is not finite, or beyond 1e15: an empty
  transcript with score -inf, however short the waveform is and wherever in it
  the sample; samples beyond the length are ignored;
- a length beyond the waveforms' end: the transcript up to that end; one below
  0: as 0.

A SavedModel refuses, with an error that says so: no waveforms at all, not as
many lengths, and for a stream another batch's state, chunks of another size
("chunk_samples" in metadata.json), a batch below 1. In a stream such a sample
is replaced by silence: it is not kept in the state, the stream goes on, and
"finite" is false for that chunk.

metadata.json, in the same directory, says what the model is: config,
vocabulary, git commit, word error rate, audit, and the SHA-256 of each file.
Stopped, the same command starts again; finished, it changes nothing.
"""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags, logging
from ml_collections import config_dict

from launch import cli
from launch.recognition import export_folder, litert, serving
from launch.runs import opening
from models import recogniser
from models.recogniser import Recogniser
from tf_pcc import files, locks
from tf_pcc.data.text import Tokenizer

_WORKDIR = cli.workdir_flag()
_STEP = cli.step_flag()
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write.")
_FORMAT = flags.DEFINE_enum(
  "format", "saved_model", export_folder.FORMATS, "What to write."
)
_OVERWRITE = cli.overwrite_flag()
_ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class _Summary:
  """What is read of a run's summary.json."""

  steps: int


@dataclasses.dataclass(frozen=True)
class _Audited:
  step: int | None = None
  summary: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class _Audit:
  """What is read of a run's audit.json."""

  checkpoints: list[_Audited]


def export(
  directory: str | os.PathLike,
  output: str | os.PathLike,
  kind: str = "saved_model",
  step: int | None = None,
  overwrite: bool = False,
) -> dict[str, Any]:
  """Exports a run's checkpoint, whole or not at all.

  Args:
    directory: the run's directory.
    output: directory to write; it must not exist, nor be the run's directory,
      hold it, or be among its own files (a new folder beside them is fine).
    kind: "saved_model" or "litert".
    step: int, which checkpoint; default: the newest.
    overwrite: bool, whether output may be an earlier export, which is replaced;
      nothing else ever is.

  Returns:
    The metadata, a dict.

  Raises:
    FileExistsError: If there is an output already, unless it is this export.
    ValueError: If there is no run, its model transcribes nothing, LiteRT
      lacks an operation of it, output holds what is no export, or another
      process writes it.
  """
  export_folder.check_place(directory, output)
  with locks.owned(output, "--output") as require_mine:
    export_folder.recover(output)
    return _export(directory, output, kind, step, overwrite, require_mine)


def _export(directory, output, kind, step, overwrite, require_mine):
  """`export` while no other process writes to the same place."""
  export_folder.check_output(output, overwrite)
  model, tokenizer, config, step = opening.load_model(directory, step=step)
  if not isinstance(model, recogniser.Recogniser):
    raise ValueError(
      "--workdir must hold a recogniser; pre-training is to be followed by "
      f"fine-tuning. Received: model.name={config.model.name}"
    )
  metadata = {
    "format": kind,
    **describe(directory, model, config, tokenizer, step),
  }
  if tf.io.gfile.exists(output) and not overwrite:
    return export_folder.finished(output, metadata)
  with export_folder.directory(output, require_mine) as partial:
    if kind == "saved_model":
      served = serving.Served(model, tokenizer)
      tf.saved_model.save(
        served,
        partial,
        signatures=served.functions,
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
      )
      metadata["signatures"] = {
        name: _signature(function)
        for name, function in served.functions.items()
      }
    else:
      function = serving.litert_function(model)
      content = litert.convert(function, [v.value for v in model.variables])
      with tf.io.gfile.GFile(files.join(partial, litert.FILE), "wb") as file:
        file.write(content)
      metadata["signatures"] = {
        "serving_default": _signature(function.get_concrete_function())
      }
    metadata["files"] = export_folder.digests(partial)
    files.write_json(files.join(partial, export_folder.METADATA), metadata)
  return metadata


def describe(
  directory: str | os.PathLike,
  model: Recogniser,
  config: config_dict.ConfigDict,
  tokenizer: Tokenizer,
  step: int,
) -> dict[str, Any]:
  """What metadata.json says besides format and signatures.

  Args:
    directory: the run's directory.
    model: its model.
    config: its `ConfigDict`.
    tokenizer: its `tf_pcc.data.text.Tokenizer`.
    step: int, of the checkpoint.

  Returns:
    dict with model, step, sample_rate, chunk_samples (None unless it streams),
    config, vocabulary, surfaces, tokenizer, git_commit (None outside a
    checkout), tensorflow, weights (their SHA-256), error_rates (None unless
    the run's end was scored at this step) and audit (None unless made of this
    step).
  """
  summary = export_folder.json_or_none(
    files.join(directory, "summary.json"), _Summary
  )
  if summary and summary["steps"] == step:
    names = ("wer", "cer", "test_utterances")
    rates = {name: summary[name] for name in names if name in summary}
  else:
    rates = None
  audited = export_folder.json_or_none(
    files.join(directory, "audit", "audit.json"), _Audit
  )
  entries = audited["checkpoints"] if audited else []
  return {
    "model": config.model.name,
    "step": step,
    "sample_rate": model.log_mel.sample_rate,
    "chunk_samples": model.chunk_samples,
    "config": files.read_json(files.join(directory, "config.json")),
    "vocabulary": list(tokenizer.pieces),
    "surfaces": list(tokenizer.surfaces),
    "tokenizer": tokenizer.get_config(),
    "git_commit": _git_commit(),
    "tensorflow": tf.__version__,
    "weights": _digest_of_weights(model),
    "error_rates": rates or None,
    "audit": next(
      (e.get("summary") for e in entries if e.get("step") == step), None
    ),
  }


def _digest_of_weights(model):
  digest = hashlib.sha256()
  for weight in model.get_weights():
    digest.update(np.ascontiguousarray(weight).data)
  return digest.hexdigest()


def _signature(function):
  """Names, shapes and dtypes of a concrete function's inputs and outputs."""

  def specs(tensors):
    return {
      name: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
      for name, spec in sorted(tensors.items())
    }

  positional, named = function.structured_input_signature
  inputs = {spec.name: spec for spec in positional} | named
  return {
    "inputs": specs(inputs),
    "outputs": specs(function.structured_outputs),
  }


def _git_commit():
  """The checkout's commit, with a + where files were changed since."""

  def git(*arguments):
    return subprocess.run(
      ["git", *arguments],
      cwd=_ROOT,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def size(output: str | os.PathLike) -> int:
  """The size of a directory.

  Args:
    output: local or remote directory.

  Returns:
    Bytes of all of its files.
  """
  return sum(
    tf.io.gfile.stat(files.join(folder, name)).length
    for folder, _, names in tf.io.gfile.walk(output)
    for name in names
  )


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  metadata = export(
    cli.given(_WORKDIR),
    cli.given(_OUTPUT),
    _FORMAT.value,
    _STEP.value,
    _OVERWRITE.value,
  )
  print(
    f"{cli.given(_OUTPUT)}: {metadata['format']} of step {metadata['step']}, "
    f"{size(cli.given(_OUTPUT)) / 1e6:.1f} MB"
  )
  for name, signature in metadata["signatures"].items():
    print(
      f"{name}: {', '.join(signature['inputs'])} -> "
      f"{', '.join(signature['outputs'])}"
    )


if __name__ == "__main__":
  cli.run(
    "launch.export",
    main,
    required=["workdir", "output"],
    verbosity=logging.WARNING,
  )
