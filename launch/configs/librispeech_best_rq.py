"""Pre-training on LibriSpeech's sound on a Cloud TPU v5e-8: BEST-RQ, APCC.

Data, buckets and schedule: as in librispeech_conformer_ctc.py; any prepared
speech serves, the transcripts are not used. Model: Conformer S, 8,192 codes of
width 16, spans of 400 ms that begin at a frame with probability 0.01, as in the
paper (which trains a Conformer of 0.6 billion parameters on Libri-Light);
bfloat16. The logits of a batch are its frames times 8,192 in float32, 0.4 GB a
core at 32 utterances of 16.8 s.
Source: Chiu et al., arXiv 2202.01855; batch and steps are this package's.
Cost and expected result: neither has been measured, no TPU was at hand.

  python -m launch.train --config=launch/configs/librispeech_best_rq.py \\
    --tpu=local --workdir=gs://BUCKET/runs/best-rq-s \\
    --config.data.train=gs://BUCKET/records/train-960 \\
    --config.data.validation=gs://BUCKET/records/dev-clean \\
    --config.data.test=gs://BUCKET/records/test-clean
  python -m launch.train --config=launch/configs/librispeech_conformer_ctc.py \\
    --config.init_from=gs://BUCKET/runs/best-rq-s ...
"""

from ml_collections import config_dict

from launch.configs import librispeech_conformer_ctc


def get_config() -> config_dict.ConfigDict:
  config = librispeech_conformer_ctc.get_config()
  config.model.name = "best_rq"
  config.model.fields = {"size": "S"}
  return config
