import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
sys.path.insert(0, str(Path(__file__).parent))

from s3_server import bucket, s3, s3_server  # noqa: F401 - fixtures
