"""MiniRec (arXiv 2602.04278): which samples reinforcement learning should see, and in which order."""
