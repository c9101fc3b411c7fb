from . import config_dict as config_dict
from . import config_flags as config_flags
