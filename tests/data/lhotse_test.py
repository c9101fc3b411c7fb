"""lhotse's cuts: what is not read is skipped, channels and texts are joined."""

import json

import pytest

from tests.data.forms import lhotse_cut, write_wav
from tf_pcc.data import corpora


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    ({"type": "MixedCut"}, "a MixedCut is not read"),
    ({"recording": None}, "without a recording"),
    ({"recording.transforms": [{"name": "Speed"}]}, "transformed"),
    ({"source.type": "command"}, "a command is never run"),
    ({"source.type": "url"}, "a URL is not fetched"),
    ({"source.type": "memory"}, "sound in memory is not read"),
  ],
)
def test_cuts_that_are_skipped(tmp_path, change, reason):
  (tmp_path / "audio").mkdir()
  write_wav(tmp_path / "audio/x.wav", 0, 1.2)
  cuts = [lhotse_cut(tmp_path, key, 0.1, "Hello", "s") for key in "ab"]
  for field, value in change.items():
    place, _, name = field.rpartition(".")
    target = cuts[1]
    if place:
      target = cuts[1]["recording"]
    if place == "source":
      target = target["sources"][0]
    target[name] = value
  path = tmp_path / "cuts.jsonl"
  path.write_text("\n".join(map(json.dumps, cuts)))
  corpus = corpora.read_corpus(path, max_missing_share=0.5)
  assert [u.id for u in corpus] == ["a"]
  (skip,) = corpus.skips
  assert skip.id == "b" and reason in skip.reason


def test_supervisions_and_channels_of_a_cut(tmp_path):
  (tmp_path / "audio").mkdir()
  write_wav(tmp_path / "audio/x.wav", 0, 1.2)
  cut = lhotse_cut(tmp_path, "a", 0.1, "world", "s")
  first = {**cut["supervisions"][0], "start": -0.1, "text": "Hello"}
  cut["supervisions"].append({**first, "speaker": "t"})
  cut["recording"]["channel_ids"] = [4, 5]
  cut["recording"]["sources"][0]["channels"] = [4, 5]
  cut["channel"] = 5
  (tmp_path / "cuts.jsonl").write_text(json.dumps(cut))
  (utterance,) = corpora.read_corpus(tmp_path / "cuts.jsonl")
  assert (utterance.text, utterance.speaker) == ("HELLO WORLD", "")
  assert utterance.segment.channels == (1,)
