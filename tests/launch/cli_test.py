"""What programs say to bad input: one line, exit code 1, nothing written."""

import errno
import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf

from launch import __main__ as launch_main
from launch import cli, errors
from tf_pcc import files


@pytest.mark.parametrize(
  ("code", "named"),
  [
    ("config.batch = 5", "batch=5"),
    ("config.batch = 0", "batch=0"),
    ("config.steps = -1", "steps=-1"),
    ("config.evaluation_batch = 0", "evaluation_batch=0"),
    ("config.stepz = 5", "unknown=['stepz']"),
    ("config.data.utterances_ = 5", "unknown=['data.utterances_']"),
    ("del config.clipping.decay", "missing=['clipping.decay']"),
    ("config.steps = 'many'", "many"),
    ("config.policy = 'mixed_float16'", "policy='mixed_float16'"),
    ("config.model.name = 'transformer'", "'transformer'"),
    ("config.model.fields = {'size': 'XL'}", "size='XL'"),
    ("config.model.fields = {'depth': 3}", "depth"),
    ("config.tokenizer.kind = 'syllable'", "'syllable'"),
    ("config.tokenizer.path = '/nowhere.json'", "/nowhere.json"),
    ("config.clipping.method = 'dpsgd'", "clipping.method='dpsgd'"),
    ("config.clipping.microbatches = 3", "clipping.microbatches=3"),
    ("config.clipping.microbatches = 0", "clipping.microbatches=0"),
    (
      "config.clipping.method = 'batch'; config.clipping.batch_clip_norm = 0.1",
      "clipping.batch_clip_norm=0.1",
    ),
    (
      "config.clipping.method = 'none'; config.clipping.microbatches = 2",
      "clipping.microbatches=2",
    ),
    ("config.clipping.dead_cores = 'some'", "dead_cores='some'"),
    ("config.optimizer.learning_rate = float('nan')", "learning_rate=nan"),
    ("config.optimizer.learning_rate = -1.0", "learning_rate=-1.0"),
    ("config.optimizer.warmup_steps = -5", "optimizer.warmup_steps=-5"),
    (
      "config.optimizer.arguments = {'learning_rate': 5.0}",
      "learning_rate=5.0",
    ),
    ("config.data.buckets_seconds = (-1.0,)", "data.buckets_seconds=(-1.0,)"),
    ("config.optimizer.name = 'adams'", "optimizer.name='adams'"),
    ("config.optimizer.schedule = 'step'", "optimizer.schedule='step'"),
    ("config.optimizer.arguments = {'clipnorm': 1.0}", "clipnorm=1.0"),
    (
      "config.optimizer.arguments = {'gradient_accumulation_steps': 2}",
      "gradient_accumulation_steps=2",
    ),
    ("config.optimizer.arguments = {'beta': 2}", "{'beta': 2}"),
    ("config.data.kind = 'radio'", "data.kind='radio'"),
    ("config.data.train = ''", "data.train=''"),
    ("config.data.train = '/nowhere'", "/nowhere"),
    (
      "config.data.kind = 'synthetic'; config.data.utterances = {'dev': 5}",
      "data.utterances={'dev': 5}",
    ),
    (
      "config.data.kind = 'digits'; config.data.manifest = '/nowhere.tsv'",
      "/nowhere.tsv",
    ),
  ],
)
def test_a_field_of_a_config_file(
  run_program, write_config, tmp_path, code, named
):
  done = run_program(
    "train", write_config(code), f"--workdir={tmp_path / 'run'}"
  )
  assert named in done.complaint
  # A corrected config may use the directory.
  assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("method", ["pcc", "batch", "per_example"])
@pytest.mark.parametrize("bound", ["0.0", "nan", "-1"])
def test_bound_zero_or_not_a_number(
  run_program, write_config, tmp_path, method, bound
):
  done = run_program(
    "train",
    write_config(),
    f"--workdir={tmp_path / 'run'}",
    f"--config.clipping.method={method}",
    f"--config.clipping.bound={bound}",
  )
  assert f"={float(bound)!r}" in done.complaint
  assert "bound" in done.complaint or "norm" in done.complaint


