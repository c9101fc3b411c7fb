"""launch.evaluate on everything that holds speech and transcripts."""

import json
import shutil

import pytest

from launch import evaluate
from tf_pcc.data import corpora, records


def librispeech(folder, recordings):
  chapter = folder / "test" / "19" / "198"
  chapter.mkdir(parents=True)
  lines = []
  for i, (path, text) in enumerate(recordings.items()):
    shutil.copy(path, chapter / f"19-198-{i:04d}.wav")
    lines.append(f"19-198-{i:04d} {text}\n")
  (chapter / "19-198.trans.txt").write_text("".join(lines))
  return folder


def manifest(folder, recordings):
  rows = [f"u{i}\t{p}\t{t}" for i, (p, t) in enumerate(recordings.items())]
  (folder / "all.tsv").write_text("\n".join(["id\tpath\ttext", *rows]))
  return folder / "all.tsv"


def json_lines(folder, recordings):
  rows = [
    json.dumps({"audio_filepath": str(path), "text": text.lower()})
    for path, text in recordings.items()
  ]
  (folder / "all.json").write_text("\n".join(rows))
  return folder / "all.json"


def prepared(folder, recordings):
  corpus = corpora.read_corpus(manifest(folder, recordings))
  records.write_records(corpus, folder / "records", progress=False)
  return folder / "records"


@pytest.mark.parametrize(
  "layout", [librispeech, manifest, json_lines, prepared]
)
def test_every_layout_gives_the_same_score(
  saved_run, recordings, tmp_path, layout
):
  (tmp_path / "other").mkdir()
  data = layout(tmp_path, recordings)
  reference = prepared(tmp_path / "other", recordings)
  found = evaluate.evaluate(str(saved_run), str(data))
  expected = evaluate.evaluate(str(saved_run), str(reference), batch_size=1)
  assert found["utterances"] == len(recordings) and found["step"] == 7
  assert found["words"] == sum(len(t.split()) for t in recordings.values())
  for name in ("wer", "cer", "substitutions", "deletions", "insertions"):
    assert found[name] == expected[name]
  errors = found["substitutions"] + found["deletions"] + found["insertions"]
  assert found["wer"] == errors / found["words"] > 0
  assert any(entry["transcript"] for entry in found["worst"])
  assert sum(entry["errors"] for entry in found["worst"]) == errors


def test_the_command_lists_the_worst_and_what_it_could_not_read(
  run_program, saved_run, recordings, tmp_path
):
  many = {}
  for i in range(3):
    for path, text in recordings.items():
      copy = tmp_path / f"{i}-{path.name}"
      shutil.copy(path, copy)
      many[copy] = text
  path = manifest(tmp_path, many)
  broken = tmp_path / "1-s-2.wav"
  broken.write_bytes(broken.read_bytes()[:300])
  output = tmp_path / "result.json"
  done = run_program(
    "evaluate",
    f"--workdir={saved_run}",
    f"--data={path}",
    f"--json={output}",
  )
  assert done.code == 0, done.stderr
  result = json.loads(output.read_text())
  assert result["utterances"] == len(many) - 1
  ((name, reason),) = result["unread"]
  assert name == "u6" and str(broken) in reason
  assert len(result["worst"]) == 10
  errors = [entry["errors"] for entry in result["worst"]]
  assert errors == sorted(errors, reverse=True)
  assert f"WER {result['wer']:.2%}" in done.stdout
  assert "1 utterances could not be read" in done.stdout


def test_letters_the_model_does_not_know_are_errors(
  saved_run, recordings, tmp_path
):
  """Left out of training, such an utterance still counts in a test."""
  foreign = dict.fromkeys(recordings, "ZOO QUIZ")
  found = evaluate.evaluate(str(saved_run), str(manifest(tmp_path, foreign)))
  assert found["utterances"] == 4 and found["words"] == 8
  assert found["substitutions"] + found["deletions"] == 8


def test_silence_and_missing_recordings(
  run_program, saved_run, recordings, tmp_path
):
  some = dict(recordings)
  some[next(iter(some))] = ""
  lost = {**some, tmp_path / "lost.wav": "AB"}
  path = manifest(tmp_path, lost)
  with pytest.raises(ValueError, match="max_missing_share=0.05"):
    evaluate.evaluate(str(saved_run), str(path))
  found = evaluate.evaluate(str(saved_run), str(path), max_missing_share=0.5)
  assert found["utterances"] == len(recordings) - 1
  assert found["silence"]["utterances"] == 0
  done = run_program(
    "evaluate",
    f"--workdir={saved_run}",
    f"--data={path}",
    "--max_missing_share=0.5",
    "--keep_empty",
    f"--json={tmp_path / 'x.json'}",
  )
  assert done.code == 0, done.stderr
  result = json.loads((tmp_path / "x.json").read_text())
  silence = result["silence"]
  assert result["utterances"] == len(recordings)
  assert silence["utterances"] == 1 and silence["seconds"] > 0
  each = silence["insertions"] / silence["seconds"] * 60
  assert silence["insertions_a_minute"] == each
  assert "1 utterances of silence" in done.stdout


def test_both_sides_go_through_the_normalizer(saved_run, recordings, tmp_path):
  path = manifest(tmp_path, recordings)
  upper = evaluate.evaluate(str(saved_run), str(path))
  lower = evaluate.evaluate(str(saved_run), str(path), normalizer="lower")
  assert (upper["normalizer"], lower["normalizer"]) == ("upper", "lower")
  assert upper["wer"] == lower["wer"]
  assert lower["worst"][0]["reference"].islower()
  assert "both sides normalised by 'lower'" in evaluate.report(lower)


@pytest.mark.parametrize(
  ("data", "named"), [("/nowhere", "/nowhere"), ("EMPTY", "empty")]
)
def test_no_speech(run_program, saved_run, tmp_path, data, named):
  (tmp_path / "empty").mkdir()
  data = data.replace("EMPTY", str(tmp_path / "empty"))
  done = run_program("evaluate", f"--workdir={saved_run}", f"--data={data}")
  assert named in done.complaint


def test_nothing_that_can_be_read(run_program, saved_run, tmp_path):
  (tmp_path / "a.wav").write_bytes(b"RIFF")
  data = manifest(tmp_path, {tmp_path / "a.wav": "AB"})
  done = run_program("evaluate", f"--workdir={saved_run}", f"--data={data}")
  assert "a.wav" in done.complaint
