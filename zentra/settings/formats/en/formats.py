"""How the console writes days and times: sortable, on a 24-hour clock, in UTC. The API writes ISO 8601 by itself."""

from __future__ import annotations

DATETIME_FORMAT = "Y-m-d H:i:s"
DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