@pytest.mark.parametrize(
  ("arguments", "named"),
  [
    (["--config.stepz=5"], "stepz"),
    (
      ["--config.clipping.metod=x"],
      """Received: 'metod' Did you mean "method" instead of "metod"?""",
    ),
    (["--config.clipping.a.b=x"], "Received: 'a'"),
    (["--config.steps=many"], "many"),
    (["--config=/nowhere.py"], "/nowhere.py"),
    (["--stepz=5"], "stepz"),
    (["steps=5"], "steps=5"),
    (["--cores=0"], "cores"),
    (["--config.cores=0"], "cores=0"),
    (["--cores=3"], "batch=4"),
  ],
)
def test_the_command_line(
  run_program, write_config, tmp_path, arguments, named
):
  if not arguments[0].startswith("--config="):
    arguments = [write_config(), *arguments]
  done = run_program("train", *arguments, f"--workdir={tmp_path / 'run'}")
  assert named in done.complaint
  assert "\\" not in done.complaint


def test_workdir_is_missing(run_program, write_config, tmp_path):
  assert "workdir" in run_program("train", write_config()).complaint
  for program in ("evaluate", "transcribe"):
    rest = ["a.wav"] if program == "transcribe" else ["--data=/nowhere"]
    done = run_program(program, f"--workdir={tmp_path / 'none'}", *rest)
    assert f"workdir={tmp_path / 'none'}" in done.complaint


def test_workdir_cannot_be_made(run_program, write_config, tmp_path):
  (tmp_path / "file").write_text("")
  done = run_program(
    "train", write_config(), f"--workdir={tmp_path / 'file' / 'run'}"
  )
  assert str(tmp_path / "file") in done.complaint


def test_empty_corpora(run_program, write_config, tmp_path):
  empty = tmp_path / "empty"
  empty.mkdir()
  done = run_program(
    "train",
    write_config(data={"train": str(empty)}),
    f"--workdir={tmp_path / 'run'}",
  )
  assert str(empty) in done.complaint


def test_a_failure_of_the_program_keeps_its_trace(run_program, tmp_path):
  """Only mistakes of the user become one line."""
  path = tmp_path / "experiment.py"
  path.write_text("def get_config():\n  return 1 / 0\n")
  done = run_program("train", f"--config={path}", f"--workdir={tmp_path}")
  assert done.code != 0 and "ZeroDivisionError" in done.stderr
  assert "Traceback" in done.stderr


def test_an_unknown_field_of_the_default_experiment(tmp_path):
  """The default file is read while the program is imported."""
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "launch.train",
      f"--workdir={tmp_path / 'run'}",
      "--config.clipping.metod=0",
    ],
    cwd=pathlib.Path(__file__).resolve().parents[2],
    capture_output=True,
    text=True,
    check=False,
    timeout=200,
  )
  assert done.returncode == 1
  assert "Traceback" not in done.stderr
  # One line, and nothing in it escaped.
  (line,) = done.stderr.splitlines()
  assert line.startswith("launch.train: ") and "launch/configs/base.py" in line
  assert line.endswith("""'metod' Did you mean "method" instead of "metod"?""")


@pytest.mark.parametrize("form", ["--config={}", "-config={}:1", "--config {}"])
def test_a_config_that_would_be_read_for_ever(run_program, tmp_path, form):
  fifo = tmp_path / "config.py"
  os.mkfifo(fifo)
  done = run_program(
    "train", *form.format(fifo).split(), f"--workdir={tmp_path / 'run'}"
  )
  assert f"{fifo} must be a regular file" in done.complaint


@pytest.mark.parametrize("program", launch_main.PROGRAMS)
def test_help_shows_the_programs_own_flags(run_program, program):
  """Those defined in launch.cli and in other modules of launch too."""
  name = {"benchmark": "benchmark.step_cost", "plan": "plan.__main__"}
  done = run_program(name.get(program, program), "--help")
  # As absl's own help ends.
  assert done.code == 1 and not done.stderr, done.stderr
  assert f"python -m launch.{program}" in done.stdout
  shared = {"prepare": "--corpus", "vocabulary": "--corpus"}
  shared |= {"make_canaries": "--corpus", "benchmark": "--json"}
  shared |= {"plan": "--topology", "inspect": "--play_list"}
  assert f"  {shared.get(program, '--workdir')}: " in done.stdout
  assert "run_with_pdb" not in done.stdout
  assert "--verbosity=1 shows what TensorFlow logs" in done.stdout


def test_help_says_which_flags_must_be_given(run_program):
  done = run_program("make_canaries", "--help")
  assert "Flags, of which --corpus and --output must be given:" in done.stdout


def test_a_default_is_shown(run_program):
  done = run_program("transcribe", "--help")
  assert "--batch: Utterances of a batch.\n    (default: '32')" in done.stdout
  assert "--beam_width" in done.stdout and "--config" not in done.stdout


