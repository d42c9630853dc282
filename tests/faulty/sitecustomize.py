"""Let a process that a test starts begin under the plan of faults in HEADWATER_FAULTS."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from fault_plan import FaultPlan

from headwater.core.disk import install

install(FaultPlan.parse(os.environ["HEADWATER_FAULTS"]))
