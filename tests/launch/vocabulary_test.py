"""launch.vocabulary: from corpora, records and text files to a tokenizer."""

import os
import pathlib
import subprocess
import sys

import pytest

from tf_pcc.data import text

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "launch.vocabulary", *arguments],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=False,
    timeout=200,
  )


def test_a_text_file_becomes_wordpieces(tmp_path):
  lines = ["u1 Hello, you there", "u2 hello there", "u3 you two hello"] * 5
  (tmp_path / "text.txt").write_text("\n".join(lines))
  output = tmp_path / "vocabulary.json"
  done = _run(
    f"--corpus={tmp_path / 'text.txt'}",
    "--ids",
    "--size=30",
    f"--output={output}",
  )
  assert done.returncode == 0, done.stderr
  tokenizer = text.load_tokenizer(output)
  assert f"{tokenizer.vocab_size} labels" in done.stdout
  assert tokenizer.kind == "wordpiece" and tokenizer.vocab_size <= 30
  assert tokenizer.decode(tokenizer.encode("HELLO TWO")) == "HELLO TWO"


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--corpus=/nowhere/at/all", "--output=OUT"], "path=/nowhere/at/all"),
    (["--corpus=TEXT", "--output=OUT", "--size=3"], "size=3"),
    (["--corpus=TEXT"], "--output"),
    (["--output=OUT"], "--corpus"),
    (["--corpus=TEXT", "--output=OUT", "--kind=syllable"], "syllable"),
    (["--corpus=TEXT", "--output=OUT", "more"], "more"),
    (["--corpus=EMPTY", "--output=OUT", "--kind=character"], "non-empty"),
    (
      ["--corpus=TEXT", "--output=/proc/x/y", "--kind=character"],
      "/proc/x",
    ),
  ],
)
def test_user_errors_are_one_line(run_program, tmp_path, arguments, message):
  (tmp_path / "text.txt").write_text("HELLO\n")
  (tmp_path / "empty.txt").write_text("\n")
  replaced = [
    a.replace("TEXT", str(tmp_path / "text.txt"))
    .replace("EMPTY", str(tmp_path / "empty.txt"))
    .replace("OUT", str(tmp_path / "out.json"))
    for a in arguments
  ]
  done = run_program("vocabulary", *replaced)
  assert done.code == 1 and message in done.complaint
  assert not list(tmp_path.glob("out*"))


def test_what_the_normalizer_leaves_out_is_printed(run_program, tmp_path):
  (tmp_path / "x.txt").write_text("I\u015f\u0131k 5%\n\u0130zmir\n")
  for name, letters, said in (
    ("upper", "5IKMRSZ", "1 \u015f, 1 \u0131, 1 %"),
    ("tf_pcc.data.normalizers:turkish", "5ikmrz\u0131\u015f", "1 %"),
  ):
    done = run_program(
      "vocabulary",
      f"--corpus={tmp_path / 'x.txt'}",
      "--kind=character",
      f"--normalizer={name}",
      f"--output={tmp_path / 'v.json'}",
    )
    assert done.code == 0, done.stderr
    known = set("".join(text.load_tokenizer(tmp_path / "v.json").surfaces))
    assert known - {" "} == set(letters)
    assert f"the normalizer {name} left out or changed: {said}\n" in done.stdout
    assert ("take the normalizer" in done.stdout) == (name == "upper")
