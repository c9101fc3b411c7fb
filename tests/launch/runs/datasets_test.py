"""From `config.data` to records, and from any path to what can be scored."""

import numpy as np
import pytest
import soundfile

from launch.runs import datasets, overlap
from tf_pcc.data import normalizers, records
from tf_pcc.data.utterances import Utterance


def test_prepared_records_of_the_splits_that_are_named(make_config, corpus):
  splits = datasets.open_splits(make_config())
  assert {name: len(split) for name, split in splits.items()} == {
    "train": 24,
    "test": 5,
  }


def test_digits_keep_their_test_recordings(make_config, tmp_path):
  """With a validation set, training gives up some of its recordings."""
  rows = ["id\tpath\tspeaker\ttext"]
  for word in ("ONE", "TWO"):
    for take in range(10):
      name = f"{word}-{take}"
      wave = np.full(800, 0.1 + take / 20, np.float32)
      soundfile.write(tmp_path / f"{name}.wav", wave, 16000)
      rows.append(f"{name}\t{name}.wav\tann\t{word}")
  (tmp_path / "manifest.tsv").write_text("\n".join(rows))
  config = make_config(
    data={
      "kind": "digits",
      "manifest": str(tmp_path / "manifest.tsv"),
      "cache": str(tmp_path / "cache"),
    }
  )
  levels = {}
  for validation in (0, 30):
    config.data.utterances = {
      "train": 60,
      "validation": validation,
      "test": 30,
    }
    splits = datasets.open_splits(config, progress=False)
    assert ("validation" in splits) == bool(validation)
    for name, split in splits.items():
      seen = np.concatenate([split.read(i) for i in range(len(split))])
      levels[validation, name] = set(np.round(seen / 2**15, 2)) - {0}
  assert levels[0, "test"] == levels[30, "test"]
  assert levels[30, "train"] | levels[30, "validation"] == levels[0, "train"]
  assert not levels[30, "validation"] & levels[30, "train"]


def test_a_split_without_words_is_found_before_training(make_config, tmp_path):
  silent = [(Utterance("a", "", ""), np.zeros(800, np.int16))]
  records.write_records(silent, tmp_path / "silent", progress=False)
  config = make_config(data={"test": str(tmp_path / "silent")})
  with pytest.raises(ValueError, match=r"data.test='.*silent', 1 utter"):
    datasets.open_splits(config)


@pytest.mark.parametrize(
  "counts",
  [{"train": 0, "test": 5}, {"test": 5}, {"train": 5, "test": -1}],
)
def test_counts_out_of_range(make_config, counts):
  config = make_config(data={"kind": "synthetic"})
  config.data.utterances = counts
  with pytest.raises(ValueError, match="data.utterances="):
    datasets.open_splits(config)


def test_vocabularies_learnt_and_given(make_config, corpus, tmp_path):
  train = records.Records(corpus / "train")
  config = make_config()
  learnt = datasets.make_tokenizer(config, train)
  assert learnt.kind == "character" and learnt.vocab_size == 4
  learnt.save(tmp_path / "labels.json")
  config.tokenizer.path = str(tmp_path / "labels.json")
  config.tokenizer.kind = "wordpiece"
  given = datasets.make_tokenizer(config, train)
  assert given.get_config() == learnt.get_config()


def test_records_of_another_rate_are_refused(make_config, tmp_path):
  speech = [
    (Utterance(f"u{i}", "", "YES"), np.zeros(8000, np.int16)) for i in range(3)
  ]
  path = str(tmp_path / "slow")
  records.write_records(speech, path, sample_rate=8000, progress=False)
  config = make_config(data={"train": path})
  with pytest.raises(ValueError, match="Received: sample_rate=8000"):
    datasets.open_splits(config)
  with pytest.raises(ValueError, match="Received: sample_rate=8000"):
    datasets.open_any(path)


def test_texts_of_records_and_of_a_corpus(tmp_path, shared_data):
  pairs = [(Utterance("a", "", "HELLO"), np.ones(5, np.int16))]
  records.write_records(pairs, tmp_path / "r", progress=False)
  assert datasets.read_texts(tmp_path / "r") == ["HELLO"]
  digits = datasets.read_texts(shared_data / "spoken_digits")
  assert len(digits) == 2000 and len(set(digits)) == 10


def test_texts_of_a_file(tmp_path):
  path = tmp_path / "text.txt"
  path.write_text("u1 Hello, you\nu2 hello\n")
  assert datasets.read_texts(path, ids=True) == ["HELLO YOU", "HELLO"]
  assert datasets.read_texts(path) == ["U1 HELLO YOU", "U2 HELLO"]
  with pytest.raises(ValueError, match="nowhere.txt"):
    datasets.read_texts(tmp_path / "nowhere.txt")


