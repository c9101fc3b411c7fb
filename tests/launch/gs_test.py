"""gs:// paths: TensorFlow's own file system, the service on this machine."""

import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from launch import errors
from tests import buckets
from tests.launch.conftest import ROOT
from tf_pcc.data import records

# What the library does with files, and what TensorFlow does beside it.
LIBRARY = """
import json, sys
import numpy as np, tensorflow as tf
from tf_pcc import files
from tf_pcc.data import records

folder = "gs://bucket/files"
files.make_folder(folder)
files.write_json(f"{folder}/a.json", {"norm": np.float32(0.5)})
files.write_json(f"{folder}/a.json", {"norm": np.float32(1.5)})
files.append_text(f"{folder}/log.txt", "one\\n")
files.append_text(f"{folder}/log.txt", "two\\n")
files.write_bytes(f"{folder}/large", bytes(range(256)) * 4096)
try:
  with files.replacing(f"{folder}/a.json") as temporary:
    tf.io.gfile.GFile(temporary, "w").write("half")
    raise RuntimeError
except RuntimeError:
  pass
variable = tf.Variable([1.0, 2.0])
path = tf.train.Checkpoint(v=variable).write(f"{folder}/ckpt")
variable.assign([0.0, 0.0])
tf.train.Checkpoint(v=variable).read(path).assert_consumed()
opened = records.Records("gs://bucket/records/train")
print(json.dumps({
  "a": files.read_json(f"{folder}/a.json"),
  "log": files.read_text(f"{folder}/log.txt"),
  "large": len(tf.io.gfile.GFile(f"{folder}/large", "rb").read()),
  "names": sorted(tf.io.gfile.listdir(folder)),
  "missing": tf.io.gfile.exists(f"{folder}/b.json"),
  "variable": variable.numpy().tolist(),
  "ids": opened.ids,
  "last": opened.read(len(opened.ids) - 1).tolist(),
}))
"""


# Of what is partial to where it is whole.
OUT = r"\.partial.*/rewriteTo/(?!.*\.partial)"


class Handler(buckets.Handler):
  """Forbids to move objects out once as many were as `server.moves`."""

  def do_POST(self):
    moves = getattr(self.server, "moves", None)
    if moves is not None and re.search(OUT, self.path):
      if not moves:
        return self._answer(403)
      self.server.moves -= 1
    return super().do_POST()


@pytest.fixture(scope="module")
def bucket(corpus, tmp_path_factory):
  """A server whose bucket "bucket" holds the corpus under records/."""
  folder = tmp_path_factory.mktemp("authority")
  with buckets.serving(folder, Handler) as server:
    for path in corpus.rglob("*"):
      if path.is_file():
        name = f"bucket/records/{path.relative_to(corpus)}"
        server.put(name, path.read_bytes())
    yield server


def test_files_records_and_checkpoints(bucket, corpus):
  done = subprocess.run(
    [sys.executable, "-c", LIBRARY],
    cwd=ROOT,
    env={
      **os.environ,
      **bucket.environment(),
      "TF_CPP_MIN_LOG_LEVEL": "3",
    },
    capture_output=True,
    text=True,
    timeout=200,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout.splitlines()[-1])
  local = records.Records(corpus / "train")
  assert found.pop("ids") == list(local.ids)
  last = found.pop("last")
  np.testing.assert_array_equal(last, local.read(len(local.ids) - 1))
  names = found.pop("names")
  assert {"a.json", "log.txt", "large", "ckpt.index"} < set(names)
  assert [name for name in names if "tmp" in name] == []
  assert found == {
    "a": {"norm": 1.5},
    "log": "one\ntwo\n",
    "large": 256 * 4096,
    "missing": False,
    "variable": [1.0, 2.0],
  }


def test_a_corpus_is_prepared_into_a_bucket(
  bucket, run_program, recordings, tmp_path
):
  """Whole, under its own name, and with nothing left of how it was made."""
  table = [
    "path\ttext",
    *(f"{path}\t{text}" for path, text in recordings.items()),
  ]
  (tmp_path / "corpus.tsv").write_text("\n".join(table))
  for output in (str(tmp_path / "made"), "gs://bucket/made"):
    done = run_program(
      "prepare",
      f"--corpus={tmp_path / 'corpus.tsv'}",
      f"--output={output}",
      "--shards=2",
      environment=bucket.environment(),
    )
    assert done.code == 0, done.stderr
  made = {
    name.rpartition("/")[2]: content
    for name, (content, *_) in bucket.objects.items()
    if name.startswith("bucket/made") and not name.endswith("/")
  }
  assert made == {p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()}
  assert not any("partial" in name for name in bucket.objects)


