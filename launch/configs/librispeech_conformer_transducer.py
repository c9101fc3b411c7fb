"""LibriSpeech 960 h on a Cloud TPU v5e-8: Conformer transducer, APCC.

Data, buckets, wordpieces, batch and schedule: as in
librispeech_conformer_ctc.py.
Model: Conformer transducer (10.3, 30.7 or 118.8 million parameters for S, M, L,
table 1 of Gulati et al., arXiv 2005.08100), LSTM prediction network, bfloat16,
the loss in float32. S unless the file's name is followed by a size, as in
librispeech_conformer_transducer.py:M.
Cost and expected result: neither has been measured, no TPU was at hand, and
batch and step count are this package's. The paper has 2.7% (S) and 2.1% (L)
WER on test-clean without a language model.

  python -m launch.train \\
    --config=launch/configs/librispeech_conformer_transducer.py:S \\
    --tpu=local --workdir=gs://BUCKET/runs/conformer-transducer-s-apcc \\
    --config.data.train=gs://BUCKET/records/train-960 \\
    --config.data.validation=gs://BUCKET/records/dev-clean \\
    --config.data.test=gs://BUCKET/records/test-clean
"""

from ml_collections import config_dict

from launch.configs import librispeech_conformer_ctc


def get_config(size: str = "S") -> config_dict.ConfigDict:
  config = librispeech_conformer_ctc.get_config(size)
  config.model.name = "conformer_transducer"
  config.model.fields = {"size": size or "S", "prediction": "lstm"}
  return config
