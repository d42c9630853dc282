from __future__ import annotations

import sys
from pathlib import Path

# training_state.py beside this file
sys.path.insert(0, str(Path(__file__).parent))