def test_all_flags_of_all_libraries(run_program):
  done = run_program("transcribe", "--helpfull")
  assert done.code == 1 and "run_with_pdb" in done.stdout
  assert "--beam_width" in done.stdout


@pytest.mark.parametrize("verbosity", [0, 1])
def test_tensorflows_own_news(run_program, write_config, tmp_path, verbosity):
  done = run_program(
    "train",
    write_config(steps=1, cores=1),
    f"--workdir={tmp_path / 'run'}",
    f"--verbosity={verbosity}",
  )
  assert done.code == 0, done.stderr
  assert ("Sharding callback duration" in done.stderr) == (verbosity == 1)
  # Ours stays.
  assert "utterances" in done.stderr


def test_the_list_of_programs_is_complete():
  root = pathlib.Path(launch_main.__file__).parent
  files = {p.stem for p in root.glob("*.py")} - {
    *("__init__", "__main__", "cli", "errors", "startup")
  }
  folders = {p.parent.name for p in root.glob("*/__main__.py")}
  assert files | folders == set(launch_main.PROGRAMS)


def test_python_m_launch_lists_the_programs():
  done = subprocess.run(
    [sys.executable, "-X", "importtime", "-m", "launch"],
    cwd=pathlib.Path(__file__).resolve().parents[2],
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
  )
  for program in launch_main.PROGRAMS:
    assert f"python -m launch.{program}" in done.stdout
  assert "Trains a recogniser, with per-core clipping." in done.stdout
  assert "tensorflow" not in done.stderr


@pytest.mark.parametrize(
  ("error", "way_out"),
  [
    (MemoryError(), "smaller batch.* Received: MemoryError$"),
    (RecursionError("depth"), "too deep.*flatten.*RecursionError: depth"),
    (tf.errors.ResourceExhaustedError(None, None, "OOM\nof 1 GB"), "1 GB"),
    (
      tf.errors.ResourceExhaustedError(
        None, None, "{{function_node __w_/d:0}} /a/b; full [Op:SaveV2] name: "
      ),
      "Received: ResourceExhaustedError: /a/b; full$",
    ),
    (tf.errors.DataLossError(None, None, "corrupted record"), "restore a copy"),
    (tf.errors.UnavailableError(None, None, "socket"), "same command goes on"),
    (tf.errors.DeadlineExceededError(None, None, "late"), "too slow"),
  ],
)
def test_what_a_machine_does_is_one_line_with_a_way_out(
  monkeypatch, error, way_out
):
  def main(arguments):
    raise error

  def run(guarded, flags_parser):
    guarded(["program"])

  monkeypatch.setattr(cli.app, "run", run)
  with pytest.raises(SystemExit) as end:
    cli.run("launch.program", main)
  text = str(end.value)
  assert text.startswith("launch.program: ") and "\n" not in text
  assert re.search(way_out, text)


def test_a_result_that_could_not_be_written(run_program, tmp_path):
  path = tmp_path / "missing" / "x.json"
  done = run_program(
    "evaluate",
    f"--workdir={tmp_path}",
    "--data=/nowhere",
    f"--json={path}",
  )
  assert f"--json={path}" in done.complaint


@pytest.mark.parametrize(
  ("number", "words"),
  [
    (errno.ENOSPC, "No space left on device; make room, or choose"),
    (errno.EROFS, "Read-only file system; choose a place"),
    (errno.EACCES, "Permission denied; ask for the permission"),
    (errno.ENOENT, "No such file or directory; check the path"),
    (errno.EISDIR, "Is a directory; a file is needed: move the folder"),
    (errno.ENOTDIR, "Not a directory; a folder is needed: move the file"),
    (errno.EEXIST, "File exists; move it away, or choose"),
    (errno.ELOOP, "Too many levels of symbolic links; a link leads nowhere"),
    (errno.ENAMETOOLONG, "File name too long; choose a shorter path"),
  ],
)
def test_a_file_that_cannot_be_written_is_one_sentence(
  tmp_path, monkeypatch, number, words
):
  """The path asked for, not that of a temporary file."""
  path = tmp_path / "metrics.json"

  def broken(*_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(os, "fsync", broken)
  for write in (files.write_text, files.append_text):
    with pytest.raises(OSError) as error:
      write(path, "text")
    line = errors.one_line(error.value)
    assert line.startswith(f"{path}: {words}")
    assert "\n" not in line and ".writing-" not in line
  assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_an_empty_name_is_no_folder(run_program, write_config):
  """As of a variable that the shell does not know."""
  done = run_program("train", write_config(), "--workdir=")
  assert done.code == 1
  assert "--workdir must be given. Received: workdir=''" in done.complaint
