"""LibriSpeech 960 h on a Cloud TPU v5e-8: Conformer transducer with CTC, APCC.

Data, buckets, wordpieces, schedule and model: as in
librispeech_conformer_transducer.py, with a CTC layer on the same encoder; the
loss is 0.7 times the transducer's and 0.3 times CTC's. Transcripts come from
the transducer, the times of words from CTC. S unless the file's name is
followed by a size, as in librispeech_hybrid.py:M.
Source: Gulati et al., arXiv 2005.08100 (sizes and schedule); Boyer et al.,
arXiv 2201.05420 (both losses on one encoder); the weights of the losses are
this package's.
Cost and expected result: neither has been measured, no TPU was at hand.

  python -m launch.train --config=launch/configs/librispeech_hybrid.py:S \\
    --tpu=local --workdir=gs://BUCKET/runs/hybrid-s-apcc \\
    --config.data.train=gs://BUCKET/records/train-960 \\
    --config.data.validation=gs://BUCKET/records/dev-clean \\
    --config.data.test=gs://BUCKET/records/test-clean
"""

from ml_collections import config_dict

from launch.configs import librispeech_conformer_transducer


def get_config(size: str = "S") -> config_dict.ConfigDict:
  config = librispeech_conformer_transducer.get_config(size)
  config.model.name = "hybrid"
  config.model.fields = {**config.model.fields, "ctc_weight": 0.3}
  return config
