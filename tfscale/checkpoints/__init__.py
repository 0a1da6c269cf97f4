"""What a run leaves to go on from: `export` saves the trained model."""
