"""Session on disk: the schema of the tables, host facts, and the importer of loose files."""
