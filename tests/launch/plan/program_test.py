"""Every family of models becomes a program that XLA can take."""

import re

import pytest

from launch.configs import base
from launch.plan import layers, program
from models import registry
from tests.launch.plan import recognisers

FIELDS = {
  "lstm_ctc": {"encoder": {"units": 8, "layers": 1}},
  "streaming_conformer_ctc": {
    "encoder": {
      **recognisers.CONFORMER["encoder"],
      "chunk_frames": 2,
      "left_chunks": 1,
      "position": "rotary",
    }
  },
  "conformer_transducer": {"prediction_dim": 8, "joint_dim": 16},
  "hybrid": {"prediction": "stateless", "prediction_dim": 8, "joint_dim": 16},
  "best_rq": {"codebook_size": 16, "mask_ms": 80.0},
}
_PRUNED = {"loss": "pruned", "pruning": {"window": 3, "warmup_steps": 9}}


@pytest.mark.parametrize(
  ("name", "fields"),
  [*((name, {}) for name in sorted(registry.MODELS)), ("hybrid", _PRUNED)],
)
def test_every_family(name, fields):
  config = base.get_config()
  config.policy = "mixed_bfloat16"
  config.model.name = name
  config.model.fields = {
    **recognisers.CONFORMER,
    **FIELDS.get(name, {}),
    **fields,
  }
  text, facts = program.make(config, 4, 2, 8000, 3, 8)
  assert facts.rejected is None and facts.suspects == {}
  assert facts.outside_scope == () and facts.flops_unknown == ()
  assert facts.clip == "before"
  assert 0 < facts.flops == sum(facts.flops_by_layer.values())
  assert facts.flops_by_layer.get("outside the layers", 0) == 0
  assert "tensor<?" not in text
  # The compiler learns what each operation's layer is.
  named = {layers.of(name) for name in re.findall(r'loc\("([^":]+)"', text)}
  # Not of what a loop calls, whose body is a function with names of its own.
  encoder = {n for n in facts.flops_by_layer if "encoder" in n}
  assert encoder and named >= encoder
  # On a TPU Philox's numbers are written in rows of four, each padded to 128.
  drawn = re.findall(r"algorithm =  (\w+) .*tensor<([\dx]*)xui32>\)", text)
  assert {kind for kind, shape in drawn if shape != "4"} == {"DEFAULT"}
