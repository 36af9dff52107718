"""Published files as rows and records that know their line: CSV, JSON lines, long JSON."""
