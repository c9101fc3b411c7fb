"""LibriSpeech 960 h on a Cloud TPU v5e-8: LSTM CTC, APCC.

Data, buckets and wordpieces: as in librispeech_conformer_ctc.py. Model: five
bidirectional LSTM layers of 512 cells (size L) behind a subsampling to 40 ms,
bfloat16; Adam with a cosine decay. An LSTM's steps follow one another, which
uses a TPU badly: of the families here this is the slowest for its size.
Source: Graves et al., arXiv 1303.5778 (five layers of 250 cells, 6.8 million
weights, on TIMIT); sizes and rates for LibriSpeech are this package's.
Cost and expected result: neither has been measured, no TPU was at hand.

  python -m launch.train --config=launch/configs/librispeech_lstm_ctc.py \\
    --tpu=local --workdir=gs://BUCKET/runs/lstm-l-apcc \\
    --config.data.train=gs://BUCKET/records/train-960 \\
    --config.data.validation=gs://BUCKET/records/dev-clean \\
    --config.data.test=gs://BUCKET/records/test-clean
"""

from ml_collections import config_dict

from launch.configs import librispeech_conformer_ctc


def get_config() -> config_dict.ConfigDict:
  config = librispeech_conformer_ctc.get_config()
  config.model.name = "lstm_ctc"
  config.model.fields = {"size": "L", "encoder": {"bidirectional": True}}
  config.optimizer.schedule = "cosine"
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.999
  config.optimizer.warmup_steps = 2000
  return config
