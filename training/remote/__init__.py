"""The trainer as a worker: takes training jobs of a Worker over HTTP, trains, and hands the models in."""
