"""Everything that people look at: terminal lines, tables, HTML."""
