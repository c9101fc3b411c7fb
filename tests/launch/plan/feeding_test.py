"""What hosts must read, and what is read."""

import numpy as np
import pytest

from launch.plan import feeding, topologies
from tests.launch.plan import steps
from tf_pcc.data import records, utterances


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
  """Records of 60 utterances of half a second, or nearly."""
  path = tmp_path_factory.mktemp("speech") / "records"
  rng = np.random.default_rng(0)
  records.write_records(
    (
      (
        utterances.Utterance(f"u{i}", "", "A B", "s"),
        rng.uniform(-0.1, 0.1, 7000 + i).astype(np.float32),
      )
      for i in range(60)
    ),
    path,
  )
  return str(path)


@pytest.mark.parametrize("name", ["v5e:2x2", "v5e:4x4"])
def test_what_is_read_is_counted(speech, name):
  # Seconds 0: one batch, of one host's cores.
  found = feeding.measure(
    steps.tiny(), speech, 2, topologies.parse(name), seconds=0.0
  )
  assert found.path == speech and found.seconds > 0
  assert 2 * 7000 <= found.bytes / found.utterances <= 2 * 7060
  rows = found.utterances * found.seconds
  assert rows == pytest.approx(8)


def test_too_few_for_a_batch(speech):
  with pytest.raises(ValueError, match="(?i)batch"):
    feeding.measure(steps.tiny(), speech, 64, topologies.parse("v5e:2x2"), 0.0)