def _objects(bucket, folder):
  """Contents of the files in a folder, and names of what lies beside it."""
  inside = {
    name.removeprefix(f"bucket/{folder}/"): content
    for name, (content, *_) in bucket.objects.items()
    if name.startswith(f"bucket/{folder}/") and not name.endswith("/")
  }
  beside = [n for n in bucket.objects if n.startswith(f"bucket/{folder}.")]
  return inside, beside


def test_records_that_were_being_moved_are_moved_on(
  bucket, run_program, recordings, tmp_path
):
  """The same command ends what was stopped in the middle of it."""
  table = ["path\ttext", *(f"{p}\t{text}" for p, text in recordings.items())]
  (tmp_path / "corpus.tsv").write_text("\n".join(table))
  arguments = [
    *("prepare", f"--corpus={tmp_path / 'corpus.tsv'}", "--shards=2"),
    "--output=gs://bucket/stopped",
  ]
  bucket.moves = 1
  try:
    done = run_program(*arguments, environment=bucket.environment())
  finally:
    bucket.moves = None
  assert done.code != 0
  inside, _ = _objects(bucket, "stopped")
  assert inside and "index.json" not in inside
  done = run_program(*arguments, environment=bucket.environment())
  assert done.code == 0, done.stderr
  inside, beside = _objects(bucket, "stopped")
  assert {"index.json", "00000-of-00002.tfrecord"} < set(inside)
  assert beside == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_export_that_was_being_moved_is_moved_on(
  bucket, run_program, saved_run, overwrite
):
  """Whole at the end, and no export before: metadata.json comes last."""
  folder = f"export-{overwrite}"
  arguments = [
    *("export", f"--workdir={saved_run}", f"--output=gs://bucket/{folder}"),
  ]
  if overwrite:
    older = {"metadata.json": b'{"format": "litert"}', "model.tflite": b"old"}
    for name, content in older.items():
      bucket.put(f"bucket/{folder}/{name}", content)
    arguments.append("--overwrite")
  bucket.moves = 2
  try:
    done = run_program(*arguments, environment=bucket.environment())
  finally:
    bucket.moves = None
  assert done.code == 1 and "launch.export: " in done.complaint
  inside, _ = _objects(bucket, folder)
  assert inside and "metadata.json" not in inside
  # Also if it is not to replace anything.
  done = run_program(*arguments[:3], environment=bucket.environment())
  assert done.code == 0, done.stderr
  inside, beside = _objects(bucket, folder)
  written = json.loads(inside.pop("metadata.json"))["files"]
  assert written == {
    name: hashlib.sha256(content).hexdigest()
    for name, content in inside.items()
  }
  assert "saved_model.pb" in written and beside == []


def test_a_run_trains_resumes_and_is_evaluated(
  bucket, write_config, run_program
):
  config = write_config(
    steps=2,
    cores=1,
    data={
      "train": "gs://bucket/records/train",
      "test": "gs://bucket/records/test",
    },
  )
  run = "--workdir=gs://bucket/runs/one"
  for steps in (2, 4):
    done = run_program(
      "train",
      run,
      config,
      f"--config.steps={steps}",
      environment=bucket.environment(),
    )
    assert done.code == 0, done.stderr
  summary = json.loads(bucket.objects["bucket/runs/one/summary.json"][0])
  assert summary["steps"] == 4
  lines = bucket.objects["bucket/runs/one/metrics.jsonl"][0].splitlines()
  steps = [json.loads(line).get("step") for line in lines]
  assert sorted({step for step in steps if step}) == [1, 2, 3, 4]
  done = run_program(
    "evaluate",
    run,
    "--data=gs://bucket/records/test",
    environment=bucket.environment(),
  )
  assert done.code == 0, done.stderr
  assert "WER" in done.stdout


def test_another_scheme_is_refused(run_program, write_config):
  done = run_program("train", write_config(), "--workdir=s3://bucket/run")
  assert "s3:// needs a file system" in done.complaint
  assert "use gs:// or a local path. Received: s3://bucket" in done.complaint


def test_a_tensorflow_without_gs_is_told_what_brings_it():
  """Its words are those of TensorFlow for any scheme it lacks."""
  with pytest.raises(tf.errors.UnimplementedError) as lacking:
    # tensorflow-io's native library, where it is loaded, brings s3.
    tf.io.gfile.exists("none://bucket/run")
  said = str(lacking.value).replace("none", "gs")
  assert errors.no_file_system(said) == (
    "gs:// needs a file system that this TensorFlow lacks: pip install "
    "'tensorflow[gcs-filesystem]', or use a local path. Received: "
    "gs://bucket/run"
  )
  assert errors.no_file_system("another op is not implemented") == ""
