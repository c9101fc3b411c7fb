"""LibriSpeech of TensorFlow Datasets, by that package itself."""

import numpy as np
import pytest

from tf_pcc.data import corpora, manifests, normalizers

pytest.importorskip(
  "tensorflow_datasets",
  reason="needs tensorflow-datasets, which no extra brings",
  exc_type=ImportError,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
  """A data set of LibriSpeech's name and features, where TFDS looks."""
  import tensorflow_datasets as tfds

  random = np.random.default_rng(0)
  made = [
    {
      "speech": random.integers(-3000, 3000, 1000 + 100 * i),
      "text": f"It's number {i}",
      "speaker_id": 19 + i % 2,
      "chapter_id": 198,
      "id": f"{19 + i % 2}-198-{i:04d}",
    }
    for i in range(7)
  ]

  class Librispeech(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("2.1.1")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="default")]

    def _info(self):
      return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(
          {
            "speech": tfds.features.Audio(sample_rate=16000),
            "text": tfds.features.Text(),
            "speaker_id": np.int64,
            "chapter_id": np.int64,
            "id": np.str_,
          }
        )
      )

    def _split_generators(self, manager):
      del manager
      return {"test_clean": self._generate_examples()}

    def _generate_examples(self):
      for row in made:
        yield row["id"], row

  folder = tmp_path_factory.mktemp("tfds")
  Librispeech(data_dir=folder, config="default").download_and_prepare()
  tfds.core.add_data_dir(folder)
  return {row["id"]: row for row in made}


def test_a_split(rows):
  reading = manifests.Reading(normalizers.lower)
  corpus = corpora.read_corpus(
    "tfds:librispeech/default/test_clean", reading=reading
  )
  assert sorted(u.id for u in corpus) == sorted(rows)
  for utterance, waveform in zip(corpus, corpus.waveforms(), strict=True):
    row = rows[utterance.id]
    assert utterance.text == row["text"].lower()
    assert utterance.speaker == str(row["speaker_id"])
    np.testing.assert_array_equal(waveform * 32768, row["speech"])
  assert [len(w) for w in corpus.waveforms(2, 4)] == [
    len(rows[u.id]["speech"]) for u in corpus.utterances[2:4]
  ]


def test_a_split_that_is_not_there(rows):
  with pytest.raises(ValueError, match="nothing"):
    corpora.read_corpus("tfds:librispeech/default/nothing")
