"""Recognisers that are functions: signatures and names."""

import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from launch import export
from launch.recognition import functions


class _Exported(tf.Module):
  """Hears how many samples there are."""

  def __init__(self, with_lengths=True, strings=True):
    super().__init__()
    waveforms = tf.TensorSpec([None, None], tf.float32, "waveforms")
    lengths = tf.TensorSpec([None], tf.int32, "lengths")

    def answer(count):
      count = tf.cast(count, tf.int32)
      recognised = tf.strings.as_string(count) if strings else count
      return {"transcripts": recognised, "scores": tf.cast(count, tf.float32)}

    if with_lengths:

      @tf.function(input_signature=[waveforms, lengths])
      def serve(waveforms, lengths):
        del waveforms
        return answer(lengths)

    else:

      @tf.function(input_signature=[waveforms])
      def serve(waveforms):
        return answer(tf.math.count_nonzero(waveforms, axis=1))

    self.serve = serve


@pytest.mark.parametrize("with_lengths", [True, False])
def test_saved_model_transcribes(tmp_path, with_lengths):
  module = _Exported(with_lengths)
  tf.saved_model.save(module, str(tmp_path / "m"), module.serve)
  transcribe = functions.saved_model_function(str(tmp_path / "m"))
  sounds = [np.ones(n, np.float32) for n in (5, 9, 2)]
  assert transcribe(sounds, 16000) == ["5", "9", "2"]


def test_saved_model_without_strings_is_refused(tmp_path):
  module = _Exported(strings=False)
  tf.saved_model.save(module, str(tmp_path / "m"), module.serve)
  with pytest.raises(ValueError, match="to strings.*waveforms.*transcripts"):
    functions.saved_model_function(str(tmp_path / "m"))
  with pytest.raises(ValueError, match="saved_model.pb.*nothing"):
    functions.saved_model_function(str(tmp_path / "nothing"))


def test_functions_by_name(tmp_path, monkeypatch):
  (tmp_path / "elsewhere.py").write_text("def transcribe(w, r): return []\n")
  monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
  transcribe = functions.import_function("elsewhere:transcribe")
  assert transcribe([], 16000) == []
  for wrong in ("elsewhere", "elsewhere:no", "nowhere:f", ""):
    with pytest.raises(ValueError, match="MODULE:FUNCTION.*transcribe="):
      functions.import_function(wrong)


DAMAGES = {
  "empty": lambda path: path.write_bytes(b""),
  "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
  "changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
  "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.fixture(scope="module")
def exported(saved_run, tmp_path_factory):
  output = tmp_path_factory.mktemp("exported") / "model"
  export.export(str(saved_run), str(output))
  return output


@pytest.mark.parametrize(
  "name",
  [
    *("saved_model.pb", "fingerprint.pb", "metadata.json"),
    *("variables/variables.index", "variables/variables.data-00000-of-00001"),
  ],
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_export_is_named(exported, tmp_path, name, damage):
  folder = shutil.copytree(exported, tmp_path / "copy")
  DAMAGES[damage](folder / name)
  with pytest.raises(ValueError, match=rf"^{folder / name} (is not|must be)"):
    functions.saved_model_function(str(folder))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_of_others_is_refused(tmp_path, damage):
  """It has no metadata.json that would tell what it was."""
  module = _Exported()
  tf.saved_model.save(module, str(tmp_path / "m"), module.serve)
  DAMAGES[damage](tmp_path / "m" / "saved_model.pb")
  if damage == "changed":
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"<html>")
  with pytest.raises(ValueError, match=rf"{tmp_path / 'm'}"):
    functions.saved_model_function(str(tmp_path / "m"))
