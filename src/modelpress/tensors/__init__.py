"""The tensor core."""

import os

# No linear algebra is done here. numpy's would start a thread for each core when it is imported, which took a tenth of
# the start-up's processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
