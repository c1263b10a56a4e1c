"""One file an experiment: a frozen literal of training.config.Config that gives every field."""
