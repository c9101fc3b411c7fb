"""launch.export: what is in the directory, and who can use it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from launch import evaluate, export
from launch.recognition import driver, export_folder, functions, litert
from launch.runs import opening
from tests.launch import exported_main
from tf_pcc import files
from tf_pcc.data import records

MAIN = pathlib.Path(exported_main.__file__)


@pytest.fixture(scope="module")
def exported(saved_run, tmp_path_factory):
  """A SavedModel of the tiny run."""
  output = tmp_path_factory.mktemp("export") / "saved_model"
  export.export(str(saved_run), str(output))
  return output


@pytest.fixture(scope="module")
def phone(saved_run, tmp_path_factory):
  """A LiteRT model of the tiny run."""
  output = tmp_path_factory.mktemp("export") / "litert"
  export.export(str(saved_run), str(output), "litert")
  return output


@pytest.fixture(scope="module")
def speech():
  """50 utterances of 0.2 to 0.6 s."""
  rng = np.random.default_rng(0)
  sounds = []
  for _ in range(50):
    time = np.arange(rng.integers(3200, 9600))
    sounds.append(0.3 * np.sin(time * rng.uniform(0.1, 1)) * np.sin(time / 900))
  return records.MemoryRecords(sounds, [""] * 50)


@pytest.fixture(scope="module")
def transcripts(saved_run, speech):
  """The transcripts of the run itself."""
  model, tokenizer, *_ = opening.load_model(str(saved_run))
  found = driver.Driver(model, tokenizer).transcribe(speech)
  assert len(set(found)) > 5
  return found


def sounds(speech):
  return [
    (speech.read(i) / 2**15).astype(np.float32) for i in range(len(speech))
  ]


def in_a_fresh_process(python, exported, speech, folder):
  """What exported_main writes, run by an interpreter in an empty folder."""
  waveforms = sounds(speech)
  lengths = np.array([len(w) for w in waveforms], np.int32)
  padded = np.zeros([len(waveforms), lengths.max()], np.float32)
  for row, waveform in zip(padded, waveforms):
    row[: len(waveform)] = waveform
  np.savez(folder / "given.npz", waveforms=padded, lengths=lengths)
  shutil.copy(MAIN, folder / "main.py")
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  done = subprocess.run(
    [python, "main.py", str(exported), "given.npz", "result.json"],
    cwd=folder,
    env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads((folder / "result.json").read_text())


def test_fifty_utterances_in_a_process_without_us(
  exported, speech, transcripts, tmp_path
):
  found = in_a_fresh_process(sys.executable, exported, speech, tmp_path)
  assert found["transcripts"] == transcripts
  assert all(float(score) < 0 for score in found["scores"])
  assert not set(exported_main.FORBIDDEN) & set(found["modules"])


@pytest.mark.slow
def test_fifty_utterances_where_only_tensorflow_is_installed(
  exported, speech, transcripts, tmp_path
):
  """Installs TensorFlow in a virtual environment of its own: minutes."""
  home = tmp_path / "bare"
  subprocess.run([sys.executable, "-m", "venv", home], check=True)
  python = home / "bin" / "python"
  wanted = f"tensorflow=={tf.__version__}"
  subprocess.run([python, "-m", "pip", "install", "-q", wanted], check=True)
  listed = subprocess.run(
    [python, "-m", "pip", "list"], capture_output=True, text=True, check=True
  ).stdout
  for name in ("tensorflow-text", "tensorflow-io ", "tf_pcc"):
    assert name not in listed
  found = in_a_fresh_process(python, exported, speech, tmp_path)
  assert found["transcripts"] == transcripts


def test_litert_gives_the_same_transcripts(phone, speech, transcripts):
  transcribe = functions.saved_model_function(str(phone))
  assert transcribe(sounds(speech)[:20], 16000) == transcripts[:20]
  assert sorted(p.name for p in phone.iterdir()) == [
    "metadata.json",
    litert.FILE,
  ]


def test_a_damaged_litert_model_is_refused(phone, tmp_path):
  """Its runtime would end the process without a word."""
  folder = tmp_path / "phone"
  shutil.copytree(phone, folder)
  content = bytearray((folder / litert.FILE).read_bytes())
  content[len(content) // 2] ^= 1
  (folder / litert.FILE).write_bytes(bytes(content))
  with pytest.raises(ValueError, match="model.tflite is not as it was written"):
    litert.transcribe_function(str(folder))


def test_metadata_says_what_it_is(saved_run, exported, phone):
  config = json.loads((saved_run / "config.json").read_text())
  tokenizer = opening.load_tokenizer(str(saved_run))
  for output, kind in ((exported, "saved_model"), (phone, "litert")):
    found = json.loads((output / "metadata.json").read_text())
    assert found["format"] == kind and found["step"] == 7
    assert found["config"] == config and found["sample_rate"] == 16000
    assert found["chunk_samples"] is None
    assert found["vocabulary"] == list(tokenizer.pieces)
    assert found["tokenizer"] == tokenizer.get_config()
    # Never scored, never audited.
    assert found["error_rates"] is None and found["audit"] is None
    signature = found["signatures"]["serving_default"]
    assert set(signature["inputs"]) == {"waveforms", "lengths"}
    texts = {"transcripts"} if kind == "saved_model" else set()
    assert set(signature["outputs"]) - texts == {
      "token_ids",
      "token_counts",
      "scores",
    }
  rank = {"shape": [None, None], "dtype": "float32"}
  found = json.loads((exported / "metadata.json").read_text())
  inputs = found["signatures"]["serving_default"]["inputs"]
  assert inputs["waveforms"] == rank


@pytest.mark.parametrize("step", [7, 9])
def test_error_rates_and_audit_are_of_the_step(
  saved_run, step, tmp_path, monkeypatch
):
  run = tmp_path / "run"
  shutil.copytree(saved_run, run)
  rates = {"wer": 0.25, "cer": 0.1, "test_utterances": 5}
  files.write_json(str(run / "summary.json"), {"steps": step, **rates})
  (run / "audit").mkdir()
  files.write_json(
    str(run / "audit" / "audit.json"),
    {"checkpoints": [{"step": step, "summary": {"ceiling": 6.0}}]},
  )
  monkeypatch.setattr(export, "_git_commit", lambda: None)
  found = export.export(str(run), str(tmp_path / "out"))
  assert found["git_commit"] is None
  assert found["error_rates"] == (rates if step == 7 else None)
  assert found["audit"] == ({"ceiling": 6.0} if step == 7 else None)


def test_the_commit_is_the_checkouts():
  root = pathlib.Path(export.__file__).parents[1]
  if not (root / ".git").exists():
    pytest.skip("not a git checkout")
  head = subprocess.run(
    ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True
  ).stdout.strip()
  assert export._git_commit().rstrip("+") == head


def _once(function):
  """A function that is called once, and returns that result from then on."""
  results = []

  def remembered(*arguments):
    if not results:
      results.append(function(*arguments))
    return results[0]

  return remembered


@pytest.mark.parametrize("kind", ["saved_model", "litert"])
def test_whole_or_not_at_all(saved_run, tmp_path, monkeypatch, kind):
  output = tmp_path / "out"
  # The same model every time, whose conversion takes most of the time.
  monkeypatch.setattr(litert, "convert", _once(litert.convert))

  write = files.write_json

  def fail(path, value):
    if os.path.basename(path) == "metadata.json":
      raise OSError("disk full")
    write(path, value)

  def names():
    return sorted(path.name for path in tmp_path.iterdir())

  with monkeypatch.context() as patched:
    patched.setattr(files, "write_json", fail)
    with pytest.raises(OSError, match="disk full"):
      export.export(str(saved_run), str(output), kind)
    assert names() == []
  export.export(str(saved_run), str(output), kind)
  before = (output / "metadata.json").read_bytes()
  # The same again is finished; another one, or a damaged one, is not.
  found = export.export(str(saved_run), str(output), kind)
  assert found == json.loads(before)
  assert (output / "metadata.json").read_bytes() == before
  [other] = {"saved_model", "litert"} - {kind}
  with pytest.raises(FileExistsError, match="--overwrite"):
    export.export(str(saved_run), str(output), other)
  name = sorted(found["files"])[0]
  content = (output / name).read_bytes()
  (output / name).write_bytes(content[:-1])
  with pytest.raises(FileExistsError, match="--overwrite"):
    export.export(str(saved_run), str(output), kind)
  (output / name).write_bytes(content)
  (output / "stale").write_text("")
  with monkeypatch.context() as patched:
    patched.setattr(files, "write_json", fail)
    with pytest.raises(OSError, match="disk full"):
      export.export(str(saved_run), str(output), kind, overwrite=True)
  assert (output / "metadata.json").read_bytes() == before
  assert (output / "stale").exists()
  export.export(str(saved_run), str(output), kind, overwrite=True)
  assert names() == ["out"] and not (output / "stale").exists()


def test_a_process_that_was_killed_leaves_nothing(saved_run, tmp_path):
  """While it wrote, between the two renamings, and before it tidied up."""
  output, old = tmp_path / "out", tmp_path / "out.old"

  def again():
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "saved_model.pb").write_text("half")
    export.export(str(saved_run), str(output), "litert")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

  again()
  before = (output / "metadata.json").stat().st_ino
  output.rename(old)
  again()
  shutil.copytree(output, old)
  again()
  assert (output / "metadata.json").stat().st_ino == before


def test_nothing_but_an_export_is_replaced(saved_run, tmp_path):
  run = tmp_path / "run"
  shutil.copytree(saved_run, run)
  (tmp_path / "link").symlink_to(run)
  folder, text = tmp_path / "folder", tmp_path / "text"
  folder.mkdir()
  text.write_text("mine")
  for name, content in (("list", "[]"), ("other", "{}"), ("broken", "{")):
    (tmp_path / name).mkdir()
    (tmp_path / name / "metadata.json").write_text(content)

  def files():
    return sorted(path for path in tmp_path.rglob("*"))

  before = files()
  own = [run, tmp_path / "link", run / "checkpoints", run / "audit" / "export"]
  for overwrite in (False, True):
    for output in (*own, tmp_path, f"{run}/", f"{run}/more/.."):
      with pytest.raises(ValueError, match=r"^--output must not .*Received: "):
        export.export(str(run), str(output), overwrite=overwrite)
  for name in ("folder", "text", "list", "other", "broken"):
    output = str(tmp_path / name)
    with pytest.raises(FileExistsError, match="--overwrite"):
      export.export(str(run), output)
    with pytest.raises(ValueError, match="nothing else.*Received: output="):
      export.export(str(run), output, overwrite=True)
  assert files() == before
  # Beside the run's files, and where a run's name begins alike.
  for output in (run / "exported", tmp_path / "run2"):
    for overwrite in (False, True):
      export.export(str(run), str(output), overwrite=overwrite)


def test_programs_use_it(
  run_program, saved_run, recordings, corpus, tmp_path, exported
):
  output = tmp_path / "out"
  done = run_program(
    "export", f"--workdir={saved_run}", f"--output={output}", "--step=7"
  )
  assert done.code == 0, done.stderr
  assert f"{output}: saved_model of step 7" in done.stdout
  assert "serving_default: lengths, waveforms -> " in done.stdout
  paths = [str(path) for path in recordings]
  recognised = [
    run_program("transcribe", flag, "--batch=3", *paths).stdout
    for flag in (f"--saved_model={output}", f"--workdir={saved_run}")
  ]
  assert recognised[0] == recognised[1] and len(
    recognised[0].splitlines()
  ) == len(paths)
  data = str(corpus / "test")
  trained = evaluate.evaluate(str(saved_run), data)
  found = evaluate.evaluate(None, data, exported=str(exported), batch_size=2)
  for name in ("wer", "cer", "substitutions", "deletions", "insertions"):
    assert found[name] == trained[name]
  assert found["worst"] == trained["worst"] and found["step"] is None
  assert found["seconds"]["speech"] == trained["seconds"]["speech"] > 0


@pytest.mark.parametrize(
  ("program", "flags", "named"),
  [
    ("export", ["--workdir=/nowhere", "--output=OUT"], "/nowhere"),
    ("export", ["--workdir=RUN", "--output=OUT", "--step=1"], "step=1"),
    ("export", ["--workdir=RUN", "--output=OUT", "--format=onnx"], "onnx"),
    ("export", ["--workdir=RUN", "--output=RUN"], "--workdir"),
    ("export", ["--workdir=RUN", "--output=OUT", "more"], "more"),
    ("transcribe", ["--workdir=RUN", "--saved_model=MODEL", "a"], "one of"),
    ("transcribe", ["--saved_model=MODEL", "--nbest=2", "a"], "--nbest"),
    ("transcribe", ["--saved_model=MODEL", "--step=2", "a"], "step=2"),
    ("transcribe", ["--saved_model=/nowhere", "a"], "/nowhere"),
    ("evaluate", ["--saved_model=MODEL", "--data=/none", "--arpa=x"], "--arpa"),
  ],
)
def test_what_they_refuse(
  run_program, saved_run, exported, tmp_path, program, flags, named
):
  paths = {"RUN": saved_run, "MODEL": exported, "OUT": tmp_path / "out"}
  for name, path in paths.items():
    flags = [flag.replace(name, str(path)) for flag in flags]
  done = run_program(program, *flags)
  assert named in done.complaint
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["summary.json", "audit/audit.json"])
@pytest.mark.parametrize("content", ["5", "[]", "{}", '{"checkpoints": [5]}'])
def test_a_damaged_file_of_the_run_is_named(saved_run, tmp_path, name, content):
  run = shutil.copytree(saved_run, tmp_path / "run")
  (run / "audit").mkdir()
  (run / name).write_text(content)
  with pytest.raises(ValueError, match=f"{run / name} is not as it was"):
    export.export(str(run), str(tmp_path / "out"))
  assert os.listdir(tmp_path) == ["run"]


def test_who_lost_a_remote_place_writes_nothing_there():
  """As a machine that was suspended while another began."""
  output = "ram://export_test/lost"
  files.make_folder("ram://export_test")

  def lost():
    raise ValueError("owner: another")

  with (
    pytest.raises(ValueError, match="owner: another"),
    export_folder.directory(output, lost) as partial,
  ):
    files.write_text(f"{partial}/metadata.json", "{}")
  assert tf.io.gfile.listdir("ram://export_test") == []
