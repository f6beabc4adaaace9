"""Records as this version and earlier ones wrote them."""

import dataclasses
import json
from pathlib import Path

from hub_export.folder import BUNDLED
from hub_export.record import read_record

EARLIER = json.loads(Path(__file__).with_name("earlier_records.json").read_text())
"""Of the records that the release archive holds, what is read again: by experiment, as earlier versions wrote it."""
SHIPPED = [dataclasses.asdict(record) for record in map(read_record, sorted(BUNDLED.glob("*/*")))]
EVERY = [*EARLIER.items(), *((record["experiment"], record) for record in SHIPPED)]
"""(experiment, record)."""