def test_a_file_of_texts_that_is_not_utf_8(tmp_path):
  path = tmp_path / "x.txt"
  path.write_bytes("1-2-3 CAF\u00c9\n".encode() + "caf\u00e9".encode("latin1"))
  with pytest.raises(ValueError, match=r"x\.txt must be UTF-8"):
    datasets.read_texts(path)


def test_transcripts_go_through_the_normalizer(make_config, tmp_path, caplog):
  lower = datasets.open_splits(make_config(data={"normalizer": "lower"}))
  assert all(text.islower() for text in lower["train"].texts)
  assert "leaves out" not in caplog.text
  pairs = [(Utterance("a", "", "50% caf\u00e9"), np.ones(5, np.int16))]
  records.write_records(pairs, tmp_path / "percent", progress=False)
  config = make_config(data={"train": str(tmp_path / "percent"), "test": ""})
  assert datasets.open_splits(config)["train"].texts == ("50 CAFE",)
  assert "the normalizer upper leaves out" in caplog.text
  config = make_config(data={"normalizer": "lower"}, canaries={"insert": True})
  with pytest.raises(ValueError, match="need data.normalizer=upper"):
    datasets.open_splits(config)


def test_what_was_normalized_is_not_normalized_again(
  make_config, tmp_path, monkeypatch
):
  pairs = [(Utterance("a", "", "A B"), np.ones(5, np.int16))]
  paths = {}
  for name in ("upper", "lower", ""):
    paths[name] = str(tmp_path / f"of_{name}")
    signature = normalizers.signature(name) if name else ""
    records.write_records(
      pairs, paths[name], progress=False, normalizer=signature
    )
  called = []

  def upper(line):
    called.append(line)
    return line.upper()

  monkeypatch.setitem(normalizers.NAMES, "upper", upper)

  def texts(path):
    called.clear()
    config = make_config(data={"train": path, "test": ""})
    return datasets.open_splits(config)["train"].texts

  assert texts(paths["upper"]) == ("A B",) and not called
  for name in ("lower", ""):
    assert texts(paths[name]) == ("A B",) and "A B" in called
  # Both of a mixture must be.
  assert texts(f"{paths['upper']},{paths['upper']}") and not called
  assert texts(f"{paths['upper']},{paths['lower']}") and called
  # Another version of it, or of Unicode, does it again.
  monkeypatch.setattr(normalizers, "_VERSION", 2)
  assert texts(paths["upper"]) and called


def test_several_training_sets_with_weights(make_config, corpus):
  one, two = corpus / "train", corpus / "validation"
  data = {"train": f"{one}, {two}", "weights": (0.5, 3.0)}
  train = datasets.open_splits(make_config(data=data))["train"]
  assert len(train) == 12 + 3 * 3
  parts = [records.Records(path) for path in (one, two)]
  assert train.ids[12:] == parts[1].ids * 3
  for row, key in enumerate(train.ids):
    part = parts[row >= 12]
    place = part.ids.index(key)
    assert train.texts[row] == part.texts[place]
    np.testing.assert_array_equal(train.read(row), part.read(place))
  data = {"train": f"{one},{two}"}
  assert len(datasets.open_splits(make_config(data=data))["train"]) == 24 + 3
  for weights in ((1.0,), (1.0, 0.0), (1.0, 1.0, 1.0)):
    config = make_config(data={**data, "weights": weights})
    with pytest.raises(ValueError, match="one positive number for each set"):
      datasets.open_splits(config)


def test_what_is_in_the_training_set_too(make_config, corpus):
  splits = datasets.open_splits(make_config())
  assert overlap.shared(splits) == {"test": 0}
  splits["validation"] = splits["train"]
  assert overlap.shared(splits) == {"test": 0, "validation": 24}
  data = {"train": f"{corpus / 'train'},{corpus / 'test'}"}
  assert overlap.shared(datasets.open_splits(make_config(data=data))) == {
    "test": 5
  }


def test_augmentation_of_a_config(make_config):
  assert not datasets.make_augmentation(make_config())
  config = make_config()
  config.data.augmentation.speeds = (0.9, 1.1)
  config.data.augmentation.noise_db = (10, 20)
  found = datasets.make_augmentation(config)
  assert found.speeds == (0.9, 1.1) and found.pitches == ()
  assert found.noise_db == (10, 20)
  config.data.augmentation.pitches = (1.2,)
  with pytest.raises(ValueError, match="a lowest and a highest"):
    datasets.make_augmentation(config)


def test_words_of_a_string_are_two_numbers(make_config):
  config = make_config(
    data={"kind": "digits", "manifest": "x.tsv", "string_words": (1,)}
  )
  with pytest.raises(ValueError, match="data.string_words=\\(1,\\)"):
    datasets.open_splits(config)
