"""The linter of the API's description: its lock file, its rules, and what runs it."""
