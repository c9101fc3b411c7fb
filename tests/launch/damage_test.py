"""Damaged records and tokenizers that were changed, met by the programs."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from launch import evaluate, train
from launch.runs import checkpoints, datasets, opening, origin
from tests.conftest import mirrored
from tf_pcc.data import index, records, shards, text


@pytest.fixture
def damaged(corpus, tmp_path):
  """A copy of the training records, one bit of "0-003" and "0-004" wrong."""
  folder = tmp_path / "train"
  shutil.copytree(corpus / "train", folder)
  opened = records.Records(folder)
  path = folder / index.shard_name(0, 1)
  content = bytearray(path.read_bytes())
  for i in (3, 4):
    # In the middle of its sound.
    sound = opened.read(i).tobytes()
    content[content.find(sound) + len(sound) // 2] ^= 1
  path.write_bytes(bytes(content))
  return folder


def _config(make_config, folder, limit):
  return make_config(
    data={"train": str(folder), "damaged_limit": limit},
    steps=6,
    cores=1,
    clipping={"method": "none"},
  )


def test_training_stops_with_the_name(
  write_config, run_program, damaged, tmp_path
):
  config = write_config(data={"train": str(damaged)}, steps=6, cores=1)
  done = run_program("train", config, f"--workdir={tmp_path / 'run'}")
  assert "the record of '0-00" in done.complaint
  assert str(damaged) in done.complaint and "CRC32C" in done.complaint
  # Two batches are read at a time, and both may have found one.
  said = r"damaged_limit=0\.0, damaged=[12], utterances=24"
  assert re.search(said, done.complaint)


def test_what_tensorflow_reads_is_named_too(
  write_config, run_program, damaged, tmp_path
):
  data = {"train": str(damaged), "read_by": "tensorflow"}
  config = write_config(data=data, steps=6)
  done = run_program("train", config, f"--workdir={tmp_path / 'run'}")
  assert "the record of '0-00" in done.complaint
  assert "CRC32C; restore a copy" in done.complaint


def test_who_reads_is_checked(make_config, tmp_path):
  config = make_config(data={"read_by": "numpy"})
  with pytest.raises(ValueError, match="data.read_by.*'numpy'"):
    train.train(config, str(tmp_path / "run"), mirrored(2))


@pytest.mark.parametrize("choice", ["auto", "python", "tensorflow"])
@pytest.mark.parametrize("hosts", [1, 2])
def test_who_reads(make_config, choice, hosts):
  config = make_config(data={"read_by": choice})
  context = tf.distribute.InputContext(hosts, 0, hosts)
  expected = choice == "tensorflow" or (hosts == 2 and choice == "auto")
  found = datasets.read_on_hosts(config, mirrored(2), context)
  assert found == expected


def test_up_to_the_limit_training_goes_on(make_config, damaged, tmp_path):
  config = _config(make_config, damaged, 0.1)
  summary = train.train(config, str(tmp_path / "run"), mirrored(1))
  assert summary["steps"] == 6
  assert sorted(summary["damaged"]) == ["0-003", "0-004"]
  # A run that stopped may be allowed more.
  config.data.damaged_limit = 0.2
  train.train(config, str(tmp_path / "run"), mirrored(1))


def test_verify_reads_everything_first(
  make_config, run_program, saved_run, damaged, tmp_path
):
  config = _config(make_config, damaged, 0.5)
  with pytest.raises(ValueError, match="00000-of-00001.*is damaged"):
    train.train(config, str(tmp_path / "run"), mirrored(1), verify=True)
  with pytest.raises(ValueError, match="00000-of-00001.*is damaged"):
    evaluate.evaluate(str(saved_run), str(damaged), verify=True)
  arguments = ["evaluate", f"--workdir={saved_run}", f"--data={damaged}"]
  complaint = run_program(*arguments, "--verify").complaint
  assert "the record of '0-003'" in complaint and "framing" in complaint
  assert "the record of '0-003'" in run_program(*arguments).complaint


def test_verify_after_preparing(run_program, recordings, tmp_path):
  rows = [f"u{i}\t{p}\t{t}" for i, (p, t) in enumerate(recordings.items())]
  (tmp_path / "all.tsv").write_text("\n".join(["id\tpath\ttext", *rows]))
  arguments = [
    f"--corpus={tmp_path / 'all.tsv'}",
    f"--output={tmp_path / 'out'}",
    "--allow_outside",
    "--verify",
  ]
  assert run_program("prepare", *arguments).code == 0
  # Again: finished, and right.
  assert run_program("prepare", *arguments).code == 0
  path = tmp_path / "out" / index.shard_name(0, 1)
  content = bytearray(path.read_bytes())
  content[-99] ^= 4
  path.write_bytes(bytes(content))
  assert "is damaged" in run_program("prepare", *arguments).complaint


@pytest.fixture
def run(make_config, tmp_path):
  """Directory of a run of two steps."""
  config = make_config(steps=2, cores=1, clipping={"method": "none"})
  train.train(config, str(tmp_path / "run"), mirrored(1))
  return tmp_path / "run"


def _swap(path):
  content = json.loads(path.read_text())
  first, second, *rest = content["pieces"]
  path.write_text(json.dumps({**content, "pieces": [second, first, *rest]}))


def test_two_labels_swapped_are_refused(run, make_config):
  tokenizer = opening.load_tokenizer(str(run))
  config = json.loads((run / "config.json").read_text())
  assert config["tokenizer"]["digest"] == tokenizer.digest()
  _swap(run / "tokenizer.json")
  with pytest.raises(ValueError, match="tokenizer.json: its labels are not"):
    opening.load_model(str(run))
  config = make_config(steps=4, cores=1, clipping={"method": "none"})
  with pytest.raises(ValueError, match="tokenizer.json: its labels are not"):
    train.train(config, str(run), mirrored(1))
  # As in a run from before its config had a digest: the checkpoint tells.
  saved = json.loads((run / "config.json").read_text())
  saved["tokenizer"]["digest"] = ""
  (run / "config.json").write_text(json.dumps(saved))
  with pytest.raises(ValueError, match="ckpt-2: its labels are not"):
    opening.load_model(str(run))
  with pytest.raises(ValueError, match="ckpt-2: its labels are not"):
    train.train(config, str(run), mirrored(1))


def test_a_run_from_before_the_digest_goes_on(saved_run, tmp_path):
  shutil.copytree(saved_run, tmp_path / "run")
  model, tokenizer, config, _ = opening.load_model(str(tmp_path / "run"))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  saver = checkpoints.Checkpoints(
    str(tmp_path / "run"),
    model,
    origin=origin.Origin(tokenizer.digest(), config),
  )
  saver.restore(7)
  weights = [np.copy(w.numpy()) for w in model.weights]
  saver.save(8)
  saver.restore(8)
  for before, after in zip(weights, model.weights):
    np.testing.assert_array_equal(before, after)
  path = dict(checkpoints.checkpoint_paths(str(tmp_path / "run")))[8]
  origin.require(path, tokenizer.digest(), config)
  with pytest.raises(ValueError, match="ckpt-8: its labels"):
    origin.require(path, "00" * 32, config)


def test_a_digest_that_is_asked_for(make_config, corpus, tmp_path):
  config = make_config()
  train_records = records.Records(corpus / "train")
  made = datasets.make_tokenizer(config, train_records)
  config.tokenizer.digest = made.digest()
  assert datasets.make_tokenizer(config, train_records) == made
  config.tokenizer.digest = text.CharacterTokenizer("XY").digest()
  with pytest.raises(ValueError, match="tokenizer.digest must be that"):
    datasets.make_tokenizer(config, train_records)


def test_damage_is_a_value_error():
  assert issubclass(shards.DamagedRecord, ValueError)
