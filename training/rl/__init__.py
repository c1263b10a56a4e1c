"""Reinforcement learning on what users did."""
