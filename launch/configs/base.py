"""Every field an experiment has, with its default and meaning.

An experiment's file calls `get_config` here and changes what it wants; a field
that is not here is an error. On the command line a field is
`--config.group.field=value`.
"""

from ml_collections import config_dict


def get_config() -> config_dict.ConfigDict:
  """The fields and their defaults."""
  config = config_dict.ConfigDict()
  # Of the weights, the order of batches, SpecAugment and dropout.
  config.seed = 0
  config.steps = 1000
  # Utterances of a step over all cores; the cores divide it.
  config.batch = 48
  # Logical CPU cores where there is no TPU, GPU or worker (see --cores).
  config.cores = 8
  # float32 or mixed_bfloat16.
  config.policy = "float32"
  # Optimizer steps the device takes between two looks of the host.
  config.steps_per_call = 1

  config.data = data = config_dict.ConfigDict()
  # synthetic: spoken by a voice engine; digits: joined from single recorded
  # digits; records: prepared by launch.prepare.
  data.kind = "records"
  # records: directories. Only train is needed; it may be several, with commas
  # between them, and then a pass has each as often as its weight says (twice,
  # half of it); no weights: once.
  data.train = ""
  data.weights = ()
  data.validation = ""
  data.test = ""
  # What the transcripts go through, and those of the model when it is scored: a
  # name of tf_pcc.data.normalizers (upper, lower, basic, none) or
  # MODULE:FUNCTION. Records are prepared with the same one, or with none.
  data.normalizer = "upper"
  # digits: the manifest of single words; synthetic and digits: where the
  # corpus is kept, utterances of each split, and the corpus' own seed.
  data.manifest = ""
  data.cache = "~/.cache/tf_pcc"
  data.utterances = {"train": 8000, "validation": 200, "test": 400}
  data.corpus_seed = 0
  # digits: fewest and most words of a string, and speakers of the test alone.
  data.string_words = (2, 6)
  data.held_out = ()
  # synthetic: how many of the common words sentences are made of; 0: all.
  data.words = 0
  # synthetic: voices ENGINE:NAME (engines nanotts and espeak, an extra) and the
  # ranges of the factors of pitch and rate; see tf_pcc.data.synthetic.
  data.voices = ("nanotts:en-US", "nanotts:en-GB")
  data.pitch = (0.7, 1.5)
  data.rate = (0.85, 1.3)
  # Largest length of each bucket in seconds; empty: one bucket that fits all.
  data.buckets_seconds = ()
  # What is drawn each time that a training utterance is seen; empty: nothing.
  # Factors of speed, such as (0.9, 1.0, 1.1); lowest and highest factor of
  # pitch, such as (0.8, 1.25); lowest and highest ratio of signal to noise in
  # dB, such as (10, 40). See tf_pcc.data.augmentation. Canaries are left alone.
  data.augmentation = augmentation = config_dict.ConfigDict()
  augmentation.speeds = ()
  augmentation.pitches = ()
  augmentation.noise_db = ()
  # Largest share of the training utterances whose records may be damaged;
  # others take their place. 0: the first ends training, with its name.
  data.damaged_limit = 0.0
  # What reads the audio of training: "python", in the program; "tensorflow", by
  # TensorFlow's own ops on the host that needs it (16-bit PCM without changes
  # and replacements); "auto": tensorflow where one program drives several hosts
  # of a TPU, otherwise python. The batches are the same.
  data.read_by = "auto"

  config.tokenizer = config_dict.ConfigDict()
  # A file of launch.vocabulary; empty: learnt from the training texts.
  config.tokenizer.path = ""
  # character, word, wordpiece or sentencepiece, and the size of the last two.
  config.tokenizer.kind = "wordpiece"
  config.tokenizer.size = 256
  # SHA-256 that the tokenizer must have; empty: any. A run's own config.json
  # has that of its tokenizer.json.
  config.tokenizer.digest = ""

  config.model = config_dict.ConfigDict()
  # A name of models.registry, and its own fields, which the registry checks.
  config.model.name = "conformer_ctc"
  config.model.fields = config_dict.ConfigDict(convert_dict=False)
  # Directory of a run, such as one of best_rq, whose features and encoder give
  # the weights to start from; empty: none.
  config.init_from = ""

  config.optimizer = optimizer = config_dict.ConfigDict()
  # A name of keras.optimizers.
  optimizer.name = "adam"
  # Of Adam, AdamW, Adamax and Nadam; others have none: the second moments
  # remember 1 / (1 - beta_2) steps, and with them the large gradients of the
  # first steps. Keras' default; a short run wants less.
  optimizer.beta_2 = 0.999
  # More arguments of that optimizer.
  optimizer.arguments = config_dict.ConfigDict(convert_dict=False)
  # The rate rises linearly for warmup_steps, then falls to 0: "cosine", with
  # the inverse square root of the step: "rsqrt", or stays: "constant".
  optimizer.learning_rate = 2e-3
  optimizer.warmup_steps = 0
  optimizer.schedule = "cosine"

  config.clipping = clipping = config_dict.ConfigDict()
  # none, batch, pcc, apcc, running or per_example.
  clipping.method = "apcc"
  # The norm of pcc, per_example and batch.
  clipping.bound = 2.5
  # Of running, see tf_pcc.RunningBound: min, median, mean or quantile.
  clipping.decay = 0.99
  clipping.statistic = "min"
  clipping.quantile = 0.5
  # Parts each core's batch is cut in; batch clipping after; the rest as in
  # tf_pcc.Clipping. batch_clip_norm 0: none.
  clipping.microbatches = 1
  clipping.batch_clip_norm = 0.0
  clipping.dead_cores = "fixed"
  clipping.track_cosine = False
  # Steps in a row in which no core had a live gradient that stop the run with
  # an error, looked at with every line of the log; 0: none.
  clipping.skipped_limit = 100
  # auto, true or false: whether the update is divided by the bound of the step.
  # auto: with apcc and running and an optimizer invariant to the gradient's
  # scale, such as adam; not with sgd. batch_clip_norm is then in units of the
  # bound. See normalize of tf_pcc.Clipping.
  clipping.normalize = "auto"

  config.canaries = canaries = config_dict.ConfigDict()
  # Whether to insert canaries for launch.audit, what a canary says (words,
  # characters or template; see tf_pcc.audit.make_plan), of how many words or
  # characters, how often each is seen in training, canaries of each count, and
  # how many are held out.
  canaries.insert = False
  canaries.kind = "words"
  canaries.length = 4
  canaries.templates = ()
  canaries.repetitions = (1, 2, 4, 8, 16, 32)
  canaries.per_count = 20
  canaries.holdout = 200
  # Largest share of the utterances of a run that may be canaries, or of one
  # pass over the corpus with them, whichever is more.
  canaries.max_share = 0.5
  # ENGINE:VOICE, pitch factors, and how it is sped up: "resample" or "engine".
  canaries.voices = ("nanotts:en-US", "nanotts:en-GB")
  canaries.pitches = (0.8, 1.0, 1.25)
  canaries.speeds = (4.0,)
  canaries.speed_by = "resample"
  # Whether a voice is a speaker whose canaries are all inserted or all held
  # out; needs 20 pairs of voice and pitch.
  canaries.by_speaker = False
  # At least 0: the seed of a fair coin for each canary, which decides whether
  # it is inserted or held out; -1: no coins.
  canaries.coin_seed = -1
  canaries.seed = 0

  # Steps between two lines of metrics.jsonl, two checkpoints, two looks at the
  # validation set (0: none but at the end), and checkpoints kept (0: all).
  config.log_every = 20
  config.checkpoint_every = 200
  config.validate_every = 0
  config.keep_checkpoints = 2
  # Rows of a batch of evaluation.
  config.evaluation_batch = 32
  return config
