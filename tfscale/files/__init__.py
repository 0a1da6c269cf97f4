"""Files that are there whole or not at all: `atomic` writes one, `run_directory` owns a run's."""
