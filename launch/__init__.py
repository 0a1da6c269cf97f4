"""Programs that start training: one worker, several on this machine, or one for each node."""
